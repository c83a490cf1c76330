"""What every kind of data can do: be recognised, be learned from the training split, become tensors, be described."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from duomo.core.contract import Field
from duomo.core.recipe import EncodeConfig


class Block(NamedTuple):
    """Encoded cells of one column: values (N, ...) when `lengths` is None, else ragged (total, ...) with lengths (N,)."""

    values: np.ndarray
    lengths: np.ndarray | None = None


class Cells(NamedTuple):
    """A column's cells and the folder that its relative paths start from (None: paths are refused, bytes only)."""

    data: pa.ChunkedArray
    root: Path | None = None


class Kind(ABC):
    """One kind of column. Everything learned is a JSON dict (`state`), so that it can lie in a run folder."""

    name: ClassVar[str]
    form: ClassVar[str | None]
    """The form of Field that it becomes; None: never an input (id)."""

    @abstractmethod
    def recognise(self, name: str, cells: Cells) -> str | None:
        """Why the (sampled) cells look like this kind, in one sentence; None if they do not."""

    @abstractmethod
    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """Learn from training cells."""

    def adopt(self, given: Mapping[str, Any], cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """The state for a model that was trained with `given`: what its weights rest on stays, the rest is learned from the cells."""
        return dict(given)

    @abstractmethod
    def field(self, state: Mapping[str, Any]) -> Field:
        """What a model will see."""

    @abstractmethod
    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        """Cells to arrays, vectorised; a cell that cannot be read raises DataError naming the row and the file."""
