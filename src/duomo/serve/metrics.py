"""Counters in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/), and the log: one JSON object a line.

A log line has the request's id, the route as it is written in the documentation, the run, the token's name: no path, no body, no address.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
HELP = {
    "requests_total": "Requests answered, by route, run and status.",
    "rows_total": "Rows answered.",
    "tokens_total": "Tokens read and written.",
    "worker_events_total": "Workers started again (restart) and folders reloaded (reload), by result.",
}


class Metrics:
    """What has happened since the start."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        self._times: dict[str, list[float]] = {}

    def add(self, name: str, amount: float = 1, **labels: object) -> None:
        self._counts[name, tuple((key, str(value)) for key, value in sorted(labels.items()))] += amount

    def took(self, route: str, seconds: float) -> None:
        """Into the histogram: counts of the buckets, then the sum."""
        found = self._times.setdefault(route, [0.0] * (len(BUCKETS) + 2))
        place = next((number for number, edge in enumerate(BUCKETS) if seconds <= edge), len(BUCKETS))
        found[place] += 1
        found[-1] += seconds

    def text(self, gauges: Mapping[str, Mapping[str, float]]) -> str:
        """Everything; `gauges` are name -> run -> value as of now."""
        lines: list[str] = []
        for name, what in HELP.items():
            lines += [f"# HELP duomo_{name} {what}", f"# TYPE duomo_{name} counter"]
            lines += [f"duomo_{name}{_labels(labels)} {value:g}" for (found, labels), value in self._counts.items() if found == name]
        lines += ["# HELP duomo_request_seconds Seconds until the answer was sent.", "# TYPE duomo_request_seconds histogram"]
        for route, counts in self._times.items():
            total = 0.0
            for edge, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=False):
                total += count
                lines.append(f"duomo_request_seconds_bucket{_labels((('route', route), ('le', edge)))} {total:g}")
            label = _labels((("route", route),))
            lines += [f"duomo_request_seconds_sum{label} {counts[-1]:g}", f"duomo_request_seconds_count{label} {total:g}"]
        for name, values in gauges.items():
            lines.append(f"# TYPE duomo_{name} gauge")
            lines += [f"duomo_{name}{_labels((('run', run),))} {value:g}" for run, value in values.items()]
        return "\n".join(lines) + "\n"


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    clean = ((name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for name, value in clean) + "}"


def log(event: str, **facts: Any) -> None:
    """One line on stderr; lost where nobody reads any more, for that must neither fail a request nor keep the server from ending."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
    with suppress(OSError, ValueError):
        sys.stderr.write(json.dumps(line, ensure_ascii=False) + "\n")
