"""No file of a stranger runs code, escapes its place or speaks through the page: sources, run folders, names, cells."""

import csv
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

import duomo
from duomo import cli, listing
from duomo.core.errors import DataError, DuomoError, RunError
from duomo.core.run import RunFolder
from duomo.core.table import Table
from duomo.data import sources
from duomo.data.outputs import defused
from duomo.serve.rows import table_of
from duomo.studio import runs as studio_runs
from duomo.studio.jobs import Jobs
from duomo.studio.place import Place

QUICK = {"train": {"steps": 3, "exact": True}, "model": {"name": "mlp", "size": "small"}}
SCRIPT = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("http://evil","x")'


class Trap:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (Path("sprung"),)  # type: ignore[return-value]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle", "a.pt", "a.pth", "a.bin", "a.ckpt", "a.joblib", "a.npy", "a.npz", "a.h5", "a.keras"])
def test_pickles_are_refused_unread(here: Path, name: str) -> None:
    for content in (pickle.dumps(Trap()), pickle.dumps(np.array([Trap()], object), 2)):
        Path(name).write_bytes(content)
        with pytest.raises(
            DataError, match=r"ending of a file must be one of|must be what its ending says|never opened here|which is not read"
        ):
            duomo.train(name, QUICK)
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    "name", ["a.csv", "a.json", "a.jsonl", "a.parquet", "a.feather", "a.xlsx", "a.db", "a.zip", "a.txt", "a.png", "a.wav"]
)
def test_a_pickle_under_another_name_is_only_data(here: Path, name: str) -> None:
    """By content, not ending: whatever becomes of it, nothing in it runs."""
    Path(name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DuomoError):
        duomo.train(name, QUICK)
    np.save("object.npy", np.array([Trap()], object), allow_pickle=True)
    torch.save({"a": Trap()}, "weights.pt")
    Path("folder").mkdir(exist_ok=True)
    for file in ("object.npy", "weights.pt"):
        shutil.move(file, f"folder/{file}")
    with pytest.raises(DataError):
        duomo.train("folder", QUICK)
    assert not Path("sprung").exists()


@pytest.fixture
def run(runs: Any, tmp_path: Path) -> Path:
    """A copy of a finished run to tamper with, its manifest made to agree."""
    return Path(shutil.copytree(runs("clinic").path, tmp_path / "run"))


def sealed(run: Path) -> None:
    """What an attacker who can write the folder would do."""
    (run / "manifest.json").unlink()
    RunFolder(run).seal()


def test_a_run_of_another_format_is_refused(run: Path) -> None:
    told = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    (run / "manifest.json").write_text(json.dumps(told | {"format": 2}), encoding="utf-8")
    with pytest.raises(RunError, match="in format 2, of another version"):
        duomo.load(run)


def test_nothing_in_a_run_folder_runs(run: Path, here: Path) -> None:
    for name in ("model.py", "setup.py", "__init__.py", "sitecustomize.py", "conftest.py", "task.py"):
        (run / name).write_text("from pathlib import Path\nPath('sprung').touch()\n")
    (run / "model.pkl").write_bytes(pickle.dumps(Trap()))
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / "checkpoints" / "step-99999999.pt").write_bytes(pickle.dumps(Trap()))
    assert cli.main(["show", str(run)]) == 0
    (run / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(RunError, match="has changed"):
        duomo.load(run)
    sealed(run)
    with pytest.raises(RunError, match="whole safetensors"):
        duomo.load(run)
    assert not Path("sprung").exists()


@pytest.mark.parametrize("head", [struct.pack("<Q", 1 << 62), struct.pack("<Q", 100) + b"{" * 100, struct.pack("<Q", 2) + b"{}", b""])
def test_hostile_weights_are_refused(run: Path, head: bytes) -> None:
    (run / "model.safetensors").write_bytes(head)
    sealed(run)
    with pytest.raises(RunError):
        duomo.load(run)


@pytest.mark.parametrize("name", ["../../os", "os", "classify.task", "/etc/passwd", "__import__('os')"])
def test_names_in_a_run_folder_import_nothing(run: Path, name: str) -> None:
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"task": name}))
    sealed(run)
    with pytest.raises(DuomoError, match="task must be one of"):
        duomo.load(run)
    (run / "run.json").write_text(json.dumps(facts))
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(recipe.replace('name = "mlp"', f"name = {json.dumps(name)}"))
    sealed(run)
    with pytest.raises(DuomoError, match="model must be one of"):
        duomo.load(run)


@pytest.mark.parametrize("name", ["manifest.json", "run.json", "task.json"])
def test_brackets_without_end_are_no_json(run: Path, name: str) -> None:
    (run / name).write_text("[" * 200_000)
    if name != "manifest.json":
        sealed(run)
    with pytest.raises(RunError, match="is damaged"):
        duomo.load(run)


@pytest.mark.parametrize(("name", "value"), [("task.json", []), ("task.json", {}), ("task.json", {"encoder": 3}), ("run.json", {})])
def test_a_state_of_another_make_ends_in_a_sentence(run: Path, name: str, value: Any) -> None:
    (run / name).write_text(json.dumps(value))
    sealed(run)
    with pytest.raises(RunError, match="is damaged"):
        duomo.load(run)


@pytest.mark.parametrize("change", [{"kinds": None}, {"kinds": {}}, {"features": 3}, {"features": ["nobody"]}, {"block": "x"},
                                    {"inference": {"device": "x"}}, {"inference": []}, {"task": -1}, {"task": None}])  # fmt: skip
def test_facts_of_another_make_end_in_a_sentence(run: Path, change: dict[str, Any]) -> None:
    """On the command line, in a list and in the studio."""
    facts = json.loads((run / "run.json").read_text()) | change
    (run / "run.json").write_text(json.dumps({name: value for name, value in facts.items() if value is not None}))
    sealed(run)
    with pytest.raises(DuomoError):
        duomo.load(run)
    assert listing.listing("runs", str(run.parent))["run"]
    shutil.copytree(run, run.parent / "runs" / "one")
    (run.parent / "runs" / "one" / "log.jsonl").write_bytes(b'{"step": 1}\n\xff\n{"step": 3}\n')
    (run.parent / "runs" / "one" / "scorecard.json").write_text("[" * 200_000)
    place = Place(run.parent)
    jobs = Jobs(place)
    try:
        assert [one["name"] for one in studio_runs.listed(place, jobs)] == ["one"]
        assert len(studio_runs.curves(place.runs / "one", 0)["lines"]) == 2
    finally:
        jobs.close()


def _parts(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values within others."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ():
        yield (*place, key)
        yield from _parts(part, (*place, key))


def test_a_state_that_was_changed_within_ends_in_a_sentence(run: Path, runs: Any) -> None:
    """Each part of it in turn of another make: an answer as before, or one sentence when the run is opened or asked."""
    told, row = json.loads((run / "task.json").read_text()), {"mean_radius": 12.5}
    for number, place in enumerate(_parts(told)):
        forged = json.loads(json.dumps(told))
        within = forged
        for key in place[:-1]:
            within = within[key]
        within[place[-1]] = ([], {}, "x", -1, None)[number % 5]
        (run / "task.json").write_text(json.dumps(forged))
        sealed(run)
        with suppress(DuomoError):
            found = duomo.load(run)
            found.predict(runs("clinic").golden()[0].take(np.arange(2)))
            found.predict([row])


def test_a_block_is_never_higher_than_blocks_are(run: Path) -> None:
    facts = json.loads((run / "run.json").read_text())
    for block in ([10**12, 0], -1, [-3, -2]):
        (run / "run.json").write_text(json.dumps(facts | {"block": block}))
        sealed(run)
        found = duomo.load(run).predictor.block
        assert 1 <= found.rows <= 256 and found.positions >= 0


@pytest.mark.parametrize("options", ["{width = 200_000}", "{width = 1_000_000_000_000_000}", "{depth = 900, width = 20_000}"])
def test_a_run_asks_for_no_more_than_its_weights_hold(run: Path, options: str) -> None:
    """Before anything is allocated."""
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(recipe.replace("options = {}", f"options = {options}"))
    sealed(run)
    before = psutil.Process().memory_info().rss
    with pytest.raises(RunError, match="asks for more"):
        duomo.load(run)
    assert psutil.Process().memory_info().rss - before < 2**29


def test_a_manifest_names_files_of_its_own_folder_only(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["sha256"]["../../etc/passwd"] = "0" * 64
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="has changed"):
        duomo.load(run)


def hostile(here: Path) -> Path:
    """A table whose columns, labels and cells are markup, formulas and paths."""
    labels = [SCRIPT, FORMULA]
    with Path("evil.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["<img src=x onerror=alert(2)>", "@SUM(1+1)", "../../etc/passwd", "label"])
        writer.writerows([[n % 7, n % 2 * 3 + n % 5, [f"{SCRIPT}", "=1+1", "-cmd|' /C calc'!A0"][n % 3], labels[n % 2]] for n in range(80)])
    return here / "evil.csv"


def test_hostile_names_stay_text(here: Path) -> None:
    """No markup reaches the pages as markup, no cell of a CSV is a formula, no name leads out of the folder."""
    source = hostile(here)
    assert cli.main(["inspect", str(source), "-o", "page.html"]) == 0
    run = duomo.train(source, QUICK, target="label")
    pages = [Path("page.html"), run.path / "scorecard.html"]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert SCRIPT not in text
        assert "<img src=x" not in text
        assert "Content-Security-Policy" in text
        assert "<script" not in text.lower()
    assert cli.main(["predict", str(run.path), str(source), "-o", "out.csv"]) == 0
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 81
    assert not [cell for row in rows for cell in row if cell.lstrip().startswith(("=", "@SUM", "-cmd"))]
    assert {row[-2] for row in rows[1:]} <= {SCRIPT, "'" + FORMULA}
    lines = cli.main(["predict", str(run.path), str(source), "-o", "out.jsonl"])
    assert lines == 0
    assert {json.loads(line)["prediction"] for line in Path("out.jsonl").read_text().splitlines()} <= {SCRIPT, FORMULA}
    assert sorted(path.name for path in here.iterdir()) == ["evil.csv", "out.csv", "out.jsonl", "page.html", "runs"]


def test_plain_cells_are_written_as_they_came() -> None:
    texts = ["-1.5", "+3", "- a dash", "@reader hello", "a = b", "'quoted'", "1e-5", "=1"]
    assert [defused(text) for text in texts] == [*texts[:-1], "'=1"]
    assert [defused(cell) for cell in (None, 1.5, -2, True)] == [None, 1.5, -2, True]


@pytest.mark.parametrize("name", ["../out.csv", "/tmp/out.csv", "a/../../out.csv"])
def test_archives_write_nowhere_else(here: Path, name: str) -> None:
    with zipfile.ZipFile("evil.zip", "w") as archive:
        archive.writestr(name, "a,b\n1,2\n")
    with pytest.raises(DataError):
        sources.read("evil.zip", cache=here / "cache")
    assert not (here.parent / "out.csv").exists()


def test_metadata_names_files_of_its_own_folder_only(here: Path, runs: Any) -> None:
    Path("clips").mkdir()
    shutil.copy(next(iter(runs.source("words").glob("*.ogg"))), "clips/a.ogg")
    Path("secret.ogg").write_bytes(b"OggS secret")
    for path in ("../secret.ogg", str(here / "secret.ogg"), "..\\secret.ogg"):
        Path("clips/metadata.csv").write_text(f"file,text\na.ogg,hello\n{path},steal\n")
        try:
            cells = sources.read("clips").data.column("audio").to_pylist()
        except DataError:
            continue
        assert cells == ["a.ogg", None]


def test_a_request_names_no_file_of_this_machine(runs: Any, here: Path) -> None:
    """What a local user may do, a client of the server may not."""
    Path("secret.png").write_bytes(b"x")
    for cell in ("secret.png", "/etc/passwd", {"path": "/etc/passwd"}, "file:///etc/passwd"):
        with pytest.raises(DataError):
            table_of([{"image": cell}], {"image": "image"})
    assert table_of([{"image": {"base64": "AAAA"}}], {"image": "image"}).root is None
    assert isinstance(table_of([{"a": "=1"}], {"a": "category"}), Table)
