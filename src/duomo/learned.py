"""Which rows a run has learned from: one number for each, told by what its inputs hold, kept beside the weights.

What a row held cannot be read off its number, but who has the row can tell that it was there. Legend: N rows.
"""

from collections.abc import Sequence

import numpy as np
import torch

from duomo.core.run import RunFolder
from duomo.core.table import Table
from duomo.data.digests import row_digests
from duomo.data.split import repeats_by_nature

FILE, NAME = "learned.safetensors", "digests"
MOST = 5_000_000
"""Rows beyond which no list is kept: 40 MB."""


def keep(folder: RunFolder, parts: Sequence[Table], features: Sequence[str]) -> None:
    """The rows of training and of validation, by which the weights were chosen."""
    known = [name for name in features if name in parts[0].names]
    if not known or sum(map(len, parts)) > MOST:
        return
    found = np.unique(np.concatenate([row_digests(part, known) for part in parts]))
    folder.write_tensors(FILE, {NAME: torch.from_numpy(found.view(np.int64))})


def count(folder: RunFolder, table: Table, features: Sequence[str]) -> int:
    """How many rows of the table the run has learned from; 0 where it kept no list, or equal rows are no copies of one another."""
    if not (folder.path / FILE).is_file():
        return 0
    known = [name for name in features if name in table.names]
    digests = row_digests(table, known)
    met_N = np.isin(digests, folder.read_tensors(FILE)[NAME].numpy().view(np.uint64))
    return 0 if repeats_by_nature(table, known, digests) else int(met_N.sum())
