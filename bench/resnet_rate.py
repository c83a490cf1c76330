"""Training rate of a small ResNet on pictures like Fashion-MNIST's beside Keras and plain PyTorch: python bench/resnet_rate.py [--turns 7]

28×28 grey pictures (noise: the rate does not see the difference), ten classes, batch 32, the same architecture and number of weights on
all three sides, which take turns; medians. Keras 3 + TensorFlow `fit` as commonly written, in .bench/keras (see against_keras.py). Plain
PyTorch: eager, float32, NCHW, all cores, Adam, pictures normalised beforehand and gathered by index (no DataLoader, which is slower).
Duomo: `duomo train`'s own loop as its probe chose to run it, its checks, log and clipping included. About ten seconds a turn.
"""

import statistics
import time

import torch
from torch.nn import functional as F

from against_keras import BATCH, CLASSES, INPUTS, STEPS, Peer, fastest, our_rate, ours
from common import command_line
from duomo.core.device import Execution, cores

NET = "resnet"
BARS = {"Keras": 1.5, "plain PyTorch": 1.2}
WARM = 10
"""Steps before the clock starts."""


def plain_rate(steps: int, threads: int) -> float:
    """Rows a second of a loop as it is commonly written."""
    Execution(threads=threads).apply(torch.nn.Module())  # float32 products, its own threads: what our own turn may have changed
    x, y = torch.randn(4096, *INPUTS[NET].shape), torch.randint(0, CLASSES[NET], (4096,))
    model = ours(NET).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    start = 0.0
    order = torch.randperm(len(x))
    for step in range(steps + WARM):
        if step == WARM:
            start = time.perf_counter()
        place = step * BATCH % len(x)
        rows = order[place : place + BATCH]
        loss = F.cross_entropy(model({"x": x[rows]}), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2 * STEPS[NET])
    parser.add_argument("--threads", type=int, default=cores(), help="of plain PyTorch")
    arguments = parser.parse_args()
    peer = Peer()
    peer.ask(net=NET, steps=2)  # loaded and warm before anything of ours is timed: it must not take a core from the probe
    execution = fastest(NET)
    rates: dict[str, list[float]] = {"Keras": [], "plain PyTorch": [], "Duomo": []}
    parameters = 0
    for turn in range(1, arguments.turns + 1):
        answer = peer.ask(net=NET, steps=arguments.steps)
        parameters = answer["parameters"]
        for name, rate in (("Keras", answer["rate"]), ("plain PyTorch", plain_rate(arguments.steps, arguments.threads)),
                           ("Duomo", our_rate(NET, arguments.steps, execution))):  # fmt: skip
            rates[name].append(rate)
        print(f"turn {turn}: " + ", ".join(f"{name} {found[-1]:,.0f}" for name, found in rates.items()) + " rows/s", flush=True)
    peer.close()
    count = sum(value.numel() for value in ours(NET).parameters())
    assert count == parameters, f"{count} weights here, {parameters} there"
    print(f"\n{count:,} weights; Duomo runs as {execution}\n\n| beside | its rows/s | Duomo's | ratio | bar |\n|---|---|---|---|---|")
    mine = statistics.median(rates["Duomo"])
    for name, bar in BARS.items():
        theirs = statistics.median(rates[name])
        print(f"| {name} | {theirs:,.0f} | {mine:,.0f} | {mine / theirs:.2f} | {bar} {'met' if mine / theirs >= bar else 'MISSED'} |")


if __name__ == "__main__":
    main()
