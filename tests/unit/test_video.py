"""Films as a kind of data: found by shape, sampled by time, split by what they were cut from, varied alike, answered as wholes."""

import base64
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.test_films import rising, write
from torch.nn import functional as F

import duomo
from duomo.core import kinds
from duomo.core.contract import Field, Head
from duomo.core.errors import ConfigError, DataError
from duomo.core.find import make_task
from duomo.core.kinds import video
from duomo.core.kinds.base import Cells
from duomo.core.recipe import AugmentConfig, EncodeConfig
from duomo.core.reporter import Silent
from duomo.core.tensors import Choices, Examples
from duomo.data import audit, sources
from duomo.data.augment import augment
from duomo.data.folders import listed
from duomo.data.loader import TableStream, finish
from duomo.data.readable import readable
from duomo.evaluate import worst_errors
from duomo.exploring import explore, nearest
from duomo.models import fusion, r2plus1d
from duomo.plan import make
from duomo.serve.rows import table_of

CLIP = Field("clips", (4, 3, 16, 24), facts={"mean": [0.4] * 3, "std": [0.2] * 3, "differences": False})


def bar(way: int, number: int = 4, frames: int = 12, rate: float = 10.0) -> list[np.ndarray]:
    """A light bar on 16×24 that goes right (1) or left (-1), ten pixels a second, from a place that `number` says."""
    found = []
    for time in range(frames):
        frame = np.full((16, 24, 3), 30, np.uint8)
        left = round((number % 8 if way > 0 else 19 - number % 8) + way * time * 10 / rate) % 20
        frame[:, left : left + 4] = 230
        found.append(frame)
    return found


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two classes; three clips from each of eight films, which lie in both classes."""
    place = tmp_path / "clips"
    for label, way in (("left", -1), ("right", 1)):
        (place / label).mkdir(parents=True)
        for number in range(24):
            write(place / label / f"film{number // 3}_clip{number % 3}.avi", bar(way, number), 10.0)
    return place


def cells(table, name: str = "video") -> Cells:
    return Cells(table.column(name), table.root)


def test_class_folders_are_split_by_what_the_clips_were_cut_from(clips: Path) -> None:
    table = kinds.infer(sources.read(clips), {})
    assert dict(table.kinds) == {"video": "video", "label": "category", "source": "id", "file": "id"} and len(table) == 48
    found = make(clips, {"train": {"steps": 1}}, Silent())
    assert found.recipe.data.group == "source" and found.recipe.model.name == "r2plus1d"
    parts = [set(part.column("source").to_pylist()) for part in (found.train, found.valid, found.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 8


def test_which_names_say_that_clips_were_cut(clips: Path) -> None:
    assert listed.sources(["v_Run_g01_c01.avi", "v_Run_g01_c02.avi"]) == ["v_Run_g01"] * 2
    assert listed.sources(["a/id_000010_000020.mp4", "b/id_000030_000040.mp4"]) is None  # two films by their folders
    assert listed.sources([f"{label}/talk{n}-part-0{p}.mp4" for label in "ab" for n in range(5) for p in range(2)])[:2] == ["talk0"] * 2  # type: ignore[index]
    assert listed.sources(["a/episode_01.mp4", "a/episode_02.mp4"]) is None


def test_metadata_names_films_and_their_subjects(clips: Path) -> None:
    rows = [
        f"{path.parent.name}/{path.name},{path.parent.name},person{number % 6}" for number, path in enumerate(sorted(clips.rglob("*.avi")))
    ]
    (clips / "metadata.csv").write_text("\n".join(["file_name,move,subject", *rows]))
    table = kinds.infer(sources.read(clips), {})
    assert table.kinds["video"] == "video" and len(table) == 48
    proposal, _ = audit.propose(table, "move")
    assert proposal.how == "group" and proposal.group in ("subject", "source")


def test_films_are_learned_from_beside_other_columns(tmp_path: Path) -> None:
    """Which way a bar goes, or neither where the metadata say that the lamp is out: no column alone tells."""
    rows = []
    for number in range(36):
        way, lamp = (-1, 1)[number % 2], ("on", "out")[number // 2 % 2]
        write(tmp_path / f"{number:02}.avi", bar(way, number // 4), 10.0)
        rows.append(f"{number:02}.avi,{lamp},{number % 7},{'dark' if lamp == 'out' else 'right' if way > 0 else 'left'}")
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,lamp,amount,seen", *rows]))
    settings = {
        "data": {"target": ["seen"]},
        "train": {"epochs": 16, "patience": 0, "batch_size": 8},
        "encode": {"clip_frames": 4, "clips": 2},
    }
    run = duomo.train(tmp_path, settings, out=tmp_path / "run", reporter=Silent())
    assert (run.recipe.model.name, run.facts["features"]) == ("fusion", ["video", "lamp", "amount"])
    answers = run.predict(tmp_path)
    assert np.mean([one["prediction"] == row.split(",")[-1] for one, row in zip(answers, rows, strict=True)]) > 0.9


def test_a_mixed_row_is_the_mean_of_its_clips() -> None:
    other = Field("clips", CLIP.shape, facts=CLIP.facts)
    model = fusion.Model(
        fusion.SIZES["small"], {"a": CLIP, "b": other, "n": Field("numbers", (2,), facts={"bins": [[0.0, 1.0]] * 2})}, Head(3)
    )
    batch = {"a": torch.randn(2, 4, *CLIP.shape), "b": torch.randn(2, 2, *CLIP.shape), "n": torch.randn(2, 2)}
    with torch.inference_mode():
        together = model.eval()(dict(batch))
        each = [model({"a": batch["a"][:, k : k + 1], "b": batch["b"][:, k % 2 : k % 2 + 1], "n": batch["n"]}) for k in range(4)]
    assert torch.allclose(together, torch.stack(each).mean(0), atol=1e-5)


def test_a_gif_is_a_film_where_it_moves(tmp_path: Path) -> None:
    for folder, frames in (("moving", 6), ("still", 1)):
        for label in "ab":
            (tmp_path / folder / label).mkdir(parents=True)
            for number in range(3):
                write(tmp_path / folder / label / f"{number}.gif", bar(1, number, frames))
    assert [kinds.infer(sources.read(tmp_path / folder), {}).names[0] for folder in ("moving", "still")] == ["video", "image"]
    bodies = [(tmp_path / "moving" / "a" / "0.gif").read_bytes(), (tmp_path / "still" / "a" / "0.gif").read_bytes()]
    found = [kinds.infer(sources.read({"cell": [body] * 3}), {}).kinds["cell"] for body in bodies]
    assert found == ["video", "image"]


def test_frames_are_sampled_by_time(tmp_path: Path) -> None:
    state = {"size": [1, 48, 64], "fit": "exact", "fill": 0, "frames": 4, "step": 0.2, "clips": 2}
    reds = []
    for rate in (10.0, 30.0):
        shown = [np.full((48, 64, 3), round(100 * number / rate), np.uint8) for number in range(round(2 * rate))]
        path = write(tmp_path / f"{rate}.avi", shown, rate)
        found = video.decode(path, state)
        assert found.shape == (2, 4, 1, 48, 64)
        reds.append(found.mean((2, 3, 4)))
    expected = np.array([[0, 20, 40, 60], [120, 140, 160, 180]])  # two clips of 0.8 s: at the beginning and at the end of 2 s
    assert np.abs(np.stack(reds) - expected).max() <= 7


def test_a_short_film_repeats_its_last_frame_and_none_is_refused(tmp_path: Path) -> None:
    state = {"size": [3, 48, 64], "fit": "exact", "fill": 0, "frames": 8, "step": 0.25, "clips": 1}
    path = write(tmp_path / "short.avi", rising(5), 10.0)
    found = video.decode(path, state)[0].mean((1, 2, 3))
    assert (np.diff(found) >= 0).all() and (found[3:] == found[3]).all()
    with pytest.raises(ValueError, match="no film"):
        video.decode(b"RIFF\0\0\0\0AVI LIST", state)


def test_what_is_learned_of_films(clips: Path) -> None:
    table = sources.read(clips)
    state = video.KIND.fit(cells(table), EncodeConfig())
    assert state["size"] == [1, 16, 24] and state["frames"] == 8 and state["step"] == pytest.approx(0.15) and state["clips"] == 1
    state = video.KIND.fit(cells(table), EncodeConfig(clip_frames=4, clip_step=0.1, picture_size=12, frame_differences=True))
    assert state["size"] == [1, 12, 12] and state["clips"] == 3
    assert video.KIND.field(state).shape == (4, 2, 12, 12)
    block = video.KIND.encode(cells(table), state)
    assert block.values.shape == (48, 3, 4, 1, 12, 12) and block.lengths is None


def test_bad_films_are_named_and_counted_and_the_rest_is_used(clips: Path) -> None:
    whole = (clips / "left" / "film0_clip0.avi").read_bytes()
    (clips / "left" / "film0_clip0.avi").write_bytes(whole[: len(whole) * 3 // 4])
    (clips / "left" / "film0_clip1.avi").write_bytes(b"hello")
    (clips / "right" / "film0_clip0.avi").write_bytes(b"")
    table = kinds.infer(sources.read(clips), {})
    mask, (said,) = readable(table)
    assert mask.sum() == 45 and said.startswith("3 of 48 rows")
    assert "truncated" in said and "no film that can be read" in said and "empty" in said
    for path in clips.rglob("*.avi"):
        path.write_bytes(b"RIFF\0\0\0\0AVI nothing")
    with pytest.raises(DataError, match="none does"):
        readable(kinds.infer(sources.read(clips), {"video": "video"}))


def test_all_clips_are_judged_and_one_is_learned_from() -> None:
    values = torch.arange(6 * 3, dtype=torch.uint8).view(6, 3, 1, 1, 1, 1).expand(6, 3, 4, 3, 16, 24).contiguous()
    examples = Examples({"f": Choices(values)})
    assert torch.equal(examples.batch(np.array([4, 1]))["f"], values[[4, 1]])
    stream = TableStream(examples, {"f": CLIP}, 6, 0, AugmentConfig())
    seen = {tuple((stream.batch(step)["f"][:, 0, 0, 0, 0, 0] * 51 + 102).round().int().tolist()) for step in range(8)}
    assert len(seen) > 4 and stream.batch(0)["f"].shape == (6, 1, 4, 3, 16, 24)
    assert torch.equal(stream.batch(3)["f"], TableStream(examples, {"f": CLIP}, 6, 0, AugmentConfig()).batch(3)["f"])


def test_a_clip_is_varied_alike_in_all_its_frames() -> None:
    still = torch.randint(0, 256, (3, 2, 1, 3, 16, 24), dtype=torch.uint8).expand(3, 2, 4, 3, 16, 24).contiguous()
    for change in ({"crop": 0.2}, {"flip": True}, {"rotate": 20.0}, {"colour": 0.4}, {"erase": 1.0}, {"blur": 1.0}):
        found = augment({"f": still.clone()}, {"f": CLIP}, AugmentConfig(**change), torch.Generator().manual_seed(1))["f"].float()
        assert found.shape == still.shape and torch.allclose(found, found[:, :, :1].expand_as(found)), change
        assert not torch.equal(found, still.float())
    with pytest.raises(ConfigError, match="policy"):
        augment({"f": still}, {"f": CLIP}, AugmentConfig(policy=1), torch.Generator())


def test_differences_are_told_beside_the_frames() -> None:
    values = torch.randint(0, 256, (2, 1, 4, 3, 16, 24), dtype=torch.uint8)
    field = Field("clips", (4, 6, 16, 24), facts={**CLIP.facts, "differences": True})
    plain, both = finish({"f": values}, {"f": CLIP})["f"], finish({"f": values}, {"f": field})["f"]
    assert torch.equal(both[:, :, :, :3], plain) and not both[:, :, 0, 3:].any()
    assert torch.allclose(both[:, :, 1:, 3:], plain[:, :, 1:] - plain[:, :, :-1])


def test_r2plus1d_has_the_published_weights_and_its_convolutions_are_the_three_dimensional_ones() -> None:
    model = r2plus1d.Model(r2plus1d.SIZES["18"], {"x": Field("clips", (16, 3, 112, 112))}, Head(400))
    assert sum(weight.numel() for weight in model.parameters()) == 31_505_325
    assert {"stem.0.weight", "layer1.0.conv1.0.3.weight", "layer4.1.conv2.1.bias", "layer2.0.downsample.0.weight"} <= set(
        model.state_dict()
    )
    assert model.layer1[0].conv1[0][0].weight.shape == (144, 64, 1, 3, 3)  # type: ignore[index, union-attr]
    x = torch.randn(2, 5, 6, 9, 8)
    for layer, stride in ((r2plus1d.over_frame(5, 7, stride=2), (1, 2, 2)), (r2plus1d.over_time(5, 7, 2), (2, 1, 1)),
                          (r2plus1d.Convolution(5, 7, (1, 1, 1), (2, 2)), (2, 2, 2))):  # fmt: skip
        padding = tuple(side // 2 for side in layer.weight.shape[2:])
        assert torch.allclose(layer(x), F.conv3d(x, layer.weight, stride=stride, padding=padding), atol=1e-5)


def test_a_film_is_answered_as_the_mean_of_its_clips(clips: Path) -> None:
    table = kinds.infer(sources.read(clips), {})
    task = make_task("classify", {"target": ["label"], "ignore": ["source"], "encode": {"clip_frames": 4, "clip_step": 0.1}})
    task.fit(table)
    batch = finish(task.encode(table, target=True).batch(np.arange(48)), task.inputs)
    torch.manual_seed(0)
    model = r2plus1d.Model(r2plus1d.SIZES["small"], task.inputs, task.head).eval()
    with torch.inference_mode():
        judged, plain = task.judge(model, batch), task.evidence(model(batch), batch)
        singles = [task.evidence(model({"video:video": batch["video:video"][:, k : k + 1]}), batch) for k in range(3)]
    assert np.allclose(judged["probabilities"], plain["probabilities"], atol=1e-5)
    right = np.mean([(one["probabilities"].argmax(1) == one["target"]) for one in singles], axis=0)
    assert np.allclose(judged["clips.right"], right) and task.measure(judged)["clip_accuracy"] == pytest.approx(right.mean())
    assert "clip_accuracy" not in task.measure(plain)


def test_from_films_to_answers(clips: Path, tmp_path: Path) -> None:
    settings = {"model": {"name": "r2plus1d", "size": "small"}, "train": {"steps": 80, "learning_rate": 3e-3, "ema": 0.9}}
    run = duomo.train(clips, settings, out=tmp_path / "run", reporter=Silent())
    card = run.scorecard
    assert card["results"][0]["metrics"]["accuracy"]["value"] >= 0.9
    assert [result["name"] for result in card["results"]][2] == "logistic regression on the mean frame"
    for suffix, way in ((".mp4", 1), (".gif", -1)):
        film = write(tmp_path / f"new{suffix}", bar(way, 9, 24, 20.0), 20.0)
        (answer,) = duomo.load(tmp_path / "run").predict(film)
        assert answer["prediction"] == ("right" if way == 1 else "left")
        (sent,) = run.predict([{"video": film.read_bytes()}])
        assert sent["prediction"] == answer["prediction"] and math.isclose(sent["confidence"], answer["confidence"], abs_tol=1e-3)
        body = {"video": {"base64": base64.b64encode(film.read_bytes()).decode()}}
        assert run.answers(table_of([body], {"video": "video"}))["prediction"] == [answer["prediction"]]
    facts = explore(str(clips), str(tmp_path / "run"), str(tmp_path / "page.html"), 0, Silent())
    assert len(facts["rows"]) == 48 and "data:image/jpeg" in (tmp_path / "page.html").read_text()
    some = worst_errors.cell(kinds.infer(sources.read(clips), {}), "video", 0, [0])
    assert some["source"].startswith("data:image/jpeg;base64,") and some["text"] == "film0_clip0.avi"


def test_the_nearest_among_many_are_those_of_all():
    """Sought among rows that are near by few components, so that twenty thousand pictures need not all be held against one another."""
    random = np.random.default_rng(0)
    features_ND = random.normal(size=(400, 20)) @ random.normal(size=(20, 200)) + 0.3 * random.normal(size=(400, 200))
    features_ND[:30] = features_ND[100:130] + 0.01 * random.normal(size=(30, 200))
    features_ND /= np.linalg.norm(features_ND, axis=1, keepdims=True)
    alike_NK, place_NK = nearest(features_ND, features_ND @ np.linalg.svd(features_ND, full_matrices=False)[2][:20].T)
    all_NN = features_ND @ features_ND.T - 2 * np.eye(400)
    assert (place_NK == np.argsort(-all_NN, axis=1)[:, :5]).mean() > 0.99 and (place_NK[:30, 0] == np.arange(100, 130)).all()
    assert np.allclose(alike_NK[:30, 0], all_NN[np.arange(30), np.arange(100, 130)], atol=1e-6)
