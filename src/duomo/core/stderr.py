"""What a C library writes to the error stream itself, past Python, about media that are damaged: we say so in a sentence of our own.

Nothing else is lost: lines that are not the library's are passed on. The stream is the process's, so threads share one hush.
"""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

THEIRS = re.compile(rb"^(\[src/libmpg123/|Note: |Warning: (Xing|Encountered|Big change)|main: \[|OpenCV: FFMPEG: tag|\s*$)")
"""How lines of libmpg123 begin, which reads MP3 for libsndfile, and OpenCV's about the tag that a WebM's codec has elsewhere."""
_LOCK = threading.Lock()
_inside = 0
_kept: tuple[int, IO[bytes]] | None = None
_passed = 0
"""How many of the file's bytes have been judged. The file is never cut: a thread that writes meanwhile would lose its line."""


@contextmanager
def hushed() -> Iterator[None]:
    """While inside, descriptor 2 leads to a file; at the end of each use what is not a library's chatter is written to where it led."""
    _enter()
    try:
        yield
    finally:
        _leave()


@contextmanager
def muted() -> Iterator[None]:
    """While inside, nothing of the process reaches descriptor 2: for a moment in which only a library speaks.

    Others wait to hush it meanwhile: two that put it back in another order than they took it would leave it nowhere.
    """
    with _LOCK:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            own = os.dup(2)
        except OSError:  # there is no error stream to be quiet on
            own = os.dup(nowhere)
        os.dup2(nowhere, 2)
        try:
            yield
        finally:
            os.dup2(own, 2)
            os.close(own)
            os.close(nowhere)


def _enter() -> None:
    global _inside, _kept, _passed
    with _LOCK:
        if not _inside:
            try:
                own = os.dup(2)
            except OSError:  # there is no error stream to be quiet on
                _kept = None
            else:
                file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed by whoever leaves last)
                os.dup2(file.fileno(), 2)
                _kept, _passed = (own, file), 0
        _inside += 1


def _leave() -> None:
    global _inside, _kept, _passed
    with _LOCK:
        _inside -= 1
        if _kept is None:
            return
        own, file = _kept
        if not _inside:
            os.dup2(own, 2)
        said = os.pread(file.fileno(), os.lseek(file.fileno(), 0, os.SEEK_CUR) - _passed, _passed)
        if _inside:  # a line that somebody is still writing is judged when it is whole
            said = said[: said.rfind(b"\n") + 1]
        _passed += len(said)
        for line in said.splitlines(keepends=True):
            if not THEIRS.match(line):
                os.write(own, line)
        if not _inside:
            os.close(own)
            file.close()
            _kept = None
