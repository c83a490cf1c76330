"""Classification beyond the conformance suite: metrics against scikit-learn, several targets, lists, odd targets."""

import io
import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from sklearn import metrics
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from torch.nn import functional

from duomo.core.errors import DataError
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Dense
from duomo.data.baselines.hog import histograms
from duomo.data.targets import separator_of
from duomo.tasks.classify.baselines import _logistic
from duomo.tasks.classify.labels import MISSING, UNSEEN, Labels
from duomo.tasks.classify.measures import SURE, average_precision, fit_temperature, one_target
from duomo.tasks.classify.task import Config, Main


def wine(**targets) -> Table:
    found = load_wine()
    names = [name.replace("/", "_") for name in found.feature_names]
    columns = {name: found.data[:, c] for c, name in enumerate(names)}
    table = pa.table({**columns, **(targets or {"kind": found.target})})
    return Table(table, {**dict.fromkeys(names, "number"), **dict.fromkeys(targets or ["kind"], "category")})


def made(table: Table, *target: str, **options) -> Main:
    task = Main(Config(target=target, **options))
    task.fit(table)
    return task


def test_lists_written_as_json_are_lists_of_labels():
    """What JSON Lines, rows of Python and frames with lists in their cells become."""
    random = np.random.default_rng(0)
    lists = [sorted(random.choice(["art", "law", "sea"], random.integers(0, 3), replace=False).tolist()) for _ in range(80)]
    cells = [json.dumps(cell) for cell in lists[:-1]] + [None]
    table = Table(pa.table({"x": np.arange(80.0), "topics": pa.array(cells, pa.large_string())}), {"x": "number", "topics": "category"})
    task = made(table, "topics")
    assert task.labels.classes == [["art", "law", "sea"]] and task.labels.lists
    target, unseen = task.labels.encode(table)
    assert target[:-1].tolist() == [[int(name in cell) for name in ("art", "law", "sea")] for cell in lists[:-1]]
    assert (target[-1] == MISSING).all() and unseen is not None and not unseen.any()
    kept, said = task.usable(table)
    assert kept[:-1].all() and not kept[-1] and "1 of 80 rows has no" in said[0], (
        "an empty list is none of the labels, an empty cell unknown"
    )
    again = Labels(("topics",), "", "")
    again.restore(task.labels.state())
    one = Table(table.data.slice(0, 1).set_column(1, "topics", pa.array(['["sea", "ice"]'], pa.large_string())), table.kinds)
    assert again.encode(one)[0].tolist() == [[0, 0, 1]] and again.encode(one)[1].tolist() == [1]


def test_of_long_texts_the_beginning_is_read_and_that_is_said():
    """Where so many are cut that the usual room for 98 % does not hold them; as long as that room is none."""
    for tail, count in ((" and more" * 20, 12), ("", 0)):
        texts = [f"one text {number % 2}{tail * (number < 12)}" for number in range(60)]
        table = Table(pa.table({"text": texts, "kind": ["a", "b"] * 30}), {"text": "text", "kind": "category"})
        task = made(table, "kind", encode=EncodeConfig(tokenizer="characters", most_text=30))
        said = task.half_read(table, task.encode(table, target=True))
        assert len(said) == bool(count) and all(f"{count} of 60 texts have more than 30 tokens in column 'text'" in line for line in said)


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_metrics_agree_with_scikit_learn(classes):
    random = np.random.default_rng(classes)
    target = random.integers(0, classes, 400)
    p = random.dirichlet(np.ones(classes), 400).astype(np.float32)
    p[np.arange(400), target] += 0.2
    p = np.round(p / p.sum(1, keepdims=True), 2) + 1e-4
    p = (p / p.sum(1, keepdims=True)).astype(np.float32)
    found = one_target(p, target)
    chosen = p.argmax(1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(target, chosen))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(target, chosen, average="macro"))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(target, p.astype(float)), rel=1e-4)
    each = [metrics.roc_auc_score(target == c, p[:, c]) for c in range(classes)]
    assert found["auc"] == pytest.approx(each[1] if classes == 2 else np.mean(each))
    if classes > 10:
        assert found["top_5"] == pytest.approx(metrics.top_k_accuracy_score(target, p, k=5), abs=0.02)
    assert average_precision(p[:, 0], target == 0) == pytest.approx(metrics.average_precision_score(target == 0, p[:, 0]))


def test_temperature_undoes_a_known_one():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 3))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target = np.array([random.choice(3, p=row) for row in true])
    sharp = np.exp(logits * 3)
    assert fit_temperature((sharp / sharp.sum(1, keepdims=True)).astype(np.float32), target, False) == pytest.approx(3, rel=0.1)
    assert fit_temperature(np.eye(3)[[0] * 5], np.zeros(5, np.int64), False) == pytest.approx(
        np.exp(SURE)
    )  # all right, and yet no more sure


def test_unseen_counts_as_wrong_and_missing_not_at_all():
    table = wine()
    task = made(table, "kind")
    cells = table.column("kind").to_pylist()
    cells[0], cells[1] = 7, None
    changed = Table(table.data.set_column(table.names.index("kind"), "kind", [pa.array(cells)]), table.kinds)
    target, _ = task.labels.encode(changed)
    assert target[0] == UNSEEN and target[1] == MISSING
    sure = np.eye(3, dtype=np.float32)[np.maximum(target, 0)]
    assert task.measure({"probabilities": sure, "target": target})["accuracy"] == pytest.approx(1 - 1 / 177)
    mask, sentences = task.usable(changed)
    assert not mask[1] and mask.sum() == 177 and "1 of 178" in sentences[0]


def test_one_spelling_of_a_label_is_as_good_as_another():
    as_numbers, as_text, as_floats = (
        Labels(["kind"], "", ""),
        wine(kind=[str(k) for k in load_wine().target]),
        wine(kind=load_wine().target * 1.0),
    )
    as_numbers.fit(wine())
    assert as_numbers.classes == [[0, 1, 2]]
    for other in (as_text, as_floats):
        assert np.array_equal(as_numbers.encode(other)[0], load_wine().target)


def test_a_target_that_cannot_be_learned():
    rows = len(load_wine().target)
    with pytest.raises(DataError, match="two classes"):
        made(wine(kind=["a"] * rows), "kind")
    with pytest.raises(DataError, match="several rows"):
        made(wine(kind=[f"case {row}" for row in range(rows)]), "kind")
    with pytest.raises(DataError, match="empty in all rows"):
        made(wine(), "kind").usable(wine(kind=pa.nulls(rows, pa.string())))
    with pytest.raises(DataError, match="Did you mean 'kind'"):
        made(wine(), "knd")


def test_several_targets_have_a_head_each():
    kind = load_wine().target
    table = wine(kind=kind, strong=np.where(load_wine().data[:, 0] > 13, "yes", "no"), tint=kind // 2)
    task = made(table, "kind", "strong", "tint")
    assert task.head.parts == (3, 2, 2) and task.head.size == 7
    batch = task.encode(table, target=True).batch(np.arange(len(table)))
    logits = torch.randn(len(table), 7)
    total, count = task.loss(logits, batch)
    by_hand = sum(
        functional.cross_entropy(part, batch["target.value"][:, k], reduction="sum") for k, part in enumerate(logits.split([3, 2, 2], 1))
    )
    assert float(total) == pytest.approx(float(by_hand), rel=1e-5) and int(count) == 3 * len(table)
    measured = task.measure(task.evidence(logits, batch))
    assert {"accuracy", "kind.accuracy", "strong.auc"} <= set(measured)
    assert set(task.answer(lambda _: logits, batch)["prediction"][0]) == {"kind", "strong", "tint"}


def test_of_several_targets_the_curve_is_the_mean_of_those_that_have_one():
    """The test holds one class of a rare target, and no row of another: what tells the model's worth is there all the same."""
    of_rare, rows = np.where(np.arange(178) < 12, "rare", "often"), np.arange(20, 178)
    table = wine(one=of_rare, other=np.where(load_wine().data[:, 0] > 13, "yes", "no"), last=pa.array([*of_rare[:20], *[None] * 158]))
    task = made(table, "one", "other", "last")
    batch = task.encode(table.take(rows), target=True).batch(np.arange(len(rows)))
    measured = task.measure(task.evidence(torch.randn(len(rows), 6), batch))
    assert "one.auc" not in measured and measured["auc"] == measured["other.auc"]
    assert measured["accuracy"] == pytest.approx((measured["one.accuracy"] + measured["other.accuracy"]) / 2)


def test_lists_of_classes():
    kind = load_wine().target
    cells = [";".join(["red", "dry", "old"][: k + 1]) for k in kind]
    table = wine(kind=cells)
    task = made(table, "kind")
    assert task.labels.lists and task.labels.classes == [["dry", "old", "red"]]
    batch = task.encode(table, target=True).batch(np.arange(len(table)))
    sure = torch.where(batch["target.value"] == 1, 9.0, -9.0)
    measured = task.measure(task.evidence(sure, batch))
    assert measured["subset_accuracy"] == measured["micro_f1"] == measured["mean_ap"] == 1.0
    assert sorted(task.answer(lambda _: sure, batch)["prediction"][0]) == sorted(cells[0].split(";"))
    zero_one = made(wine(a=kind % 2, b=kind // 2), "a", "b")
    assert zero_one.labels.lists and zero_one.labels.classes == [["a", "b"]]


def test_weights_mixing_and_ensembles():
    table = wine()
    task = made(table, "kind", class_weights="balanced")
    batch = task.encode(table, target=True).batch(np.arange(len(table)))
    logits = torch.randn(len(table), 3)
    count = np.bincount(load_wine().target)
    by_hand = functional.cross_entropy(
        logits, batch["target.value"], torch.tensor(len(table) / (3 * count), dtype=torch.float32), reduction="sum"
    )
    assert float(task.loss(logits, batch)[0]) == pytest.approx(float(by_hand), rel=1e-5)
    ensemble = logits.unsqueeze(1).expand(-1, 4, -1)
    assert float(task.loss(ensemble, batch)[0]) == pytest.approx(float(by_hand), rel=1e-5)
    turned = {**batch, "mix.rows": torch.arange(len(table)).flip(0), "mix.share": torch.zeros(len(table))}
    other = {**batch, "target.value": batch["target.value"].flip(0)}
    assert float(task.loss(ensemble, turned)[0]) == pytest.approx(float(task.loss(logits, other)[0]), rel=1e-5)


def test_skew_changes_the_metric():
    kind = load_wine().target
    assert made(wine(), "kind").metric.name == "accuracy"
    rare = np.where(np.arange(len(kind)) < 20, "rare", "often")
    assert made(wine(kind=rare), "kind").metric.name == "auc"
    several = {"kind": rare, "other": rare[::-1], "third": np.where(kind > 0, "yes", "no")}
    assert made(wine(**several), "kind", "other", "third").metric.name == "auc"
    assert made(wine(kind=rare, other=several["third"], third=several["third"]), "kind", "other", "third").metric.name == "accuracy"


def test_names_that_say_nothing_do_not_weaken_the_baseline():
    rng, rows = np.random.default_rng(0), 3000
    score = rng.normal(size=2 * rows)
    late = np.where(score + rng.normal(size=2 * rows) > 2.7, "late", "in time")
    names = {column: [f"{column}{number}" for number in rng.integers(0, 250, 2 * rows)] for column in ("first", "last")}
    table = Table(pa.table({"score": score, "late": late, **names}), {"score": "number"} | dict.fromkeys(("late", *names), "category"))
    task = made(table.take(np.arange(rows)), "late")
    trees = next(one for one in task.baselines() if one.name == "gradient-boosted trees")
    trees.fit(table.take(np.arange(rows)))
    assert task.measure(trees.evidence(table.take(np.arange(rows, 2 * rows))))["log_loss"] < 0.125


def test_the_classical_baselines_are_strong():
    found = load_breast_cancer()
    columns = {name: found.data[:, c] for c, name in enumerate(found.feature_names)}
    table = Table(pa.table({**columns, "found": found.target}), dict.fromkeys(columns, "number") | {"found": "category"})
    order = np.random.default_rng(0).permutation(len(table))
    train, test = table.take(order[:400]), table.take(order[400:])
    task = made(train, "found")
    scores = {}
    for baseline in task.baselines():
        baseline.fit(train)
        scores[baseline.name] = task.measure(baseline.evidence(test))["auc"]
    assert scores["most frequent class"] == 0.5
    assert scores["gradient-boosted trees"] > 0.98 and scores["logistic regression"] > 0.985


def test_an_empty_list_of_labels_is_learned_and_an_unknown_one_is_not():
    kind = load_wine().target
    cells = ["" if k == 0 else "NA" if place % 10 == 0 else ";".join(["red", "dry"][:k]) for place, k in enumerate(kind)]
    table = wine(kind=cells)
    task = made(table, "kind")
    mask, sentences = task.usable(table)
    assert mask.tolist() == [cell != "NA" for cell in cells]
    assert len(sentences) == 2 and f"{cells.count('')} of {len(cells)} rows have an empty 'kind'" in sentences[1]
    target = task.encode(table, target=True).batch(np.arange(len(table)))["target.value"]
    assert task.labels.classes == [["dry", "red"]]
    assert all(target[row].tolist() == [0, 0] for row, cell in enumerate(cells) if cell == "")
    assert all((target[row] < 0).all() for row, cell in enumerate(cells) if cell == "NA")
    assert task.answer(lambda _: torch.full((1, 2), -9.0), {})["prediction"] == [[]]


def test_pictures_are_compared_by_their_gradients():
    found = load_digits()
    cells = []
    for picture in found.images[:900]:
        body = io.BytesIO()
        Image.fromarray((picture * 15).astype(np.uint8)).save(body, "PNG")
        cells.append(body.getvalue())
    table = Table(pa.table({"picture": cells, "kind": found.target[:900]}), {"picture": "image", "kind": "category"})
    train, test = table.take(np.arange(600)), table.take(np.arange(600, 900))
    task = made(train, "kind")
    scores = {}
    for baseline in task.baselines():
        baseline.fit(train)
        measured = task.measure(baseline.evidence(test))
        scores[baseline.name] = measured["accuracy"]
        assert measured["top_5"] >= measured["accuracy"]
    assert list(scores)[1:] == ["logistic regression", "logistic regression on gradients", "nearest neighbours by gradients"]
    assert all(score > 0.87 for score in list(scores.values())[1:]), scores
    turned = histograms(Dense(torch.from_numpy(found.images[:4, None]).float().transpose(2, 3)))
    assert turned.shape == (4, 4 * 4 * 36) and not np.allclose(turned, histograms(Dense(torch.from_numpy(found.images[:4, None]).float())))


@pytest.mark.parametrize(("cells", "sign"), [
    (["Drama, War", "War, Comedy", "Drama", "Comedy", "Drama, Comedy", "War, Drama, Comedy"], ","), (["a|b", "b", "a"], "|"),
    (['["a", "b"]', "[]", '["b"]'], "[]"), (["['a', 'b']", "[]", "['b']"], "[]"), (["[a]", "[b]"], ""),
    (["动作、喜剧", "喜剧", "动作"], "、"), (["动作；喜剧", "喜剧", "动作"], "；"),
    (["动作，战争", "战争，喜剧", "动作", "喜剧", "动作，喜剧", "战争，动作，喜剧"], "，"), (["a/b", "b/c", "a", "c", "a/c", "b/a/c"], "/"),
    (["km/h", "m/s", "km/h", "m/s"], ""), (["2/1", "1/1", "0/3", "3/0", "1/2", "3/2"], ""), (["1/2", "3/4", "1", "2", "1/3"], ""),
    (["A/G", "A/A", "G/G", "A", "G/A"], ""), (["a/b", "b/c", "c/a", "b/a"], ""),
    (["a,b", "a", "b", "b,c", "c"], ","), (["紧急，投诉", "紧急", "投诉"], "，"), (["1,5", "1", "5", "5,1"], ""),
    (["Portland, OR", "Austin, TX", "Salem, OR", "Dallas, TX"], ""), (["yes, strongly", "no, never", "yes, a bit", "maybe"], ""),
])  # fmt: skip
def test_commas_divide_labels_that_are_met_in_many_combinations(cells: list[str], sign: str) -> None:
    assert separator_of(pa.chunked_array([cells * 9])) == sign


def test_many_classes_take_more_epochs():
    row_N = np.arange(480)
    columns = {"x": row_N % 7 + 0.5, "y": [f"class {row % 12}" for row in row_N], "z": row_N % 2}
    table = Table(pa.table(columns), {"x": "number", "y": "category", "z": "category"})
    assert [Main(Config(target=(name,))).suggest(table).longer for name in ("y", "z")] == [3.0, 1.0]


def test_very_many_columns_get_a_network_of_their_size():
    names = [f"gene{place}" for place in range(500)]
    columns = {name: np.random.default_rng(place).normal(size=40) for place, name in enumerate(names)}
    table = Table(pa.table({**columns, "y": ["a", "b"] * 20}), {**dict.fromkeys(names, "number"), "y": "category"})
    assert Main(Config(target=("y",))).suggest(table).recipe == "table-wide"
    assert Main(Config(target=("y",), ignore=("gene0",))).suggest(table).recipe == "table-small"


def test_the_strength_of_a_line_on_texts_is_chosen_without_a_copy_of_them() -> None:
    """The rows held out count nothing where they lie; a copy of the others would be as large as all."""
    from scipy import sparse

    rng = np.random.default_rng(0)
    told = sparse.random(4000, 3000, density=0.01, format="csr", random_state=0)
    target = (np.asarray(told[:, :50].sum(axis=1)).ravel() + 0.2 * rng.normal(size=4000) > 0.25).astype(np.int64)
    _logistic(told[:100], target[:100])  # what is imported for the first one
    tracemalloc.start()
    model = _logistic(told, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * (told.data.nbytes + told.indices.nbytes), peak
    assert model.score(told, target) > 0.9


def test_a_class_that_is_met_once_does_not_keep_the_line_weak() -> None:
    """Its strength is chosen by the others; all classes are learned then."""
    target = np.append(np.arange(120) % 6, 6)
    x_NF = np.random.default_rng(0).normal(size=(121, 3)) + np.eye(7)[target] @ np.random.default_rng(1).normal(size=(7, 3)) * 4
    with_it, without = _logistic(x_NF, target), _logistic(x_NF[:120], target[:120])
    assert with_it.C == without.C > 0.01 and len(with_it.classes_) == 7
    twos = np.arange(60) // 2
    assert len(_logistic(x_NF[:60], twos).classes_) == 30
