"""Detection: what is in a picture, and where.

Legend: B rows, N rows of a table, G things of a picture (padded), A places, S classes, D detections of a picture (padded).
Boxes are left, top, right, bottom: in pixels of the picture as it came where a person reads them, in shares of the square that the
picture was fitted into (letterbox) where the model does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, final

import numpy as np
import torch
from torch import Tensor, nn

from duomo.core.config import Within
from duomo.core.contract import Baseline, Evidence, Field, Head, Metric, Places, Suggestion, Task, View
from duomo.core.errors import DataError
from duomo.core.kinds import boxes as box_kind
from duomo.core.kinds import image, media
from duomo.core.kinds.base import Cells
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch, Column, Dense, Examples
from duomo.data.encode import InputEncoder
from duomo.tasks.detect.assign import loss, overlap
from duomo.tasks.detect.baselines import MeanBox, NearestPicture
from duomo.tasks.detect.measures import MOST_D, THRESHOLDS_T, again, held, judge, measure, precision

SIDE = 320
CANDIDATES = 400
LEAST_SCORE = 0.01
SHOWN_CLASSES = 24
APART = 0.02
"""Share of the things up to which those that lie in another of their class are chance."""


@dataclass(frozen=True)
class Config:
    """What is found, and what counts as found twice."""

    target: tuple[str, ...] = ()
    """The column of boxes."""
    ignore: tuple[str, ...] = ()
    """Columns that are not read."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """How pictures become tensors: picture_size is the side of the square. 0: 320."""
    same: Annotated[float, Within(0, 1)] = 0.6
    """Overlap from which two boxes of a class count as one thing; the surer one stays."""
    sure: Annotated[float, Within(0, 1)] = 0.0
    """Confidence from which a box is an answer. 0: chosen on validation (best F1 at half overlap)."""


def _whole(box: box_kind.Box) -> bool:
    """Whether the box has an area, a part of it right of and below the picture's upper left corner."""
    return box.right > max(0.0, box.left) and box.bottom > max(0.0, box.top)


def _inner(things: Sequence[box_kind.Box]) -> int:
    """How many of the things of a picture lie in another of their class."""
    held_GG = held(np.array([box[1:5] for box in things]), np.array([box.label for box in things]))
    return int(np.triu(held_GG, 1).any(1).sum())


@final
class Main(Task):
    """See the README beside this file."""

    name = "detect"
    metric = Metric("map", True)

    def __init__(self, config: Config):
        self.config = config
        self.target = config.target[0] if config.target else "boxes"
        size = config.encode.picture_size or SIDE
        self.encoder = InputEncoder(replace(config.encode, picture_size=size))
        self.labels: list[str] = []
        self.counts: list[int] = []
        self.sure = config.sure or 0.3
        self.alone = False

    @classmethod
    def suits(cls, table: Table) -> str:
        return tr("the pictures have boxes") if table.of_kind("boxes") and table.of_kind("image") else ""

    @classmethod
    def find_target(cls, table: Table) -> tuple[str, ...]:
        found = table.of_kind("boxes")
        if not found:
            raise DataError(
                "Detection needs boxes beside the pictures (COCO, Pascal VOC, YOLO) or a column of them; the columns are {columns}.",
                columns=", ".join(table.names[:30]),
            )
        return (found[0],)

    # -- learned from the training split only
    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        self.encoder.given = {kind: dict(state) for kind, state in learned.items() if kind == "image"}

    def fit(self, table: Table) -> None:
        pictures = [name for name in table.of_kind("image") if name not in self.config.ignore]
        if len(pictures) != 1:
            raise DataError("Detection reads one column of pictures; there are {count}: {columns}. Leave others out with --ignore.",
                            count=len(pictures), columns=", ".join(pictures) or "-")  # fmt: skip
        self.encoder.fit(table, pictures)
        self.encoder.learned[0].state["fit"] = "letterbox"  # nothing may be cut off
        told = [[box for box in things if not box.crowd and _whole(box)] for things in box_kind.parse(table.column(self.target))]
        found = [box.label for things in told for box in things]
        if not found:
            raise DataError("A detector needs boxes to learn from; the {rows} training pictures have none.", rows=len(table))
        labels, counts = np.unique(found, return_counts=True)
        self.labels, self.counts = labels.tolist(), counts.tolist()
        inner = sum(_inner(things) for things in told if len(things) > 1)
        self.alone = inner <= APART * len(found)

    def state(self) -> dict[str, Any]:
        return {"encoder": self.encoder.state(), "target": self.target, "labels": self.labels, "counts": self.counts, "sure": self.sure,
                "alone": self.alone}  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self.encoder.restore(state["encoder"])
        self.target, self.labels, self.counts = state["target"], list(state["labels"]), list(state["counts"])
        self.sure, self.alone = float(state["sure"]), bool(state.get("alone"))

    @property
    def inputs(self) -> Mapping[str, Field]:
        return self.encoder.fields()

    @property
    def head(self) -> Head:
        return Head(len(self.labels), "place")

    def suggest(self, table: Table) -> Suggestion:
        reason = tr("{rows} pictures with boxes", rows=len(table))
        return Suggestion("few" if len(table) < 500 else "small", reason)

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        """All rows; boxes in cells that are none are told (those of annotation files were left out before)."""
        broken = [sum(not _whole(box) for box in things) for things in box_kind.parse(table.column(self.target))]
        first = next((row for row, count in enumerate(broken) if count), 0)
        said = tr("{count:,} boxes are left out because they are inverted, empty or outside of their picture; the first is in row {row}.",
                  count=sum(broken), row=first)  # fmt: skip
        return np.ones(len(table), bool), [said] if sum(broken) else []

    # -- tensors
    def _frames(self, table: Table) -> np.ndarray:
        """(N, 6): where the picture lies in the square (left, top, width, height in shares), its own width and height in pixels."""
        cells = Cells(table.column(self.encoder.columns[0]), table.root)
        looks = media.decode_all(media.sources(cells), image.upright)
        _, height, width = self.encoder.learned[0].state["size"]
        found = np.ones((len(table), 6))
        for row, look in enumerate(looks):
            w, h = look if isinstance(look, tuple) else (width, height)
            share = min(width / w, height / h)
            inner = max(1, round(w * share)), max(1, round(h * share))
            left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
            found[row] = left / width, top / height, inner[0] / width, inner[1] / height, w, h
        return found

    def _things(self, table: Table, frames_N6: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, G, 4) in shares of the square and classes (N, G): -1 for none, -2 - c for a crowd of class c."""
        frames_N6 = self._frames(table) if frames_N6 is None else frames_N6
        places = {label: place for place, label in enumerate(self.labels)}
        told = box_kind.parse(table.column(self.target))
        rows = [[box for box in things if box.label in places and _whole(box) and box.left < frame[4] and box.top < frame[5]]
                for things, frame in zip(told, frames_N6, strict=True)]  # fmt: skip
        most = max(1, max((len(row) for row in rows), default=1))
        boxes_NG4, class_NG = np.zeros((len(rows), most, 4), np.float32), np.full((len(rows), most), -1, np.int64)
        for row, things in enumerate(rows):
            left, top, wide, tall, width, height = frames_N6[row]
            for place, box in enumerate(things):
                sides = np.array(box[1:5]) / (width, height, width, height)
                boxes_NG4[row, place] = np.clip(sides, 0, 1) * (wide, tall, wide, tall) + (left, top, left, top)
                class_NG[row, place] = -2 - places[box.label] if box.crowd else places[box.label]
        return boxes_NG4, class_NG

    def encode(self, table: Table, *, target: bool) -> Examples:
        columns: dict[str, Column] = dict(self.encoder.encode(table, kept=target))
        frames_N6 = self._frames(table)
        columns["frame"] = Dense(torch.from_numpy(frames_N6).float())
        if target:
            boxes_NG4, class_NG = self._things(table, frames_N6)
            columns["target.boxes"], columns["target.classes"] = Dense(torch.from_numpy(boxes_NG4)), Dense(torch.from_numpy(class_NG))
            columns["target.unknown"] = Dense(torch.from_numpy(self._unknown(table)))
        return Examples(columns)

    def _unknown(self, table: Table) -> np.ndarray:
        """(N,) things of classes that were not learned from."""
        told = box_kind.parse(table.column(self.target))
        return np.array([sum(box.label not in self.labels for box in things) for things in told], np.int64)

    # -- learning
    def loss(self, output: Places, batch: Batch) -> tuple[Tensor, Tensor]:
        return loss(output, batch["target.boxes"], batch["target.classes"])

    # -- judging
    def _found(self, output: Places) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each row the detections, the surest first: boxes (D, 4) in shares, classes (D,), scores (D,)."""
        score_BAS = output.logits.float().sigmoid()
        B, A, S = score_BAS.shape
        best = score_BAS.flatten(1).topk(min(CANDIDATES, A * S), 1)
        rows = []
        for row in range(B):
            place, kind, score = best.indices[row] // S, best.indices[row] % S, best.values[row]
            boxes = output.boxes[row, place].float()
            kept = self._single(boxes, kind, int((score >= LEAST_SCORE).sum()))
            rows.append((boxes[kept].cpu().numpy(), kind[kept].cpu().numpy(), score[kept].cpu().numpy()))
        return rows

    def _single(self, boxes_D4: Tensor, kind_D: Tensor, count: int) -> np.ndarray:
        """Row numbers of those of the first `count` that no surer box of their class overlaps by `same`; at most 100."""
        boxes_D4, kind_D = boxes_D4[:count], kind_D[:count]
        near_DD = (overlap(boxes_D4[:, None], boxes_D4[None]) > self.config.same) & (kind_D[:, None] == kind_D[None])
        near, out, kept = near_DD.cpu().numpy(), np.zeros(count, bool), []
        for row in range(count):
            if not out[row]:
                kept.append(row)
                out |= near[row]
        return np.array(kept[:MOST_D], np.int64)

    def _pixels(self, boxes: np.ndarray, frame_6: np.ndarray) -> np.ndarray:
        """Shares of the square -> pixels of the picture, cut at its border."""
        left, top, wide, tall, width, height = frame_6
        inner = (boxes - (left, top, left, top)) / (wide, tall, wide, tall)
        found: np.ndarray = np.clip(inner, 0, 1) * (width, height, width, height)
        return found

    def evidence(self, output: Places, batch: Batch) -> Evidence:
        found = self._found(output)
        true = batch["target.boxes"].cpu().numpy(), batch["target.classes"].cpu().numpy()
        return self._judged(found, true, batch["frame"].cpu().numpy()) | {"unknown": batch["target.unknown"].cpu().numpy()}

    def _judged(self, found: Sequence[tuple[np.ndarray, ...]], true: tuple[np.ndarray, np.ndarray], frames: np.ndarray) -> Evidence:
        """Facts of each picture: score, class and again (N, D), hit and skip (N, D, R), things (N, S, R)."""
        rows = []
        for (boxes, kinds, scores), true_G4, class_G, frame in zip(found, *true, frames, strict=True):
            real = class_G != -1
            crowd = class_G[real] < -1
            labels = np.where(crowd, -2 - class_G[real], class_G[real])
            things = self._pixels(true_G4[real], frame), labels, crowd
            facts = judge((self._pixels(boxes, frame), kinds), things, len(self.labels))
            empty = MOST_D - len(scores)
            facts["score"] = np.pad(scores.astype(np.float32), (0, empty))
            facts["again"] = np.pad(again(self._pixels(boxes, frame), kinds, self.alone), (0, empty))
            facts["class"] = np.pad(kinds.astype(np.int32), (0, empty), constant_values=-1)
            facts |= {name: np.pad(facts[name], ((0, empty), (0, 0))) for name in ("hit", "skip")}
            rows.append(facts)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        return measure(evidence)

    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) one less F1 at half overlap of the boxes that would be answered: things missed and things made up count alike."""
        right, wrong, things = self._counted(evidence, self.sure)
        return 1 - 2 * right / np.maximum(right + wrong + things, 1) * (things + wrong > 0) - (things + wrong == 0)

    def _counted(self, evidence: Evidence, sure: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N,) right and wrong answers at half overlap, and things to be found."""
        told = (evidence["score"] >= sure) & (evidence["class"] >= 0) & ~evidence["again"]
        hit, skip = evidence["hit"][:, :, 0] & 1, evidence["skip"][:, :, 0] & 1
        return (told & (hit == 1)).sum(1), (told & (hit == 0) & (skip == 0)).sum(1), evidence["things"][:, :, 0].sum(1)

    def calibrate(self, evidence: Evidence) -> None:
        """The confidence from which a box is an answer: the best F1 at half overlap on validation."""
        if self.config.sure:
            return
        levels = np.linspace(0.05, 0.8, 31)
        scores = []
        for level in levels:
            right, wrong, things = (values.sum() for values in self._counted(evidence, float(level)))
            scores.append(2 * right / max(1, right + wrong + things))
        self.sure = float(levels[int(np.argmax(scores))])

    def views(self, evidence: Evidence) -> Sequence[View]:
        whole = precision(evidence)
        seen = np.flatnonzero(np.isfinite(whole[:, 0]))  # a class without a thing has no precision, and does not count in mAP
        if not len(seen):
            return []
        whole = whole[seen]
        order = np.argsort(-whole.mean(1), kind="stable")[:SHOWN_CLASSES]
        names, values = [self.labels[label] for label in seen[order]], whole.mean(1)[order]
        curve = {"x": THRESHOLDS_T.round(2).tolist(), "lines": {"mAP": whole.mean(0).round(4).tolist()},
                 "x_label": tr("overlap demanded"), "y_label": "mAP", "diagonal": False}  # fmt: skip
        unknown = int(evidence["unknown"].sum()) if "unknown" in evidence else 0
        note = tr("{count:,} things of classes that were not learned from are not counted.", count=unknown) if unknown else ""
        return [
            View("bars", tr("Average precision of each class"), {"labels": names, "values": values.round(4).tolist()}, note),
            View("curve", tr("How well the boxes fit"), curve, tr("A steep fall: things are found, but their boxes are loose.")),
        ]

    def baselines(self) -> Sequence[Baseline]:
        return MeanBox(self._things, self._foreign), NearestPicture(self._things, self._foreign, self._squares)

    def _foreign(self, table: Table, boxes: list[np.ndarray], kinds: list[np.ndarray], scores: list[np.ndarray]) -> Evidence:
        found = [tuple(values[:MOST_D] for values in row) for row in zip(boxes, kinds, scores, strict=True)]
        frames = self._frames(table)
        return self._judged(found, self._things(table, frames), frames) | {"unknown": self._unknown(table)}

    def _squares(self, table: Table) -> np.ndarray:
        column = next(iter(self.encoder.encode(table, kept=True).values()))
        assert isinstance(column, Dense)
        return column.values.numpy()

    # -- answering
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """`prediction`: what is surely there, as label, confidence and box in pixels of the picture; `confidence` of the surest."""
        frames = batch["frame"].cpu().numpy()
        rows, surest = [], []
        for (boxes, kinds, scores), frame in zip(self._found(model(batch)), frames, strict=True):
            pixels = self._pixels(boxes, frame)
            told = (scores >= self.sure) & ~again(pixels, kinds, self.alone)
            sides = pixels[told].astype(np.float64).round(1).tolist()
            rows.append([{"label": self.labels[kind], "confidence": round(float(score), 4), "box": box}
                         for kind, score, box in zip(kinds[told], scores[told], sides, strict=True)])  # fmt: skip
            surest.append(round(float(scores.max(initial=0.0)), 4))
        return {"prediction": rows, "confidence": surest}
