"""What a person reads in a terminal of any width."""

import os
from pathlib import Path

import pytest
from rich.cells import cell_len

from duomo import cli
from duomo.terminal import TerminalReporter

HEAD = ["metric", "tabular", "most frequent class", "gradient-boosted trees"]
ROWS = [["accuracy", "0.988 [0.964, 1.000]", "0.542 [0.434, 0.639]", "0.976 [0.940, 1.000]"]]


@pytest.mark.parametrize("width", [200, 80, 60, 40])
def test_a_table_keeps_its_words_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    TerminalReporter().table("83 test rows", HEAD, ROWS)
    said = capsys.readouterr().err
    assert max(map(cell_len, said.splitlines())) <= width
    words = said.split()
    for cell in (*HEAD[1:], *ROWS[0]):
        assert all(word in words for word in cell.split()), (cell, said)


def test_a_folder_that_is_gone_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cli.main(["inspect", "clinic.csv"]) == 2
    assert "has been deleted" in capsys.readouterr().err
    os.chdir(tmp_path)
