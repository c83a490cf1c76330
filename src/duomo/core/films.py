"""Films as a stream of pictures with their times: a few of them in memory at a time, however long the film.

Legend: H height, W width. A time is in seconds since the first frame. What cannot be read raises ValueError with the reason.
"""

import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np

from duomo.core.messages import tr

Source = bytes | Path
SUFFIXES = (".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".gif")
FORMATS = "mov,mp4,avi,matroska,webm,gif"
"""The containers that are opened; playlists and lists of files, which would open others, are not among them."""
OTHERS = re.compile(
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11|FLV\x01|\0\0\x01[\xba\xb3]|OggS.{24,60}\x80theora|G.{187}G.{187}G|.{4}G.{191}G.{191}G", re.DOTALL
)
"""How files begin that hold a film in a container that is not opened: ASF (WMV), FLV, MPEG, Ogg, MPEG's transport stream."""
CODECS = {"AV01": "AV1"}
"""What codecs are called whose sign is another one."""
LARGEST = 10_000_000
"""Pixels of one frame (4096 × 2304 fits); a header that promises more is refused before anything is decoded."""
LARGEST_FILE = 64 * 2**30
ENDS = 1 << 20
"""Bytes at the beginning and at the end of a file in which its tracks are named."""
MOST_FRAMES = 10_000_000
"""Frames that one film is read to."""
MOST_SENT = 6_000_000_000
"""Pixels of all frames of a film that comes as bytes (100 s of 1920 × 1080 at 30 a second): whoever sends it does not wait, others do."""
AHEAD = 10.0
"""A jump over more seconds is sought in the file, a shorter one is decoded through."""
LATE = 0.8
"""A film that has no frame after this share of its promised time is truncated."""


class Film(NamedTuple):
    """What the header of a film says; as looked at, so after the turn that it asks for."""

    width: int
    height: int
    rate: float
    """Frames a second; 25 where the header says nothing that can be true."""
    frames: int
    """As promised; 0 where nothing is."""

    @property
    def seconds(self) -> float:
        """The promised length; 0 where it is unknown."""
        return self.frames / self.rate


def magic(head: bytes) -> bool:
    """Whether a file begins as a film does (a GIF may be a still picture)."""
    boxed = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    return boxed or (head[:4] == b"RIFF" and head[8:11] == b"AVI") or head.startswith((b"\x1aE\xdf\xa3", b"GIF87a", b"GIF89a"))


def look(source: Source) -> Film:
    """The header alone."""
    with opened(source) as reader:
        return reader.film


def frames(source: Source, every: float | None = None, start: float = 0.0, stop: float = math.inf) -> Iterator[tuple[float, np.ndarray]]:
    """(time, uint8 RGB (H, W, 3)) of each frame from `start` on and before `stop`; with `every`, at most one in so many seconds,
    the first that is due. A damaged frame ends the film, except where there is none at all: that raises ValueError.
    """
    with opened(source) as reader:
        due = start
        while (time := reader.next(due)) is not None and time < stop:
            yield time, reader.picture()
            due = 0.0 if every is None else start + every * (math.floor((time - start) / every + 1e-6) + 1)


def trial(source: Source) -> Film:
    """Read the beginning and the end; ValueError where either is missing."""
    with opened(source) as reader:
        film = reader.film
        reader.picture()
        if film.frames > 2:
            reader.seek(max(0.0, film.seconds - 1.0))
            last = 0.0
            while (time := reader.next()) is not None:
                last = time
            if last + 1 / film.rate < LATE * film.seconds:
                raise ValueError(tr("the film is truncated: it ends after {last:.1f} of {seconds:.1f} s", last=last, seconds=film.seconds))
    if not _closed(source):
        raise ValueError(tr("the film is truncated: its end is missing"))
    return film


def _closed(source: Source) -> bool:
    """Whether a GIF, which promises no length, ends as one does; other films promise theirs."""
    if isinstance(source, bytes):
        head, tail = source[:3], source[-64:]
    else:
        with source.open("rb") as file:
            head = file.read(3)
            file.seek(max(0, source.stat().st_size - 64))
            tail = file.read()
    return head != b"GIF" or tail.rstrip(b"\0").endswith(b";")


@final
class Reader:
    """A film that is open, standing on its first frame; `next` goes on, `picture` shows where it stands."""

    def __init__(self, path: Path, sent: bool = False):
        cv2 = library()
        self._cv2 = cv2
        # one thread: several films are read at once
        self._capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not self._capture.isOpened():
            if _sound_alone(path):
                raise ValueError(tr("it holds sound and no pictures; make it a sound file, for example: ffmpeg -i IN OUT.wav"))
            raise ValueError(tr("it is no film that can be read (container or codec unknown, its end missing, or no frame in it)"))
        self.film = self._header()
        self._most = min(MOST_FRAMES, MOST_SENT // (self.film.width * self.film.height)) if sent else MOST_FRAMES
        if self.film.frames > self._most:
            raise ValueError(
                tr("the film has {frames} frames, more than the {most} that are read", frames=self.film.frames, most=self._most)
            )
        self._count, self._time, self._first = 0, -math.inf, 0.0
        if not self._grab():
            raise ValueError(self._undecoded())
        self._first, self._time = self._time, 0.0
        self._fresh = True

    def _undecoded(self) -> str:
        """Why there is no frame: none is promised, or what they are packed by is not decoded, as AV1 is not without a chip for it."""
        codec = (int(self._capture.get(self._cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little").decode("ascii", "replace").upper()
        if not self.film.frames or not codec.isalnum():
            return tr("the film has no frame that can be read")
        return tr("its frames are packed by {codec}, which is not decoded here, or are damaged; make it H.264, for example: "
                  "ffmpeg -i IN -c:v libx264 OUT.mp4", codec=CODECS.get(codec, codec))  # fmt: skip

    def _header(self) -> Film:
        cv2, get = self._cv2, self._capture.get
        width, height = (int(get(which)) for which in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        rate, promised = get(cv2.CAP_PROP_FPS), get(cv2.CAP_PROP_FRAME_COUNT)
        if width < 1 or height < 1:
            raise ValueError(tr("the film has no frame that can be read"))
        if width * height > LARGEST:
            raise ValueError(tr("its frames have {width} × {height} pixels, more than {limit}", width=width, height=height, limit=LARGEST))
        rate = rate if 0 < rate <= 1000 else 25.0
        return Film(width, height, rate, int(promised) if 0 < promised < 1e12 else 0)

    def _grab(self) -> bool:
        """One frame on; its time is the file's where that rises, else one frame's worth later."""
        if self._count >= self._most or not self._capture.grab():
            return False
        told = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000 - self._first
        before = self._time
        self._time = told if math.isfinite(told) and told > before else max(0.0, before + 1 / self.film.rate)
        self._count += 1
        return True

    def next(self, due: float = 0.0) -> float | None:
        """The time of the next frame at or after `due`; None at the end."""
        if due > self._time + AHEAD:
            self.seek(due - 1.0)
        if not self._fresh and not self._grab():
            return None
        self._fresh = False
        while self._time < due - 1e-3:
            if not self._grab():
                return None
        return self._time

    def seek(self, time: float) -> None:
        """Near `time`, to be followed by `next`; where the file cannot be sought, it stays where it is."""
        if self._capture.set(self._cv2.CAP_PROP_POS_MSEC, 1000 * (time + self._first)):
            self._time, self._fresh = -math.inf, False

    def picture(self) -> np.ndarray:
        """Where it stands, as uint8 RGB (H, W, 3)."""
        done, bgr_HW3 = self._capture.retrieve()
        if not done or bgr_HW3.ndim != 3 or bgr_HW3.shape[2] != 3:
            raise ValueError(tr("a frame at {time:.1f} s is damaged", time=max(0.0, self._time)))
        return np.asarray(self._cv2.cvtColor(bgr_HW3, self._cv2.COLOR_BGR2RGB), np.uint8)

    def close(self) -> None:
        self._capture.release()


@contextmanager
def opened(source: Source) -> Iterator[Reader]:
    """The film of a file, or of a file's bytes (kept in a temporary file meanwhile)."""
    with tempfile.TemporaryDirectory(prefix="duomo-film-") as folder:
        path = source if isinstance(source, Path) else Path(folder) / "film"
        if isinstance(source, bytes):
            _guard(source[:64], len(source))
            path.write_bytes(source)
        else:
            _guard_file(source)
        reader = Reader(path, isinstance(source, bytes))
        try:
            yield reader
        finally:
            reader.close()


def _sound_alone(path: Path) -> bool:
    """Whether what opens as no film is MP4 or Matroska with a track of sound and none of pictures."""
    with path.open("rb") as file:
        found = file.read(ENDS)
        file.seek(max(len(found), path.stat().st_size - ENDS))
        found += file.read()
    if found.startswith(b"\x1a\x45\xdf\xa3"):
        return (
            re.search(rb"A_(OPUS|VORBIS|AAC|FLAC|MPEG|PCM)", found) is not None and re.search(rb"V_(VP|AV1|MPEG|THEORA|MS)", found) is None
        )
    return found[4:8] == b"ftyp" and b"soun" in found and b"vide" not in found


def _guard_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            _guard(file.read(64), path.stat().st_size)
    except OSError as error:
        raise ValueError(tr("there is no such file")) from error


def _guard(head: bytes, size: int) -> None:
    """ValueError for what is no film by its first bytes, whatever it is called, and for what is too large."""
    if not magic(head):
        raise ValueError(tr("it is no film that can be read (container or codec unknown, its end missing, or no frame in it)"))
    if size > LARGEST_FILE:
        raise ValueError(tr("the file has {size} bytes, more than the {limit} that are read", size=size, limit=LARGEST_FILE))


def library() -> Any:
    """OpenCV, imported when the first film is opened (it takes a quarter of a second), told to open nothing but local films."""
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"protocol_whitelist;file|format_whitelist;{FORMATS}|max_pixels;{LARGEST}"
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    import cv2

    return cv2
