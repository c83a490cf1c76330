"""Judging and showing: on scikit-learn's own breast-cancer table and digits, with a small task of the real contract."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from duomo.core.contract import CLUSTER, Baseline, Evidence, Field, Head, Metric, Suggestion, Task, View
from duomo.core.errors import RunError
from duomo.core.recipe import TrainConfig
from duomo.core.reporter import Silent
from duomo.core.table import Table
from duomo.core.tensors import Examples
from duomo.evaluate import baselines, bootstrap, compare, scorecard, slices
from duomo.evaluate.card import model_card
from duomo.evaluate.report import html, inspect, plots
from duomo.evaluate.worst_errors import cell, confused, worst_errors
from duomo.train import preflight

HOSTILE = '<script>alert(1)</script>"|`{{7*7}}'


def features(table: Table) -> np.ndarray:
    return np.stack([np.asarray(table.column(name)) for name in table.of_kind("number")], 1)


class Frequencies(Baseline):
    name = "most frequent class"

    def fit(self, train: Table) -> None:
        self.share = float(np.mean(np.asarray(train.column("label"))))

    def evidence(self, test: Table) -> Evidence:
        return {"p": np.full(len(test), self.share), "y": np.asarray(test.column("label"))}


class Logistic(Baseline):
    name = "logistic regression"

    def __init__(self, columns: slice = slice(None)):
        self.columns = columns

    def fit(self, train: Table) -> None:
        self.model = make_pipeline(StandardScaler(), LogisticRegression()).fit(
            features(train)[:, self.columns], np.asarray(train.column("label"))
        )

    def evidence(self, test: Table) -> Evidence:
        return {"p": self.model.predict_proba(features(test)[:, self.columns])[:, 1], "y": np.asarray(test.column("label"))}


@dataclass(frozen=True)
class Config:
    pass


class Binary(Task):
    """Judging only: what needs a network is left out."""

    name = "classify"
    metric = Metric("accuracy", True)
    rivals: Sequence[Baseline] = ()

    def __init__(self, config: Config):
        self.config = config

    def fit(self, table: Table) -> None: ...
    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...

    @property
    def inputs(self) -> Mapping[str, Field]:
        return {}

    @property
    def head(self) -> Head:
        return Head(1)

    def suggest(self, table: Table) -> Suggestion:
        return Suggestion("plain", "")

    def encode(self, table: Table, *, target: bool) -> Examples:
        return Examples({})

    def loss(self, output: Any, batch: Any) -> Any:
        return output, batch

    def evidence(self, output: Any, batch: Any) -> Evidence:
        return {}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        p, y = np.clip(evidence["p"], 1e-7, 1 - 1e-7), evidence["y"]
        return {"accuracy": float(((p > 0.5) == y).mean()), "log_loss": float(-np.log(np.where(y == 1, p, 1 - p)).mean())}

    def errors(self, evidence: Evidence) -> np.ndarray:
        return np.abs(evidence["p"] - evidence["y"])

    def views(self, evidence: Evidence) -> Sequence[View]:
        guess = (evidence["p"] > 0.5).astype(int)
        counts = np.zeros((2, 2), int)
        np.add.at(counts, (evidence["y"].astype(int), guess), 1)
        bins = np.clip((evidence["p"] * 5).astype(int), 0, 4)
        found = [float(evidence["y"][bins == place].mean()) if (bins == place).any() else None for place in range(5)]
        return [
            View("matrix", "Confusion", {"rows": ["benign", HOSTILE], "columns": ["benign", HOSTILE], "values": counts.tolist()}),
            View(
                "curve",
                "Reliability",
                {"x": [0.1, 0.3, 0.5, 0.7, 0.9], "lines": {"observed": found}, "x_label": "p", "y_label": "y", "diagonal": True},
            ),
            View("bars", "Mean by class", {"labels": ["a", HOSTILE], "values": [0.5, -0.2]}),
            View("points", "Cloud", {"x": evidence["p"], "y": evidence["y"], "x_label": "", "y_label": "", "diagonal": False}),
            View("texts", "Samples", {"items": [{"title": "one", "text": HOSTILE}]}),
        ]

    def baselines(self) -> Sequence[Baseline]:
        return [Frequencies(), Logistic()]

    def answer(self, model: Any, batch: Any) -> dict[str, list[Any]]:
        return {}


@pytest.fixture(scope="module")
def clinic() -> tuple[Table, Table]:
    x, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(y))
    columns: dict[str, Any] = {f"f{place}": x[order, place] for place in range(8)}
    columns |= {"ward": np.array(["north", HOSTILE])[rng.integers(0, 2, len(y))], "label": y[order]}
    kinds = dict.fromkeys(columns, "number") | {"ward": "category", "label": "category"}
    table = Table(pa.table(columns), kinds, name="clinic")
    return table.take(np.arange(400)), table.take(np.arange(400, 569))


def forest(train: Table, test: Table) -> Evidence:
    model = RandomForestClassifier(40, random_state=0, n_jobs=1).fit(features(train), np.asarray(train.column("label")))
    return {"p": model.predict_proba(features(test))[:, 1], "y": np.asarray(test.column("label"))}


FACTS = {
    "name": "clinic " + HOSTILE, "model": "forest", "parameters": 12345, "memory_mb": 210.0,
    "seconds": {"training": 3.2, "everything": 5.1},
    "preflight": {"seconds": {"predicted": 4.0, "actual": 3.2, "ratio": 0.8},
                  "memory_bytes": {"predicted": 25e7, "actual": 21e7, "ratio": None}},
    "recipe": {"train": {"epochs": 3.0, "seed": 0}, "task": {}}, "rows": {"train": 400, "valid": 0, "test": 169}, "data_hash": "ab" * 32,
    "versions": {"torch": "2.13"}, "execution": [{"name": "float32", "milliseconds": 3.0, "chosen": True}], "problems": ["3 bad lines"],
    "split": "stratified", "reason": "few rows",
}  # fmt: skip


@pytest.fixture(scope="module")
def card(clinic: tuple[Table, Table]) -> dict[str, Any]:
    train, test = clinic
    history = [
        {"step": step, "loss": 1 / (step + 1), "valid": {"accuracy": 0.9 + step / 1000} if step % 5 == 0 else {}} for step in range(50)
    ]
    inputs = scorecard.ScorecardInputs(
        Binary(Config()), forest(train, test), test, train, ["label"],
        answer=lambda table: {"prediction": ["1"] * len(table), "confidence": [0.75] * len(table)},
        history=history, facts=FACTS, bootstrap_seconds=0.5,
    )  # fmt: skip
    return scorecard.build(inputs)


def test_card_is_json_and_holds_every_competitor(card: dict[str, Any]) -> None:
    again = json.loads(json.dumps(card, allow_nan=False))
    assert [result["kind"] for result in again["results"]] == ["model", "trivial", "classical"]
    for result in again["results"]:
        found = result["metrics"]["accuracy"]
        assert found["low"] <= found["value"] <= found["high"]
    assert len(again["errors"]["items"]) == 12 and again["errors"]["items"][0]["answer"]["prediction"] == "1"


def test_verdict_speaks_plainly(clinic: tuple[Table, Table], card: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "en")
    by_name = {verdict["kind"]: verdict for verdict in card["verdicts"]}
    assert by_name["trivial"]["outcome"] == "won" and by_name["classical"]["outcome"] == "unclear"
    assert "includes zero" in scorecard.sentence(card["verdict"])
    train, test = clinic
    blind = {"p": np.random.default_rng(1).random(len(test)), "y": np.asarray(test.column("label"))}
    lost = scorecard.build(scorecard.ScorecardInputs(Binary(Config()), blind, test, train, ["label"], bootstrap_seconds=0.2))
    assert lost["verdict"]["outcome"] == "lost" and "The simple model wins" in scorecard.sentence(lost["verdict"])
    monkeypatch.setenv("DUOMO_LANG", "zh")
    assert "简单" in scorecard.sentence(lost["verdict"])


class Slow(Frequencies):
    """Takes ten milliseconds a row, by its own clock, and cannot be fitted to fewer than `least`."""

    now = 0.0

    def __init__(self, least: int = 0):
        self.least = least

    def fit(self, train: Table) -> None:
        if len(train) < self.least:
            raise ValueError("too few")
        Slow.now += 0.01 * len(train)
        super().fit(train)


@pytest.mark.parametrize(("least", "seconds", "rows"), [(0, 90.0, 8000), (0, 40.0, 4000), (0, 5.0, 0), (4000, 40.0, 8000)])
def test_simple_models_keep_the_time_that_they_are_given(
    clinic: tuple[Table, Table], monkeypatch: pytest.MonkeyPatch, least: int, seconds: float, rows: int
) -> None:
    """Also those of fewer than ten thousand rows; what cannot be fitted to few rows is fitted to all."""
    train, test = clinic
    monkeypatch.setattr(Binary, "baselines", lambda self: [Frequencies(), Slow(least)])
    monkeypatch.setattr(baselines, "time", SimpleNamespace(perf_counter=lambda: Slow.now))
    _, slow = baselines.run_rivals(Binary(Config()), train.take(np.arange(8000) % len(train)), test, seconds)
    assert slow.fitted_rows == pytest.approx(rows, abs=1) and (slow.note == "") == (rows == 8000)
    assert preflight.beside(TrainConfig(minutes=1.0)) == 9.0 and preflight.beside(TrainConfig()) == preflight.beside(
        TrainConfig(minutes=9.0)
    )


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(0), 0
    for trial in range(120):
        evidence = {"right": rng.random(200) < 0.8}
        found = bootstrap.resample(lambda e: {"accuracy": float(e["right"].mean())}, {"model": evidence}, trial, 0.05)["model"]
        shown = bootstrap.interval(found, "accuracy")
        hits += shown.low <= 0.8 <= shown.high
    assert 105 <= hits <= 120  # 95 % of 120 is 114; fewer than 105 happens by chance in 1 of 10,000


def test_pairing_narrows_the_difference_and_no_error_is_not_certainty() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(2000) < 0.8
    other = right.copy()
    other[:20] = False

    def measure(evidence: Evidence) -> dict[str, float]:
        return {"accuracy": float(evidence["right"].mean())}

    found = bootstrap.resample(measure, {"a": {"right": right}, "b": {"right": other}}, 0, 0.3)
    apart, alone = bootstrap.difference(found["a"], found["b"], "accuracy"), bootstrap.interval(found["a"], "accuracy")
    assert apart.excludes_zero() and apart.high - apart.low < (alone.high - alone.low) / 2
    assert bootstrap.difference(found["a"], found["a"], "accuracy") == bootstrap.Interval(0.0, 0.0, 0.0)  # answers that are the same
    perfect = bootstrap.resample(measure, {"a": {"right": np.ones(57, bool)}}, 0, 0.3)["a"]
    shown = bootstrap.interval(perfect, "accuracy")
    assert shown.high == 1 and shown.low == pytest.approx(0.025 ** (1 / 57))


def test_few_clusters_and_figures_that_are_not_there_give_no_interval() -> None:
    def mean(evidence: dict[str, np.ndarray]) -> dict[str, float]:
        found = {"mean": float(evidence["x"].mean())}
        return found | ({"spread": 1.0} if len(np.unique(evidence["x"])) > 1 else {})

    two = {"x": np.array([0.2, 0.2, 0.9, 0.9]), CLUSTER: np.array([0, 0, 1, 1])}
    judged = bootstrap.resample(mean, {"a": two, "b": {**two, "x": two["x"] / 2}})
    assert not bootstrap.difference(judged["a"], judged["b"], "mean").excludes_zero()
    many = {"x": np.linspace(0, 1, 40)}
    judged = bootstrap.resample(mean, {"a": many, "b": {"x": np.ones(40)}})
    assert bootstrap.difference(judged["a"], judged["b"], "mean").excludes_zero()
    lacking = bootstrap.difference(judged["a"], judged["b"], "spread")  # of b there is none
    assert np.isnan(lacking.value) and not lacking.excludes_zero()
    said = scorecard.sentence({"outcome": "unclear", "baseline": "b", "metric": "spread", "model_value": 1.0, "baseline_value": None,
                     "value": None, "low": None, "high": None, "rows": 2})  # fmt: skip
    assert "too few" in said


def test_slices_of_a_patient_are_one_witness(clinic: tuple[Table, Table]) -> None:
    """Each row ten times over says no more than once, where a column tells whose it is."""
    train, test = clinic
    many = test.take(np.repeat(np.arange(12), 10))
    many = replace(many, data=many.data.append_column("patient", pa.array(np.repeat(np.arange(12), 10).astype(str))))
    inputs = scorecard.ScorecardInputs(Binary(Config()), forest(train, many), many, train, ["label"], bootstrap_seconds=0.2)
    one, other = (scorecard.build(replace(inputs, group=group)) for group in ("", "patient"))
    assert (one["bootstrap"]["rows"], other["bootstrap"]["rows"], other["verdict"]["units"]) == (120, 12, "groups")
    low, less = (card["results"][0]["metrics"]["accuracy"]["low"] for card in (one, other))
    assert less < low and "12 groups" in scorecard.caution(other)


def test_a_slow_metric_still_keeps_the_time() -> None:
    evidence = {"x": np.random.default_rng(0).random(400_000)}

    def measure(shown: Evidence) -> dict[str, float]:
        return {"median": float(np.sort(shown["x"])[len(shown["x"]) // 2])}

    found = bootstrap.resample(measure, {"model": evidence}, 0, 0.3)["model"]
    shown = bootstrap.interval(found, "median")
    assert found.rows_per_draw < found.rows and shown.low < 0.5 < shown.high
    assert shown.high - shown.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(400_000), rel=0.4)


def test_slices_find_the_planted_one_and_nothing_else(clinic: tuple[Table, Table]) -> None:
    _, test = clinic
    rng = np.random.default_rng(0)
    errors = rng.random(len(test)) * 0.2
    assert slices.worst_slices(test, errors, test.names)["standing_out"] == 0
    ward = np.asarray(test.column("ward"))
    errors[ward == "north"] += 0.15
    found = slices.worst_slices(test, errors, test.names)
    assert found["worst"][0]["values"] == {"value": "north"} and found["worst"][0]["stands_out"] and found["standing_out"] == 1


def test_lists_are_cut_by_their_entries_and_slices_of_the_same_rows_are_told_once() -> None:
    lengths = [2, 4, 6, 8] * 20
    cells = {"tokens": [json.dumps(["字"] * length) for length in lengths], "tags": [json.dumps(["B-人名"] * length) for length in lengths]}
    table = Table(pa.table(cells), dict.fromkeys(cells, "text"))
    worst = slices.worst_slices(table, np.array(lengths, float) > 7, table.names)["worst"]
    assert [(one["column"], one["template"], one["values"]) for one in worst if one["stands_out"]] == [
        ("tokens", "of {low} to {high} entries", {"low": "6.5", "high": "8"})
    ]


def test_what_is_written_as_json_is_shown_in_words() -> None:
    talk = json.dumps([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}])
    boxed = json.dumps(
        [{"label": "cat", "box": [0, 0, 2, 2]}, {"label": "dog", "box": [1, 1, 2, 2]}, {"label": "cat", "box": [1, 0, 2, 2]}]
    )
    cells = {"talk": [talk], "tokens": ['["Ada", "is", "here"]'], "tags": ['["B-PER", "O", "O"]'], "boxes": [boxed], "note": ["[1, 2"]}
    table = Table(pa.table(cells), dict.fromkeys(cells, "text"), name="t")
    shown = {name: cell(table, name, 0, [0])["text"] for name in cells}
    assert shown["talk"] == "user: Hello\nassistant: Good day" and shown["tokens"] == "Ada is here"
    assert shown["boxes"] == "cat ×2, dog" and shown["note"] == "[1, 2"
    spans = [{"text": "Ada", "label": "PER", "start": 0, "end": 3}]
    found = worst_errors(table, np.ones(1), ["tags"], lambda _: {"prediction": [spans], "vector": [[0.5] * 40]})["items"][0]
    assert found["truth"] == {"tags": "Ada B-PER"} and found["answer"] == {"prediction": "Ada (PER)", "vector": "40 numbers"}


def test_worst_errors_show_pictures_and_survive_broken_ones(tmp_path: Path) -> None:
    digits = load_digits().images[:6]
    cells = []
    for picture in digits:
        sink = io.BytesIO()
        Image.fromarray((picture * 15).astype(np.uint8)).save(sink, "PNG")
        cells.append(sink.getvalue())
    cells[2] = cells[2][:60]
    table = Table(pa.table({"picture": pa.array(cells, pa.binary()), "y": list("012345")}), {"picture": "image", "y": "category"})
    found = worst_errors(table, np.arange(6.0), ["y"], None)
    assert [item["row"] for item in found["items"]] == [5, 4, 3, 2, 1]
    shown = {item["row"]: item["cells"][0].get("source", "") for item in found["items"]}
    assert shown[5].startswith("data:image/png;base64,") and not shown[2]
    (tmp_path / "a.png").write_bytes(cells[0])
    paths = Table(pa.table({"picture": ["a.png"], "y": ["0"]}), {"picture": "image", "y": "category"})
    assert "source" not in worst_errors(paths, np.ones(1), ["y"], None)["items"][0]["cells"][0]  # no root, no file


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_confused_pictures_stand_side_by_side() -> None:
    digits = load_digits()
    cells = []
    for picture in digits.images[:12]:
        body = io.BytesIO()
        Image.fromarray((picture * 15).astype(np.uint8)).save(body, "PNG")
        cells.append(body.getvalue())
    cells[3] = b"broken"
    truth = ["<b>cat</b>", "dog"] * 6
    table = Table(pa.table({"picture": cells, "y": truth}), {"picture": "image", "y": "category"})
    said = ["dog"] * 12

    view = confused(table, np.arange(12.0), ["y"], lambda rows: {"prediction": said[: len(rows)]})
    assert view is not None and view.kind == "pictures" and len(view.data["rows"]) == 1
    row = view.data["rows"][0]
    assert row["title"].startswith("<b>cat</b>") and len(row["sources"]) == 5
    drawn = str(plots.picture(view.kind, {"rows": [*view.data["rows"], {"title": "x", "sources": ["javascript:alert(1)"]}]}, view.title))
    assert drawn.count("<img") == 5 and "<b>" not in drawn and "javascript" not in drawn
    assert confused(table, np.zeros(12), ["y"], lambda rows: {"prediction": said[: len(rows)]}) is None
    assert confused(table, np.arange(12.0), ["y"], None) is None


@pytest.mark.parametrize("tongue", ["en", "zh"])
def test_page_is_whole_safe_and_bilingual(card: dict[str, Any], tongue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", tongue)
    text = html.render(card)
    page = _Page()
    page.feed(text)
    assert "default-src 'none'" in text and "script" not in page.tags and not page.handlers
    assert (
        all(link.startswith("data:") for link in page.links)
        and "<script>alert" not in text
        and "49" not in re.findall(r"alert\(1\).{0,40}", text)[0]
    )
    assert "url(" not in text and "@import" not in text and page.tags.count("svg") > 20
    assert ("简单" in text or "无法" in text) if tongue == "zh" else "95 % interval" in text


def test_model_card_keeps_user_text_in_its_place(card: dict[str, Any]) -> None:
    text = model_card(card, "runs/clinic")
    assert "<script>" not in text and "duomo serve runs/clinic" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_compare_is_paired_and_refuses_other_rows(clinic: tuple[Table, Table], card: dict[str, Any]) -> None:
    train, test = clinic
    whole, part = Logistic(), Logistic(slice(0, 1))
    whole.fit(train)
    part.fit(train)
    found = compare.compare(card, card, whole.evidence(test), part.evidence(test), Binary(Config()))
    assert found["outcome"] == "lost" and found["metrics"]["accuracy"]["difference"]["high"] < 0
    assert compare.sentence(found)
    with pytest.raises(RunError):
        compare.compare(card, card | {"test": {"rows": 1, "digest": ""}}, whole.evidence(test), part.evidence(test), Binary(Config()))


def test_an_audit_is_drawn_and_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "en")
    columns = [
        {"name": HOSTILE, "kind": "number", "reason": HOSTILE, "missing": 3, "distinct": 9,
         "chart": {"kind": "histogram", "edges": [0.0, 1.0, 2.0], "values": [1, 8], "x_label": "x"}},
        {"name": "ward", "kind": "category", "reason": "few", "missing": 0, "distinct": 2,
         "chart": {"kind": "bars", "labels": ["north", HOSTILE], "values": [3, 1]}},
        {"name": "empty", "kind": "text", "reason": "", "missing": 4, "distinct": 0, "chart": {}},
    ]  # fmt: skip
    finding = {"severity": "error", "sentence": HOSTILE, "rows": list(range(30)), "remedy": "Fix it."}
    proposal = {"task": "classify", "target": ["ward"], "how": "stratified"}
    audit = {"name": "clinic", "rows": 40, "sampled": 20, "columns": columns, "findings": [finding], "proposal": proposal}
    inspect.write(audit, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert "script" not in page.tags and not page.handlers and not page.links and page.tags.count("svg") == 2
    assert "One thing must be fixed first" in text and "20 of them" in text
    inspect.show(audit, Silent())
    assert inspect.blocks([0, 1, 8]) == " ▁█" and len(inspect.blocks(range(100))) <= 16
    assert inspect.sketch(columns[1]) == "█▃ north 75%"
    monkeypatch.setenv("DUOMO_LANG", "zh")
    inspect.write(audit, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "分层" in text and "stratified" not in text


def test_what_is_alike_is_told_of_a_few(card: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "en")
    columns = [{"name": f"gene {place}", "kind": "number", "missing": 0, "distinct": 9, "chart": {}} for place in range(300)]
    said = [{"severity": "warning", "code": "id", "sentence": f"Column 'gene {place}' has {place * 7:,} odd cells.", "rows": [place],
             "remedy": f"--kind gene_{place}=category keeps them."} for place in range(300)]  # fmt: skip
    other = {"severity": "note", "code": "languages", "sentence": "The texts of 'gene 3' are in: en 100%."}
    audit = {"name": "lab", "rows": 40, "columns": columns, "target": "gene 299", "findings": [*said, other], "proposal": {}}
    shown = _Shown()
    inspect.show(audit, shown)
    assert len(shown.rows) == 41 and shown.rows[-1][0] == "gene 299" and "259 more columns are not shown." in shown.said
    assert len(shown.said) == 8 and "… and 295 more like these." in shown.said and "· The texts of 'gene 3' are in: en 100%." in shown.said
    shown, figures = _Shown(), card["results"][0]["metrics"]
    many = {f"target {place}.{name}": figure for place in range(90) for name, figure in figures.items()}
    scorecard.show(card | {"results": [one | {"metrics": one["metrics"] | many} for one in card["results"]]}, shown)
    assert len(shown.rows) == 30 and f"{len(figures) * 91 - 30} more figures are on the scorecard's page." in shown.said


class _Shown(Silent):
    """Keeps the rows of the last table as well."""

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.rows = rows


def test_show_and_numbers(card: dict[str, Any]) -> None:
    scorecard.show(card, Silent())
    assert scorecard.number(0.98765, 0.002) == "0.9877" and scorecard.number(12345.6) == "12,346" and scorecard.number(None) == "—"
    assert plots.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0] and plots.short("一二三四五", 6) == "一二三…"
