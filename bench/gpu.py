"""What a GPU reaches through the training loop, in bf16: GPT-2 of 124 M weights at a context of 1,024, and ResNet-50 at 224 pixels.

    python bench/gpu.py [gpt2] [resnet50] [--steps 60] [--rows 16] [--pictures 256] [--tiny]

GPT-2: tokens a second, and the share of the bf16 product's rate that its model's operations come to (bar: 0.55 on an H100, compiled, with
fused attention); beside it a plain GPT with torch.compile and fused AdamW (pretraining_speed.py). ResNet-50: pictures a second, channels
last; beside it a plain loop over pictures that lie on the GPU, and two limits: operations at the rate of a large product, and bytes at the
rate of a large copy. Rates of the product and of the copy are measured in the same call. --tiny: small nets and few steps, on a CPU too, to
see that the script runs.
"""

import dataclasses
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from against_keras import Drawn, Noise
from common import command_line
from duomo.core.contract import Field, Head
from duomo.core.device import Execution, machine_facts
from duomo.core.flops import Counter
from duomo.core.recipe import TrainConfig
from duomo.core.tensors import Examples
from duomo.models import resnet
from pretraining_speed import Shape, bf16_peak, loop_rate, own_rate, peer_rate

BAR = 0.55
GPT2 = Shape(layers=12, width=768, heads=12, context=1024, rows=16, vocabulary=50304)
TINY = Shape(layers=2, width=64, heads=2, context=64, rows=4, vocabulary=97)


def bandwidth(device: str, size: int) -> float:
    """Bytes a second of a large copy, reading and writing counted."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target, times = torch.empty_like(source), []
    for _ in range(8):
        start = time.perf_counter()
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * size / min(times)


def ways(device: str) -> list[Execution]:
    """bf16 as the run finds it, and compiled."""
    plain = Execution(device=device, precision="bf16", matmul="medium", attention="sdpa")
    return [plain, dataclasses.replace(plain, compile=True)]


def language(device: str, shape: Shape, steps: int) -> None:
    stream = torch.randint(1, shape.vocabulary, (max(50_000, 4 * shape.rows * shape.context),))
    peer = peer_rate(stream, shape, steps, 0.0, True, device)
    print(f"plain GPT, bf16, compiled    {peer:10,.0f} tokens/s", flush=True)
    rates = {}
    for way in ways(device):
        rates[str(way)] = own_rate(stream, shape, steps, 0.0, way)
        print(f"duomo, {way}: {rates[str(way)]:,.0f} tokens/s", flush=True)
    own, peak = max(rates.values()), bf16_peak(device, 8192 if device == "cuda" else 1024)
    share = own * shape.flops_per_token() / peak
    print(
        f"bf16 product {peak / 1e12:.1f} TFLOP/s; model's operations {share:.1%} of it: bar {BAR:.0%} {'met' if share >= BAR else 'MISSED'}"
    )
    print(f"{own / peer:.2f} × the plain GPT", flush=True)


def traffic(model: nn.Module, x_BCHW: Tensor) -> float:
    """Bytes that a picture moves in bf16: each layer reads its input and writes its output once forward, twice on the way back."""
    moved = [0]

    def count(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        moved[0] += given[0].numel() + output.numel()

    leaves = [module for module in model.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(count) for module in leaves]
    with torch.no_grad():
        model({"x": x_BCHW})
    for hook in hooks:
        hook.remove()
    return 2 * 3 * moved[0] / len(x_BCHW)


def plain_rate(model: nn.Module, field: Field, rows: int, steps: int, device: str) -> float:
    """Pictures a second of a plain loop: float pictures already on the device, bf16 autocast, compiled, channels last, fused AdamW."""
    model = model.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    run = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=device == "cuda" or None)
    x = torch.randn(rows, *field.shape, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (rows,), device=device)
    start = 0.0
    for step in range(steps + 3):
        if step == 3:
            start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            loss = F.cross_entropy(run({"x": x}), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
    return steps * rows / (time.perf_counter() - start)


class Pictures(Noise):
    """Noise of another size and number of classes."""

    def __init__(self, field: Field, classes: int):
        super().__init__("resnet")
        self.field, self.classes = field, classes

    @property
    def inputs(self) -> dict[str, Field]:
        return {"x": self.field}

    @property
    def head(self) -> Head:
        return Head(self.classes)


def pictures(device: str, config: resnet.Config, side: int, rows: int, steps: int) -> None:
    task = Pictures(Field("pixels", (3, side, side), facts={"mean": [0.5] * 3, "std": [0.25] * 3}), 1000)
    made = [resnet.Model(config, task.inputs, task.head) for _ in range(3)]
    peer = plain_rate(made[0], task.field, rows, steps, device)
    print(f"plain loop, bf16, compiled   {peer:10,.0f} pictures/s", flush=True)
    values = torch.randint(0, 256, (4 * rows, 3, side, side), dtype=torch.uint8)
    examples = Examples({"x": Drawn(values, 0), "target": Drawn(torch.randint(0, 1000, (len(values),)), 0)})
    settings = TrainConfig(steps=steps, batch_size=rows, learning_rate=1e-3, evaluate_steps=10**9, checkpoint_steps=10**9)
    rates = {}
    for way, model in zip(ways(device), made[1:], strict=True):
        way = dataclasses.replace(way, channels_last=True, attention="")
        rates[str(way)] = loop_rate(task, model, examples, settings, way)
        print(f"duomo, {way}: {rates[str(way)]:,.0f} pictures/s", flush=True)
    fresh, one = resnet.Model(config, task.inputs, task.head).eval(), torch.zeros(1, 3, side, side)
    with torch.inference_mode(), Counter() as counter:
        fresh({"x": one})
    products = bf16_peak(device, 8192 if device == "cuda" else 1024) / (3 * counter.total)
    moved = bandwidth(device, 2**30 if device == "cuda" else 2**26) / traffic(fresh, one)
    own = max(rates.values())
    print(
        f"{3 * counter.total / 1e9:.1f} GFLOP a picture: products allow {products:,.0f} pictures/s, of which this is {own / products:.1%}"
    )
    print(f"memory allows {moved:,.0f} pictures/s where no two layers are fused, of which this is {own / moved:.1%}")
    print(f"{own / peer:.2f} × the plain loop", flush=True)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("what", nargs="*", default=["gpt2", "resnet50"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rows", type=int, default=GPT2.rows, help="texts of a step")
    parser.add_argument("--pictures", type=int, default=256, help="pictures of a step")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.tiny:
        raise SystemExit("This comparison needs a GPU that torch can use; torch sees none. --tiny shows on a CPU that it runs.")
    name = torch.cuda.get_device_name() if device == "cuda" else machine_facts()["cpu"]
    print(f"{name}, torch {torch.__version__}", flush=True)
    torch.manual_seed(0)
    if "gpt2" in arguments.what:
        shape = TINY if arguments.tiny else dataclasses.replace(GPT2, rows=arguments.rows)
        language(device, shape, 5 if arguments.tiny else arguments.steps)
    if "resnet50" in arguments.what:
        size = ("tiny", 32, 8, 3) if arguments.tiny else ("50", 224, arguments.pictures, arguments.steps)
        pictures(device, dataclasses.replace(resnet.SIZES[size[0]], advice=False), *size[1:])


if __name__ == "__main__":
    main()
