"""Arrays in files as a table: NumPy's, those of MNIST (IDX) and CIFAR. Of several those that are as long as the first, each under its name.
No object is unpickled."""

import gzip
import os
import re
import struct
import tokenize
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data.folders.classes import Classed, kinds_of, labels_of
from duomo.data.folders.listed import GROUP
from duomo.data.formats import archive
from duomo.data.formats.frames import from_memory
from duomo.data.formats.picture_arrays import pictures
from duomo.data.partition import SPLIT, first_part, meant

FEATURES, TARGETS = ("x", "x_train", "data", "features", "images", "inputs"), ("y", "y_train", "labels", "label", "target", "targets")
FAULTS = (*archive.FAULTS, OSError, ValueError, TypeError, SyntaxError, tokenize.TokenError, struct.error)
"""What zipfile and NumPy's reader of headers, which parses a Python literal, raise for bytes that are no array."""
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
IDX = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""Types of the elements of IDX files, by the third byte."""
TINY = ((3073, 1), (3074, 2))
"""Bytes of a row of CIFAR-10 and CIFAR-100, and how many of them are classes; the others are a picture of 32 pixels, colour by colour."""
ENDING = re.compile(r"\.(npy|txt)$|[-.]idx\d[-.]ubyte(\.gz)?$", re.IGNORECASE)
"""Endings of files that hold one array."""
NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?nan", re.IGNORECASE)
ONLY = "x"
MOST, FEWEST = 1 << 32, 5
"""Bytes of a compressed array; arrays in each class folder from which on each is a row."""
LARGEST_WORDS, MOST_WORDS = 1 << 16, 1000
"""Bytes of a text that gives words for numbers, and the largest of these, at most."""
LOOKED_AT = 20
"""Rows by which CIFAR's files are told."""


def read_numpy(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """The arrays of a file. DataError for one that is damaged or holds objects."""
    return _table(_held(path))


def is_array(path: Path) -> bool:
    """Whether the file is an array by its name, and its bytes where others are called so too."""
    ending = path.suffix.lower()
    if ending == ".txt":
        return bool(first_part(path.stem)) and _is_matrix(path)
    return ending == ".npz" or ENDING.search(path.name) is not None or (ending == ".bin" and any(_tiny(path.stat().st_size, path)))


def _is_matrix(path: Path) -> bool:
    """Whether the first lines of a text are numbers between spaces, as many on each."""
    with path.open("rb") as file:
        lines = [line.split() for line in islice(file, LOOKED_AT) if line.strip()]
    return len({*map(len, lines)}) == 1 and all(NUMBER.fullmatch(cell) for line in lines for cell in line)


def read_arrays(root: Path, files: Sequence[str], beside: Table | None = None) -> Table:
    """The arrays of a folder: a row each in folders of classes, else one table together, those of a table `beside` with them where it has
    as many rows. Of texts those count that lie outermost."""
    several = len(files) >= 2 * FEWEST and not any(file.lower().endswith(".txt") for file in files)
    classed = labels_of(root, list(files)) if several else None
    if classed is not None and min(Counter(classed.labels).values()) >= FEWEST:
        return _classed(root, files, classed)
    texts = [file for file in files if file.lower().endswith(".txt")]
    inner = [file for file in texts if file.count("/") > min(one.count("/") for one in texts)]
    arrays: dict[str, np.ndarray] = {}
    above = os.path.commonpath([os.path.dirname(file) for file in files])
    for file in (file for file in files if file not in inner):
        part = first_part(file) or "train"
        for name, array in _held(root / file).items():
            several = file.lower().endswith(".npz")
            own = file[len(above) :].removeprefix("/")
            name = f"{os.path.splitext(own)[0]}.{name}" if several else ENDING.sub("", own) if name == ONLY else f"{part}.{name}"
            arrays[name] = np.concatenate([arrays[name], array]) if name in arrays else array
    if inner and all(array.ndim == 1 for array in arrays.values()) and (joined := _channels(root, inner)):
        arrays, inner = arrays | joined, []
    if texts:
        told = _told(root / above)
        arrays = {
            name: told[array.astype(np.int64)] if told is not None and _fits(array, told) else array for name, array in arrays.items()
        }
    names = root / "batches.meta.txt"
    if names.is_file():
        told = np.array(names.read_text(encoding="utf-8").split())
        arrays = {name: told[array] if name.endswith(".label") and array.max() < len(told) else array for name, array in arrays.items()}
    data, problems = _table(arrays)
    if inner:
        problems = (*problems, tr("{count} arrays in inner folders are not read: {names}.", count=len(inner), names=", ".join(inner[:3])))
    if beside is not None and len(beside) == len(data):
        for name in beside.names:
            data = data.append_column(name, beside.data.column(name)) if name not in data.column_names else data
    return Table(data, dict.fromkeys({SPLIT} & {*data.column_names}, "id"), root=root, name=root.name, problems=problems)


def _told(folder: Path) -> np.ndarray | None:
    """The words that a text of the folder gives for numbers, a line each (1 WALKING), by these; None where none does."""
    for path in sorted(folder.glob("*.txt")):
        if path.stat().st_size <= LARGEST_WORDS:
            lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            if len(lines) > 1 and all(len(line) == 2 and line[0].isdecimal() and not NUMBER.fullmatch(line[1].encode()) for line in lines):
                words = {int(place): word for place, word in lines}
                return np.array([words.get(place, "") for place in range(1 + max(words))]) if max(words) < MOST_WORDS else None
    return None


def _fits(array: np.ndarray, words: np.ndarray) -> bool:
    """Whether an array holds the numbers for which there are words, each, and no other."""
    return array.ndim == 1 and np.array_equal(np.unique(array), np.flatnonzero(words != ""))


def _channels(root: Path, files: Sequence[str]) -> dict[str, np.ndarray]:
    """(N, T, C) of each part, where its files are matrices of one shape: each is a channel of N series (body_acc_x_train.txt beside
    body_acc_y_train.txt)."""
    parts: dict[str, list[np.ndarray]] = {}
    for file in files:
        parts.setdefault(first_part(file), []).append(next(iter(_held(root / file).values())))
    if any(channel.ndim < 2 or channel.shape != channels[0].shape for channels in parts.values() for channel in channels):
        return {}
    return {f"{part}.series": np.stack(channels, axis=2) for part, channels in parts.items()}


def _classed(root: Path, files: Sequence[str], classed: Classed) -> Table:
    """A row for each file: a picture, or a series of its steps."""
    arrays = [next(iter(_held(root / file).values())) for file in files]
    shown = [pictures(array[None]) if array.ndim in (2, 3) else None for array in arrays]
    if all(shown):
        held = {"image": pa.array([one[0] for one in shown if one], pa.large_binary())}
    elif len({array.shape[1:] for array in arrays}) == 1 and arrays[0].ndim < 3 and all(array.dtype.kind in "biuf" for array in arrays):
        steps = [array.astype(np.float32).reshape(len(array), -1).tolist() for array in arrays]
        held = {"series": pa.array(steps, pa.large_list(pa.large_list(pa.float32())))}
    else:
        raise DataError("Arrays in folders of classes must be pictures of bytes, or series (steps, channels) of as many channels each; "
                        "{file} has the shape {shape}. Save them so.", file=files[0], shape=str(arrays[0].shape))  # fmt: skip
    found = held | {"label": pa.array(classed.labels, pa.large_string()), "file": pa.array(files, pa.large_string())}
    found |= {GROUP: pa.array(classed.groups, pa.large_string())} if classed.groups else {}
    said = tr("{count:,} arrays are a row each, their folders the classes.", count=len(files))
    return Table(pa.table(found), kinds_of(found), root=root, name=root.name, problems=(said, *classed.said))


def _held(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by their names; `x` for the only one."""
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as members:
                found = {}
                for info in archive.checked(members, path):
                    with members.open(info) as file:
                        found[info.filename.removesuffix(".npy")] = _array(file, info.file_size)
                return found
        if path.suffix.lower() == ".txt":
            return {ONLY: np.loadtxt(path, ndmin=1)}
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return {ONLY: _array(file, path.stat().st_size)}
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as opened:
            raw = opened.read(MOST)
        return _idx(raw) if path.suffix.lower() != ".bin" else _pictures(path, raw)
    except FAULTS as error:
        raise DataError("A file of arrays must be whole and hold plain numbers; {file} does not: {why}. Save it again.",
                        file=path.name, why=str(error)[:200]) from None  # fmt: skip


def _idx(raw: bytes) -> dict[str, np.ndarray]:
    """MNIST's form: two zeros, the type, the number of sides, each side, the elements."""
    kind, sides = raw[2], raw[3]
    shape = struct.unpack_from(f">{sides}I", raw, 4)
    if raw[:2] != b"\0\0" or kind not in IDX or not shape:
        raise ValueError(tr("its version is unknown"))
    body = np.frombuffer(raw, IDX[kind], offset=4 + 4 * sides)
    if len(body) != np.prod(shape, dtype=object):
        raise ValueError(tr("it is cut off"))
    return {ONLY: body.reshape(shape)}


def _tiny(size: int, path: Path) -> tuple[int, int]:
    """Bytes of a row, and how many of them are classes, where a file of that size is CIFAR's; else zeros."""
    for row, classes in TINY:
        if size and size % row == 0 and np.fromfile(path, np.uint8, LOOKED_AT * row)[0::row].max() < (10, 20)[classes - 1]:
            return row, classes
    return 0, 0


def _pictures(path: Path, raw: bytes) -> dict[str, np.ndarray]:
    row, classes = _tiny(len(raw), path)
    if not row:
        raise ValueError(tr("its version is unknown"))
    body = np.frombuffer(raw, np.uint8).reshape(-1, row)
    return {"image": body[:, classes:].reshape(-1, 3, 32, 32), "label": body[:, classes - 1]}


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


def _parted(arrays: Mapping[str, np.ndarray]) -> tuple[Mapping[str, np.ndarray], list[str]]:
    """Arrays of the parts of the data (x_train, y_train, x_test, y_test) end to end, and of each row its part; without such, as they were.
    Beside those called after training or test, others of no name are the test or for training."""
    parts: dict[str, dict[tuple[str, ...], np.ndarray]] = {}
    for name, array in arrays.items():
        words = (word for word in re.split(r"[-_./ ]", name) if meant(word) is None)
        parts.setdefault(first_part(name), {})[tuple(words)] = array
    if len(parts) == 2 and "" in parts and not {"train", "test"} <= {*parts}:
        parts = {part or ("test" if "train" in parts else "train"): one for part, one in parts.items()}
    named = [_short(one) for one in parts.values()]
    roles = [{role: array.shape[1:] for role, array in one.items()} for one in named]
    whole = all(len({len(array) for array in one.values()}) == 1 for one in named) and all(one == roles[0] for one in roles)
    if "train" not in parts or "" in parts or not whole or sum(map(len, roles)) < len(arrays):
        return arrays, []
    joined = {role: np.concatenate([one[role] for one in named]) for role in roles[0]}
    return joined, [part for part, one in zip(parts, named, strict=True) for _ in next(iter(one.values()))] if len(parts) > 1 else []


def _short(arrays: Mapping[tuple[str, ...], np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays by those words of their names that not all of them have: images and labels of t10k-images and t10k-labels."""
    shared = set.intersection(*map(set, arrays)) if len(arrays) > 1 else set()
    return {"_".join(word for word in words if word not in shared) or ONLY: array for words, array in arrays.items()}


def _table(arrays: Mapping[str, np.ndarray]) -> tuple[pa.Table, tuple[str, ...]]:
    """One array of rows and its target under their usual names, or each array as columns of its name; of other lengths than most rows are
    left out."""
    arrays, split = _parted(arrays)
    rows = max((len(array) for array in arrays.values()), default=0)
    left = sorted(name for name, array in arrays.items() if len(array) < rows)
    arrays = {name: array for name, array in arrays.items() if len(array) == rows}
    said = (tr("Arrays of another length were left out: {names}.", names=", ".join(left)),) if left else ()
    data = _columns(arrays)
    return data.append_column(SPLIT, pa.array(split, pa.large_string())) if split else data, said


def _columns(arrays: Mapping[str, np.ndarray]) -> pa.Table:
    lower = {name.lower(): name for name in arrays}
    x, y = (next((lower[name] for name in names if name in lower), "") for names in (FEATURES, TARGETS))
    if len(arrays) == 1:
        return from_memory(next(iter(arrays.values())))
    shown = {name: found for name, array in arrays.items() if (found := pictures(array))}
    if x and y and len(arrays) == 2 and arrays[x].ndim > 1 and not shown:
        return from_memory((arrays[x], arrays[y]))
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        if name in shown:
            columns["image" if len(shown) == 1 else name] = shown[name]
        elif array.ndim == 2 and array.shape[1] > 1:
            columns |= {f"{name}{place}": array[:, place] for place in range(array.shape[1])}
        else:
            flat = array.ravel() if array.ndim < 3 else None
            columns[name] = flat if flat is not None else list(array.reshape(len(array), array.shape[1], -1).astype(np.float32))
    return from_memory(columns)
