"""Things of a film keep their numbers; boxes are drawn on films and pictures, and a stopped film can be played."""

import csv
import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageFont
from torch import Tensor, nn

from duomo import boxed
from duomo.core import films
from duomo.core.contract import Places
from duomo.core.device import Execution
from duomo.core.errors import ConfigError, DataError, Interrupted
from duomo.core.recipe import EncodeConfig
from duomo.core.reporter import Progress, Silent
from duomo.core.table import Table
from duomo.core.tensors import Batch
from duomo.data.predictor import Predictor
from duomo.data.tracking import Detection, Sighting, Tracker
from duomo.tasks.detect.task import Config, Main

SIDE = 96


def at(x: float, y: float, label: str = "disc", score: float = 0.9, side: float = 30) -> Detection:
    return Detection(label, score, (x - side / 2, y - side / 2, x + side / 2, y + side / 2))


def test_numbers_stay_while_things_cross_with_noise() -> None:
    random, tracker, seen = np.random.default_rng(0), Tracker(0.5), []
    for frame in range(60):
        shake = random.normal(0, 1.0, (2, 2))
        things = [at(20 + 3 * frame + shake[0, 0], 50 + shake[0, 1]), at(200 - 3 * frame + shake[1, 0], 70 + shake[1, 1])]
        seen.append({one.track: one.box[0] for one in tracker.update(things[:: 1 if frame % 2 else -1])})
    assert all(set(found) == {1, 2} for found in seen)
    first = 1 if seen[0][1] < seen[0][2] else 2
    assert all(a[first] < b[first] and a[3 - first] > b[3 - first] for a, b in pairwise(seen[5:]))


def test_a_half_hidden_thing_keeps_its_number_and_noise_gets_none() -> None:
    tracker = Tracker(0.5)
    for frame in range(30):
        score = 0.25 if 10 <= frame < 20 else 0.9  # below the answers, above the least
        noise = [at(300, 20 * frame, score=0.4), *([at(400, 300)] if frame == 5 else [])]
        found = tracker.update([at(20 + 2 * frame, 50, score=score), *noise])
        assert [one.track for one in found] == [1], frame
    weak = Tracker(0.5)
    assert not any(weak.update([at(50, 50, score=0.3)]) for _ in range(5)), "what was never sure has no number"


def test_lost_things_come_back_within_a_second_only() -> None:
    for gap, number in ((15, 1), (40, 2)):
        tracker = Tracker(0.5, rate=25)
        for frame in range(10):
            tracker.update([at(50 + frame, 50)])
        for _ in range(gap):
            assert tracker.update([]) == []
        tracker.update([at(60 + gap, 50)])
        assert [one.track for one in tracker.update([at(61 + gap, 50)])] == [number]


def test_a_second_is_one_whatever_rate_the_film_promises() -> None:
    for pause, number in ((0.9, 1), (1.5, 2)):
        tracker = Tracker(0.5, rate=1000)  # as browsers write it into films of thirty frames a second
        for frame in range(10):
            tracker.update([at(50, 50)], frame / 30)
        for step in (1, 2):
            assert tracker.update([], 0.3 + step * pause / 3) == []
        tracker.update([at(50, 50)], 0.3 + pause)
        assert [one.track for one in tracker.update([at(50, 50)], 0.34 + pause)] == [number]
    seldom = Tracker(0.5, rate=0.5)
    assert [[one.track for one in seldom.update([at(50, 50)], 2.0 * frame)] for frame in range(3)] == [[1]] * 3


def test_a_flickering_label_and_a_double_box_are_one_thing() -> None:
    tracker = Tracker(0.5)
    for frame in range(20):
        label = "square" if frame % 4 == 3 else "disc"
        double = [at(50 + frame, 51, "square", 0.6)] if label == "disc" else []
        (found,) = tracker.update([at(50 + frame, 50, label), *double])
        assert (found.track, found.label) == (1, "disc")


# -- drawn on films and pictures


class ByColour(nn.Module):
    """A detector that needs no learning: the box around all that is red, and the one around all that is green."""

    def __init__(self, name: str):
        super().__init__()
        self.name, self.weight = name, nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch) -> Places:
        x_BCHW = batch[self.name]
        boxes, logits = [], []
        for row in x_BCHW:
            found = [self._box(row, channel) for channel in (1, 0)]
            boxes.append(torch.stack([box for box, _ in found]))
            logits.append(torch.tensor([[score if place == kind else -9.0 for kind in range(2)] for place, (_, score) in enumerate(found)]))
        return Places(torch.stack(logits), torch.stack(boxes), torch.zeros(2, 3))

    def _box(self, row_CHW: Tensor, channel: int) -> tuple[Tensor, float]:
        others = [other for other in range(3) if other != channel]
        mask = row_CHW[channel] > row_CHW[others].amax(0) + 0.5
        if not mask.any():
            return torch.zeros(4), -9.0
        y, x = mask.nonzero().unbind(1)
        return torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]) / row_CHW.shape[1], 3.0


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    task = Main(Config(encode=EncodeConfig(picture_size=SIDE)))
    name = "image:image"
    state = {"size": [3, SIDE, SIDE], "fit": "letterbox", "fill": 0, "white": 255.0, "mean": [0.5] * 3, "std": [0.25] * 3}
    table = Table(
        pa.table(
            {"image": [_png(frame(0))], "boxes": ['[{"label": "disc", "box": [1, 1, 9, 9]}, {"label": "square", "box": [9, 9, 20, 20]}]']}
        ),
        {"image": "image", "boxes": "boxes"},
    )
    task.adopt({"image": state})
    task.fit(table)
    assert list(task.inputs) == [name]
    return Predictor(task, ByColour(name).eval(), Execution())


def frame(number: int) -> np.ndarray:
    """A red square that goes right and a green one that goes down, on grey, 160×90."""
    picture = np.full((90, 160, 3), 90, np.uint8)
    picture[10:30, 10 + 2 * number : 34 + 2 * number] = (230, 20, 20)
    picture[20 + number : 44 + number, 120:144] = (20, 210, 20)
    return picture


def _png(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels[:, :, ::-1])[1])


def film(path: Path, count: int = 24) -> Path:
    codec = boxed.CODECS[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 12.0, (160, 90))
    for number in range(count):
        writer.write(frame(number)[:, :, ::-1])
    writer.release()
    return path


@pytest.mark.parametrize("out", ["boxed.mp4", "boxed.avi", "boxed.webm"])
def test_a_film_is_drawn_and_listed(predictor: Predictor, tmp_path: Path, out: str) -> None:
    source = film(tmp_path / "film.avi")
    facts = boxed.draw(predictor, str(source), str(tmp_path / out), Silent())
    assert (facts["frames"], facts["tracks"], facts["boxes"]) == (24, 2, 48)
    told = films.look(tmp_path / out)
    assert (told.width, told.height) == (160, 90) and told.rate == pytest.approx(12.0)
    pictures = [pixels for _, pixels in films.frames(tmp_path / out)]
    assert len(pictures) == 24
    change = np.abs(pictures[12].astype(int) - frame(12)).max(2)
    assert (change[9:31, 32:60] > 60).any() and (change[60:, :100] > 60).mean() < 0.01, "drawn at the things, and nowhere else"
    with (tmp_path / "boxed.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["time", "frame", "track", "label", "score", "left", "top", "right", "bottom"]
    red = [row for row in rows if row["label"] == "square"]
    assert {row["track"] for row in red} == {red[0]["track"]} and [int(row["frame"]) for row in red] == list(range(24))
    assert [float(row["time"]) for row in red] == pytest.approx([number / 12 for number in range(24)], abs=0.01)
    assert [float(row["left"]) for row in red][-5:] == pytest.approx([10 + 2 * number for number in range(19, 24)], abs=3)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["film.avi", out, "boxed.csv"])


def test_a_picture_is_drawn_as_it_is_looked_at(predictor: Predictor, tmp_path: Path) -> None:
    turned = Image.fromarray(np.rot90(frame(0)))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    facts = boxed.draw(predictor, str(tmp_path / "photo.jpg"), str(tmp_path / "boxed.jpg"), Silent())
    assert facts["boxes"] == 2
    with Image.open(tmp_path / "boxed.jpg") as drawn:
        assert drawn.size == (160, 90)
    with (tmp_path / "boxed.csv").open(encoding="utf-8") as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert [float(rows["square"][side]) for side in ("left", "top", "right", "bottom")] == pytest.approx([10, 10, 34, 30], abs=2.5)


def test_a_still_gif_is_a_picture_and_no_box_leaves_its_frame(predictor: Predictor, tmp_path: Path) -> None:
    Image.fromarray(frame(0)).save(tmp_path / "still.gif")
    assert boxed.draw(predictor, str(tmp_path / "still.gif"), str(tmp_path / "boxed.png"), Silent())["boxes"] == 2
    moving = [Image.fromarray(np.roll(frame(0), 6 * number, 1)) for number in range(4)]
    moving[0].save(tmp_path / "film.gif", save_all=True, append_images=moving[1:], duration=80)
    assert boxed.draw(predictor, str(tmp_path / "film.gif"), str(tmp_path / "boxed.mp4"), Silent())["frames"] == 4
    with (tmp_path / "boxed.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows and all(0 <= float(row["left"]) < float(row["right"]) <= 160 for row in rows)


class Stopping(Silent):
    """Asks the process to stop after some frames."""

    def progress(self, label: str, total: float, unit: str) -> Progress:
        return StoppingBar()


class StoppingBar(Progress):
    def update(self, done: float, **facts: float | str) -> None:
        if done == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    def __exit__(self, *about: object) -> None:
        return None


def test_a_stopped_film_can_be_played(predictor: Predictor, tmp_path: Path) -> None:
    source = film(tmp_path / "film.avi")
    with pytest.raises(Interrupted, match=r"0\.8 s.* boxed\.part2\.mp4"):
        boxed.draw(predictor, str(source), str(tmp_path / "boxed.part2.mp4"), Stopping())
    assert len(list(films.frames(tmp_path / "boxed.part2.mp4"))) == 10
    assert len((tmp_path / "boxed.part2.csv").read_text().splitlines()) == 21


def refusals() -> Iterator[tuple[str, str, type[Exception], str]]:
    yield "none.avi", "boxed.avi", DataError, "there is no file"
    yield "film.avi", "boxed.jpg", ConfigError, r"\.mp4"
    yield "photo.png", "boxed.mp4", ConfigError, r"\.jpg"
    yield "film.avi", "film.avi", ConfigError, "another file"
    yield "film.avi", "nowhere/boxed.avi", ConfigError, "folder"
    yield "text.avi", "boxed.avi", DataError, "no film"
    yield "text.png", "boxed.png", DataError, "no picture"
    yield "film.wmv", "boxed.mp4", DataError, "ffmpeg -i IN OUT.mp4"
    yield "film", "boxed.mp4", DataError, "rename it to .mp4"


@pytest.mark.parametrize(("source", "out", "kind", "words"), list(refusals()))
def test_what_cannot_be_drawn_is_told(
    predictor: Predictor, tmp_path: Path, source: str, out: str, kind: type[Exception], words: str
) -> None:
    film(tmp_path / "film.avi", 2)
    (tmp_path / "photo.png").write_bytes(_png(frame(0)))
    for name in ("text.avi", "text.png"):
        (tmp_path / name).write_text("nothing to see")
    (tmp_path / "film.wmv").write_bytes(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(99))
    (tmp_path / "film").write_bytes(b"\0\0\0\x18ftypisom" + bytes(99))
    before = sorted(one.name for one in tmp_path.iterdir())
    with pytest.raises(kind, match=words):
        boxed.draw(predictor, str(tmp_path / source), str(tmp_path / out), Silent())
    assert sorted(one.name for one in tmp_path.iterdir()) == before, "nothing is left behind"


def test_a_film_of_uneven_frames_plays_as_long_as_before(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = film(tmp_path / "film.avi")
    evenly, heard = films.frames, Silent()

    def halting(path: Path) -> Iterator[tuple[float, np.ndarray]]:
        return ((time if time < 1 else time + 2, pixels) for time, pixels in evenly(path))

    monkeypatch.setattr(films, "frames", halting)
    boxed.draw(predictor, str(source), str(tmp_path / "boxed.mp4"), Silent())
    assert films.look(tmp_path / "boxed.mp4").seconds == pytest.approx(4.0, abs=0.1)
    monkeypatch.setattr(films, "frames", lambda path: ((time, pixels) for time, pixels in evenly(path) if time < 1))
    boxed.draw(predictor, str(source), str(tmp_path / "half.mp4"), heard)
    assert "truncated: it ends after 1.0 of 2.0 s" in heard.said[0]


def test_the_pictures_of_a_folder_are_drawn_into_another(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.tif", "more/c.jpg")):
        Image.fromarray(frame(number)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"none")
    source, out = str(tmp_path / "photos"), str(tmp_path / "boxed")
    assert boxed.draws(predictor, source, out) and not boxed.draws(predictor, source, f"{out}.csv")
    facts = boxed.draw(predictor, source, out, Silent())
    assert (facts["pictures"], facts["boxes"]) == (3, 6)
    assert sorted(str(one.relative_to(out)) for one in Path(out).rglob("*.*")) == ["a.png", "b.tif.png", "boxes.csv", "more/c.jpg"]
    with (tmp_path / "boxed" / "boxes.csv").open(encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["a.png"] * 2 + ["b.tif"] * 2 + ["more/c.jpg"] * 2
    several = [f"{source}/a.png", f"{source}/more"]
    assert boxed.draws(predictor, several, str(tmp_path / "some")) and not boxed.draws(predictor, several, "some.csv")
    assert boxed.draw(predictor, several, str(tmp_path / "some"), Silent())["pictures"] == 2
    assert sorted(one.name for one in (tmp_path / "some").iterdir()) == ["a.png", "boxes.csv", "c.jpg"]
    for others, target, said in ((several, "some.jpg", "into a folder"), ([*several, "none.png"], "new", r"no file none\.png")):
        with pytest.raises((ConfigError, DataError), match=said):
            boxed.draw(predictor, others, str(tmp_path / target), Silent())
    with pytest.raises(ConfigError, match="holds something"):
        boxed.draw(predictor, source, out, Silent())
    with pytest.raises(ConfigError, match=r"such as boxed\.mp4"):
        boxed.draws(predictor, film(tmp_path / "film.avi", 2), None)


def test_labels_beyond_ascii_are_written_where_a_font_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxed, "_font", ImageFont.load_default)
    pictures = []
    for label in ("été", "àéôü"):
        boxed._written.cache_clear()
        pictures.append(np.full((120, 160, 3), 90, np.uint8))
        boxed.mark(pictures[-1], Sighting(1, label, 0.5, (20, 40, 120, 100)), "0.50")
        boxed.mark(pictures[-1], Sighting(2, label, 0.5, (150, 0, 158, 20)), "0.50")  # it does not fit beside the edge
    assert (pictures[0] != pictures[1]).any()
    boxed._written.cache_clear()
