"""The verbs one after the other, as a user types them: real processes where exit codes and signals matter."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from duomo import __version__

DUOMO = (sys.executable, "-m", "duomo.cli")
TINY = ("--model", "mlp", "--size", "small", "--exact")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "DUOMO_LANG": "en"}
Command = Callable[..., Any]


def duomo(folder: Path, *words: str, language: str = "en") -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT | {"DUOMO_LANG": language}
    found = subprocess.run([*DUOMO, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in found.stderr, found.stderr
    return found


def test_from_a_sample_to_answers(command: Command, tmp_path: Path) -> None:
    """The README's session; a real process where stdout, stderr and the exit code must be those of the shell."""
    assert command("sample", "clinic").code == 0
    assert command("inspect", "clinic.csv", "-o", "page.html").code == 0
    found = duomo(tmp_path, "train", "clinic.csv", *TINY, "--set", "train.steps=30", "--json")
    assert found.returncode == 0
    summary = json.loads(found.stdout)
    assert (summary["run"], summary["task"]) == ("runs/clinic", "classify")
    assert all(json.loads(line) for line in found.stderr.splitlines())
    judged = json.loads(command("evaluate", "runs/clinic", "clinic.csv", "--json").out)
    assert judged["metrics"]["accuracy"]["value"] > 0.8
    rows = list(csv.DictReader(command("predict", "runs/clinic", "clinic.csv").out.splitlines()))
    assert len(rows) == 569
    assert {row["prediction"] for row in rows} == {"benign", "malignant"}
    assert "scorecard.html" in command("show", "runs/clinic").err
    assert "accuracy" in command("list", "runs").out


def test_what_is_in_a_finished_run(command: Command, runs: Any) -> None:
    path = runs("clinic").path
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    assert names >= {"recipe.toml", "run.json", "task.json", "model.safetensors", "scorecard.html", "MODEL_CARD.md", "manifest.json"}
    assert not names & {"data.arrow", "start.json"}
    assert command("resume", path).code == 0
    assert command("--version").out.strip() == __version__
    assert command("completion", "bash").out.startswith("#")
    for what in ("tasks", "models", "samples"):
        assert len(json.loads(command("list", what, "--json").out)) >= 4


@pytest.mark.parametrize("name", ["clinic", "digits", "poems"])
def test_an_answer_loads_nothing_that_only_training_needs(runs: Any, name: str) -> None:
    """Each of these would cost every `duomo predict` and every server's start half a second or more."""
    code = """
import sys
import duomo
run = duomo.load(sys.argv[1])
run.predictor.answers(run.golden()[0])
print([name for name in ("torch._dynamo", "scipy", "sklearn", "sympy", "tensorboardX") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code, str(runs(name).path)], env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "[]"


def test_outputs(command: Command, runs: Any, tmp_path: Path, clinic: Any, write: Any) -> None:
    run, new = runs("clinic").path, write(tmp_path / "new.csv", *clinic)
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        assert json.loads(command("predict", run, new, "-o", name, "--json").out) == {"rows": 100, "out": name}
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    table = parquet.read_table("out.parquet").to_pylist()
    answers = [[(row["prediction"], float(row["confidence"])) for row in found] for found in (rows, lines, table)]
    assert answers[0] == answers[1] == answers[2]
    assert [row["mean_radius"] for row in rows] == [row[clinic[0].index("mean_radius")] for row in clinic[1]]
    one = command("predict", run, "--row", json.dumps(lines[0]), "--json")
    assert json.loads(one.out)["confidence"] == lines[0]["confidence"]


def test_twice_gives_two_equal_runs(command: Command, table: Path) -> None:
    for _ in range(2):
        assert command("train", "clinic.csv", *TINY, "--set", "train.steps=4").code == 0
    first, second = Path("runs/clinic"), Path("runs/clinic-2")
    for name in ("model.safetensors", "log.jsonl", "task.json", "golden.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    again = command("train", "--recipe", "runs/clinic/recipe.toml", "--out", "again")
    assert again.code == 0
    assert Path("again/model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A process that trains, once its first checkpoint lies there."""
    process = subprocess.Popen([*DUOMO, *words], cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None and not list(folder.glob("runs/clinic/checkpoints/step-*")):
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_is_resumed(table: Path, sign: signal.Signals, command: Command) -> None:
    """Stopped in the middle, refused to others meanwhile, resumed to the same weights as a run left alone."""
    folder = table.parent
    words = ("train", "clinic.csv", *TINY, "--set", "train.steps=1500", "--set", "train.checkpoint_steps=50")
    process = begun(folder, *words)
    assert process.poll() is None
    busy = duomo(folder, "resume", "runs/clinic") if sign is signal.SIGINT else None
    process.send_signal(sign)
    _, said = process.communicate(timeout=30)
    if sign is not signal.SIGKILL and not Path("runs/clinic/manifest.json").exists():
        assert process.returncode == 130, said
        assert "resume runs/clinic" in said
    assert busy is None or (busy.returncode, "in use" in busy.stderr) in ((4, True), (0, False))
    if not Path("runs/clinic/manifest.json").exists():
        assert command("predict", "runs/clinic", "clinic.csv").code == 4
    assert command("resume", "runs/clinic").code == 0
    if sign is signal.SIGINT:
        assert command(*words, "--out", "alone").code == 0
        assert Path("alone/model.safetensors").read_bytes() == Path("runs/clinic/model.safetensors").read_bytes()
        assert Path("alone/log.jsonl").read_bytes() == Path("runs/clinic/log.jsonl").read_bytes()


def test_an_unfinished_run_that_was_changed_is_refused(table: Path, command: Command) -> None:
    words = ("train", "clinic.csv", *TINY, "--set", "train.steps=100000", "--set", "train.checkpoint_steps=50")
    process = begun(table.parent, *words)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    for name in ("recipe.toml", "start.json", "run.json"):
        path = Path("runs/clinic", name)
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"0", b"1", 1))
        said = command("resume", "runs/clinic")
        assert (said.code, name in said.err) == (4, True), said
        path.write_bytes(whole)
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    said = command("resume", "runs/clinic")
    assert (said.code, "has changed since" in said.err) == (4, True)
    table.unlink()
    assert command("resume", "runs/clinic").code == 3


def test_the_reader_is_answered_in_chinese(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, table: Path) -> None:
    found = duomo(tmp_path, "train", "clnic.csv", language="zh")
    assert found.returncode == 3
    assert "是不是想写 'clinic.csv'" in found.stderr
    monkeypatch.setenv("DUOMO_LANG", "zh")
    said = command("train", "clinic.csv", *TINY, "--set", "train.steps=3")
    assert said.code == 0
    assert "准确率" in said.err
    assert "成绩单" in said.err
