"""The folder that the studio works in: data, runs, and what it keeps of its own (jobs, trash, uploads on their way).

FOLDER/            where studio was started: sources are chosen beneath it
  data/            what was dropped on the page
  runs/            run folders, as `duomo train` writes them
  .studio/         jobs/ and served/ (one file a run), trash/ (deleted runs), incoming/ (uploads that have not all arrived)
"""

import filecmp
import itertools
import os
import secrets
import shutil
import time
import unicodedata
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from duomo.core.errors import ConfigError, DataError, ResourceError, RunError
from duomo.data.folders.files import FILMS, PICTURES, SOUNDS
from duomo.data.formats.compressed import PACKED
from duomo.data.sources import ENDINGS

LONGEST_NAME = 200
"""Bytes of a name; file systems take 255, and some of them go to numbers and endings."""
MOST_LISTED = 2000
SPARE_BYTES = 200_000_000
"""What an upload must leave free on the disk."""
WEIGHTS = (".gguf", ".safetensors", ".pth")
DEEPEST, MOST_SEEN = 3, 20_000
"""How far below the folder weights are looked for, and among how many entries."""
TURNS = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
"""Letters that turn the way of writing around, so that a name looks like another one."""
STALE_SECONDS = 24 * 3600
"""An upload that has not become whole in this time is thrown away."""


def shows(name: str) -> bool:
    """Whether a name reads as what it is: no control characters, no halves of letters, nothing that turns the way it is written. Wide and
    narrow spaces and joined emoji, as phones and screenshots name files, are letters like others."""
    return not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(one) in TURNS for one in name)


def plain_name(name: str) -> str:
    """The name, where it may name a file or folder here; ConfigError otherwise."""
    if (
        not name.strip()
        or name.startswith(".")
        or set(name) & {"/", "\\", "\0"}
        or len(name.encode("utf-8", "replace")) > LONGEST_NAME
        or not shows(name)
    ):
        raise ConfigError("A name must be 1 to 200 bytes, without slashes and control characters, and not begin with a dot; received "
                          "{name!r}. Rename it.", name=name[:80])  # fmt: skip
    return name


def numbered(folder: Path, name: str, *, file: bool = False) -> Iterator[Path]:
    """The name in the folder, then with one number after another: before a file's endings."""
    stem, dot, ending = name.partition(".") if file else (name, "", "")
    yield folder / name
    for number in itertools.count(2):
        yield folder / f"{stem}-{number}{dot}{ending}"


def free_name(folder: Path, name: str, taken: Collection[str] = ()) -> Path:
    """The name in the folder, numbered where it is there already, or among those that are taken without being there yet."""
    return next(path for path in numbered(folder, name) if not path.exists() and path.name not in taken)


def same(one: Path, other: Path) -> bool:
    """Whether two files, or two folders with all that is in them, hold the same."""
    if not one.is_dir() or not other.is_dir():
        return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)
    ours, theirs = ({path.relative_to(root) for path in root.rglob("*")} for root in (one, other))
    return ours == theirs and all((one / path).is_dir() or same(one / path, other / path) for path in ours)


def is_weights(path: Path) -> bool:
    """Whether this looks like a model of elsewhere: told by names alone, without opening anything."""
    if path.is_dir():
        return os.path.isfile(path / "config.json") and any(path.glob("*.safetensors"))  # of a folder that may not be entered: False
    return path.suffix.lower() in WEIGHTS


class Place:
    """Paths by name, none of them outside the folder."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        self.runs, self.data, own = self.root / "runs", self.root / "data", self.root / ".studio"
        self.jobs, self.served, self.trash, self.incoming = own / "jobs", own / "served", own / "trash", own / "incoming"
        self._broken: set[str] = set()
        """Uploads of which something did not arrive."""
        self.prepare()
        for left in self.incoming.iterdir():
            if left.stat().st_mtime < time.time() - STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)

    def prepare(self) -> None:
        """The folders that are missing: somebody may have deleted them while the studio was open."""
        if not self.root.is_dir():
            raise ConfigError("The studio works in a folder; there is none at {path}.", path=self.root)
        for folder in (self.runs, self.data, self.jobs, self.served, self.trash, self.incoming):
            folder.mkdir(parents=True, exist_ok=True)

    # -- sources
    def source(self, name: str) -> Path:
        """A file or folder beneath the root by its relative path; what follows `::` is left to the reader."""
        path = (self.root / name.split("::")[0]).resolve() if "\0" not in name else self.root.parent
        if not path.is_relative_to(self.root) or not path.exists():
            raise DataError("Data must lie in the folder that the studio was started in; there is no {name!r} in it.", name=name[:200])
        return path

    def listed(self, name: str) -> dict[str, Any]:
        """What lies in a folder beneath the root and may be learned from: folders first."""
        folder = self.source(name or ".")
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                path, hidden = Path(entry.path), entry.name.startswith(".") or not shows(entry.name)
                known = entry.is_dir() or path.suffix.lower() in {*ENDINGS, *PACKED, *PICTURES, *SOUNDS, *FILMS}
                if hidden or not known or path == self.runs or (entry.is_dir() and is_weights(path)):
                    continue
                shown = {"name": entry.name, "path": str(path.relative_to(self.root)), "folder": entry.is_dir()}
                found.append(shown | {"bytes": 0 if entry.is_dir() else entry.stat().st_size})
        found.sort(key=lambda entry: (not entry["folder"], str(entry["name"]).lower()))
        here = str(folder.relative_to(self.root)) if folder != self.root else ""
        return {"path": here, "root": str(self.root), "entries": found[:MOST_LISTED], "more": max(0, len(found) - MOST_LISTED)}

    def weights(self) -> list[str]:
        """Models that training may go on from, by relative path: folders as Hugging Face keeps them, and files of weights."""
        found, seen, folders = [], 0, [(self.root, 0)]
        while folders and seen < MOST_SEEN:
            folder, deep = folders.pop(0)
            with suppress(PermissionError), os.scandir(folder) as entries:  # what may not be looked into holds none
                for entry in sorted(entries, key=lambda one: one.name):
                    seen, path = seen + 1, Path(entry.path)
                    if entry.name.startswith(".") or not shows(entry.name) or path == self.runs or entry.is_symlink():
                        continue
                    if is_weights(path):
                        found.append(str(path.relative_to(self.root)))
                    elif entry.is_dir() and deep + 1 < DEEPEST:
                        folders.append((path, deep + 1))
        return found

    # -- uploads
    async def receive(self, upload: str, name: str, body: AsyncIterator[bytes]) -> None:
        """One file of an upload, at its path within what was dropped. Where one does not arrive, the others are not taken either."""
        folder = self.incoming / plain_name(upload)
        with ExitStack() as undo:
            undo.callback(self._give_up, folder)
            self._unbroken(upload)
            path = folder.joinpath(*map(plain_name, name.split("/")))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                async for piece in body:
                    if shutil.disk_usage(path.parent).free < SPARE_BYTES + len(piece):
                        raise ResourceError("There is no room on the disk for {name!r}. Free some, and drop it again.", name=name[:80])
                    file.write(piece)
            self._unbroken(upload)
            undo.pop_all()

    def _give_up(self, folder: Path) -> None:
        """What cannot become whole takes up no room."""
        self._broken.add(folder.name)
        shutil.rmtree(folder, ignore_errors=True)

    def _unbroken(self, upload: str) -> None:
        if upload in self._broken:
            raise DataError("The upload broke off. Drop it again.")

    def settle(self, upload: str) -> Path:
        """The upload is whole: it goes to data/ under its own name, or as a folder where several things were dropped; what lies there
        already stays the one it is."""
        folder = self.incoming / plain_name(upload)
        self._unbroken(upload)
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        if not inside:
            raise DataError("Nothing arrived. Drop a file or a folder that is not empty.")
        new, name = (inside[0], inside[0].name) if len(inside) == 1 else (folder, "files")
        path = next(path for path in numbered(self.data, name, file=new.is_file()) if not path.exists() or same(new, path))
        if not path.exists():
            new.rename(path)
        shutil.rmtree(folder, ignore_errors=True)  # what is left of it, or the same once more
        return path

    # -- runs
    def run(self, name: str) -> Path:
        """The run folder of that name; RunError where there is none."""
        path = self.runs / plain_name(name)
        if not path.is_dir():
            raise RunError("There is no run {name!r} here any more.", name=name)
        return path

    def rename(self, name: str, wanted: str, taken: Collection[str]) -> Path:
        path, new = self.run(name), self.runs / plain_name(wanted.strip())
        if new.exists() or new.name in taken:
            raise ConfigError("A run needs a name of its own; {name!r} is taken.", name=new.name)
        return path.rename(new)

    def discard(self, name: str) -> str:
        """Move a run to the trash; what it is called there."""
        path = self.run(name)
        kept = f"{name}~{secrets.token_hex(4)}"
        path.rename(self.trash / kept)
        return kept

    def restore(self, kept: str, taken: Collection[str]) -> Path:
        """Take a run back from the trash, under its name or one beside it."""
        path = self.trash / plain_name(kept)
        if not path.is_dir():
            raise RunError("There is no run {name!r} in the trash any more.", name=kept)
        return path.rename(free_name(self.runs, kept.rpartition("~")[0], taken))
