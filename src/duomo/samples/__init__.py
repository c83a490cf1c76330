"""Real data that ship inside the package, written into a folder as a user would have them: `write("reviews", Path("."))`."""

import os
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from duomo.core.errors import DataError
from duomo.core.messages import nearest
from duomo.samples.catalogue import SAMPLES, Sample

__all__ = ["SAMPLES", "Sample", "write"]

_DATA = Path(__file__).with_name("data")


def write(name: str, folder: Path) -> Path:
    """Write the sample into `folder` (made where missing) and give the path of its file or folder.

    What is there already and equal is left as it is. All appears at once or not at all: an interrupted call leaves nothing half written.
    Raises DataError for an unknown name, where something else bears the sample's file name, and where the folder cannot be written.
    """
    if name not in SAMPLES:
        raise DataError(
            "A sample must be one of {known}; received {name!r}.{hint}",
            known=", ".join(SAMPLES), name=name, hint=nearest(name, SAMPLES),
        )  # fmt: skip
    target = folder / SAMPLES[name].file
    files = _contents(name)
    if os.path.lexists(target):
        if _present(target) != files:
            raise DataError(
                "A sample never overwrites other data; {path!r} exists and differs. Move it away, or choose another folder.",
                path=str(target),
            )  # fmt: skip
        return target
    try:
        _place(files, target)
    except OSError as error:
        raise DataError(
            "The folder of a sample must be writable; received {path!r} ({reason}). Choose another folder.",
            path=str(folder), reason=error.strerror or str(error),
        ) from error  # fmt: skip
    return target


def _contents(name: str) -> dict[PurePosixPath, bytes]:
    """Path inside the sample's file or folder -> bytes; a single file has the path `.`."""
    head = SAMPLES[name].file
    with zipfile.ZipFile(_DATA / f"{name}.zip") as archive:
        return {PurePosixPath(entry).relative_to(head): archive.read(entry) for entry in archive.namelist()}


def _present(target: Path) -> dict[PurePosixPath, bytes]:
    """The same for what lies on disk; hidden files that a file manager leaves do not count."""
    if not target.is_dir():
        return {PurePosixPath("."): target.read_bytes()} if target.is_file() else {}
    paths = [path for path in sorted(target.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {PurePosixPath(path.relative_to(target).as_posix()): path.read_bytes() for path in paths}


def _place(files: dict[PurePosixPath, bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    loading = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for inside, body in files.items():
            path = loading / target.name / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        (loading / target.name).rename(target)
    finally:
        shutil.rmtree(loading)
