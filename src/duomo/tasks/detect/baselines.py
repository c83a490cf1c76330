"""What a detector must beat: every class's mean box in every picture, and the boxes of the most similar training picture."""

from collections.abc import Callable
from typing import final

import numpy as np

from duomo.core.contract import Baseline, Evidence
from duomo.core.table import Table

Things = Callable[[Table], tuple[np.ndarray, np.ndarray]]
"""Boxes (N, G, 4) in shares of the square and classes (N, G) of a table, -1 where there is none."""
Judge = Callable[[Table, list[np.ndarray], list[np.ndarray], list[np.ndarray]], Evidence]
"""(table, boxes, classes, scores of each row) -> evidence."""
SIDE = 16


@final
class MeanBox(Baseline):
    """Each class where it is on average, as surely as it is frequent."""

    name = "mean box of each class"

    def __init__(self, things: Things, judge: Judge):
        self._things, self._judge = things, judge

    def fit(self, train: Table) -> None:
        boxes_NG4, class_NG = self._things(train)
        labels = np.unique(class_NG[class_NG >= 0])
        self._boxes = np.array([boxes_NG4[class_NG == label].mean(0) for label in labels]).reshape(-1, 4)
        self._scores = np.array([(class_NG == label).any(1).mean() for label in labels])
        order = np.argsort(-self._scores, kind="stable")
        self._boxes, self._scores, self._labels = self._boxes[order], self._scores[order], labels[order]

    def evidence(self, test: Table) -> Evidence:
        rows = len(test)
        return self._judge(test, [self._boxes] * rows, [self._labels] * rows, [self._scores] * rows)


@final
class NearestPicture(Baseline):
    """The boxes of the training picture whose small grey copy is most alike."""

    name = "nearest picture"

    def __init__(self, things: Things, judge: Judge, pixels: Callable[[Table], np.ndarray]):
        self._things, self._judge, self._pixels = things, judge, pixels

    def _small(self, table: Table) -> np.ndarray:
        """(N, 256) of mean zero and norm one."""
        pixels = self._pixels(table).astype(np.float32).mean(1)
        count, height, width = pixels.shape
        rows, columns = height // SIDE, width // SIDE
        cells = pixels[:, : rows * SIDE, : columns * SIDE].reshape(count, SIDE, rows, SIDE, columns).mean((2, 4)).reshape(count, -1)
        cells = cells - cells.mean(1, keepdims=True)
        return cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-6)

    def fit(self, train: Table) -> None:
        self._known, (self._boxes, self._classes) = self._small(train), self._things(train)

    def evidence(self, test: Table) -> Evidence:
        alike = self._small(test) @ self._known.T
        nearest, sure = alike.argmax(1), alike.max(1)
        kept = [self._classes[row] >= 0 for row in nearest]
        boxes = [self._boxes[row][mask] for row, mask in zip(nearest, kept, strict=True)]
        labels = [self._classes[row][mask] for row, mask in zip(nearest, kept, strict=True)]
        return self._judge(test, boxes, labels, [np.full(len(found), score) for found, score in zip(labels, sure, strict=True)])
