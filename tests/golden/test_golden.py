"""What must not change unnoticed: the first losses of small runs, and the answers that every run folder promises.

`python tests/golden/test_golden.py` writes the losses anew after a deliberate change.
"""

import base64
import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import torch

import duomo
from duomo import samples
from duomo.core.device import machine_facts
from duomo.core.run import RunFolder

FILE = Path(__file__).with_name("losses.json")
CASES = {
    "clinic-mlp": ("clinic", "diagnosis", {"model": {"name": "mlp", "size": "small"}}),
    "clinic-tabular": ("clinic", "diagnosis", {"model": {"name": "tabular", "size": "small"}}),
    "houses-linear": ("houses", "price", {"model": {"name": "linear", "size": "small"}}),
    "digits-cnn": ("digits", "label", {"model": {"name": "cnn", "size": "base"}}),
    "watch-rnn": ("watch", "exercise", {"model": {"name": "rnn", "size": "small"}}),
    "poems-gpt": (
        "poems",
        (),
        {"model": {"name": "gpt", "size": "nano"}, "task": {"sampling": {"new_tokens": 4}}, "encode": {"longest_text": 32}},
    ),
}
TRAIN = {
    "steps": 4,
    "batch_size": 8,
    "exact": True,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "evaluate_steps": 10**6,
}


def losses(case: str, folder: Path) -> list[float]:
    """The loss of the first four steps, with one thread in float32."""
    sample, target, settings = CASES[case]
    source = folder / samples.SAMPLES[sample].file
    if not source.exists():
        samples.write(sample, folder)
        if sample == "poems":
            source.write_text(source.read_text(encoding="utf-8")[:40_000], encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = duomo.train(source, settings | {"train": TRAIN}, target=target, out=folder / "runs" / case)
    finally:
        torch.set_num_threads(threads)
    lines = (run.path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


@pytest.mark.parametrize("case", CASES)
def test_the_first_losses(case: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    golden = json.loads(FILE.read_text(encoding="utf-8"))
    found = losses(case, tmp_path_factory.mktemp(case))
    assert found == pytest.approx(golden["losses"][case], rel=1e-3)
    here = {name: machine_facts()[name] for name in ("cpu", "torch")}
    if here == golden["machine"]:
        assert found == pytest.approx(golden["losses"][case], rel=1e-6)


@pytest.mark.parametrize("name", ["clinic", "digits", "poems", "watch", "houses", "words"])
def test_a_run_gives_its_golden_answers(runs, name: str) -> None:
    """Loaded anew, the folder answers the inputs that it holds as it did when it was written."""
    made = runs(name)
    golden = RunFolder(made.path).read_json("golden.json")
    columns = {
        column: pa.array([base64.b64decode(cell) for cell in cells]) if column in golden["media"] else pa.array(cells)
        for column, cells in golden["inputs"].items()
    }
    assert len(next(iter(columns.values())))
    loaded = duomo.load(made.path)
    answers = loaded.answers(loaded.table(pa.table(columns)))
    assert answers == golden["answers"]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        written = {case: losses(case, Path(place)) for case in CASES}
    machine = {name: machine_facts()[name] for name in ("cpu", "torch")}
    FILE.write_text(json.dumps({"machine": machine, "losses": written}, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(FILE.read_text(encoding="utf-8"))
