"""detect: the metric against pycocotools, boxes that follow their pictures, answers in the picture's own pixels, what is learnt."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageDraw

from duomo.core.contract import Evidence, Places
from duomo.core.errors import ConfigError, DataError
from duomo.core.recipe import AugmentConfig, EncodeConfig
from duomo.core.table import Table
from duomo.data.augment import augment
from duomo.data.loader import finish
from duomo.data.picture_variations import affine, followed, sampled
from duomo.tasks.detect import measures
from duomo.tasks.detect.assign import assign, loss, overlap
from duomo.tasks.detect.task import Config, Main

CLASSES = 3


def drawn(seed: int, pictures: int = 30) -> tuple[list[tuple[np.ndarray, ...]], list[tuple[np.ndarray, ...]]]:
    """Things (boxes, classes, crowd) and detections (boxes, classes, scores) near and far from them."""
    random = np.random.default_rng(seed)
    things, found = [], []
    for _ in range(pictures):
        count = int(random.integers(0, 6))
        corner, side = random.uniform(0, 250, (count, 2)), random.uniform(5, 200, (count, 2))
        boxes, kinds = np.concatenate([corner, corner + side], 1), random.integers(0, CLASSES, count)
        things.append((boxes, kinds, random.random(count) < 0.15))
        some = int(random.integers(0, 15))
        source = random.integers(0, max(1, count), some)
        near = boxes[source] + random.normal(0, 8, (some, 4)) if count else random.uniform(0, 100, (some, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        right = random.random(some) < 0.8
        labels = np.where(right, kinds[source] if count else 0, random.integers(0, CLASSES, some))
        score = np.sort(random.random(some).astype(np.float32))[::-1]
        found.append((near, labels, score))
    return things, found


def facts(things: list[tuple[np.ndarray, ...]], found: list[tuple[np.ndarray, ...]]) -> Evidence:
    rows = []
    for thing, (boxes, kinds, scores) in zip(things, found, strict=True):
        judged = measures.judge((boxes, kinds), thing, CLASSES)  # type: ignore[arg-type]
        empty = measures.MOST_D - len(scores)
        judged |= {name: np.pad(judged[name], ((0, empty), (0, 0))) for name in ("hit", "skip")}
        rows.append(judged | {"score": np.pad(scores, (0, empty)), "class": np.pad(kinds, (0, empty), constant_values=-1)})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_metric_is_coco_s(seed: int) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    things, found = drawn(seed)
    annotations, detections = [], []
    for number, ((boxes, kinds, crowd), (near, labels, scores)) in enumerate(zip(things, found, strict=True), 1):
        for box, kind, many in zip(boxes, kinds, crowd, strict=True):
            sides = [*box[:2], *(box[2:] - box[:2])]
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": int(kind) + 1, "bbox": sides,
                                "area": float(sides[2] * sides[3]), "iscrowd": int(many)})  # fmt: skip
        for box, kind, score in zip(near, labels, scores, strict=True):
            sides = [*box[:2], *(box[2:] - box[:2])]
            detections.append({"image_id": number, "category_id": int(kind) + 1, "bbox": sides, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        categories = [{"id": kind + 1, "name": str(kind)} for kind in range(CLASSES)]
        images = [{"id": number + 1} for number in range(len(things))]
        coco.dataset = {"images": images, "annotations": annotations, "categories": categories, "info": {}}
        coco.createIndex()
        judged = COCOeval(coco, coco.loadRes(detections), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    own = measures.measure(facts(things, found))
    wanted = dict(zip(("map", "map50", "", "map_small", "map_medium", "map_large"), judged.stats, strict=False))
    assert own == pytest.approx({name: wanted[name] for name in own}, abs=1e-6)


def scene(random: np.random.Generator, width: int = 120, height: int = 80) -> tuple[bytes, list[dict[str, object]]]:
    """A red square and a green disc, one of them or both side by side, on a grey ground."""
    picture = Image.new("RGB", (width, height), (90, 90, 90))
    draw, things = ImageDraw.Draw(picture), []
    for half, label in enumerate(random.permutation(["disc", "square"])[: random.integers(1, 3)]):
        side = int(random.integers(18, 36))
        left, top = half * width // 2 + int(random.integers(0, width // 2 - side)), int(random.integers(0, height - side))
        shape = (left, top, left + side - 1, top + side - 1)
        if label == "disc":
            draw.ellipse(shape, fill=(20, 200, 20))
        else:
            draw.rectangle(shape, fill=(220, 20, 20))
        things.append({"label": str(label), "box": [left, top, left + side, top + side]})
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue(), things


@pytest.fixture(scope="module")
def scenes() -> Table:
    random = np.random.default_rng(0)
    made = [scene(random) for _ in range(48)]
    data = {"picture": [picture for picture, _ in made], "boxes": [json.dumps(things) for _, things in made]}
    return Table(pa.table(data), {"picture": "image", "boxes": "boxes"})


@pytest.fixture
def task(scenes: Table) -> Main:
    made = Main(Config(target=("boxes",), encode=EncodeConfig(picture_size=96)))
    made.fit(scenes)
    return made


def test_boxes_lie_on_their_things(task: Main, scenes: Table) -> None:
    """In the letterboxed square the colour under each box is its thing's, and pixels lead back to the picture's own."""
    batch = task.encode(scenes, target=True).batch(np.arange(len(scenes)))
    pixels = batch["image:picture"]
    for row in range(8):
        things = json.loads(scenes.column("boxes")[row].as_py())
        back = task._pixels(batch["target.boxes"][row].numpy(), batch["frame"][row].numpy())
        for place, thing in enumerate(things):
            x, y = (
                int(96 * (batch["target.boxes"][row, place, side] + batch["target.boxes"][row, place, side + 2]) / 2) for side in (0, 1)
            )
            colour = pixels[row, :, y, x].int()
            assert (colour[1] > colour[0]) == (thing["label"] == "disc")
            assert back[place] == pytest.approx(thing["box"], abs=1e-3)


def test_boxes_follow_the_map(task: Main, scenes: Table) -> None:
    """After any turn, change of size, shift and mirror, a box still encloses the pixels of its thing, and closely so."""
    examples = task.encode(scenes, target=True)
    config = AugmentConfig(rotate=20.0, scale=0.3, crop=0.1, flip=True)
    batch = examples.batch(np.arange(len(scenes)))
    map_N23 = affine(len(scenes), 1.0, config, torch.Generator().manual_seed(3))
    moved = sampled(batch["image:picture"], map_N23)
    boxes, classes = followed(batch["target.boxes"], batch["target.classes"], map_N23)
    seen = 0
    for row in range(len(scenes)):
        for place in range(boxes.shape[1]):
            kind = int(classes[row, place])
            if kind < 0:
                continue
            colour = moved[row, 1] - moved[row, 0] if task.labels[kind] == "disc" else moved[row, 0] - moved[row, 1]
            y, x = torch.nonzero(colour > 60, as_tuple=True)
            inside = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]) / 96
            assert (inside[:2] >= boxes[row, place, :2] - 0.03).all() and (inside[2:] <= boxes[row, place, 2:] + 0.03).all()
            assert overlap(inside, boxes[row, place]) > 0.45
            seen += 1
    assert seen > 30


def test_a_place_answers_for_the_thing_around_it() -> None:
    y, x = torch.meshgrid((torch.arange(8) + 0.5) / 8, (torch.arange(8) + 0.5) / 8, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten(), torch.full((64,), 1 / 8)], 1)
    boxes = torch.cat([places[:, :2] - 0.1, places[:, :2] + 0.1], 1).unsqueeze(0)
    true = torch.tensor([[[0.1, 0.1, 0.4, 0.4], [0.52, 0.52, 0.55, 0.55], [0.0, 0.0, 0.0, 0.0]]])
    score, thing = assign(Places(torch.zeros(1, 64, 2), boxes, places), true, torch.tensor([[0, 1, -1]]))
    chosen = score.sum(-1)[0] > 0
    centre = places[chosen, :2]
    first = thing[0][chosen] == 0
    assert bool(((centre[first] > 0.1) & (centre[first] < 0.4)).all()) and int(first.sum()) >= 4
    # a thing smaller than the spacing is answered by the nearest place
    assert int((~first).sum()) == 1 and (centre[~first] - 0.535).abs().max() < 0.07
    assert set(thing[0][chosen].tolist()) == {0, 1}


def test_nothing_is_learned_of_a_class_within_its_crowd() -> None:
    y, x = torch.meshgrid((torch.arange(8) + 0.5) / 8, (torch.arange(8) + 0.5) / 8, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten(), torch.full((64,), 1 / 8)], 1)
    boxes = torch.cat([places[:, :2] - 0.1, places[:, :2] + 0.1], 1).unsqueeze(0)
    true = torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.1, 0.1, 0.3, 0.3]]])
    slopes = []
    for crowd in (-3, -1):  # of class 1, and none
        logits = torch.zeros(1, 64, 2, requires_grad=True)
        loss(Places(logits, boxes, places), true, torch.tensor([[crowd, 1]]))[0].backward()
        assert logits.grad is not None
        slopes.append(logits.grad[0].abs())
    left, thing = places[:, 0] < 0.5, (places[:, :2] - 0.2).abs().amax(1) < 0.2
    assert (slopes[0][left & ~thing, 1] == 0).all() and (slopes[1][left, 1] > 0).all()
    assert (slopes[0][:, 0] > 0).all() and (slopes[0][~left] > 0).all() and (slopes[0][thing, 1] > 0).any()


def test_learns_to_find(scenes: Table, tmp_path: Path) -> None:
    """Through the front door: two shapes are found in half a minute far better than where they are on average."""
    import duomo

    settings = {"data": {"task": "detect", "target": ["boxes"]}, "encode": {"picture_size": 64}, "train": {"steps": 100, "batch_size": 8},
                "model": {"options": {"width": 32, "options": {"blocks": [1, 1, 1, 1], "width": 16, "stem": "large"}}}}  # fmt: skip
    random = np.random.default_rng(1)
    rows = [{"picture": picture, "boxes": json.dumps(things)} for picture, things in (scene(random) for _ in range(120))]
    run = duomo.train(rows, settings, out=tmp_path / "run")
    figures = {result["name"]: result["metrics"]["map50"]["value"] for result in run.scorecard["results"]}
    assert figures["detector"] > 0.5
    assert figures["detector"] > 2 * figures["mean box of each class"]
    picture, things = scene(random)
    answer = run.predict([{"picture": picture}])[0]
    assert {one["label"] for one in answer["prediction"]} <= {"disc", "square"}
    assert all(0 <= one["box"][0] < one["box"][2] <= 120 and one["box"][3] <= 80 for one in answer["prediction"])
    assert answer == run.predict([{"picture": picture}] * 3)[2]
    assert things


def test_without_boxes_there_is_nothing_to_learn(scenes: Table) -> None:
    empty = Table(scenes.data.set_column(1, "boxes", [["[]"] * len(scenes)]), scenes.kinds)
    with pytest.raises(DataError, match="needs boxes"):
        Main(Config(target=("boxes",))).fit(empty)


def test_boxes_of_a_table_that_are_none_are_told_and_left_out(task: Main, scenes: Table) -> None:
    broken = [{"label": "disc", "box": sides} for sides in ([50, 50, 10, 10], [5, 5, 5, 9], [-9, -9, -1, -1], [500, 500, 900, 900])]
    whole = [*broken, {"label": "square", "box": [1, 2, 30, 40]}]
    table = Table(pa.table({"picture": scenes.column("picture").slice(0, 1), "boxes": [json.dumps(whole)]}), scenes.kinds)
    mask, (said,) = task.usable(table)
    assert mask.all() and said.startswith("3 boxes") and "row 0" in said
    assert task.encode(table, target=True).batch([0])["target.classes"].tolist() == [[1]]


def test_answers_are_short_numbers(task: Main, scenes: Table) -> None:
    places = torch.tensor([[[0.123, 0.311, 0.612, 0.711]]])
    batch = task.encode(scenes.take(np.array([0])), target=False).batch([0])
    answer = task.answer(lambda batch: Places(torch.full((1, 1, 2), 3.0), places, torch.zeros(1, 3)), batch)  # type: ignore[arg-type]
    assert all(len(str(side)) <= 5 for side in answer["prediction"][0][0]["box"])


def test_a_thing_is_named_once(task: Main, scenes: Table) -> None:
    """Two classes at one place: the surer one is the answer, and counts; the metric sees both."""
    places = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.51], [0.1, 0.6, 0.5, 0.9]]])
    logits = torch.tensor([[[2.0, 1.5], [1.0, 1.9], [-9.0, 1.8]]])
    batch = task.encode(scenes.take(np.array([0])), target=True).batch([0])
    output = Places(logits, places, torch.zeros(3, 3))
    (told,) = task.answer(lambda batch: output, batch)["prediction"]  # type: ignore[arg-type]
    assert [one["label"] for one in told] == [task.labels[0], task.labels[1]] and told[1]["box"][1] > told[0]["box"][3]
    evidence = task.evidence(output, batch)
    assert (evidence["score"] > 0.8).sum() == 3 and evidence["again"].sum() == 1


def test_a_box_in_a_surer_one_is_the_same_thing_where_things_lie_apart(task: Main, scenes: Table) -> None:
    """Unless the training pictures have things within one another; what was left out leaves nothing out itself."""
    places = torch.tensor([[[0.1, 0.1, 0.4, 0.4], [0.1, 0.1, 0.9, 0.6], [0.6, 0.3, 0.9, 0.6], [0.12, 0.12, 0.3, 0.3]]])
    logits = torch.tensor([[[3.0, -9.0], [2.0, -9.0], [1.0, -9.0], [-9.0, 1.5]]])
    batch = task.encode(scenes.take(np.array([0])), target=True).batch([0])
    told = task.answer(lambda batch: Places(logits, places, torch.zeros(4, 3)), batch)["prediction"][0]  # type: ignore[arg-type]
    assert task.alone and [one["confidence"] for one in told] == [0.9526, 0.8176, 0.7311]
    inner = [{"label": label, "box": sides} for label in ("disc", "square") for sides in ([5, 5, 60, 60], [10, 10, 30, 30])]
    task.fit(Table(scenes.data.set_column(1, "boxes", [[json.dumps(inner)] * len(scenes)]), scenes.kinds))
    told = task.answer(lambda batch: Places(logits, places, torch.zeros(4, 3)), batch)["prediction"][0]  # type: ignore[arg-type]
    assert not task.alone and len(told) == 4


@pytest.mark.parametrize("name", ["mixup", "cutmix", "erase"])
def test_variations_that_boxes_cannot_follow_are_refused(task: Main, scenes: Table, name: str) -> None:
    batch = task.encode(scenes, target=True).batch(np.arange(4))
    with pytest.raises(ConfigError, match=name):
        augment(batch, task.inputs, AugmentConfig(**{name: 0.5}), torch.Generator())  # type: ignore[arg-type]


def test_a_class_that_the_test_lacks_does_not_count_in_the_curve(task: Main) -> None:
    boxes = np.array([[0.0, 0.0, 40.0, 40.0]])
    told = facts([(boxes, np.array([0]), np.array([False]))], [(boxes, np.array([0]), np.ones(1, np.float32))])
    bars, curve = task.views(told)
    assert bars.data["labels"] == ["disc"] and curve.data["lines"]["mAP"][0] == 1.0


def test_everything_finishes(task: Main, scenes: Table) -> None:
    batch = finish(task.encode(scenes, target=True).batch([0]), task.inputs)
    assert batch["image:picture"].dtype == torch.float32
