"""What files hold, remembered from one start to the next: a file that has not changed since is neither read nor tried again.

An index for each root folder lies in the cache folder, a record of seven numbers a file: a digest of its name, its size, times of
modification and of change, inode, the digest of its content, and as what it was found to open. No program can set the time of change
back, where the system tells one: a file of the same name, size and time of modification with other content is told from the one before.
As in git, what changed just before it was looked at is not remembered, for its times may stay while it changes again. Legend: N files.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from duomo.core.files import UNREADABLE, write_atomically
from duomo.data import spill

FEW, SMALL = 256, 16 * 2**20
"""Fewer files, where they hold fewer bytes, are not worth an index."""
SETTLED = 2 * 10**9
"""Nanoseconds for which a file must not have changed: no file system counts more coarsely."""
KEPT = 256 * 2**20
"""Bytes of all indexes; those that were unused for longest are removed first."""
OPENS = {"image": 1, "audio": 2, "video": 4}
"""As what a file opens: bits of the last number of a record."""
FORM = 1
"""Raised when records are written otherwise, or what opens is judged otherwise."""
FIELDS, NAME, STAMP, CONTENT, OPENED = 7, 0, slice(1, 5), 5, 6
NOTHING = np.zeros((0, FIELDS), np.uint64)
JOB = 256


class Files:
    """N files of one folder: what they hold, and which are known to open."""

    def __init__(self, names: Sequence[str], keys_N: np.ndarray, root: Path):
        """`keys_N`: uint64 digests of the names."""
        self.names, self.root = names, root
        now = time.time_ns()
        self.records = np.zeros((len(names), FIELDS), np.uint64)
        self.records[:, NAME] = keys_N
        self.records[:, STAMP] = np.array(_each(self._stamp, names), np.int64).reshape(-1, 4).view(np.uint64)
        self.settled = (self.records[:, STAMP].view(np.int64)[:, 2] < now - SETTLED) & (self.records[:, 1] < np.uint64(2**63))
        known = _open(root)
        if len(known):
            found = known[np.minimum(np.searchsorted(known[:, NAME], keys_N), len(known) - 1)]
            same = self.settled & (found[:, : STAMP.stop] == self.records[:, : STAMP.stop]).all(axis=1)
            self.records[same] = found[same]

    def _stamp(self, name: str) -> tuple[int, int, int, int]:
        """Size, time of modification, time of the last change, inode; -1 each where there is no such file."""
        try:
            found = os.stat(self.root / name)
        except UNREADABLE:
            return -1, -1, -1, -1
        changed = found.st_ctime_ns if os.name == "posix" else found.st_mtime_ns
        return found.st_size, found.st_mtime_ns, changed, found.st_ino & (2**63 - 1)

    def digests(self) -> np.ndarray:
        """(N,) uint64 of the contents, read where they are not remembered; a file that cannot be read counts by its name."""
        unread = np.flatnonzero(self.records[:, CONTENT] == 0)
        if len(unread):
            self.records[unread, CONTENT] = np.array(_each(lambda row: _content(self.names[row], self.root), unread.tolist()), np.uint64)
            self._save(unread)
        return self.records[:, CONTENT].copy()

    def opens(self, kind: str) -> np.ndarray:
        """(N,) bool: which were found to open as that kind, and have not changed since."""
        return (self.records[:, OPENED] & np.uint64(OPENS[kind])) > 0

    def opened(self, kind: str, rows: np.ndarray) -> None:
        """Remember that these rows (n,) open as that kind."""
        self.records[rows, OPENED] |= np.uint64(OPENS[kind])
        self._save(rows)

    def _save(self, rows: np.ndarray) -> None:
        """Records of these rows into the index, where that is worth it; what another process wrote meanwhile stays."""
        rows = rows[self.settled[rows]]
        if len(rows) < FEW and self.records[rows, 1].sum() < SMALL:
            return
        both = np.concatenate([self.records[rows], _open(self.root)])
        _, first = np.unique(both[:, NAME], return_index=True)
        with suppress(OSError):  # a cache folder that cannot be written is no reason to stop
            path = _path(self.root)
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, both[first].tobytes())
            _prune(path)


def _content(name: str, root: Path) -> int:
    """BLAKE2b of what the file holds, in 64 bits; of its name where it cannot be read."""
    digest = hashlib.blake2b(digest_size=8)
    try:
        with (root / name).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except UNREADABLE:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def _each(call: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """In threads, JOB items at a time: what waits for a disk or hashes lets the others run."""
    starts = range(0, len(items), JOB)
    with ThreadPoolExecutor(8) as pool:
        return [one for part in pool.map(lambda start: [call(item) for item in items[start : start + JOB]], starts) for one in part]


def _path(root: Path) -> Path:
    return spill.folder(None) / "files" / f"{spill.text_digest(root.absolute(), FORM)[:32]}.index"


def _open(root: Path) -> np.ndarray:
    """(M, FIELDS) uint64, sorted by name; empty where there is no index or it is damaged."""
    try:
        path = _path(root)
        found = np.fromfile(path, np.uint64).reshape(-1, FIELDS)
        os.utime(path)
    except UNREADABLE:
        return NOTHING
    return found if (found[1:, NAME] > found[:-1, NAME]).all() else NOTHING


def _prune(own: Path) -> None:
    found = sorted(own.parent.glob("*.index"), key=lambda file: -file.stat().st_mtime)
    for file, size in zip(found, np.cumsum([file.stat().st_size for file in found]), strict=True):
        if size > KEPT and file != own:
            file.unlink(missing_ok=True)
