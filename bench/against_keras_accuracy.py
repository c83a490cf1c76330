"""Accuracy on real data of the nets whose rate `against_keras.py` compares, beside Keras 3 + TensorFlow, on the same arrays.

    python bench/against_keras_accuracy.py [--data .bench/data] [--seeds 3] [--nets series,text,encoder]
series    smartwatch windows of 100×6 by exercise; subjects s08-s10 are the test (`fetch_data.py watch`)
text      clothing reviews: five stars or fewer, the last 100 words of each, 999 words and one for all others (`fetch_data.py reviews`)
encoder   the same reviews
Both sides train as many epochs with batches of 32 and Adam at 1e-3, as commonly written: Keras at a constant rate, Duomo with its own
schedule and in the execution that its probe takes (bf16 where the chip has it). Nothing is chosen by the test.
"""

import csv
import json
import re
import statistics
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import against_keras as rates
from common import command_line
from duomo.core.contract import Field
from duomo.core.device import candidates
from duomo.core.recipe import AugmentConfig, TrainConfig
from duomo.core.reporter import Silent
from duomo.core.tensors import Examples
from duomo.data.loader import TableStream
from duomo.train import loop, probe
from duomo.train.job import Job

EPOCHS = {"series": 20, "text": 4, "encoder": 3}
ROWS, TEST_ROWS = 4000, 2000
WORDS, LONGEST = 1000, 100
Data = dict[str, np.ndarray]


def watch(folder: Path) -> Data:
    """x (N, 100, 6) standardised by the training windows, y (N,)."""
    found: Data = {}
    names: dict[str, int] = {}
    for part, end in (("train", ""), ("test", "_test")):
        rows = [json.loads(line) for line in (folder / "watch" / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()]
        found[f"x{end}"] = np.array([row["signal"] for row in rows], np.float32)
        found[f"y{end}"] = np.array([names.setdefault(row["exercise"], len(names)) for row in rows])
    mean, spread = found["x"].mean((0, 1)), found["x"].std((0, 1))
    return found | {name: (found[name] - mean) / spread for name in ("x", "x_test")}


def reviews(folder: Path) -> Data:
    """x (N, 100) word numbers, zeros in front of short texts, y (N,) 1 for five stars."""
    found: Data = {}
    vocabulary: dict[str, int] = {}
    for part, end, rows in (("train", "", ROWS), ("test", "_test", TEST_ROWS)):
        with (folder / "reviews" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            read = [row for row in csv.DictReader(file) if row["text"].strip()][:rows]
        words = [re.findall(r"[a-z']+", row["text"].lower())[-LONGEST:] for row in read]
        if not vocabulary:
            common = Counter(word for text in words for word in text).most_common(WORDS - 2)
            vocabulary = {word: number for number, (word, _) in enumerate(common, start=2)}
        x = np.zeros((len(words), LONGEST), np.int64)
        for row, text in enumerate(words):
            x[row, LONGEST - len(text) :] = [vocabulary.get(word, 1) for word in text]
        found[f"x{end}"], found[f"y{end}"] = x, np.array([row["rating"].startswith("5") for row in read], np.int64)
    return found


def ours(name: str, data: Data, seed: int) -> float:
    """Accuracy on the test after the whole training, last weights."""
    task = rates.Noise(name)
    x = torch.from_numpy(data["x"])
    examples = Examples({"x": rates.Drawn(x, x.shape[1]), "target": rates.Drawn(torch.from_numpy(data["y"]), 0)})
    config = TrainConfig(epochs=EPOCHS[name], batch_size=rates.BATCH, learning_rate=1e-3, weight_decay=0.01, seed=seed,
                         evaluate_steps=10**9, checkpoint_steps=10**9)  # fmt: skip
    stream = TableStream(examples, task.inputs, rates.BATCH, seed, AugmentConfig())
    torch.manual_seed(seed)
    model = rates.ours(name)
    ways = candidates(model, exact=False, long_run=False)
    execution = probe.choose(probe.Trial(task, model, stream, config), ways, Silent(), 3.0)[0]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        with torch.enable_grad():
            loop.train(Job(task, model, stream, None, config, execution, Path(folder)), Silent())
        right = 0
        for start in range(0, len(data["x_test"]), 256):
            part = torch.from_numpy(data["x_test"][start : start + 256])
            batch = {"x": part, "x.length": torch.full((len(part),), part.shape[1])}
            right += int((model(batch).argmax(1).numpy() == data["y_test"][start : start + 256]).sum())
    return right / len(data["x_test"])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, default=rates.ROOT / ".bench" / "data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nets", default=",".join(EPOCHS))
    options = parser.parse_args()
    peer = rates.Peer()
    print(f"{'net':8} {'rows':>6} {'test':>6} {'most frequent':>13} {'Keras':>7} {'Duomo':>7}  each seed (Keras, Duomo)")
    for name in options.nets.split(","):
        data = watch(options.data) if name == "series" else reviews(options.data)
        if name == "series":
            rates.INPUTS[name] = Field("frames", data["x"].shape[1:])
        rates.CLASSES[name] = int(data["y"].max()) + 1
        pairs = []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.npz"
            np.savez(path, **data)  # type: ignore[arg-type]
            for seed in range(options.seeds):
                theirs = peer.ask(net=name, data=str(path), epochs=EPOCHS[name], seed=seed)["accuracy"]
                pairs.append((theirs, ours(name, data, seed)))
        most = np.bincount(data["y_test"]).max() / len(data["y_test"])
        means = [statistics.mean(values) for values in zip(*pairs, strict=True)]
        each = ", ".join(f"({a:.3f}, {b:.3f})" for a, b in pairs)
        print(f"{name:8} {len(data['x']):6,} {len(data['y_test']):6,} {most:13.3f} {means[0]:7.3f} {means[1]:7.3f}  {each}", flush=True)
    peer.close()


if __name__ == "__main__":
    main()
