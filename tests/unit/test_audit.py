"""Bar D2: planted flaws are found, all of them; almost nothing else is."""

import json
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from duomo import pipeline
from duomo.core.kinds import infer
from duomo.core.table import Table
from duomo.data.audit import Audit, audit, near_rows
from duomo.data.digests import row_digests
from duomo.data.leaks import leak_scores, suspects
from duomo.data.near_duplicates import near_texts
from duomo.data.profile import _alike
from duomo.data.sources import read
from duomo.data.targets import guess_target
from duomo.evaluate import slices


def cancer() -> pd.DataFrame:
    frame = load_breast_cancer(as_frame=True).frame
    return frame.assign(target=np.where(frame["target"], "benign", "malignant"))


def audit_of(frame: pd.DataFrame, target: str = "target") -> Audit:
    return audit(infer(read(frame), {}), target)


def test_series_written_as_text_are_told_like_lists() -> None:
    series = [[0.5 * row] * (1 + row % 7) for row in range(60)]
    frames = [pd.DataFrame({"steps": cells, "y": ["a", "b"] * 30}) for cells in (series, [json.dumps(steps) for steps in series])]
    tables = [infer(read(frame), {}) for frame in frames]
    lists, texts = (audit(table, "y").columns[0] for table in tables)
    assert (texts.kind, texts.facts, texts.chart) == ("series", lists.facts, lists.chart)
    told, untold = ([cut.values for cut in slices._cuts(table, "steps")] for table in tables)
    assert told == untold != []


def codes(found: Audit) -> set[str]:
    return {finding.code for finding in found.findings}


def test_clean_data_raise_no_alarm() -> None:
    found = audit_of(cancer())
    assert not codes(found) & {
        "leak",
        "duplicates",
        "near_duplicates",
        "conflicts",
        "infinite",
        "bad_cells",
        "one_class",
        "groups",
        "constant",
    }
    assert found.proposal.how == "stratified"
    assert found.balance == {"benign": 357, "malignant": 212}
    json.dumps(found.to_dict(), allow_nan=False)
    column = found.to_dict()["columns"][0]
    assert sum(column["chart"]["values"]) == 569
    assert len(column["chart"]["edges"]) == len(column["chart"]["values"]) + 1


@pytest.mark.parametrize("as_text", [False, True])
def test_planted_flaws_are_found(as_text: bool) -> None:
    frame = cancer()
    frame.iloc[17, 3], frame.iloc[200, 4], frame.iloc[5, 5] = np.nan, np.inf, -np.inf
    frame = pd.concat([frame, frame.iloc[[0, 8, 9]], frame.iloc[[20]].assign(target="malignant")], ignore_index=True)
    frame["empty"], frame["same"], frame["id"] = None, 1, np.arange(len(frame))
    if as_text:
        frame = frame.astype(object).map(lambda cell: None if cell is None else str(cell))
    found = audit_of(frame)
    names = list(frame.columns)
    assert [(f.columns, f.rows) for f in found.of("missing")] == [((names[3],), (17,))]
    assert {(f.columns[0], f.rows[0]) for f in found.of("infinite")} == {(names[4], 200), (names[5], 5)}
    assert found.of("duplicates")[0].rows == (569, 570, 571)
    assert set(found.of("conflicts")[0].rows) == {20, 572}
    assert found.of("all_missing")[0].columns == ("empty",)
    assert [f.columns for f in found.of("constant")] == [("same",)]
    assert ("id",) in [f.columns for f in found.of("id")]


def test_bad_cells_and_one_class() -> None:
    frame = cancer().astype(object)
    frame.iloc[30, 2] = "about twelve"
    found = audit_of(frame.astype(str))
    assert found.of("bad_cells")[0].rows == (30,)
    assert audit_of(frame.assign(target="benign")).of("one_class")[0].severity == "error"
    assert audit_of(frame.iloc[:20]).of("few_rows")
    assert audit_of(frame.assign(target=[None, *frame["target"][1:]])).of("target_missing")[0].rows == (0,)


@pytest.mark.parametrize("leak", ["code", "number", "noisy", "flag"])
def test_a_leak_is_found_and_nothing_else(leak: str) -> None:
    frame, rng = cancer(), np.random.default_rng(0)
    sick = (frame["target"] == "malignant").to_numpy()
    frame["leak"] = {
        "code": np.where(sick, rng.choice(["C50", "C51"], len(frame)), rng.choice(["D24", "D25"], len(frame))),
        "number": sick * 1.0 + rng.normal(0, 0.05, len(frame)),
        "noisy": np.where(rng.random(len(frame)) < 0.003, ~sick, sick).astype(int),
        "flag": np.where(sick, rng.normal(size=len(frame)), np.nan),
    }[leak]
    found = audit_of(frame)
    assert [finding.columns[0] for finding in found.of("leak")] == ["leak"]


def test_a_leak_of_a_number_is_found() -> None:
    frame = load_diabetes(as_frame=True).frame
    assert not audit_of(frame).of("leak")
    assert [f.columns[0] for f in audit_of(frame.assign(leak=frame["target"] ** 2 + 3)).of("leak")] == ["leak"]


def test_neither_the_order_of_rows_nor_what_splits_them_is_a_leak() -> None:
    """A target of one value, and one that is the same for all rows of a person, by whom the rows are split."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"patient": np.arange(200) // 5, "size": rng.normal(size=200), "age": rng.integers(20, 80, 200)})
    assert not audit_of(frame.assign(row=np.arange(200) * 1.5, target=7)).of("leak")
    found = audit_of(frame.assign(target=np.where(frame["patient"] * 7 % 3 > 1, "sick", "well")))
    assert found.proposal.group == "patient" and not found.of("leak")


def test_a_number_above_all_that_were_fitted_is_judged_as_the_largest() -> None:
    frame = pd.DataFrame({"leak": np.arange(80) * 3, "size": np.random.default_rng(1).normal(size=80)})
    table = infer(read(frame.assign(target=np.where(frame["leak"] > 180, "y", "n"))), {"leak": "number"})
    scores = leak_scores(table, "target", np.arange(80, dtype=np.uint64) << np.uint64(17))  # of two rows the second is held back
    assert scores["leak"] == 1 and scores["size"] < 0.5


def test_a_column_of_one_value_is_proposed_only_where_its_name_says_so() -> None:
    frame = pd.DataFrame({"size": np.random.default_rng(0).normal(size=30), "one": 1.0})
    assert guess_target(infer(read(frame), {}))[0] == "size"
    assert guess_target(infer(read(frame.assign(label=2, outcome=[1, 2, 3] * 10)), {}))[0] == "outcome"
    assert guess_target(infer(read(frame.assign(label=2)), {}))[0] == "label", "so that it is told why nothing can be learned"


def test_several_labels_in_a_cell_are_counted_one_by_one() -> None:
    random = np.random.default_rng(0)
    cells = [random.choice(["art", "law", "sea"], random.integers(1, 4), replace=False).tolist() for _ in range(300)] + [["war"]] * 3
    frame = pd.DataFrame({"x": np.arange(303) * 1.5, "topics": ["; ".join(cell) for cell in cells]})
    for made in (frame, frame.assign(topics=cells)):
        found = audit_of(made, "topics")
        assert found.balance == {name: sum(name in cell for cell in cells) for name in found.balance} and len(found.balance) == 4
        assert "of 4" in found.of("labels")[0].sentence and "war" in found.of("rare_classes")[0].sentence
    assert not audit_of(frame.assign(topics=[cell[0] for cell in cells]), "topics").of("labels")


def test_groups_times_and_shared_rows() -> None:
    frame = cancer()
    frame["patient_id"] = [f"P{number // 4}" for number in range(len(frame))]
    found = audit_of(frame)
    assert found.proposal.how == "group"
    assert found.proposal.group == "patient_id"
    frame = cancer().assign(date=pd.date_range("2021-01-01", periods=569).strftime("%Y-%m-%d"))
    found = audit_of(frame)
    assert found.proposal.time == "date" and "--time" not in found.of("times")[0].remedy  # no advice to do what is done
    frame = cancer().assign(birth_date=pd.date_range("1921-01-01", periods=569).strftime("%Y-%m-%d"))
    assert audit_of(frame).proposal.how == "stratified"
    whole = infer(read(cancer()), {})
    shared = audit(whole.take(np.arange(400)), "target", test=whole.take(np.arange(390, 569)))
    assert "10 of 179" in shared.of("shared_rows")[0].sentence
    assert not audit(whole.take(np.arange(400)), "target", test=whole.take(np.arange(400, 569))).of("shared_rows")


def test_counts_flags_sorts_and_popular_names_are_no_groups() -> None:
    """Names of persons are refuted by what the cells hold: counts, yes and no, a few sorts, first names that many bear."""
    rng = np.random.default_rng(0)
    frame = cancer().assign(num_open_accounts=rng.poisson(9, 569), volunteer=rng.integers(0, 2, 569))
    frame["payor_group"] = rng.choice(["charity", "medicare", "self pay", "private", "government", "other"], 569)
    frame["animal_name"] = [f"Pet{number}" for number in np.minimum(rng.zipf(1.5, 569), 10_000)]
    frame["place"], frame["coat"] = rng.choice(list("abcdefgh"), 569), rng.choice(["short", "long"], 569)
    found = audit_of(frame)
    assert found.proposal.how == "stratified" and not found.of("groups") and not found.of("few_groups")
    names = frame.animal_name
    frame["place"] = [str(len(name) * 7 + ord(name[-1])) for name in names]  # one name, one place: the same animal again
    assert audit_of(frame).proposal.group == "animal_name"
    frame = cancer().assign(group=np.arange(569) // 40, users=[f"u{number // 4}" for number in range(569)])
    assert audit_of(frame).proposal.group == "users" and len(audit_of(frame).of("groups")) == 2


def sentences(count: int, rng: np.random.Generator) -> list[str]:
    """Unlike texts of real words: the field names and descriptions that scikit-learn ships, drawn at random."""
    words = sorted(
        {
            word.lower()
            for data in (load_breast_cancer(), load_wine(), load_diabetes(), load_iris())
            for word in data.DESCR.split()
            if word.isalpha()
        }
    )
    return [" ".join(rng.choice(words, rng.integers(12, 40))) for _ in range(count)]


def test_near_duplicate_texts() -> None:
    rng = np.random.default_rng(0)
    texts = sentences(3000, rng)
    planted = []
    for row in range(200):
        words = texts[row].split()
        match row % 4:
            case 0:
                words[rng.integers(len(words))] = "otherwise"
            case 1:
                words = [word.upper() for word in words]
            case 2:
                del words[rng.integers(len(words))]
            case 3:
                place = rng.integers(len(words))
                words[place] = words[place][::-1] + "!"
        planted.append(" ".join(words))
    pairs = near_texts(pa.chunked_array([pa.array(texts + planted, pa.large_string())]))
    found = {(int(a), int(b)) for a, b in pairs}
    hit = sum((row, 3000 + row) in found for row in range(200))
    false = {row for pair in found if pair[1] - pair[0] != 3000 for row in pair}
    assert hit >= 190, hit
    assert len(false) <= 0.01 * len(texts), len(false)


def test_near_duplicate_rows() -> None:
    frame = cancer()
    spread = frame.std(numeric_only=True)
    copies = frame.iloc[:100].copy()
    copies.iloc[:, :30] += np.random.default_rng(0).uniform(-0.002, 0.002, (100, 30)) * spread.to_numpy()
    pairs = near_rows(infer(read(pd.concat([frame, copies])), {}), list(frame.columns[:30]))
    found = {(int(a), int(b)) for a, b in pairs}
    assert sum((row, 569 + row) in found for row in range(100)) >= 95
    assert sum(b - a != 569 for a, b in found) <= 5
    assert not len(near_rows(infer(read(frame), {}), list(frame.columns[:30])))
    iris = load_iris(as_frame=True).frame
    assert near_rows(infer(read(iris), {}), list(iris.columns[:4])).tolist() == [[101, 142]]  # equal to the last digit


def test_a_column_that_is_nearly_one_of_numbers_is_told() -> None:
    cells = [f"{row / 7:.2f}" if row % 5 else "see note" for row in range(200)]
    found = [
        one for one in audit(infer(read({"v": cells, "y": [row % 2 for row in range(200)]}), {}), "y").findings if one.columns == ("v",)
    ]
    told = next(one for one in found if one.code == "nearly_numbers")
    assert "80%" in told.sentence and "'see note'" in told.sentence and "--kind v=number" in told.remedy


def test_a_long_tail_of_the_target_is_told() -> None:
    tail, even = np.exp(np.random.default_rng(0).normal(0, 1.5, 300)), np.random.default_rng(0).uniform(1, 9, 300)
    for values, told in ((tail, True), (even, False), (tail - 1, False)):
        found = audit(infer(read({"x": np.arange(300) * 0.5, "price": values}), {}), "price").findings
        assert ("tail" in [one.code for one in found]) is told


def test_a_number_that_stands_for_no_value_is_told() -> None:
    values = np.random.default_rng(0).normal(20, 3, 300)
    for number, told in ((-9999, True), (999, True), (20, False), (99, True)):
        found = audit(
            infer(read({"temperature": np.where(np.arange(300) % 10, values, number), "y": np.arange(300) % 2}), {}), "y"
        ).findings
        assert ("stand_in" in [one.code for one in found]) is told, number
    ages = np.random.default_rng(0).integers(1, 100, 300)
    assert "stand_in" not in [one.code for one in audit(infer(read({"age": ages, "y": np.arange(300) % 2}), {}), "y").findings]


def test_the_last_number_is_the_target_where_rows_are_dated_and_not_written() -> None:
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d").tolist()
    rows = {"day": days, "shop": ["north", "south"] * 30, "sold": [day * 37 % 59 for day in range(60)]}
    told = {"headline": sentences(60, np.random.default_rng(0)), **rows}
    hired = {"hired": [days[row * 37 % 60] for row in range(60)], **{name: cells for name, cells in rows.items() if name != "day"}}
    parts = {"year": [2024] * 60, "month": [1 + row // 28 for row in range(60)], "day": [1 + row % 28 for row in range(60)]}
    again = {"quarter": [f"2024-Q{1 + row * 37 % 60 % 4}" for row in range(60)], "shop": rows["shop"], "sold": rows["sold"]}
    dated = ((rows, "sold"), (again, "sold"), ({**parts, "shop": rows["shop"], "sold": rows["sold"]}, "sold"))
    for frame, target in (*dated, (told, "shop"), (hired, "shop")):
        assert guess_target(infer(read(frame), {}))[0] == target, [*frame]


def test_targets_are_guessed() -> None:
    assert guess_target(infer(read(cancer()), {}))[0] == "target"
    assert guess_target(infer(read(cancer().rename(columns={"target": "Diagnosis"})), {}))[0] == "Diagnosis"
    assert guess_target(infer(read({"text": sentences(50, np.random.default_rng(0))}), {}))[0] == ""
    assert guess_target(infer(read(cancer().rename(columns={"target": "zz"})), {}))[0] == "zz"
    features = [{"type": "Feature", "size": place * 1.5, "kind": "ab"[place % 2]} for place in range(60)]
    assert guess_target(infer(read(features), {}))[0] == "kind", "a word that a format gives every row is no target"
    assert guess_target(infer(read([row | {"type": "Feature"[place % 2 :]} for place, row in enumerate(features)]), {}))[0] == "type"
    chinese = {"是否流失": ["是", "否"] * 30, "得病史": ["有", "无", "无"] * 20, "省份": ["京", "沪", "粤", "川"] * 15}
    assert guess_target(infer(read(chinese), {}))[0] == "是否流失"
    assert (
        guess_target(infer(read({name.replace("得病史", "疾病诊断"): chinese[name] for name in ("得病史", "省份")}), {}))[0] == "疾病诊断"
    )
    numbered = cancer().drop(columns="target").assign(patient_id=[7 * row for row in range(len(cancer()))], year=2001.5)
    assert guess_target(infer(read(numbered), {"patient_id": "number"}))[0] == "worst fractal dimension"


def test_speed() -> None:
    rng = np.random.default_rng(0)
    columns = {f"n{place}": rng.normal(size=10_000).round(6).astype(str) for place in range(16)}
    columns |= {f"c{place}": rng.choice(list("abcde"), 10_000) for place in range(3)}
    table = infer(read({**columns, "label": rng.choice(["yes", "no"], 10_000)}), {})
    start = time.perf_counter()
    audit(table)
    assert time.perf_counter() - start < 3


def test_values_written_in_several_ways_are_told() -> None:
    colours = ["red", "Red", " blue", "blue", "ＡＢ", "ab", "green", "grey"] * 12
    found = audit_of(pd.DataFrame({"colour": colours, "size": ["S", "M", "L", "XL"] * 24, "target": ["Yes", "no", "yes", "no"] * 24}))
    told = {finding.columns[0]: finding.sentence for finding in found.of("alike")}
    assert set(told) == {"colour", "target"} and "'red' = 'Red'" in told["colour"] and "'Yes' = 'yes'" in told["target"]
    assert "green" not in told["colour"] and json.dumps(found.to_dict())


@pytest.mark.parametrize(
    ("values", "groups"), [(["yes", "Y", "0", "no", "TRUE"], [["yes", "Y", "TRUE"], ["0", "no"]]), (["1", "0"], []), (["y", "n", "z"], [])]
)
def test_words_for_yes_and_no_mean_the_same(values: list[str], groups: list[list[str]]) -> None:
    assert _alike(pa.chunked_array([values])) == groups


def test_what_was_settled_is_not_found_again() -> None:
    """A column that is left out has nothing wrong with it; a split that was asked for is the one that is told of."""
    rows = [
        {"patient": f"P{n // 4}", "day": f"2023-{1 + n % 12:02}-{1 + n % 28:02}", "empty": None, "leak": f"L{n % 7 % 2}",
         "age": n * 37 % 60, "outcome": "sick" if n % 7 % 2 else "well"}
        for n in range(400)
    ]  # fmt: skip

    def told(**said: object) -> dict[tuple[str, str], str]:
        found = pipeline.inspect(rows, {"data": {"target": ["outcome"], **said}})
        return {(one["code"], one["columns"][0]): one["remedy"] for one in found["findings"] if one["columns"]}

    plain = told()
    assert {("leak", "leak"), ("all_missing", "empty"), ("groups", "patient"), ("times", "day")} <= set(plain)
    assert "unless another" in plain["groups", "patient"] and "--time day" in plain["times", "day"]
    assert not {("leak", "leak"), ("all_missing", "empty")} & set(told(ignore=["leak", "empty"]))
    dated = told(time="day", ignore=["patient"])
    assert "--group patient" in dated["groups", "patient"] and dated["times", "day"] == "It is split by it."
    by_chance = told(split="random")
    assert "--group patient" in by_chance["groups", "patient"] and "--time day" in by_chance["times", "day"]
    assert pipeline.inspect(rows, {"data": {"target": ["outcome"], "time": "day"}})["proposal"]["how"] == "time"


def test_dates_over_decades_in_no_order_tell_who_and_not_when() -> None:
    rng = np.random.default_rng(0)
    days = np.datetime64("1935-01-01") + rng.integers(0, 25_000, 300)
    frame = pd.DataFrame({"date_nais": days.astype(str), "sexe": rng.choice(["m", "f"], 300), "imc": rng.normal(26, 4, 300).round(1)})
    found = audit(infer(read(frame), {}))
    assert (found.proposal.how, found.target) == ("stratified", "sexe") and not found.of("times")
    ordered = frame.sort_values("date_nais")  # a record of as many years is one
    assert audit(infer(read(ordered), {}), "imc").proposal.time == "date_nais"
    frame["date_nais"] = (np.datetime64("2020-01-01") + rng.integers(0, 900, 300)).astype(str)
    assert audit(infer(read(frame), {}), "imc").proposal.time == "date_nais"


def test_units_and_currencies_that_differ_are_told() -> None:
    rng = np.random.default_rng(0)
    prices = [f"{'€$'[row % 2]}{rng.integers(5, 90)}" for row in range(120)]
    doses = [f"{rng.integers(5, 90)} {['mg', 'ml'][row % 2]}" for row in range(120)]
    found = audit(infer(read({"price": prices, "dose": doses, "fee": [cell.strip("$€") + " €" for cell in prices]}), {}), guess=False)
    told = {finding.columns[0]: finding.sentence for finding in found.of("units")}
    assert "several currencies (€, $)" in told["price"] and "several units (mg, ml)" in told["dose"] and len(told) == 2


def test_what_tells_persons_apart_gives_nothing_away() -> None:
    """Slices of 24 patients, each of an age of his own: not so of a column that does give the finding away."""
    patient = np.repeat(np.arange(24), 10)
    order = np.random.default_rng(0).permutation(24)
    data = {"patient": [f"P{one:02}" for one in patient], "age": order[patient] + 30.0, "slice": np.tile(np.arange(10.0), 24),
            "finding": np.array(["healthy", "lesion"])[patient % 2], "after": np.where(patient % 2, 7.0, 1.0)}  # fmt: skip
    kinds = {"patient": "id", "age": "number", "slice": "number", "finding": "category", "after": "number"}
    table = Table(pa.table({name: list(values) for name, values in data.items()}), kinds)
    assert suspects(leak_scores(table, "finding", row_digests(table, table.names))) == ["after"]


def test_of_few_sites_some_are_held_back() -> None:
    """Whatever five sites are called, what gives the target away is found."""
    site, finding = np.arange(200) % 5, np.arange(200) // 5 % 2
    kinds = {"site": "category", "finding": "category", "after": "number", "noise": "number"}
    for trial in range(20):
        data = {"site": [f"{trial} {one}" for one in site], "finding": [f"f{one}" for one in finding], "after": finding + 1.0,
                "noise": np.random.default_rng(trial).normal(size=200)}  # fmt: skip
        table = Table(pa.table({name: list(values) for name, values in data.items()}), kinds)
        assert suspects(leak_scores(table, "finding", row_digests(table, table.names))) == ["after"]


def test_rows_that_stand_together_by_a_number_are_told() -> None:
    """A query and what it found, with both answers for each number: a split by it is offered, and not where rows are shuffled."""
    rng = np.random.default_rng(0)
    block = np.repeat(rng.permutation(600)[:40] + 5, 20)
    frame = pd.DataFrame({"block_id": block, "x": rng.normal(size=800).round(3), "target": rng.choice(["yes", "no"], 800)})
    found = audit_of(frame)
    assert (
        found.proposal.how == "stratified"
        and "--group block_id" in found.of("gathered")[0].remedy
        and "40 different" in found.of("gathered")[0].sentence
    )
    assert not audit_of(frame.sample(frac=1, random_state=0)).of("gathered") and not audit_of(
        frame.rename(columns={"block_id": "height"})
    ).of("gathered")
