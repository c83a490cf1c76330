"""What is decided before a tensor is made: the task of a target that nobody named a task for."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from duomo import pipeline, plan, settings
from duomo.core import kinds
from duomo.core.errors import ConfigError, RunError
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Silent
from duomo.core.run import run_name
from duomo.core.steps import smooth
from duomo.data import sources


@pytest.mark.parametrize(
    ("rows", "values", "task"), [(30, 16, "regress"), (40, 12, "regress"), (200, 12, "classify"), (24, 5, "classify"), (400, 30, "regress")]
)
def test_whole_numbers_that_hardly_repeat_are_no_classes(rows: int, values: int, task: str) -> None:
    frame = load_diabetes(as_frame=True).frame.iloc[:rows, :4].assign(found=[row % values for row in range(rows)])
    made = plan.make(frame, {"data": {"target": ("found",)}}, Silent())
    assert made.recipe.data.task == task
    assert made.recipe.data.split == ("stratified" if task == "classify" else "random")


def test_few_rows_get_as_many_epochs_as_make_enough_steps() -> None:
    frame = load_iris(as_frame=True).frame
    few = plan.make(frame, {"data": {"target": ("target",)}}, Silent())
    train = few.recipe.train
    assert train.epochs * math.ceil(len(few.train) / train.batch_size) >= settings.FEWEST_STEPS
    assert plan.make(frame, {"data": {"target": ("target",)}, "train": {"epochs": 3.0}}, Silent()).recipe.train.epochs == 3
    many = load_breast_cancer(as_frame=True).frame
    assert plan.make(many, {"data": {"target": ("target",)}}, Silent()).recipe.train.epochs == 25


def test_a_model_named_alone_is_the_small_one_or_the_recipes(tmp_path: Path) -> None:
    for number in range(12):
        place = tmp_path / str(number % 2) / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (28, 28), np.uint8)).save(place)
    names = {"vit": "small", "inception": "small", "alexnet": "small", "resnet18": "18", "cnn": "base", "vgg16": "16", "": "base"}
    for name, size in names.items():
        assert plan.make(tmp_path, {"model": {"name": name, "size": ""}}, Silent()).recipe.model.size == size, name
    assert plan.make(tmp_path, {"model": {"name": "vit", "size": "base"}}, Silent()).recipe.model.size == "base"


def test_numbers_and_classes_are_two_runs() -> None:
    frame = load_diabetes(as_frame=True).frame.iloc[:100, :4].assign(price=np.arange(100) * 1.5, rooms=np.arange(100) % 4)
    frame["kind"] = ["flat", "house"] * 50
    for target in (("price", "kind"), ("kind", "price")):
        with pytest.raises(ConfigError, match=r"--target price --ignore kind, and --target kind --ignore price\."):
            plan.make(frame, {"data": {"target": target}}, Silent())
    assert plan.make(frame, {"data": {"target": ("rooms", "price")}}, Silent()).recipe.data.task == "regress"
    assert plan.make(frame, {"data": {"target": ("rooms", "kind")}}, Silent()).recipe.data.task == "classify"


def test_what_is_ignored_is_no_target() -> None:
    frame = load_diabetes(as_frame=True).frame.iloc[:100, :4].assign(grade=["a", "b"] * 50, label=["x", "y"] * 50)
    assert plan.make(frame, {}, Silent()).recipe.data.target == ("label",)
    assert plan.make(frame, {"data": {"ignore": ("label",)}}, Silent()).recipe.data.target == ("grade",)


def test_how_much_is_offered_where_whole_numbers_are_taken_for_classes() -> None:
    frame = load_diabetes(as_frame=True).frame.iloc[:120, :4].assign(visits=np.arange(120) % 12)
    told = plan.choose(kinds.infer(sources.read(frame), {}), DataConfig(target=("visits",)))
    assert told[0].task == "classify" and "--task regress" in told[1][-1]


def test_a_size_that_is_asked_for_keeps_how_the_recipe_builds_the_model() -> None:
    """Neighbours are what teaches a filler: `--size` says how large, not how it is built."""
    rows = [{"text": f"Sentence number {place} of a short story about {place % 7} cats."} for place in range(60)]
    made = plan.make(rows, {"data": {"task": "fill"}, "model": {"size": "large"}}, Silent()).recipe.model
    assert (made.size, dict(made.options)) == ("large", {"near": 2})
    pairs = [{"question": f"What is {place}?", "answer": f"It is {place}."} for place in range(60)]
    made = plan.make(pairs, {"data": {"task": "embed"}, "model": {"size": "base"}}, Silent()).recipe.model
    assert (made.size, dict(made.options)) == ("base", {"hashed": 2048})


def test_small_nets_for_pictures_learn_by_muon_from_nothing_and_published_ones_by_adamw(tmp_path: Path) -> None:
    for place in range(40):
        (tmp_path / "photos" / "ab"[place % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (place, 2 * place, 90)).save(tmp_path / "photos" / "ab"[place % 2] / f"{place}.png")
    for model, by in (({}, "muon"), ({"name": "vit"}, "muon"), ({"name": "vit", "size": "base"}, "adamw"), ({"name": "fusion"}, "adamw")):
        made = plan.make(str(tmp_path / "photos"), {"model": model}, Silent()).recipe.train
        assert (made.optimizer, made.weight_decay) == (by, 0.1 if by == "muon" else 0.05)
    asked = plan.make(str(tmp_path / "photos"), {"model": {"name": "vgg"}, "train": {"optimizer": "adamw"}}, Silent()).recipe.train
    assert asked.learning_rate == 1e-3


@pytest.mark.parametrize(("task", "model", "fitting"), [
    ("generate", "bert", r"gpt \| rnn"), ("chat", "transformer", r"gpt \| rnn"),
    ("translate", "tagger", "seq2seq"), ("fill", "gpt", "bert"),
])  # fmt: skip
def test_a_model_that_reads_what_it_should_foretell_is_refused(task: str, model: str, fitting: str) -> None:
    """Its figures would be those of copying."""
    names = {"chat": ("prompt", "response"), "translate": ("source", "target")}.get(task, ("text",))
    rows = {name: [f"row {number} says {name}" for number in range(40)] for name in names}
    data = {"task": task, "target": names[1:]}
    with pytest.raises(ConfigError, match=f"{model} reads .* Choose {fitting}"):
        plan.make(rows, {"data": data, "model": {"name": model}}, Silent())


@pytest.mark.parametrize(("path", "name"), {
    "a/iris.csv": "iris", "tutor.sjis.txt": "tutor.sjis", "cells.csv.gz": "cells", "images.tar.xz": "images", "runs/.hidden": "hidden",
    "my.db::table": "table",
}.items())  # fmt: skip
def test_files_that_differ_before_their_ending_have_names_of_their_own(path: str, name: str) -> None:
    assert run_name(path) == name


@pytest.mark.parametrize(
    ("task", "model", "words"), [("generate", "bert", "would see what it has to foretell"), ("fill", "gpt", "only what")]
)
def test_a_task_refuses_models_that_see_too_much_or_too_little(task: str, model: str, words: str) -> None:
    rows = [{"text": f"Sentence number {place} of a short story about {place % 7} cats."} for place in range(60)]
    with pytest.raises(ConfigError, match=words):
        plan.make(rows, {"data": {"task": task}, "model": {"name": model}}, Silent())


def test_a_folder_in_which_another_process_trains_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two starts on the same data, neither with --out: the second takes the next name."""
    monkeypatch.chdir(tmp_path)
    with pipeline._folder("clinic.csv", None).lock():
        second = pipeline._folder("clinic.csv", None)
        assert second.path.name == "clinic-2" and not second.path.exists()
        with pytest.raises(RunError, match="in use"), pipeline._folder("clinic.csv", "runs/clinic").lock():
            pass
    assert pipeline._folder("clinic.csv", None).path.name == "clinic"


def test_bits_of_a_thing_are_no_steps() -> None:
    """Like ones stand together (families of groups in a molecule), as the values of neighbouring steps do."""
    rng = np.random.default_rng(0)
    family_N, held_FT = rng.integers(0, 6, 80), np.repeat(rng.random((6, 10)) < 0.4, 30, axis=1)
    bits_NT = np.where(rng.random((80, 300)) < 0.03, ~held_FT[family_N], held_FT[family_N])
    assert not smooth(bits_NT.astype(float)) and not smooth(np.where(rng.random(bits_NT.shape) < 0.01, np.nan, bits_NT))
    assert smooth(bits_NT.cumsum(axis=1).astype(float))


def test_training_tells_of_columns_that_give_the_target_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that it learns from: not of what was left out, nor of the dates that rows are divided by."""
    frame = load_diabetes(as_frame=True).frame.iloc[:, :4].assign(day=pd.date_range("2020-01-01", periods=442).astype(str))
    frame["end"] = np.where(frame.bmi + frame.bp > 0.01, "yes", "no")
    leaking = frame.assign(code=np.where(frame.end == "yes", "A9", "B2"))

    def told(source: pd.DataFrame, **data: object) -> list[str]:
        made = plan.make(source, {"data": {"target": ("end",), **data}}, Silent())
        return [one for one in made.problems if "alone gives" in one]

    assert [one.endswith("--ignore code") for one in told(leaking)] == [True]
    assert not told(frame) and not told(leaking, ignore=("code",))
    assert not told(frame.assign(end=np.arange(442) // 3 * 0.5))
    monkeypatch.setenv("DUOMO_LANG", "zh")
    assert told(leaking) == [] and [one for one in plan.make(leaking, {"data": {"target": ("end",)}}, Silent()).problems if "警告" in one]


def test_what_annotators_answered_is_no_input() -> None:
    """As SNLI has it; alternatives to choose from, of which the answer is one, stay."""
    own = ["abc"[number % 3] for number in range(30)]
    frame = pd.DataFrame({"text": [f"sentence {number} of them" for number in range(30)], "label": own})
    voted = frame.assign(answers=[json.dumps([one, one, "abc"[place % 2]]) for place, one in enumerate(own)])
    asked = frame.assign(answers=[json.dumps([*{one, "abc"[place % 2]}]) for place, one in enumerate(own)])
    for source, ignored in ((voted, ("answers",)), (asked, ())):
        assert plan.choose(kinds.infer(sources.read(source), {}), DataConfig(target=("label",)))[0].ignore == ignored


def test_fields_that_no_row_of_a_test_has_are_empty(tmp_path: Path) -> None:
    """Rows of JSON say only what they have: a field of an object, one that is a list of numbers among them."""
    for name, more in (("train", {"note": "x", "steps": [1.5, 2.0]}), ("test", {})):
        rows = [{"meta": {"colour": "rg"[number % 2]} | (more if number % 3 else {}), "y": "ab"[number % 2]} for number in range(30)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = plan.make(tmp_path / "train.jsonl", {"data": {"target": ("y",), "test": str(tmp_path / "test.jsonl")}}, Silent())
    assert len(made.test) == 30 and made.test.column("meta.note").null_count == made.test.column("meta.steps").null_count == 30


def test_beside_a_test_of_new_persons_validation_has_persons_of_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"patient_id": np.repeat(np.arange(60), 5) + 1000, "dose": rng.normal(size=300), "effect": rng.normal(size=300)})
    frame[:250].to_csv(tmp_path / "learn.csv", index=False)

    def persons(test: pd.DataFrame, **data: str) -> tuple[set[str], set[str], list[str]]:
        test.to_csv(tmp_path / "test.csv", index=False)
        told = Silent()
        asked = {"data": {"target": ["effect"], "test": str(tmp_path / "test.csv"), **data}}
        made = plan.make(str(tmp_path / "learn.csv"), asked, told)
        learned, valid = ({str(one) for one in part.column("patient_id").to_pylist()} for part in (made.train, made.valid))
        assert ("patient_id" in made.recipe.data.ignore) == (made.recipe.data.split == "group")
        return learned, valid, told.said

    learned, valid, said = persons(frame[250:])
    assert valid and not learned & valid and any("patient_id of their own, as the test has" in line for line in said)
    learned, valid, _ = persons(frame[250:], split="random")
    assert learned & valid
    learned, valid, _ = persons(frame[:50])
    assert learned & valid, "the test is of the same"
