"""What padding costs chats, and what packing could gain: python bench/chat_padding.py [--rows 200 1000 5000] [--batch 8 16] [--seconds 20]

Conversations are made of the clothing reviews that ship with Duomo (a review asked, its title and stars answered; some 40 to 230 tokens,
drawn with replacement beyond as many as there are). Prints for each number of rows and batch size: the share of positions that is padding
as training batches them (rows of like length together) and as a plain shuffle would; then tokens a second of a whole training step
(forward, backward, AdamW; float32) of batches as they are and of the same number of tokens packed without any padding into rows as long
as the longest conversation, documents apart. The packed rate is the most that packing could bring. Rates are medians of alternating
steps; --seconds 0 leaves them out: padding alone bounds what packing could gain.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from common import command_line
from duomo.core.find import make_model, make_task
from duomo.core.recipe import AugmentConfig, ModelConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch
from duomo.data import sources
from duomo.data.loader import TableStream
from duomo.samples import write


def conversations(rows: int) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        table = sources.read(write("reviews", Path(folder)))
    cells = table.data.to_pylist()
    draws = np.random.default_rng(0).permutation(max(rows, len(cells)))[:rows] % len(cells)
    text = max(table.names, key=lambda name: sum(len(str(row[name])) for row in cells))
    answers = [", ".join(str(cell) for name, cell in row.items() if name != text) for row in cells]
    return sources.read([{"instruction": cells[row][text][: 80 + 7 * (row % 80)], "output": answers[row]} for row in draws])


def padding(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    whole = sum(len(rows) * lengths[rows].max() for rows in batches)
    return 1 - sum(lengths[rows].sum() for rows in batches) / whole


def packed(batch: Batch, longest: int) -> Batch:
    """The same tokens in rows of `longest`, filled to the last place; which conversation each is of."""
    inside = torch.arange(batch["tokens"].shape[1]) < batch["tokens.length"].unsqueeze(1)
    number = torch.arange(len(inside)).unsqueeze(1).expand_as(inside)[inside]
    rows = len(number) // longest or 1
    size = min(longest, len(number))

    def cut(values: torch.Tensor) -> torch.Tensor:
        return values[inside][: rows * size].view(rows, size)

    found = {name: cut(batch[name]) for name in ("tokens", "tokens.wanted", "target")}
    return {**found, "tokens.length": torch.full((rows,), size), "tokens.document": number[: rows * size].view(rows, size)}


def rates(table: Table, batch_size: int, seconds: float) -> tuple[float, float]:
    task = make_task("chat", {})
    task.fit(table)
    model = make_model(ModelConfig("gpt", "small"), task)
    stream = TableStream(task.encode(table, target=True), task.inputs, batch_size, 0, AugmentConfig())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    longest = int(np.asarray(stream._lengths).max())
    taken: dict[str, list[float]] = {"as it is": [], "packed": []}
    started, step = time.perf_counter(), 0
    while time.perf_counter() - started < seconds or step < 4:
        batch = stream.batch(step)
        for name, one in (("as it is", batch), ("packed", packed(batch, longest))):
            begun = time.perf_counter()
            total, count = task.loss(model(one), one)
            (total / count).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step:
                taken[name].append(int(one["tokens.length"].sum()) / (time.perf_counter() - begun))
        step += 1
    return statistics.median(taken["as it is"]), statistics.median(taken["packed"])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[200, 1000, 5000])
    parser.add_argument("--batch", type=int, nargs="*", default=[8, 16])
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    print("| rows | batch | tokens (5, 50, 95 %) | padding | shuffled | tokens/s | packed | gain |\n|---|---|---|---|---|---|---|---|")
    for rows in arguments.rows:
        table = conversations(rows)
        task = make_task("chat", {})
        task.fit(table)
        examples = task.encode(table, target=True)
        for size in arguments.batch:
            stream = TableStream(examples, task.inputs, size, 0, AugmentConfig())
            lengths = np.asarray(stream._lengths)
            share = padding(lengths, [stream.rows(step) for step in range(stream.steps_per_epoch)])
            plain = padding(lengths, np.array_split(np.random.default_rng(1).permutation(rows), stream.steps_per_epoch))
            now, then = rates(table, size, arguments.seconds) if arguments.seconds else (float("nan"),) * 2
            around = " ".join(f"{value:.0f}" for value in np.percentile(lengths, [5, 50, 95]))
            timed = f"{now:,.0f} | {then:,.0f} | {then / now - 1:+.0%}" if arguments.seconds else "- | - | -"
            print(f"| {rows:,} | {size} | {around} | {share:.1%} | {plain:.1%} | {timed} |", flush=True)


if __name__ == "__main__":
    main()
