"""NumPy's files: an array as a table, or of several those that are as long as the first, each under its name. No object is unpickled."""

import tokenize
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.data import archive
from duomo.data.frames import from_memory

FEATURES, TARGETS = ("x", "x_train", "data", "features", "images", "inputs"), ("y", "y_train", "labels", "label", "target", "targets")
FAULTS = (*archive.FAULTS, OSError, ValueError, TypeError, SyntaxError, tokenize.TokenError)
"""What zipfile and NumPy's reader of headers, which parses a Python literal, raise for bytes that are no array."""
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_numpy(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """An .npy file, or the arrays of an .npz. DataError for one that is damaged or holds objects."""
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return _table({"x": _array(file, path.stat().st_size)}), ()
        with zipfile.ZipFile(path) as members:
            found = {}
            for info in archive.checked(members, path):
                with members.open(info) as file:
                    found[info.filename.removesuffix(".npy")] = _array(file, info.file_size)
    except FAULTS as error:
        raise DataError("A NumPy file must be whole and hold plain arrays; {file} does not: {why}. Save it again.",
                        file=path.name, why=str(error)[:200]) from None  # fmt: skip
    rows = max((len(array) for array in found.values()), default=0)
    kept = {name: array for name, array in found.items() if len(array) == rows}
    left = tr("Arrays of another length were left out: {names}.", names=", ".join(sorted(set(found) - set(kept))))
    return _table(kept), (left,) if len(kept) < len(found) else ()


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """The array, once its header promises no more than is there."""
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(tr("its version is unknown"))
    shape, fortran, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError(tr("it holds objects of Python"))
    if not shape:
        raise ValueError(tr("it holds a single number"))
    count = 1
    for length in shape:
        count *= length
    if count * dtype.itemsize > size:
        raise ValueError(tr("it is cut off"))
    body = file.read(count * dtype.itemsize)
    if len(body) < count * dtype.itemsize:
        raise ValueError(tr("it is cut off"))
    found = np.frombuffer(body, dtype)
    return found.reshape(shape[::-1]).transpose() if fortran else found.reshape(shape)


def _table(arrays: dict[str, np.ndarray]) -> pa.Table:
    """One array of rows and its target under their usual names, or each array as columns of its name."""
    lower = {name.lower(): name for name in arrays}
    x, y = (next((lower[name] for name in names if name in lower), "") for names in (FEATURES, TARGETS))
    if len(arrays) == 1:
        return from_memory(next(iter(arrays.values())))
    if x and y and len(arrays) == 2 and arrays[x].ndim > 1:
        return from_memory((arrays[x], arrays[y]))
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.ndim == 2:
            columns |= {f"{name}{place}": array[:, place] for place in range(array.shape[1])}
        else:
            columns[name] = array if array.ndim == 1 else list(array.reshape(len(array), array.shape[1], -1).astype(np.float32))
    return from_memory(columns)
