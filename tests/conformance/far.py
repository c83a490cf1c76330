"""A device that is not there: tensors that say they are on `cuda`, are computed on the CPU, and refuse to be mixed with those of the CPU.

What runs on it takes the way that it takes on a GPU: batches are moved, autocast is CUDA's, an answer is fetched before NumPy sees it.
It proves nothing about kernels, streams, memory or speed. torch must have been started with far.cpp preloaded (test_devices.py).

    python far.py models|tasks|whole      prints {"what was tried": "" or what went wrong} as JSON
"""

import ctypes
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

sys.path.insert(0, str(Path(__file__).parents[2]))

DEVICE = torch.device("cuda", 0)
ATEN = torch.ops.aten
MOVES = {ATEN.copy_.default, ATEN._to_copy.default, ATEN.set_.source_Tensor}
INDEXED = {ATEN.index.Tensor, ATEN._unsafe_index.Tensor, ATEN.index_put.default, ATEN.index_put_.default, ATEN._index_put_impl_.default}
"""Operations whose indices may lie on the CPU."""


class Far(torch.Tensor):
    """A tensor of the device; `near` holds its numbers."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> "Far":
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined,no-any-return]
            cls, near.size(), strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype, device=DEVICE
        )

    def __init__(self, near: torch.Tensor):
        self.near = near

    def tolist(self) -> Any:
        return self.near.tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        if force:
            return self.near.detach().numpy()
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return self.numpy()

    def __getitem__(self, key: Any) -> torch.Tensor:
        return torch.Tensor.__getitem__(self, _listed(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        torch.Tensor.__setitem__(self, _listed(key), value)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


class Board(TorchDispatchMode):
    """While it is entered, what is made for `cuda`, or moved there, is far."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


def _listed(key: Any) -> Any:
    """Lists and arrays among indices as tensors of the CPU: torch takes them for any device."""
    if isinstance(key, tuple):
        return tuple(_listed(one) for one in key)
    return torch.tensor(key) if isinstance(key, (list, np.ndarray)) else key


def _near(value: Any) -> Any:
    return value.near if isinstance(value, Far) else value


def _far(value: Any) -> Any:
    return Far(value) if isinstance(value, torch.Tensor) and not isinstance(value, Far) else value


def _dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    there, here = [one for one in tensors if isinstance(one, Far)], [one for one in tensors if not isinstance(one, Far)]
    if func is ATEN.is_pinned.default or "_use_" in str(func):  # no pinned memory, no cuDNN
        return False
    if there and any(one.dim() for one in _mixed(func, args, here)):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({func})")
    if func is ATEN._pin_memory.default:
        return args[0]
    wanted = kwargs.get("device")
    kwargs = (
        kwargs | ({} if wanted is None else {"device": torch.device("cpu")}) | ({"pin_memory": False} if "pin_memory" in kwargs else {})
    )
    func = _rms_norm_backward if func is ATEN._fused_rms_norm_backward.default else func
    found = func(*tree_map(_near, args), **tree_map(_near, kwargs))
    if wanted is not None:
        return tree_map(_far, found) if torch.device(wanted).type == "cuda" else found
    if not there or func is ATEN.copy_.default:
        return args[0] if there else found
    same = {id(one.near): one for one in there}  # what was changed in place stays itself
    return tree_map(lambda value: same[id(value)] if id(value) in same else _far(value), found)


def _rms_norm_backward(grad: torch.Tensor, x: torch.Tensor, shape: Any, rstd: torch.Tensor, weight: Any, _: Any) -> Any:
    """A build for CUDA has an operation of its own for it, on CUDA alone."""
    last = tuple(range(x.dim() - len(shape), x.dim()))
    unit, scaled = x.float() * rstd, grad.float() * (1.0 if weight is None else weight.float())
    inner = rstd * (scaled - unit * (scaled * unit).mean(last, keepdim=True))
    outer = None if weight is None else (grad.float() * unit).sum(tuple(range(last[0]))).to(weight.dtype)
    return inner.to(x.dtype), outer


def _mixed(func: Any, args: Any, here: list[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors of the CPU that may not stand beside far ones here."""
    if func in MOVES:
        return []
    if func in INDEXED:
        return [one for one in (args[0], *args[2:3]) if isinstance(one, torch.Tensor) and not isinstance(one, Far)]
    return [one for one in args[:2] if not isinstance(one, Far)] if "ctc_loss" in str(func) else here  # lengths may lie on the CPU


def lay() -> None:
    """Have torch say that it has one such device, in every thread."""
    ctypes.CDLL(os.environ["LD_PRELOAD"]).take()
    for name, told in {
        "_lazy_init": None, "is_available": True, "device_count": 1, "current_device": 0, "synchronize": None, "manual_seed_all": None,
        "max_memory_allocated": 10**8, "get_device_name": "far", "is_bf16_supported": True,
    }.items():  # fmt: skip
        setattr(torch.cuda, name, lambda *_, _told=told, **__: _told)
    torch.backends.cudnn.is_acceptable = lambda _: False
    torch.inference_mode = torch.no_grad  # type: ignore[misc,assignment]  # wrapped tensors know no version beside it
    torch.tensor, torch.as_tensor = _made(torch.tensor), _made(torch.as_tensor)
    torch.Tensor.new_tensor = lambda self, data, dtype=None, device=None, **rest: (  # type: ignore[method-assign]
        torch.tensor(data, dtype=dtype or self.dtype, device=device or self.device, **rest)
    )
    for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        setattr(torch._VF, name, _recurrent(getattr(torch._VF, name)))
    load, swaps = nn.Module._load_from_state_dict, torch.__future__.set_swap_module_params_on_conversion

    def loaded(*args: Any, **rest: Any) -> None:
        swaps(False)
        load(*args, **rest)
        swaps(True)

    swaps(True)  # a weight that is moved becomes another kind of tensor, and stays the same object
    nn.Module._load_from_state_dict = loaded  # type: ignore[method-assign]
    run = threading.Thread.run

    def within(self: threading.Thread) -> None:
        with Board():
            run(self)

    threading.Thread.run = within  # type: ignore[method-assign]
    Board().__enter__()


def _made(make: Callable[..., torch.Tensor]) -> Any:
    """torch.tensor, which fills its memory before it is dispatched."""

    def made(data: Any, *, device: Any = None, **rest: Any) -> torch.Tensor:
        if isinstance(data, Far):
            return data
        return make(data, **rest) if device is None else make(data, **rest).to(device)

    return made


def _recurrent(near: Callable[..., Any]) -> Callable[..., Any]:
    """A recurrent layer, which on CUDA is one operation of cuDNN: refuses mixtures, then is computed on the CPU in float32."""

    def there(*args: Any) -> Any:
        tensors = [one for one in tree_leaves(args) if isinstance(one, torch.Tensor)]
        if not any(isinstance(one, Far) for one in tensors):
            return near(*args)
        if not all(isinstance(one, Far) or one.dtype == torch.int64 for one in tensors):  # lengths stay on the CPU
            raise RuntimeError("Input and parameter tensors are not at the same device")
        moved = tree_map(lambda value: value.cpu().float() if isinstance(value, Far) and value.is_floating_point() else _near(value), args)
        return tuple(value.to(DEVICE, tensors[0].dtype) for value in near(*moved))

    return there


# -- what is tried


def models() -> dict[str, str]:
    """Every model on every form: a step of training in bf16."""
    from tests.conformance import conftest, test_models

    from duomo.core.find import model_module, model_names

    def step(name: str, form: str) -> None:
        task, batch = test_models.fitted(conftest.FORMS, form)
        _learn(task, test_models.build(name, task), batch)

    found = [(name, form) for name in model_names() if name not in test_models.PER_STEP for form in model_module(name).FORMS]
    return {f"{name}-{form}": _tried(lambda: step(name, form)) for name, form in found}


def tasks() -> dict[str, str]:
    """Every task: answers and judgements, which are those of the CPU, then a step of training in bf16."""
    from tests.conformance import conftest, test_tasks

    from duomo.core.device import Execution
    from duomo.data.predictor import Predictor
    from duomo.exchange.engines import distance

    def way(toy: Any) -> None:
        task, table = test_tasks.fitted(toy)
        model = test_tasks.model_for(task)
        table = table.take(np.arange(min(4, len(table))))
        near = Predictor(task, model.eval(), Execution())
        answers, facts = near.answers(table), near.facts(table)
        far = Predictor(task, Execution("cuda").apply(model).eval(), Execution("cuda"))
        _like(distance(far.answers(table), answers))
        judged = far.facts(table)
        _like(max(distance(_plain(judged[name]), _plain(facts[name])) for name in facts))
        _learn(task, model, test_tasks.batch_of(task, table))

    return {str(toy): _tried(lambda: way(toy)) for toy in conftest.TOYS}


def whole() -> dict[str, str]:
    """From data to a run that is opened again, and by another engine; without the device the run answers the same."""
    import tempfile

    from tests.conformance import conftest

    import duomo
    from duomo.exchange.engines import Engine, distance

    def way(task: str, table: Any, target: str) -> None:
        settings = {"data": {"task": task, "kind": dict(table.kinds)}, "train": {"steps": 2, "device": "cuda", "evaluate_steps": 1}}
        with tempfile.TemporaryDirectory() as folder:
            run = duomo.train(table.data.to_pandas(), settings, target=target, out=Path(folder) / "run")
            ask, answers = run.golden()
            far = duomo.load(run.path)
            os.environ["DUOMO_DEVICE"] = "cpu"
            near = duomo.load(run.path)
            del os.environ["DUOMO_DEVICE"]
            if (run.execution.device, far.execution.device, near.execution.device) != ("cuda", "cuda", "cpu"):
                raise ValueError("answered elsewhere")
            _like(max(distance(one.answers(ask), answers) for one in (run, far, near)))
            if not run.task.writes:
                far.predicting(Engine("torch", "bf16", (1, 4))).answers(ask)

    toys = {"classify": (conftest.mixed(), "target"), "chat": (conftest.talks(), "response")}
    return {name: _tried(lambda: way(name, *toy)) for name, toy in toys.items()}


def _plain(value: Any) -> Any:
    """Arrays, also within arrays, as lists."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _like(distance: float) -> None:
    if not distance < 1e-3:
        raise ValueError(f"answers lie {distance} from those of the CPU")


def _learn(task: Any, model: nn.Module, batch: Any) -> None:
    """One step's gradients as a CUDA device would compute them; the weights stay as they are."""
    from duomo.core.device import Execution
    from duomo.train.prefetch import in_float32, place

    way = Execution("cuda", "bf16", "medium", channels_last=True)
    learner, far = way.apply(model).train(), place(batch, way)
    with way.autocast():
        output = learner(far)
    total, count = task.loss(in_float32(output), far)
    (total / count).backward()
    near = [name for name, value in (*learner.named_parameters(), *learner.named_buffers()) if value.device != DEVICE]
    if near:
        raise ValueError(f"left on the CPU: {near}")


def _tried(what: Callable[[], None]) -> str:
    try:
        what()
    except (RuntimeError, TypeError, ValueError, NotImplementedError, LookupError) as error:
        return f"{type(error).__name__}: {error}"[:500]
    return ""


def main() -> None:
    lay()
    if "--control" in sys.argv:  # batches stay where they are: nothing may pass
        from duomo.core.device import Execution

        Execution.laid = lambda self, batch: {name: _near(value) for name, value in batch.items()}  # type: ignore[method-assign]
    sys.stdout.write(json.dumps({"models": models, "tasks": tasks, "whole": whole}[sys.argv[1]]()) + "\n")


if __name__ == "__main__":
    main()
