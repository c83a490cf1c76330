"""Columns of tensors: what encoding leaves behind, and what batches are cut from.

Legend: N rows, B rows of a batch, T positions (padded to the longest of the batch), `...` trailing sizes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Batch = dict[str, Tensor]
"""Name -> tensor. A ragged column `x` also brings `x.length` (B,) int64."""


class Column(ABC):
    """One encoded column of N rows."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def gather(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        """The rows (B,) as tensors named after the column; `generator` is given in training only."""

    @abstractmethod
    def lengths(self) -> np.ndarray | None:
        """(N,) positions of each row, or None where all rows have the same shape."""

    def row_bytes(self) -> float:
        """Bytes of a row as it is stored, on average; 0 where they do not matter."""
        return 0.0


@dataclass(frozen=True)
class Dense(Column):
    """Rows of one shape: values (N, ...)."""

    values: Tensor

    def __len__(self) -> int:
        return self.values.shape[0]

    def gather(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        return {name: self.values.index_select(0, rows)}

    def lengths(self) -> None:
        return None

    def row_bytes(self) -> float:
        return self.values.nbytes / max(1, len(self))


@dataclass(frozen=True)
class Ragged(Column):
    """Rows of different lengths: values (total, ...), offsets (N + 1,) int64; padding is zero."""

    values: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return self.offsets.shape[0] - 1

    def gather(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        start, length = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        longest = max(1, int(length.max())) if len(rows) else 1
        place_BT = torch.arange(longest).unsqueeze(0)
        inside_BT = place_BT < length.unsqueeze(1)
        if not self.values.shape[0]:
            return {name: self.values.new_zeros(len(rows), longest, *self.values.shape[1:]), f"{name}.length": length}
        index_BT = (start.unsqueeze(1) + place_BT).clamp_(max=self.values.shape[0] - 1)
        values = self.values[index_BT]
        values[~inside_BT] = 0
        return {name: values, f"{name}.length": length}

    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets.numpy())

    def row_bytes(self) -> float:
        return self.values.nbytes / max(1, len(self))

    @staticmethod
    def of(rows: list[np.ndarray], empty: np.ndarray) -> "Ragged":
        """Stack rows (T_i, ...) end to end; `empty` (0, ...) gives shape and type where there are no rows."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return Ragged(torch.from_numpy(np.concatenate([empty, *rows])), torch.from_numpy(offsets))


@dataclass(frozen=True)
class Choices(Column):
    """Several forms of each row, such as the clips of a film: values (N, K, ...); a batch holds all (B, K, ...), in training one."""

    values: Tensor

    def __len__(self) -> int:
        return self.values.shape[0]

    def gather(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        if generator is None:
            return {name: self.values[rows]}
        chosen = torch.randint(0, self.values.shape[1], rows.shape, generator=generator)
        return {name: self.values[rows, chosen].unsqueeze(1)}

    def lengths(self) -> None:
        return None

    def row_bytes(self) -> float:
        return self.values.nbytes / max(1, len(self))


@dataclass(frozen=True)
class Aside(Column):
    """A ragged column that is carried along (texts to judge by, places to answer with): rows are not grouped by its lengths."""

    carried: Ragged

    def __len__(self) -> int:
        return len(self.carried)

    def gather(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        return self.carried.gather(name, rows, generator)

    def lengths(self) -> None:
        return None

    @staticmethod
    def of_texts(texts: Sequence[str]) -> "Aside":
        """Code points of each text; `texts_of` turns them back."""
        codes = [np.frombuffer(text.encode("utf-32-le", "replace"), np.int32) for text in texts]
        return Aside(Ragged.of(codes, np.zeros(0, np.int32)))


@dataclass(frozen=True)
class Turns(Column):
    """Several texts for each row, read one after another: N rows of a ragged column of N * count, (B * count, ...) in a batch."""

    inner: Ragged
    count: int

    def __len__(self) -> int:
        return len(self.inner) // self.count

    def gather(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        return self.inner.gather(name, (rows.unsqueeze(1) * self.count + torch.arange(self.count)).view(-1), generator)

    def lengths(self) -> np.ndarray:
        return self.inner.lengths().reshape(-1, self.count).max(1, initial=0)


def texts_of(points_BT: Tensor, length_B: Tensor) -> list[str]:
    """Code points of a batch back to texts."""
    return ["".join(map(chr, row[:size])) for row, size in zip(points_BT.tolist(), length_B.tolist(), strict=True)]


@dataclass(frozen=True)
class Running(Column):
    """Rows cut out of one long stream of tokens (total,)."""

    values: Tensor
    width: int

    def starts(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B,) row i begins at i * width, in training as much as half a width before or behind; it may lie outside of the stream."""
        start = rows * self.width
        if generator is not None:
            start = start + torch.randint(-self.width // 2, self.width // 2 + 1, start.shape, generator=generator)
        return start


@dataclass(frozen=True)
class Windows(Running):
    """Windows over the stream: row i starts at i * width, shifted at random in training.

    A batch holds the tokens `x` (B, width) and their successors `x.next` (B, width); where `offsets` (N + 1,) say where the documents
    begin, also `x.document` (B, width), the document that each token belongs to, so that none is read with another.
    """

    offsets: Tensor | None = None

    def __len__(self) -> int:
        return max(1, (self.values.shape[0] - 1) // self.width)

    def gather(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        start = self.starts(rows, generator).clamp(0, max(0, self.values.shape[0] - self.width - 1))
        index = start.unsqueeze(1) + torch.arange(self.width + 1)
        tokens = self.values[index].long()
        found = {name: tokens[:, :-1], f"{name}.next": tokens[:, 1:]}
        if self.offsets is not None:
            found[f"{name}.document"] = torch.searchsorted(self.offsets, index[:, :-1].contiguous(), right=True)
        return found

    def lengths(self) -> None:
        return None


@dataclass(frozen=True)
class Examples:
    """Encoded rows: columns of the same length N."""

    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return min((len(column) for column in self.columns.values()), default=0)

    def batch(self, rows: Tensor | np.ndarray, generator: torch.Generator | None = None) -> Batch:
        """Rows (B,) of every column, ragged ones padded."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        found: Batch = {}
        for name, column in self.columns.items():
            found.update(column.gather(name, index, generator))
        return found

    def lengths(self) -> np.ndarray | None:
        """(N,) the longest ragged column of each row, or None where nothing is ragged."""
        found = [lengths for lengths in (column.lengths() for column in self.columns.values()) if lengths is not None]
        return np.max(found, axis=0) if found else None
