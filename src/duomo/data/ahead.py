"""Earlier values of a dated number, beside each row: what is to be foretold is learned from what was known so many steps before.

date        shop  sales          date        shop  sales  sales[-7]  sales[-14]  sales[-13:-7]
2024-01-15  a     12       ─>    2024-01-15  a     12     9          11          10.4

No value is younger than `data.ahead` steps; the last of them are kept with the run, so that the rows to come are told of them too.
Legend: N rows, G series, T steps of time.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather

from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import number
from duomo.core.kinds.cells import codes_of, text_of
from duomo.core.messages import flagged, listed, tr
from duomo.core.recipe import DataConfig
from duomo.core.reporter import Reporter
from duomo.core.table import Table
from duomo.data import dated, smoothed
from duomo.data.given_parts import as_type
from duomo.data.leaks import time_columns

FILE, FACTS = "past.arrow", b"past"
DAY, WEEK, YEAR = 86_400, 604_800, 365.25
"""Seconds of a day and of a week; days of a year."""
FILLED, ONE_EACH, MOST_COLUMNS = 0.8, 0.98, 8
"""Share of the moments between the first and the last that are there where steps are counted in seconds; share of the rows that are alone
at their moment in their series; columns that are tried as what names the series."""
CYCLES, ROWS_EACH, EARLIER = 3, 8, 3
"""Cycles of a season that must be there, and rows of a series, on average, at least; values and cycles that are looked back at."""
MOST, FAR = 100_000_000, 2
"""Steps of all series together; so many times the longest gap that is known, a gap is one in which rows are left out."""


@dataclass(frozen=True)
class Past:
    """How rows lie in time, which earlier values they are told of, and those that the next rows will need."""

    target: str
    time: str
    by: tuple[str, ...]
    """The columns that name the series; none where there is one alone."""
    ahead: int
    unit: str
    """What steps are counted in: months, seconds, or rows where moments lie unevenly (the days of an exchange)."""
    every: int
    """So many of the unit are a step."""
    season: int
    """Steps after which values are most alike: what is not there is taken from there; 0: from the step before."""
    spans: tuple[tuple[int, int, int], ...]
    """Of each column the first and the last step before the row, and how far apart those are of which the mean is taken."""
    known: pa.Table
    """The latest rows whose value is known (all, where they are smoothed): the series, the time, the value."""
    smooth: tuple[int, ...] = ()
    """1 and the cycles by which all values so far are smoothed as well (`data.smoothed`), where series are not too long for it."""

    @property
    def names(self) -> list[str]:
        return [f"{self.target}[{_named(*span)}]" for span in self.spans] + [f"{self.target}[smoothed:-{self.ahead}]"] * bool(self.smooth)

    @property
    def level(self) -> str:
        """The column that tells how large the value is about to be: what is smoothed, the shortest mean, or else the latest value."""
        if self.smooth:
            return self.names[-1]
        means = [
            (last - first, name) for (first, last, apart), name in zip(self.spans, self.names, strict=False) if last > first and apart == 1
        ]
        return min(means, default=(0, self.names[0]))[1]

    @property
    def needed(self) -> list[str]:
        return [*self.by, *dated.named(Table(self.known), self.time)]

    def asks(self, columns: Sequence[str]) -> dict[str, Any]:
        """The columns that a row to be answered has, of those that the model reads, and the one of earlier values that it may have."""
        return {"asks": list(dict.fromkeys([*(name for name in columns if name not in self.names), *self.needed])), "told": self.target}

    def keep(self, folder: Path) -> None:
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "known"}
        feather.write_feather(self.known.replace_schema_metadata({FACTS: json.dumps(told).encode()}), str(folder / FILE))

    @classmethod
    def open(cls, folder: Path) -> Self:
        found = feather.read_table(str(folder / FILE), memory_map=False)
        told = json.loads((found.schema.metadata or {})[FACTS])
        told |= {"by": tuple(told["by"]), "spans": tuple(map(tuple, told["spans"])), "smooth": tuple(told.get("smooth", ()))}
        return cls(**told, known=found.replace_schema_metadata(None))


def _named(first: int, last: int, apart: int) -> str:
    return f"-{first}" if first == last else f"-{last}:-{first}" + (f":{apart}" if apart > 1 else "")


def settle(table: Table, data: DataConfig, reporter: Reporter) -> tuple[Table, DataConfig, Past | None]:
    """The table with its earlier values, where `data.ahead` asks for them, and the settings with the column of time."""
    if not data.ahead:
        return table, data, None
    if data.task != "regress" or len(data.target) != 1:
        raise ConfigError("One number is foretold from its earlier values; received the task {task} and {count} targets. Name one: "
                          "--task regress --target COLUMN", task=data.task, count=len(data.target))  # fmt: skip
    target = data.target[0]
    dates = [name for name in table.of_kind("date") if name != target]
    time = data.time or next(iter(time_columns(table, target, CYCLES)), "") or dated.in_parts(table, target, 1)
    time = time or (dates[0] if len(dates) == 1 else "")  # series of unlike centuries
    if not time:
        raise ConfigError("What is foretold must be dated: no column tells when each row was made. Name it with --time COLUMN.")
    moments_N, _ = dated.moments(table, time)
    if (undated := np.isnat(moments_N)).any():
        table, moments_N = table.take(np.flatnonzero(~undated)), moments_N[~undated]
        reporter.say(tr("{count:,} rows without a date are left out.", count=int(undated.sum())))
    order_N = np.argsort(moments_N, kind="stable")  # whoever tries what may be learned finds later rows behind earlier ones
    table, moments_N = table.take(order_N), moments_N[order_N]
    unit, every = _steps(moments_N)
    by = _series(table, _places(moments_N, unit, every), [target, *dated.named(table, time)])
    past = Past(target, time, by, data.ahead, unit, every, 0, (), table.data.select([*by, *dated.named(table, time), target]))
    (place_N, code_N), value_N = _laid(past, past.known), number.parse(past.known.column(past.target))[0]
    if twice := len(place_N) - len(np.unique(np.stack([place_N, code_N]), axis=1).T):
        reporter.say(tr("{count:,} rows are of the moment of another row of the same series; their mean is looked back at.",
                        count=twice))  # fmt: skip
    steps, series = int(np.ptp(place_N)) + 1, int(code_N.max()) + 1
    past = dataclasses.replace(past, **_looked_back_at(data.ahead, _cycles(moments_N, unit, every), steps, series))
    cells = _cells(past, (place_N, code_N, value_N))
    reach = steps if past.smooth else max(last for _, last, _ in past.spans) + past.season
    kept = np.flatnonzero((place_N >= _last(place_N, code_N, value_N)[code_N] - reach) & np.isfinite(value_N))
    past = dataclasses.replace(past, known=past.known.take(pa.array(kept)).combine_chunks())
    told = {"ahead": data.ahead, "target": target, "time": time, "step": _said(past), "names": listed(past.names)}
    reporter.say(tr("Each row is told of {target} as it was {ahead} or more steps of {step} before, by {time}: {names}.", **told))
    if by:
        reporter.say(tr("{count:,} series are told apart by {names}.", count=series, names=listed(by)))
    if others := [name for name in table.inputs() if name not in (target, *past.needed, *data.ignore)]:
        reporter.say(tr("Of the other columns ({names}) a row tells what is known when it is foretold; leave out what is known only "
                        "afterwards: --ignore {first}", names=listed(others, 8), first=flagged(others[0])))  # fmt: skip
    table = _with(table, past, cells)
    blank = ~np.isfinite(cells[0])  # nothing is known before the first rows
    if blank.any():
        reporter.say(tr("The first {count:,} rows, before which nothing is known, are not learned from.", count=int(blank.sum())))
    if blank.all():
        raise DataError("Rows must reach further back than what is foretold lies ahead; received {ahead} steps, of {steps}. Lower --ahead.",
                        ahead=data.ahead, steps=steps)  # fmt: skip
    return table.take(np.flatnonzero(~blank)), dataclasses.replace(data, time=time, split=data.split or ("" if data.test else "time")), past


def laid(settings: Mapping[str, Any], table: Table, past: Past | None) -> Mapping[str, Any]:
    """The settings with what tells the task which columns are of its target's measure; those of an earlier run may name others, which are
    not there."""
    told, known = settings.get("task", {}), {}
    if past:
        known = {"level": past.level, "alike": tuple(past.names), "near": past.level if past.smooth else ""}
    if told.get("level") in ("", *table.names) or not (known or "level" in told):
        return settings
    return {**settings, "task": {name: value for name, value in told.items() if name not in ("level", "alike", "near")} | known}


def again(table: Table, past: Past | None) -> Table:
    """Further rows with the earlier values that the run knows or they tell themselves; unchanged where they have them already."""
    if past is None or {*past.names} <= {*table.names}:
        return table
    table = table.without(past.names)
    own = pa.table({name: _alike(table.column(name), past.known, name, table.name) for name in past.needed})
    known = past.known
    if past.by and past.unit != "rows":  # other series tell nothing, but where rows lie unevenly when there are some
        known = known.filter(pc.is_in(text_of(known.column(past.by[0])), value_set=pc.unique(text_of(own.column(past.by[0])))))
    place_N, code_N = _laid(past, pa.concat_tables([known.select(past.needed), own]), len(known))
    value_N = np.concatenate([number.parse(known.column(past.target))[0], _told(past, table)])
    value_N, anew = _latest(place_N, code_N, value_N, len(known))
    asked = np.flatnonzero(np.isin(code_N, code_N[len(known) :]))
    place_N, code_N, value_N = place_N[asked], np.unique(code_N[asked], return_inverse=True)[1], value_N[asked]
    rows = np.flatnonzero(asked >= len(known))
    cells = [cells[rows] for cells in _cells(past, (place_N, code_N, value_N))]
    blank, behind = ~np.isfinite(cells[0]), place_N[rows] > _last(place_N, code_N, value_N)[code_N[rows]] + past.ahead
    late, lost = int((behind & ~blank).sum()), int(blank.sum())
    said = [
        tr("{count:,} rows lie more than {ahead} steps behind the last known {target}: what was not known yet is taken from a season "
           "before, and the answers are less certain. Give later rows with their {target} too.",
           count=late, ahead=past.ahead, target=past.target),
        tr("Of {count:,} rows no earlier {target} is known: they lie before those that the model keeps, or are of a new series. Give the "
           "rows before them with their {target} too.", count=lost, target=past.target),
        tr("{count:,} values of {target} are not those that the model keeps of the same moments; what the rows say counts.",
           count=anew, target=past.target),
    ]  # fmt: skip
    said = [words for count, words in zip((late, lost, anew), said, strict=True) if count]
    table = _with(table, past, cells)
    return dataclasses.replace(table, problems=(*table.problems, *said))


def _latest(place_N: np.ndarray, code_N: np.ndarray, value_N: np.ndarray, known: int) -> tuple[np.ndarray, int]:
    """The values without those of the first `known` rows that others tell too, and how many they tell otherwise."""
    key_N, told_N = code_N * (place_N.max(initial=0) + 1) + place_N, np.isfinite(value_N)
    further = np.flatnonzero(told_N[known:]) + known
    both = np.flatnonzero(told_N[:known] & np.isin(key_N[:known], key_N[further]))
    key_V, first_V = np.unique(key_N[further], return_index=True)
    other = value_N[both] != value_N[further[first_V[np.searchsorted(key_V, key_N[both])]]]
    value_N = value_N.copy()
    value_N[both] = np.nan
    return value_N, int(other.sum())


def _last(place_N: np.ndarray, code_N: np.ndarray, value_N: np.ndarray) -> np.ndarray:
    """(G,) the last step of each series whose value is known."""
    last_G, known = np.full(code_N.max(initial=0) + 1, -(10**12)), np.isfinite(value_N)
    np.maximum.at(last_G, code_N[known], place_N[known])
    return last_G


def _alike(column: pa.ChunkedArray, known: pa.Table, name: str, file: str) -> pa.ChunkedArray:
    return as_type(column, known.schema.field(name).type, file, name)


def _with(table: Table, past: Past, cells: Sequence[np.ndarray]) -> Table:
    data = table.data
    for name, values in zip(past.names, cells, strict=True):
        data = data.append_column(name, pa.chunked_array([pa.array(values, pa.float64(), mask=~np.isfinite(values))]))
    return dataclasses.replace(table, data=data, kinds={**table.kinds, **dict.fromkeys(past.names, "number")})


def _laid(past: Past, rows: pa.Table, known: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of rows, of which the first `known` tell how cells are written: (N,) steps, and numbers of the series."""
    table = Table(rows)
    moments_N, _ = dated.moments(table, past.time)
    if np.isnat(moments_N).any():
        raise DataError("What is foretold must be dated; {time} of row {row} is no date. Fix the cell.", time=past.time,
                        row=int(np.flatnonzero(np.isnat(moments_N))[0]) - known + 1)  # fmt: skip
    code_N = np.zeros(len(moments_N), np.int64)
    for name in past.by:
        own_N = codes_of(text_of(table.column(name)))
        code_N = np.unique(code_N * (own_N.max(initial=0) + 2) + own_N + 1, return_inverse=True)[1]
    return _places(moments_N, past.unit, past.every, known), code_N


def _told(past: Past, table: Table) -> np.ndarray:
    """(N,) the values that further rows tell (nan: none), read as the run's own are written: numbers as they are, whatever stands between
    the digits there."""
    if past.target not in table.names:
        return np.full(len(table), np.nan)
    column = table.column(past.target)
    value_N, bad_N = number.parse(column, number.style_of(past.known.column(past.target)))
    if bad_N.any():
        row = int(np.flatnonzero(bad_N)[0])
        raise DataError(
            "A number must be written as the training data wrote it; {value!r} of {column!r} in row {row} is not a number written like "
            "that{like}. Write it that way, or leave the cell empty.", value=column[row].as_py(), column=past.target, row=row, like="",
        )  # fmt: skip
    return value_N


# -- time
def _steps(moments_N: np.ndarray) -> tuple[str, int]:
    """What the steps between moments are counted in, and how many of it a step is."""
    moments = np.unique(moments_N)
    if len(moments) < CYCLES:
        raise DataError("What is foretold needs {least} moments at least; received {count}. Give more.", least=CYCLES, count=len(moments))
    months = moments.astype("datetime64[M]")
    days, last = ((moments + np.timedelta64(shift, "D")).astype("datetime64[D]") - (
        (moments + np.timedelta64(shift, "D")).astype("datetime64[M]").astype("datetime64[D]")) for shift in (0, 1))  # fmt: skip
    gaps = np.diff(months.astype(np.int64))
    if gaps.min() > 0 and (len(np.unique(days)) == 1 or not last.astype(np.int64).any()):
        return "months", int(np.gcd.reduce(gaps))
    gaps, counts = np.unique(np.diff(moments.astype("datetime64[s]").astype(np.int64)), return_counts=True)
    every = int(gaps[counts.argmax()])
    filled = len(moments) / (1 + np.ptp(moments.astype("datetime64[s]").astype(np.int64)) / every)
    return ("seconds", every) if FILLED <= filled <= 1 / FILLED else ("rows", 1)


def _places(moments_N: np.ndarray, unit: str, every: int, known: int = 0) -> np.ndarray:
    """(N,) steps; of rows that lie unevenly each moment is one, and a gap far longer than those between the first `known` rows as many as
    are usual."""
    if unit == "rows":
        moments, place_N = np.unique(moments_N.astype("datetime64[s]").astype(np.int64), return_inverse=True)
        gaps = np.diff(moments)
        usual = np.diff(moments[np.unique(place_N[:known])])
        steps = np.where(gaps > FAR * usual.max(), np.rint(gaps / usual.mean()), 1) if len(usual) else np.ones(len(gaps))
        return np.concatenate([[0], steps.cumsum()])[place_N].astype(np.int64)
    counted = moments_N.astype("datetime64[M]" if unit == "months" else "datetime64[s]").astype(np.int64)
    return np.rint((counted - counted.min()) / every).astype(np.int64)


def _cycles(moments_N: np.ndarray, unit: str, every: int) -> list[int]:
    """Steps of a day, a week and a year, as far as they are several."""
    if unit == "months":
        return [12 // every] if 12 % every == 0 and every < 12 else []
    moments = np.unique(moments_N.astype("datetime64[s]").astype(np.int64))
    step = every if unit == "seconds" else np.ptp(moments) / (len(moments) - 1)
    found = [round(period / step) for period in (DAY, WEEK) if period / step >= 2 and (unit == "rows" or period % every == 0)]
    year = YEAR * DAY / step
    return [*found, round(year / found[-1]) * found[-1] if found else round(year)] if year >= 2 else found


def _said(past: Past) -> str:
    """A step, in words."""
    if past.unit == "rows":
        return tr("a row")
    if past.unit == "months":
        return tr("{count} months", count=past.every) if past.every > 1 else tr("a month")
    for unit, seconds in (("{count:g} days", DAY), ("{count:g} hours", 3600), ("{count:g} minutes", 60)):
        if past.every >= seconds:
            return tr(unit, count=past.every / seconds)
    return tr("{count:g} seconds", count=past.every)


def _series(table: Table, place_N: np.ndarray, aside: Sequence[str]) -> tuple[str, ...]:
    """The columns by which rows of one moment are told apart: none, one or two."""

    def alone(*names: str) -> bool:
        codes = [place_N, *(codes_of(text_of(table.column(name))) for name in names)]
        return len(np.unique(np.stack(codes), axis=1).T) >= ONE_EACH * len(table)

    if alone():
        return ()
    counted = []
    for name in (name for name in table.of_kind("category", "id", "text", "number") if name not in aside):
        distinct = int(pc.count_distinct(text_of(table.column(name))).as_py())
        if 1 < distinct <= len(table) / ROWS_EACH:
            counted.append((distinct, name))
    names = [name for _, name in sorted(counted)][:MOST_COLUMNS]
    pairs = [(name,) for name in names] + [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]
    if (found := next((pair for pair in pairs if alone(*pair)), None)) is None and not names:
        raise DataError("What is foretold has one row at each moment; here several rows are of one moment, and no other column tells "
                        "series apart. Sum them up first, or give a column that names the series.")  # fmt: skip
    if found is None:
        raise DataError("What is foretold has one row at each moment, or one for each of several series; here rows of one moment are "
                        "told apart by none of the columns {names}, nor two of them. Sum them up first.", names=listed(names))  # fmt: skip
    return found


# -- values
def _looked_back_at(ahead: int, cycles: Sequence[int], steps: int, series: int) -> dict[str, Any]:
    """Which spans before a row are looked at: the latest values, those of the same season, and means."""
    cycles = [cycle for cycle in cycles if CYCLES * cycle + ahead <= steps]
    spans = {(ahead + shift, ahead + shift, 1) for shift in range(EARLIER)}
    spans |= {(ahead, ahead + EARLIER**power - 1, 1) for power in (1, 2) if not cycles}
    for cycle in cycles:
        first = -(-ahead // cycle) * cycle
        often = 1 if cycle == cycles[-1] and len(cycles) > 1 else min(EARLIER, (steps - first) // (2 * cycle))
        spans |= {(first + shift * cycle, first + shift * cycle, 1) for shift in range(max(1, often))}
        spans |= {(first, first + EARLIER * cycle, cycle)} if often == EARLIER else set()
        spans |= {(ahead, ahead + cycle - 1, 1)}
    spans = {span for span in spans if span[1] <= steps // 2} or {(ahead, ahead, 1)}
    smooth = (1, *cycles) if steps <= smoothed.LONGEST and steps * series <= smoothed.MOST else ()
    return {"season": cycles[0] if cycles else 0, "spans": ((ahead, ahead, 1), *sorted(spans - {(ahead, ahead, 1)})), "smooth": smooth}


def _cells(past: Past, rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """(N,) of each of the spans; nan where nothing was known."""
    place_N, code_N, value_N = rows
    place_N = place_N - place_N.min()
    series, steps = int(code_N.max()) + 1, int(place_N.max()) + 1
    if series * steps > MOST:
        raise DataError("Series may have {most:,} steps together; {series:,} of {steps:,} steps have more. Foretell a part of them, or "
                        "longer steps.", most=MOST, series=series, steps=steps)  # fmt: skip
    known = np.isfinite(value_N)
    sum_TG, count_TG = np.zeros((steps, series)), np.zeros((steps, series))
    np.add.at(sum_TG, (place_N[known], code_N[known]), value_N[known])
    np.add.at(count_TG, (place_N[known], code_N[known]), 1.0)
    full_TG = np.divide(sum_TG, count_TG, out=np.full_like(sum_TG, np.nan), where=count_TG > 0)
    for step in range(1, steps):
        for back in (past.season if step >= past.season > 0 else 1, 1):
            full_TG[step] = np.where(np.isnan(full_TG[step]), full_TG[step - back], full_TG[step])
    found = []
    for first, last, apart in past.spans:
        total_N, there_N = np.zeros(len(place_N)), np.zeros(len(place_N))
        for back in range(first, last + 1, apart):
            value = np.where(place_N >= back, full_TG[np.maximum(place_N - back, 0), code_N], np.nan)
            total_N += np.nan_to_num(value)
            there_N += np.isfinite(value)
        found.append(np.divide(total_N, there_N, out=np.full(len(place_N), np.nan), where=there_N > 0))
    if past.smooth:
        found.append(smoothed.foretold(full_TG, count_TG > 0, past.ahead, past.smooth[1:])[place_N, code_N])
    return found


def offer(table: Table, data: DataConfig, reporter: Reporter) -> None:
    """Say that earlier values may be told, where rows are those of dated series and nobody asked for any."""
    if data.ahead or not data.time or data.group or data.task != "regress" or len(data.target) != 1:
        return
    moments_N, _ = dated.moments(table, data.time)
    try:
        _series(table, _places(moments_N, *_steps(moments_N)), [*data.target, *dated.named(table, data.time)])
    except DataError:
        return
    said = "Rows are told nothing of earlier values of {target}. To foretell it by them, so many steps of {time} ahead: --ahead STEPS"
    reporter.say(tr(said, target=data.target[0], time=data.time))
