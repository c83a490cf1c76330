"""From people's folders to a judged, enrolled, searched run; intervals that draw people."""

import json

import numpy as np
import pytest
from PIL import Image

import duomo
from duomo.cli import main
from duomo.core import kinds
from duomo.core.contract import CLUSTER
from duomo.core.errors import DataError
from duomo.core.find import make_task
from duomo.core.reporter import Silent
from duomo.data import sources
from duomo.data.folders.whose import whose
from duomo.evaluate.bootstrap import resample
from duomo.evaluate.scorecard import caution, sentence
from duomo.plan import make
from duomo.tasks.identify.measures import cautious, compared, hits, measure, threshold
from duomo.tasks.identify.task import Main
from duomo.tasks.identify.test_task import evidence


def test_resampling_draws_people_and_pairs_no_picture_with_itself():
    task = make_task("identify", {"target": ["label"]})
    given = task.together(evidence())
    twice = {name: np.concatenate([values[:8], values[:8], values[8:12]]) for name, values in given.items()}
    assert len(compared(twice).count_U) == 12 and measure(twice)["auc"] < 1
    drawn = resample(task.measure, {"model": given}, seconds=0.3)["model"]
    assert drawn.rows == 6 and drawn.draws["auc"].std() > 0
    assert np.isnan(hits(compared({"near": np.eye(2, dtype=np.float32), CLUSTER: np.arange(2), "row": np.arange(2)}))).all()


def person(folder, number, pictures, seed=0):
    """A face of blocks that is the person's own, moved and lit anew in each picture."""
    random, own = np.random.default_rng(seed + 100 * number), np.random.default_rng(number)
    blocks = np.kron(own.integers(60, 200, (4, 4)), np.ones((6, 6)))
    (folder / f"p{number}").mkdir(parents=True)
    for place in range(pictures):
        ground = np.full((32, 32), 90.0)
        top, left = random.integers(2, 7, 2)
        ground[top : top + 24, left : left + 24] = blocks
        grey = np.clip(ground * random.uniform(0.8, 1.2) + random.normal(0, 6, ground.shape), 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"p{number}" / f"{place}.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    for number in range(12):
        person(folder / "people", number, 1 if number == 11 else 5)
    (folder / "people" / "p0" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    Image.new("L", (1, 1), 7).save(folder / "people" / "p1" / "dot.png")
    settings = {"data": {"task": "identify"}, "train": {"epochs": 4, "patience": 0}, "encode": {"picture_size": 32}}
    return duomo.train(str(folder / "people"), settings, out=str(folder / "run"))


def test_few_people_are_divided_by_pictures_and_counted_as_people(tmp_path):
    for number in range(4):
        person(tmp_path / "people", number, 8)
    heard, settings = Silent(), {"data": {"task": "identify"}, "train": {"steps": 2, "exact": True}, "encode": {"picture_size": 32}}

    made = make(str(tmp_path / "people"), settings, heard)
    assert any("4 people are too few for a test of strangers" in line for line in heard.said)
    assert set(made.test.column("label").to_pylist()) <= set(made.train.column("label").to_pylist()) and len(made.test) > 2
    card = {"bootstrap": {"rows": 3, "units": "people"}}
    assert caution(card).startswith("The test has only 3 people")


@pytest.mark.parametrize(("counts", "people"), [([4] * 6, 2), ([4] * 5 + [1], 1)])
def test_of_six_people_two_are_the_test_and_a_single_picture_makes_none(tmp_path, counts, people):
    """A test of one person tells nothing; of too few people so many pictures are the test that some are of the same."""
    for number, count in enumerate(counts):
        person(tmp_path / "people", number, count)
    made = make(str(tmp_path / "people"), {"data": {"task": "identify"}, "train": {"steps": 2, "exact": True}}, Silent())
    named = {part: made.task._names(getattr(made, part)).tolist() for part in ("train", "valid", "test")}
    apart = not set(named["train"]) & set(named["test"])
    assert apart == (people == 2) and min(len(set(names)) for names in named.values()) >= 2
    assert all(len(set(names)) < len(names) for names in named.values())


def test_few_strangers_pairs_do_not_show_the_rare_one():
    """Of eight pairs the most alike is no 1 % level; of many it is seen. However they scatter, a person's own pictures still pass."""
    many = np.random.default_rng(0).normal(0.5, 0.1, 4000)
    assert cautious(many, np.ones(4000), 0.01) == threshold(many, np.ones(4000), 0.01) == pytest.approx(0.733, abs=0.02)
    few = many[:8]
    assert threshold(few, np.ones(8), 0.01) < 0.64 < cautious(few, np.ones(8), 0.01) < 0.8
    assert cautious(np.array([0.1, 0.9]), np.ones(2), 0.0) == 0.99


def test_people_stay_apart_and_are_judged(run):
    card = run.scorecard
    assert {"rank_1", "auc", "tpr_1", "tpr_01", "d_prime"} <= set(card["results"][0]["metrics"])
    assert [result["name"] for result in card["results"][1:]] == ["chance", "nearest picture by pixels", "eigenfaces"]
    assert card["bootstrap"]["rows"] >= 2 and card["bootstrap"]["units"] == "people" and "people in the test" in sentence(card["verdict"])
    assert "label" in card["facts"]["split"]
    shown = next(view for view in card["views"] if view["kind"] == "pictures")
    assert shown["data"]["rows"] and len(shown["data"]["rows"][0]["sources"]) > 2
    problems = " ".join(card["facts"]["problems"])
    assert "torn.png" in problems and "There is but one picture of p11 (people: 1)" in problems
    assert card["results"][0]["metrics"]["auc"]["value"] > 0.7


def test_everyone_in_the_data_is_known_to_a_run(run):
    """A picture that was there is known again, whether learned from or judged on; of a person five are kept at most."""
    people = run.path.parent / "people"
    told = duomo.load(run.path).predict([{"image": (people / f"p{number}" / "0.png").read_bytes()} for number in range(12)])
    assert [one["prediction"] for one in told] == [f"p{number}" for number in range(12)]
    known = run.folder.read_json("task.json")["known"]["names"]
    assert set(known) == {f"p{number}" for number in range(12)} and max(map(known.count, known)) <= 5


def test_enrol_search_compare(run, tmp_path, capsys):
    for number in (30, 31):
        person(tmp_path / "office", number, 3)
        person(tmp_path / "later", number, 2, seed=9)
    run = duomo.load(run.path)
    assert main(["enrol", str(run.path), str(tmp_path / "office"), "--out", str(tmp_path / "known")]) == 0
    known = duomo.load(tmp_path / "known")
    told = known.predict(str(tmp_path / "later"))
    assert {one["nearest"] for one in told} <= {"p30", "p31"} and all(one["prediction"] in (one["nearest"], "unknown") for one in told)
    right = [one["nearest"] == name for one, name in zip(told, ["p30"] * 2 + ["p31"] * 2, strict=True)]
    assert np.mean(right) >= 0.5
    capsys.readouterr()
    asked = str(tmp_path / "office" / "p30" / "0.png")
    assert main(["search", str(run.path), str(tmp_path / "office"), asked, "--count", "2", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert first["person"] == "p30" and first["score"] == pytest.approx(1, abs=1e-3) and first["same"]
    assert main(["search", str(run.path), asked, asked]) == 0 and "the same" in capsys.readouterr().out
    assert main(["enrol", str(run.path), str(tmp_path / "office"), "--out", str(run.path)]) == 2


@pytest.mark.parametrize("counts", [[5], [1, 1, 1]])
def test_refuses_nobody_to_tell_apart(tmp_path, counts):
    for number, count in enumerate(counts):
        person(tmp_path / "few", number, count)
    with pytest.raises(DataError):
        make_task("identify", {"target": ["label"]}).usable(sources.read(str(tmp_path / "few")).with_kinds({"label": "category"}, {}))


def test_folders_within_those_of_people_are_not_the_people(tmp_path):
    """person_1/glasses, person_1/plain: there are more people than ways in which they are shown; not so day_1/anna."""
    for outer, inner, told in (("person_{}", "look_{}", "group"), ("day_{}", "anna_{}", "label")):
        for one in range(8 if told == "group" else 2):
            for other in range(2 if told == "group" else 8):
                place = tmp_path / told / outer.format(one) / inner.format("ab"[other] if told == "group" else other)
                place.mkdir(parents=True)
                for number in range(2):
                    Image.new("L", (8, 8), 20 * one + other).save(place / f"{number}.png")
        assert Main.find_target(kinds.infer(sources.read(tmp_path / told), {})) == (told,)


def test_days_are_no_people_however_many_there_are():
    groups = {"label": ["anna", "bob"] * 30, "group": [f"day_{number // 2}" for number in range(60)]}
    assert Main.find_target(kinds.infer(sources.read(groups), {})) == ("label",)
    groups |= {"label": ["glasses", "plain"] * 30, "group": [f"person {number // 2}" for number in range(60)]}
    assert Main.find_target(kinds.infer(sources.read(groups), {})) == ("group",)


def test_names_of_files_tell_whom_they_show(tmp_path):
    """In one folder, as Market-1501, LFW, Yale and JAFFE call them; what numbers pictures names nobody."""
    market = [f"{who}_c{n}s1_00{n}451_0{n}.jpg" for who in ("0002", "0007", "0010", "0011", "0015", "0016") for n in (1, 2, 3)]
    told = whose([f"bounding_box_test/{name}" for name in [*market, "-1_c1s1_000001_00.jpg", "0000_c1s1_000151_01.jpg"]])
    assert told[:4] == ["0002", "0002", "0002", "0007"] and told[-2:] == [None, None]
    assert whose([f"{name}_000{n}.jpg" for name in ("Ann_Bo", "Ann_Cy", "Bob_Di", "Eva_Ek", "Fay_Fu") for n in (1, 2)])[2] == "Ann_Cy"
    assert whose([f"subject0{n}.{look}.gif" for n in range(6) for look in ("happy", "sad", "sleepy")])[3] == "subject01"
    assert whose([f"{who}.{look}{n}.1.tiff" for who in ("KA", "KL", "KM", "KR", "MK") for look in ("AN", "DI") for n in (1, 2)])[0] == "KA"
    assert whose([f"s{n}_{m}.pgm" for n in range(1, 7) for m in range(5)])[5] == "s2"
    assert not whose([f"IMG_{n:04}.jpg" for n in range(30)]) and not whose([f"{n:06}.jpg" for n in range(30)])
    for part, people in (("bounding_box_train", range(1, 9)), ("bounding_box_test", range(11, 19))):
        for number in people:
            person(tmp_path, number, 3)
            (tmp_path / "market" / part).mkdir(parents=True, exist_ok=True)
            for file in (tmp_path / f"p{number}").iterdir():
                file.rename(tmp_path / "market" / part / f"{number:04}_c{file.stem}s1_000451_0{file.stem}.png")
            (tmp_path / f"p{number}").rmdir()
    train, test = (tmp_path / "market" / f"bounding_box_{part}" for part in ("train", "test"))
    settings = {"data": {"task": "identify", "test": str(test)}, "train": {"steps": 4}}
    run = duomo.train(str(train), settings, out=tmp_path / "run")
    assert run.recipe.data.target == ("person",) and run.scorecard["facts"]["rows"]["test"] == 24
    assert run.evaluate(str(test))["rows"] == 24
