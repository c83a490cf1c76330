"""Pieces of recordings, told by the times at which they begin and end, as tools to annotate sound list them: a row is what lies between.

file        start  end  label          audio        file        start  end  label  source
field1.wav  12.5   15   frog    ─>     …/3f2a1.wav  field1.wav  12.5   15   frog   field1.wav

Legend: N rows.
"""

import hashlib
import math
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from duomo.core.files import digest
from duomo.core.kinds import KINDS, audio, media, number
from duomo.core.kinds.base import Cells
from duomo.core.kinds.cells import is_bytes, is_number, is_text, text_of
from duomo.core.messages import tr
from duomo.core.table import Table
from duomo.data import spill
from duomo.data.folders.listed import SOURCE
from duomo.data.profile import words

UNITS = r"(?: (?:times?|timestamps?|points?|at|in|s|secs?|seconds?|ms|milliseconds?|msecs?|samples?|frames?))*"
BEGIN = re.compile(rf"(?:\w+ )?(?:start|begin|onset|from|tmin|xmin){UNITS}|(?:\w+ )?(?:开始|起始)(?:时间|点)?(?: (?:秒|毫秒))?")
END = re.compile(rf"(?:\w+ )?(?:end|stop|offset|to|tmax|xmax){UNITS}|(?:\w+ )?(?:结束|终止)(?:时间|点)?(?: (?:秒|毫秒))?")
LASTS = re.compile(rf"(?:duration|length|dur){UNITS}|(?:时长|持续时间|长度)(?: (?:秒|毫秒))?")
LATE, WHOLE, MOST, SHORTEST = 0.5, 0.98, 0.9, 0.02
"""Seconds that a piece may go on behind the end of its recording; the share of a recording that is as good as all of it; the share of the
rows for which it must be so; seconds that half of the pieces last at least."""
CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d{1,2}(?:[.,]\d+)?)")


def pieces(table: Table, wanted: Collection[str] = ()) -> Table:
    """The table with a sound of its own in each row, where its rows name recordings and times in them; any other table as it is. Times of
    recordings that are not there stay where they are `wanted`.

    That the columns hold times is told by the recordings: each piece lies in its own, and most are shorter.
    """
    named = _times(table)
    name = _recordings(table) if named else ""
    if named is None or not name or table.root is None:
        return table
    files = [table.root / cell if cell else None for cell in text_of(table.column(name)).to_pylist()]
    begin_N, end_N = (_seconds(table.column(one)) for one in named[:2])
    long_N, rate_N = _lengths(files)
    end_N = begin_N + end_N if named[2] else end_N
    spans_N2 = _spans(begin_N, end_N, long_N, rate_N)
    if spans_N2 is None:
        free = {*wanted}.isdisjoint(named[:2])
        return _bare(table, named[:2]) if free and _are_whole(end_N - begin_N, long_N, rate_N) else table
    data, own = table.data, dict.fromkeys((name, *named[:2]), "id")
    if name == "audio":
        data = data.drop_columns("audio")
    if SOURCE not in data.column_names:
        data, own = data.append_column(SOURCE, table.column(name)), own | {SOURCE: "id"}
    data = data.add_column(0, "audio", _cut(files, spans_N2))
    said = tr("Each row is the piece of {name!r} from {begin!r} to {end!r}: {rows:,} pieces of {files:,} recordings.", name=name,
              begin=named[0], end=named[1], rows=len(table), files=len({*files} - {None}))  # fmt: skip
    return replace(table, data=data, kinds={**table.kinds, **own, "audio": "audio"}, problems=(*table.problems, said))


def are_pieces(cells: pa.ChunkedArray) -> bool:
    """Whether these are pieces that were cut here."""
    first = next((cell for cell in cells.slice(0, 1000).to_pylist() if cell), "")
    return isinstance(first, str) and first.startswith(str(_folder()))


def _times(table: Table) -> tuple[str, str, bool] | None:
    """The columns called as what tells when a piece begins and ends, or, with True, how long it lasts."""
    called = {name: words(name) for name in table.names}
    begin = next((name for name, said in called.items() if BEGIN.fullmatch(said)), "")
    end = next((name for name, said in called.items() if END.fullmatch(said)), "")
    lasts = next((name for name, said in called.items() if LASTS.fullmatch(said)), "")
    return (begin, end or lasts, not end) if begin and (end or lasts) else None


def _recordings(table: Table) -> str:
    """The first column that names sounds; empty where none does."""
    texts = [name for name in table.names if is_text(table.column(name).type) and not is_bytes(table.column(name).type)]
    found = (name for name in texts if "audio" in (name, table.kinds.get(name))
             or KINDS["audio"].recognise(name, Cells(table.column(name), table.root)) is not None)  # fmt: skip
    return next(found, "")


def _seconds(column: pa.ChunkedArray) -> np.ndarray:
    """(N,) numbers, or minutes and hours before seconds (00:01:02.5) as seconds; nan where there is neither."""
    if is_number(column.type):
        return number.parse(column)[0]
    found = [CLOCK.fullmatch(cell or "") for cell in text_of(column).to_pylist()]
    if not any(one and one[2] for one in found):
        return number.parse(column)[0]
    told = [math.nan if one is None else 3600 * int(one[1] or 0) + 60 * int(one[2] or 0) + float(one[3].replace(",", ".")) for one in found]
    return np.array(told)


def _lengths(files: list[Path | None]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) seconds of each recording, and its samples in a second."""
    looks = dict(_looks(files))
    frames_N, rate_N = (np.array([getattr(looks.get(file), name, math.nan) for file in files], float) for name in ("frames", "rate"))
    return frames_N / rate_N, rate_N


def _scales(rate_N: np.ndarray) -> tuple[float | np.ndarray, ...]:
    """Seconds, thousandths of one, samples: in seconds."""
    return 1.0, 1e-3, 1 / rate_N


def _spans(begin_N: np.ndarray, end_N: np.ndarray, long_N: np.ndarray, rate_N: np.ndarray) -> np.ndarray | None:
    """(N, 2) seconds, nan for rows without a piece; None where these numbers are no times, or the recordings are the pieces already."""
    known = np.isfinite(begin_N) & np.isfinite(end_N) & np.isfinite(long_N)
    for scale in _scales(rate_N):
        spans_N2 = np.stack([begin_N * scale, end_N * scale], axis=1)
        inside = known & (spans_N2[:, 0] >= 0) & (spans_N2[:, 1] > spans_N2[:, 0]) & (spans_N2[:, 0] < long_N)
        inside &= spans_N2[:, 1] <= np.maximum(long_N + LATE, long_N / WHOLE)
        if known.any() and inside.sum() >= MOST * known.sum():
            lasts_N = np.diff(spans_N2, axis=1)[:, 0]
            cut = (lasts_N < WHOLE * long_N)[inside].mean() > 1 - MOST and np.median(lasts_N[inside]) >= SHORTEST
            return np.where(inside[:, None], spans_N2, math.nan) if cut else None
    return None


def _are_whole(lasts_N: np.ndarray, long_N: np.ndarray, rate_N: np.ndarray) -> bool:
    """Whether most recordings last as long as their pieces: they were cut before (UrbanSound8K)."""
    known = np.isfinite(lasts_N) & np.isfinite(long_N)
    near = (np.isclose(lasts_N * scale, long_N, rtol=1 - WHOLE, atol=SHORTEST) & known for scale in _scales(rate_N))
    return bool(known.any()) and max(int(one.sum()) for one in near) >= MOST * known.sum()


def _bare(table: Table, names: Sequence[str]) -> Table:
    """The table without times in recordings that are not there as inputs."""
    said = tr("The times ({begin}, {end}) are those of recordings that the sounds were cut from: they are not learned from.",
              begin=names[0], end=names[1])  # fmt: skip
    return replace(table, kinds={**table.kinds, **dict.fromkeys(names, "id")}, problems=(*table.problems, said))


def _looks(files: list[Path | None]) -> Iterator[tuple[Path | None, audio.Look]]:
    named = list(dict.fromkeys(files))
    for file, look in zip(named, media.decode_all(named, audio.look), strict=True):
        if isinstance(look, audio.Look):
            yield file, look


def _cut(files: list[Path | None], spans_N2: np.ndarray) -> pa.Array:
    """The pieces in the cache, by what the recording holds and the times; null where there is none."""
    cells: list[str | None] = [None] * len(files)
    rows: dict[Path, list[int]] = {}
    for row, file in enumerate(files):
        if file is not None and np.isfinite(spans_N2[row]).all():
            rows.setdefault(file, []).append(row)
    for file, own in rows.items():
        key = digest(file)
        places = {row: _place(key, *spans_N2[row]) for row in own}
        for row, place in places.items():
            cells[row] = str(place)
        missing = [row for row, place in places.items() if not place.is_file()]
        spans = [(float(spans_N2[row, 0]), float(spans_N2[row, 1])) for row in missing]
        for row, wave in zip(missing, audio.between(file, spans), strict=False):
            places[row].parent.mkdir(parents=True, exist_ok=True)
            draft = places[row].with_name(f".{os.getpid()}-{places[row].name}")
            draft.write_bytes(wave)
            draft.replace(places[row])
    return pa.array(cells, pa.large_string())


def _place(key: str, begin: float, end: float) -> Path:
    name = hashlib.sha256(f"{key} {begin:.4f} {end:.4f}".encode()).hexdigest()
    return _folder() / name[:2] / f"{name[:32]}.wav"


def _folder() -> Path:
    return spill.base() / "pieces"
