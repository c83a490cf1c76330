"""Tables of thousands of columns, many classes or many targets keep to the time that there is."""

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from duomo.core import run
from duomo.core.contract import Baseline, Goal
from duomo.core.kinds import KINDS, OF_NUMBERS, infer
from duomo.core.recipe import DataConfig
from duomo.core.run import RunFolder
from duomo.core.table import Table
from duomo.data import audit, digests, sources, spill
from duomo.data.baselines.classical import grown
from duomo.data.formats import delimited
from duomo.evaluate import baselines, slices
from duomo.tasks.classify.task import Config, Main
from duomo.tasks.regress import task as regress
from duomo.train import boosted_trees, council
from duomo.train.learners import WIDE


def numbers(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns))


def table(x_NF: np.ndarray, **targets: np.ndarray) -> Table:
    cells = {f"x{place}": column for place, column in enumerate(x_NF.T)} | targets
    kinds = {name: "number" if np.asarray(column).dtype.kind == "f" else "category" for name, column in cells.items()}
    return Table(pa.table(cells), kinds)


def trees(rounds: int, stop: bool = False) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=rounds, early_stopping=stop, min_samples_leaf=2, categorical_features=None, random_state=0
    )


def test_trees_of_many_columns_and_classes_give_up_before_they_begin() -> None:
    """A round alone would take seconds: some of the columns tell."""
    x_NF, y_N = numbers(60, 2000), np.arange(60) % 20
    grown(trees(1), x_NF[:, :9], y_N, 20, np.inf)  # what is imported for the first ones
    for model in (trees(600), trees(600, stop=True)):
        started = time.perf_counter()
        with pytest.raises(TimeoutError):
            grown(model, x_NF, y_N, 20, started + 0.01)
        assert time.perf_counter() - started < 5


def test_a_limit_that_is_kept_changes_no_tree() -> None:
    x_NF, y_N = numbers(80, 210), np.arange(80) % 5
    codes = np.arange(210) < 2
    x_NF[:, codes] = np.arange(160).reshape(80, 2) % 3
    plain, limited = (trees(3).set_params(categorical_features=codes) for _ in range(2))
    grown(limited, x_NF, y_N, 5, time.perf_counter() + 600)
    assert np.array_equal(plain.fit(x_NF, y_N).predict_proba(x_NF), limited.predict_proba(x_NF))


class Endless(Baseline):
    """Needs so many seconds for as many rows, and would give up."""

    name = "endless"

    def __init__(self, seconds: float):
        self.seconds = seconds

    def fit(self, train: Table) -> None:
        if len(train) and time.perf_counter() + self.seconds > self.ends:
            raise TimeoutError

    def evidence(self, test: Table) -> dict[str, np.ndarray]:
        return {"right": np.ones(len(test), bool)}


@pytest.mark.parametrize(("needed", "rows"), [(0.0, 90), (9.0, 0)])
def test_simple_models_may_give_up(monkeypatch: pytest.MonkeyPatch, needed: float, rows: int) -> None:
    monkeypatch.setattr(Main, "baselines", lambda self: [Endless(needed), Endless(needed)])
    whole = table(numbers(90, 2), y=np.array(["a", "b"] * 45))
    first, second = baselines.run_rivals(Main(Config(target=("y",))), whole, whole, 4.0)
    assert first.fitted_rows == second.fitted_rows == rows and (second.evidence is None) == ("4 s allowed" in second.note) == (not rows)


def test_simple_models_of_many_targets_look_at_the_clock_between_them() -> None:
    x_NF = numbers(120, 4)
    targets = {f"y{place}": x_NF[:, place % 4] + column for place, column in enumerate(numbers(120, 12, 1).T)}
    whole = table(x_NF, **targets)
    task = regress.Main(regress.Config(target=tuple(targets)))
    task.fit(whole)
    for one in task.baselines()[1:]:
        one.ends = time.perf_counter()
        with pytest.raises(TimeoutError):
            one.fit(whole)


def test_targets_are_read_once_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, read = {f"y{place}": column for place, column in enumerate(numbers(60, 30).T)}, list[int]()
    numbers_of = regress.numbers
    monkeypatch.setattr(regress, "numbers", lambda *given: read.append(1) or numbers_of(*given))
    regress.Main(regress.Config(target=tuple(targets))).fit(table(numbers(60, 2, 1), **targets))
    assert len(read) == len(targets)


def looks(monkeypatch: pytest.MonkeyPatch, goal: Goal, columns: int, seconds: float) -> tuple[int, list[int]]:
    """On how many rows trees are affordable, and the columns of each look at them."""
    seen = list[int]()

    class Clocked:
        """Takes a thousandth of a second for each column of a round."""

        now = 0.0

        def __init__(self, *_: object):
            pass

        def grow(self, rounds: int, x_NF: np.ndarray, rows: np.ndarray) -> None:
            seen.append(x_NF.shape[1])
            Clocked.now += 1e-3 * rounds * x_NF.shape[1]

    rows = council.Rows(240, {}, torch.zeros(60, goal.size), [goal], False, 0.0, council.PRIOR, council.FIRM)
    monkeypatch.setattr(boosted_trees, "Trees", Clocked)
    monkeypatch.setattr(boosted_trees.time, "monotonic", lambda: Clocked.now)
    return boosted_trees._affordable(rows, goal, np.zeros((300, columns)), 0, seconds), seen


@pytest.mark.parametrize(("columns", "classes", "looked"), [(9, 40, 9), (999, 2, 999), (8000, 40, WIDE), (8000, 3, 666)])
def test_some_of_many_columns_tell_how_long_trees_take(monkeypatch: pytest.MonkeyPatch, columns: int, classes: int, looked: int) -> None:
    goal = Goal("class", np.arange(300) % classes, np.ones(300, bool), 0, classes, np.ones(300))
    needed = boosted_trees.HURRIED * 5 * 1e-3 * columns
    for seconds, rows in (
        (1.01 * needed, boosted_trees.TREE_ROWS),
        (0.9 * needed, boosted_trees.TREE_ROWS * (needed < boosted_trees.SHORT)),
    ):
        found, seen = looks(monkeypatch, goal, columns, seconds)
        assert found == rows and set(seen) == {looked}


def test_leaks_are_looked_for_in_fewer_rows_where_targets_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "CELLS", 4000)
    seen, targets = list[int](), {f"y{place}": column for place, column in enumerate(numbers(300, 10).T)}
    whole = table(numbers(300, 10, 1), **targets)
    monkeypatch.setattr(audit, "_leaks", lambda part, *_: seen.append(len(part)) or [])
    assert audit.leaking(whole, DataConfig(target=("y0",))) == []
    assert audit.leaking(whole, DataConfig(target=tuple(targets)))[0].startswith(
        "Whether a column gives a target away was looked at for 4 of 10"
    )
    assert seen == [210] + [100] * 10


def test_of_too_many_columns_the_odd_ones_are_looked_at_for_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "CELLS", 100 * audit.TELLING)
    values_NF = numbers(300, 200)
    site_N = np.where(values_NF[:, 0] > 0, "left", "right")
    said = audit.leaking(table(values_NF, site=site_N, y=np.where(site_N == "left", "a", "b")), DataConfig(target=("y",)))
    assert len(said) == 3 and "Column 'site' alone gives 'y' away" in said[0] + said[1] and "for 100 of 201 columns" in said[2]


def test_of_thousands_of_columns_some_are_cut_into_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind as many: a site among genes is looked at."""
    monkeypatch.setattr(slices, "LOOKED_AT", 10)
    site_N = np.array(["a", "b", "c", "c"] * 20)
    whole = table(numbers(80, 200), site=site_N)
    whole = Table(whole.data.select([*whole.names[:77], "site", *whole.names[77:-1]]), whole.kinds)
    found = slices.worst_slices(whole, (site_N == "a").astype(float), whole.names)
    assert found["tested"] == 10 * 4 + 3 and found["worst"][0]["column"] == "site"


def test_a_wide_file_comes_in_few_pieces_and_its_columns_are_plainly_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is done column by column is done piece by piece."""
    monkeypatch.setattr(delimited, "BLOCKS", (1 << 12, 1 << 20))
    monkeypatch.setattr(delimited, "MANY", 100)
    for columns in (99, 100):
        lines = [
            ",".join(f"x{place}" for place in range(columns)),
            *(",".join(f"{cell:.9f}" for cell in row) for row in numbers(20, columns)),
        ]
        (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
        assert (sources.read(tmp_path / "rows.csv").data.column(0).num_chunks == 1) == (columns == 100)
    for kind in set(KINDS) - {*OF_NUMBERS}:
        monkeypatch.setitem(KINDS, kind, None)
    assert {*infer(sources.read(tmp_path / "rows.csv"), {}).kinds.values()} == {"number"}


def test_large_states_are_written_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each value on a line of its own is for people: Python writes that slowly."""
    folder, value = RunFolder(tmp_path), {"bins": [[0.5, 1.5], [None, "é"]]}
    texts = []
    for most in (10**6, 10):
        monkeypatch.setattr(run, "READABLE", most)
        folder.write_json("task.json", value)
        texts.append((tmp_path / "task.json").read_text(encoding="utf-8"))
        assert folder.read_json("task.json") == value
    assert texts[0].count("\n") > 5 and texts[1].count("\n") == 1


def test_pages_are_let_go_of_now_and_then_however_many_columns_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table(numbers(50, 40))
    now, asked = [100.0], list[float]()
    monkeypatch.setattr(spill, "_LAST", [0.0])
    monkeypatch.setattr(spill, "_MAPS", [SimpleNamespace(madvise=lambda _: asked.append(now[0]))])
    monkeypatch.setattr(spill, "time", SimpleNamespace(monotonic=lambda: now[0]))
    digests.row_digests(whole, whole.names)
    assert asked == [100.0]
    now[0] += 2 * spill.PAUSE
    spill.release()
    spill.trim()  # at once
    assert len(asked) == 3
