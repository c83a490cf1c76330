"""What an audit says: findings, columns and the whole, as plain values that can be drawn or sent as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal

import numpy as np

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing to know about the data."""

    severity: Severity
    """error: training would fail or lie; warning: look before you train; note: good to know."""
    code: str
    sentence: str
    columns: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    """The first few row numbers (from 0) that show it."""
    remedy: str = ""


@dataclass(frozen=True)
class ColumnAudit:
    """One column."""

    name: str
    kind: str
    reason: str
    missing: int
    distinct: int
    """Different values; of the sample where `sampled`."""
    sampled: bool
    constant: bool
    id_like: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    """By kind: number and date min, quantiles, max, mean, std, bad, infinite; text lengths; media unreadable files."""
    top: tuple[tuple[str, int], ...] = ()
    """Most frequent values and their counts."""
    chart: Mapping[str, Any] = field(default_factory=dict)
    """{"kind": "histogram", "edges": [...], "values": [...], "x_label": str} or {"kind": "bars", "labels": [...], "values": [...]}."""


@dataclass(frozen=True)
class Proposal:
    """The split that would be honest."""

    how: Literal["random", "stratified", "group", "time", "blocks", "folders"]
    group: str = ""
    time: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Audit:
    """Everything that was found in a table."""

    name: str
    rows: int
    sampled: int
    """Rows that distributions, near-duplicates and leaks were judged by; equal to `rows` where all were."""
    columns: tuple[ColumnAudit, ...]
    findings: tuple[Finding, ...]
    target: str
    target_reason: str
    balance: Mapping[str, int]
    """Class -> rows, the most frequent first; empty where the target is no category."""
    proposal: Proposal
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values only."""
        return {key: _json(value) for key, value in vars(self).items()}

    def of(self, code: str) -> list[Finding]:
        """The findings of that code."""
        return [finding for finding in self.findings if finding.code == code]


def _json(value: Any) -> Any:
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(key): _json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
