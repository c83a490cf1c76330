"""The command line as a user meets it: what it answered, said and returned; small tables cut from real samples."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from duomo import cli

Rows = list[list[str]]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`duomo WORDS` in an empty folder of its own; a traceback fails the test."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Said:
        capsys.readouterr()
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        caught = capsys.readouterr()
        return Said(code, caught.out, caught.err)

    return run


@pytest.fixture
def clinic(runs, tmp_path: Path) -> tuple[list[str], Rows]:
    """Head and 100 rows of the medical sample."""
    with runs.source("clinic").open(newline="") as file:
        head, *rows = csv.reader(file)
    return head, rows[:100]


def written(path: Path, head: list[str], rows: Rows, delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(head)
        writer.writerows(rows)
    return path


@pytest.fixture
def write() -> Callable[..., Path]:
    """Write head and rows as a delimited file; gives its path."""
    return written


@pytest.fixture
def table(tmp_path: Path, clinic: tuple[list[str], Rows]) -> Path:
    """clinic.csv of 100 rows, in the current folder."""
    return written(tmp_path / "clinic.csv", *clinic)
