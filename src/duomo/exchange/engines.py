"""Engines that compute a finished model in torch's place, converted from the module when a run is opened: OpenVINO, ONNX Runtime.

Which one a run is answered by is found by measurement (duomo/prepared.py) and stands in its engine.json. Nothing converted is kept: what
is opened is always the run's own weights. Legend: B rows, T positions.
"""

import copy
import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from duomo.core.contract import Places, Vectors
from duomo.core.device import Execution, at_hand, bf16_on_cpu, cores, machine_facts, offered
from duomo.core.errors import RunError
from duomo.core.run import RunFolder
from duomo.core.stderr import muted
from duomo.core.tensors import Batch
from duomo.nn.council import Council

RECORD_FAULTS = (RunError, LookupError, TypeError, AttributeError, metadata.PackageNotFoundError)
FAULTS = (RuntimeError, ValueError, TypeError, LookupError, AssertionError)
"""What tracing a module raises, and PyTorch's exporter: its own errors are RuntimeErrors."""
OWN = {"openvino": "openvino.frontend", "onnxruntime": "onnxruntime.capi.onnxruntime_pybind11_state"}
"""Where the libraries' own errors lie, which are no RuntimeErrors: an operation that they lack, a graph that they cannot read."""
LIBRARIES = {"torch": "torch", "openvino": "openvino", "onnxruntime": "onnxruntime"}
FILE = "engine.json"
FACTS = ("cpu", "capability", "cores", "device")
"""What of a machine a measurement holds for; no device is told of where the CPU answers."""
MOST_ROWS = 256
SEEN = 128
"""Vectors from which on the range of an activation is known: of a text of 128 tokens each layer sees so many."""
ASTRAY = 0.5
"""Relative to max(1, |logit|): farther off is no rounding. OpenVINO 2026.4 gives products of transposed blocks of 32 rows other numbers."""
PRECISIONS = ("float32", "bf16", "int8")
Compute = Callable[[Sequence[np.ndarray]], np.ndarray]
Output = Tensor | Places | Vectors
"""Of a model that answers rows at once."""


@dataclass(frozen=True)
class Engine:
    """A way to compute answers."""

    name: str = "torch"
    """torch, openvino or onnxruntime."""
    precision: str = "float32"
    """Type of products: float32, bf16, or int8 (weights by channel; activations by the range that OpenVINO saw in half of the golden rows,
    so that rows may share a block, or that ONNX Runtime finds in each block, so that rows stay alone)."""
    heights: tuple[int, ...] = ()
    """Rows that a block may have; (): the run's own rule. Of several, each was proved to give a row the same bits."""

    streams: int = 1
    """Of OpenVINO: several rows are shared among so many of its streams, each with a core of its own; a row alone has all cores."""

    def __str__(self) -> str:
        return f"{self.name} {self.precision}" + (f" × {self.streams}" if self.streams > 1 else "")


def _here(folder: RunFolder, name: str) -> dict[str, Any]:
    """What a measurement holds for: these weights on this machine with this version of the library."""
    machine, device = machine_facts(), offered()
    machine["device"] = device if device == "cpu" else torch.cuda.get_device_name(device)
    sums = folder.read_json("manifest.json")["sha256"]
    library = metadata.version(LIBRARIES[name])
    return {"weights": sums["model.safetensors"], "library": library, **{fact: machine[fact] for fact in FACTS if machine[fact] != "cpu"}}


def write(folder: RunFolder, engine: Engine, measured: Sequence[Mapping[str, Any]]) -> None:
    folder.write_json(FILE, {"engine": asdict(engine), "here": _here(folder, engine.name), "measured": list(measured)})


def read(folder: RunFolder) -> Engine | None:
    """The engine that was found for this run; None where none was, or elsewhere, or for other weights, or it is not installed any more."""
    if not (folder.path / FILE).is_file():
        return None
    try:
        told = folder.read_json(FILE)
        engine = Engine(told["engine"]["name"], told["engine"]["precision"], tuple(told["engine"]["heights"]), told["engine"]["streams"])
        sound = (
            engine.precision in PRECISIONS
            and 0 < engine.streams <= cores()
            and all(type(one) is int and 0 < one <= MOST_ROWS for one in engine.heights)
        )
        return engine if sound and installed(engine.name) and told["here"] == _here(folder, engine.name) else None
    except RECORD_FAULTS:
        return None


def faults(name: str) -> tuple[type[Exception], ...]:
    """What the engine raises for a module that it cannot compute."""
    own = vars(importlib.import_module(OWN[name])).values() if name in OWN else ()
    return (*FAULTS, *(one for one in own if isinstance(one, type) and issubclass(one, Exception)))


def said(error: Exception) -> str:
    """The last line of a library's words, which says what was wrong; those before it say where in its sources."""
    return next((line.strip(" .") for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)[:200]


class Converted(nn.Module):
    """Called like the module that it was made from, whose output looks `like` this."""

    def __init__(self, names: Sequence[str], compute: Compute, like: Output):
        super().__init__()
        self._names, self._compute, self._like = names, compute, like

    def forward(self, batch: Batch) -> Output:
        return _unpacked(torch.from_numpy(self._compute([batch[name].numpy() for name in self._names])), self._like)


class _Flat(nn.Module):
    """The module with tensors in place of the batch, as converters want it."""

    def __init__(self, model: nn.Module, names: Sequence[str]):
        super().__init__()
        self._model, self._names = model, names

    def forward(self, *values: Tensor) -> Tensor:
        return packed(self._model(dict(zip(self._names, values, strict=True))))


def packed(output: Output) -> Tensor:
    """All that a model says of its rows in one tensor: converters, and whoever compares, want one."""
    return output if isinstance(output, Tensor) else torch.cat([value for value in output if value.dim() == output[0].dim()], -1)


def _unpacked(packed_B: Tensor, like: Output) -> Output:
    """The parts again; what has no rows (a detector's places) is the same for all."""
    if isinstance(like, Tensor):
        return packed_B
    parts = iter(packed_B.split([value.shape[-1] for value in like if value.dim() == like[0].dim()], -1))
    return type(like)(*(next(parts) if value.dim() == like[0].dim() else value for value in like))


class _Watched(dict[str, Tensor]):
    """Remembers which of its tensors were read."""

    def __init__(self, batch: Batch):
        super().__init__(batch)
        self.read: dict[str, None] = {}

    def __getitem__(self, name: str) -> Tensor:
        self.read[name] = None
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read |= {name: None} if name in self else {}
        return super().get(name, default)


class Advised(nn.Module):
    """A network that an engine computes, and the council beside it (nn/council.py) in torch, where it stays exact."""

    def __init__(self, network: nn.Module, council: Council):
        super().__init__()
        self._network, self._council = network, council

    def forward(self, batch: Batch) -> Tensor:
        found: Tensor = self._council(batch, self._network(batch))
        return found


def _parted(model: nn.Module) -> tuple[nn.Module, Council | None]:
    """The network without a council that reads texts, and that council: OpenVINO counts in 32 bits, in which no letters can be hashed."""
    council = getattr(model, "council", None)
    if not isinstance(council, Council) or not council.has_sparse:
        return model, None
    network = copy.copy(model)
    network._modules = {**model._modules, "council": None}
    return network, council


def installed(name: str) -> bool:
    try:
        importlib.import_module(LIBRARIES[name])
    except ImportError:
        return False
    return name != "onnxruntime" or importlib.util.find_spec("onnx") is not None


def built(engine: Engine, model: nn.Module, examples: Sequence[Batch], execution: Execution) -> tuple[nn.Module, Execution]:
    """What to call in place of the model, and how. RunError where the module cannot be converted.

    `examples`: finished batches of real rows; the first shows what the module reads, all of them how large its activations become.
    """
    if engine.name == "torch":
        pictures = any(isinstance(module, nn.Conv2d) for module in model.modules())
        fast = Execution(execution.device, "bf16", "medium", attention=execution.attention, channels_last=pictures)
        found = execution if engine.precision == "float32" else fast
        return found.apply(model).eval(), found
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = model if execution.device == "cpu" else copy.deepcopy(model).cpu()
        model, council = _parted(model) if engine.name == "openvino" else (model, None)
        watched = _Watched(examples[0])
        like = model(watched)
        if not isinstance(like, Tensor | Places | Vectors):
            raise RunError("This model cannot be computed by {engine}: {reason}.", engine=engine, reason="the output is no tensor")
        names = list(watched.read)
        flat, values = _Flat(model, names).eval(), [tuple(example[name] for name in names) for example in examples]
        make, expected = {"openvino": _openvino, "onnxruntime": _onnxruntime}[engine.name], faults(engine.name)
        try:
            compute = make(flat, names, values, engine)
        except expected as error:
            raise RunError("This model cannot be computed by {engine}: {reason}.", engine=engine, reason=said(error)) from None
    made = Converted(names, compute, like)
    return (Advised(made, council).eval(), Execution()) if council else (made.eval(), Execution(threads=1))


def _openvino(flat: nn.Module, names: Sequence[str], values: Sequence[tuple[Tensor, ...]], engine: Engine) -> Compute:
    library: Any = importlib.import_module("openvino")
    graph, core = library.convert_model(flat, example_input=values[0]), library.Core()
    if len(graph.inputs) != len(names):
        raise ValueError("the graph has lost inputs")
    if engine.precision == "int8":
        _in_bytes(library, graph, values)
    hints = {"float32": "f32", "bf16": "bf16", "int8": "bf16" if bf16_on_cpu() else "f32"}  # int8: of what is no product

    def requests(streams: int) -> list[Any]:
        settings = {"INFERENCE_PRECISION_HINT": hints[engine.precision], "INFERENCE_NUM_THREADS": cores(), "NUM_STREAMS": streams}
        compiled = core.compile_model(graph, "CPU", settings)
        return [compiled.create_infer_request() for _ in range(streams)]

    (alone,) = requests(1)
    several = requests(engine.streams) if engine.streams > 1 else []

    def compute(arrays: Sequence[np.ndarray]) -> np.ndarray:
        if not several or len(arrays[0]) == 1:
            return np.array(alone.infer(list(arrays), share_inputs=True)[0])
        parts = [part for part in zip(*(np.array_split(array, len(several)) for array in arrays), strict=True) if len(part[0])]
        for request, part in zip(several, parts, strict=False):
            request.start_async(list(part), share_inputs=True)
        for request, _ in zip(several, parts, strict=False):
            request.wait()
        return np.concatenate([request.get_output_tensor(0).data for request, _ in zip(several, parts, strict=False)])

    return compute


def _in_bytes(library: Any, graph: Any, values: Sequence[tuple[Tensor, ...]]) -> None:
    """Round what the graph multiplies by its weights to 256 steps between the least and the largest value that these rows have there, and
    the weights to 255 by channel (Jacob et al. 2018, arXiv:1712.05877). OpenVINO's compiler makes products of bytes of it.

    Only where `SEEN` vectors or more tell the range: a layer over single rows stays as it is.
    """
    made: Any = importlib.import_module("openvino.opset13")
    copy, watched = graph.clone(), {}
    for op in _products(copy):
        source = op.input_value(0)
        axes = np.arange(source.get_partial_shape().rank.get_length())
        watched[_label(source)] = (made.reduce_min(source, axes, False), made.reduce_max(source, axes, False), made.shape_of(source))
    if not watched:
        raise ValueError("it multiplies by no weights")
    outputs = [one for three in watched.values() for one in three]
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": cores()}
    request = library.Core().compile_model(library.Model(outputs, copy.get_parameters()), "CPU", settings).create_infer_request()
    least, most, count = np.zeros((3, len(watched)))
    for row in (part for block in values for part in zip(*(value.split(1) for value in block), strict=True)):
        found = list(request.infer([value.numpy() for value in row]).values())
        least, most = np.minimum(least, np.array(found[::3], float)), np.maximum(most, np.array(found[1::3], float))
        count += [np.prod(shape[:-1]) for shape in found[2::3]]
    ranges = {label: pair for label, *pair, seen in zip(watched, least, most, count, strict=True) if seen >= SEEN and pair[0] < pair[1]}
    if not ranges:
        raise ValueError("its golden rows are too short to tell the range of activations")
    rounded: dict[Any, Any] = {}
    for op in _products(graph):
        source, weight = op.input_value(0), op.input_value(1)
        label = _label(source)
        if label in ranges:
            if label not in rounded:
                low, high = (np.float32(one) for one in ranges[label])
                rounded[label] = made.fake_quantize(source, low, high, low, high, 256).output(0)
            each = np.abs(weight.get_node().data).max(1 if op.get_attributes()["transpose_b"] else 0, keepdims=True).clip(1e-12)
            op.input(0).replace_source_output(rounded[label])
            op.input(1).replace_source_output(made.fake_quantize(weight, -each, each, -each, each, 255).output(0))


def _products(graph: Any) -> list[Any]:
    """Those of a matrix of weights, in the graph's order."""
    found = [op for op in graph.get_ordered_ops() if op.get_type_name() == "MatMul"]
    weights = [op.input_value(1).get_node() for op in found]
    return [op for op, one in zip(found, weights, strict=True) if one.get_type_name() == "Constant" and one.data.ndim == 2]


def _label(output: Any) -> tuple[str, int]:
    return output.get_node().get_friendly_name(), output.get_index()


def _onnxruntime(flat: nn.Module, names: Sequence[str], values: Sequence[tuple[Tensor, ...]], engine: Engine) -> Compute:
    library: Any = importlib.import_module("onnxruntime")
    inputs = [f"i{number}" for number in range(len(names))]
    lengths = {name for name in names if name.endswith(".length")}
    axes = {key: {0: "B"} | ({1: f"T{key}"} if f"{name}.length" in lengths else {}) for key, name in zip(inputs, names, strict=True)}
    file: Any = io.BytesIO()
    axes |= {"o": {0: "B"}}
    torch._C._jit_set_onnx_log_output_stream("stderr")
    with muted():  # it prints the whole graph of what it cannot export
        torch.onnx.export(flat, values[0], file, input_names=inputs, output_names=["o"], dynamic_axes=axes, dynamo=False)
    options = library.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = cores(), 4
    model = _quantized(file.getvalue()) if engine.precision == "int8" else file.getvalue()
    session = library.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    kept = [one.name for one in session.get_inputs()]

    def compute(arrays: Sequence[np.ndarray]) -> np.ndarray:
        given = dict(zip(inputs, arrays, strict=True))
        found: np.ndarray = session.run(None, {name: given[name] for name in kept})[0]
        return found

    return compute


def _quantized(model: bytes) -> bytes:
    """The graph with its products in int8; ONNX Runtime's tool writes to a file."""
    library: Any = importlib.import_module("onnxruntime.quantization")
    graph = importlib.import_module("onnx").load_from_string(model)
    with tempfile.TemporaryDirectory() as folder:
        before, logging.root.manager.disable = logging.root.manager.disable, logging.WARNING  # it recommends another tool, each time
        try:
            library.quantize_dynamic(graph, f"{folder}/model", per_channel=True, op_types_to_quantize=["MatMul", "Gemm"])
        finally:
            logging.root.manager.disable = before
        return Path(folder, "model").read_bytes()


def resized(batch: Batch, positions: int) -> Batch:
    """The batch with its ragged inputs cut or padded to so many positions."""
    found = dict(batch)
    for name, value in batch.items():
        if f"{name}.length" in batch and value.dim() > 1:
            kept = value[:, :positions]
            blank = kept.new_zeros(kept.shape[0], positions - kept.shape[1], *kept.shape[2:])
            found[name], found[f"{name}.length"] = torch.cat([kept, blank], 1), batch[f"{name}.length"].clamp(max=positions)
    return found


def rows(batch: Batch, count: int) -> Batch:
    """The batch with `count` rows, its own over and over."""
    index = torch.arange(count) % len(next(iter(batch.values())))
    return {name: value[index] for name, value in batch.items()}


def independent(model: nn.Module, judged: nn.Module, batch: Batch, heights: Sequence[int]) -> tuple[int, ...]:
    """The most of the heights among which every row has the same bits, whichever it is computed in: often all but 1, for a product with a
    single row takes another path through a library than one with several. A row alone is then computed in a block of the least of them.
    A height of which a row lies `ASTRAY` from what the module as it was `judged` says is out; the first stays where all are."""
    many = rows(batch, max(heights))
    found = {height: torch.cat([packed(model(at_hand(model, block))) for block in _blocks(many, height)]).cpu() for height in heights}
    expected = packed(judged(at_hand(judged, many))).cpu()
    near = [one for one in heights if bool(((found[one] - expected).abs() <= ASTRAY * expected.abs().clamp(min=1)).all())]
    alike = [tuple(one for one in near if one >= least and torch.equal(found[one], found[least])) for least in near]
    return max(alike, key=len, default=tuple(heights[:1]))


def _blocks(batch: Batch, height: int) -> Iterator[Batch]:
    parts = {name: value.split(height) for name, value in batch.items()}
    return (dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True))


def distance(found: Any, golden: Any) -> float:
    """How far answers lie from the golden ones: the largest difference of numbers, relative to max(1, |number|), infinite for words.

    What is found and was not told then, by an older version, is no difference.
    """
    if isinstance(golden, Mapping) and isinstance(found, Mapping) and found.keys() >= golden.keys():
        return max((distance(found[name], golden[name]) for name in golden), default=0.0)
    if isinstance(golden, list) and isinstance(found, list) and len(found) == len(golden):
        return max((distance(one, other) for one, other in zip(found, golden, strict=True)), default=0.0)
    if isinstance(golden, float | int) and isinstance(found, float | int) and not isinstance(golden, bool):
        return abs(found - golden) / max(1.0, abs(golden))
    return 0.0 if found == golden else float("inf")
