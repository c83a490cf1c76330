"""Books with merged cells: groups of columns, and what is said once for several rows."""

from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest

from duomo.data.formats.merged_cells import unmerged
from duomo.data.sources import read

TITLE = ["Plan and fact", "", "", "", ""]
GROUPS = ["", "Q1", "", "Q2", ""]
NAMES = ["Region", "Plan", "Actual", "Plan", "Actual"]
JOINED = ["Region", "Q1 Plan", "Q1 Actual", "Q2 Plan", "Q2 Actual"]


def book(path: Path, rows: Sequence[Sequence[object]], merged: Sequence[str]) -> Path:
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append([None if cell == "" else cell for cell in row])
    for place in merged:
        made.active.merge_cells(place)
    made.save(path)
    return path


def body(rows: int = 20) -> list[list[object]]:
    return [["Nord" if row == 0 else "West" if row == 10 else "", *(row + place / 10 for place in range(4))] for row in range(rows)]


@pytest.mark.parametrize(("above", "merged"), [
    ([GROUPS, NAMES], ["B1:C1", "D1:E1", "A3:A12", "A13:A22"]),
    ([["Region", *GROUPS[1:]], ["", *NAMES[1:]]], ["A1:A2", "B1:C1", "D1:E1", "A3:A12", "A13:A22"]),
    ([TITLE, GROUPS, NAMES], ["A1:E1", "B2:C2", "D2:E2", "A4:A13", "A14:A23"]),
])  # fmt: skip
def test_groups_of_columns(tmp_path: Path, above: list[list[str]], merged: list[str]) -> None:
    table = read(book(tmp_path / "plan.xlsx", [*above, *body()], merged))
    assert table.names == JOINED and len(table) == 20
    assert table.column("Region").to_pylist() == ["Nord"] * 10 + ["West"] * 10
    assert table.column("Q2 Actual").to_pylist() == [row[4] for row in body()]
    said = " ".join(table.problems)
    assert "Region, Q1 Plan, Q1 Actual" in said and "merged cell" in said and ("Plan and fact" in said) == (TITLE in above)


@pytest.mark.parametrize("title", [[], [TITLE]])
def test_names_beside_groups_stand_in_the_upper_line(tmp_path: Path, title: list[list[str]]) -> None:
    """Above cells that nobody merged."""
    row = len(title) + 1
    merged = [f"B{row}:C{row}", f"D{row}:E{row}", *(["A1:E1"] if title else [])]
    table = read(book(tmp_path / "a.xlsx", [*title, ["Region", *GROUPS[1:]], ["", *NAMES[1:]], *body()], merged))
    assert table.names == JOINED and len(table) == 20 and table.column("Q2 Actual").to_pylist() == [row[4] for row in body()]
    words = [["Region", "Q1", "", "Q2", ""], ["", "good", "bad", "good", "bad"], *([["", "bad", "bad", "good", "bad"]] * 20)]
    assert len(read(book(tmp_path / "words.xlsx", words, ["B1:C1", "D1:E1"]))) == 21  # answers, for there is no number below


def test_three_lines_of_names(tmp_path: Path) -> None:
    years = ["", "2024", "", "", ""]
    table = read(book(tmp_path / "a.xlsx", [["Land", *years[1:]], GROUPS, NAMES, *body()], ["B1:E1", "B2:C2", "D2:E2"]))
    assert table.names == ["Land Region", "2024 Q1 Plan", "2024 Q1 Actual", "2024 Q2 Plan", "2024 Q2 Actual"]


def test_merged_cells_that_say_nothing(tmp_path: Path) -> None:
    """A title alone, a remark across a row, rows that are two lines high."""
    plain = read(book(tmp_path / "plain.xlsx", [TITLE, NAMES[:1] + JOINED[1:], *body()], []))
    titled = read(book(tmp_path / "titled.xlsx", [TITLE, NAMES[:1] + JOINED[1:], *body()], ["A1:E1", "B3:C3"]))
    assert titled.names == plain.names == JOINED and titled.column("Region").equals(plain.column("Region"))
    assert titled.problems == plain.problems
    high = [[*row] for one in body(6) for row in (one, [""] * 5)]
    table = read(
        book(tmp_path / "high.xlsx", [JOINED, *high], [f"{column}{row}:{column}{row + 1}" for column in "ABCDE" for row in range(2, 14, 2)])
    )
    assert len(table) == 6 and table.problems == ()


def test_a_merged_name_above_words_alone(tmp_path: Path) -> None:
    """Nothing tells the first row of data from a second line of names."""
    people = [[f"Ada {row}", f"a{row}@x.org", f"No. {row}", "Graz"] for row in range(9)]
    table = read(book(tmp_path / "people.xlsx", [["Name", "Contact", "", "Town"], *people], ["B1:C1"]))
    assert len(table) == 9 and table.names[:2] == ["Name", "Contact"] and table.column("Name")[0].as_py() == "Ada 0"


def test_ranges_that_lie() -> None:
    rows = [["a", "b"], ["1", ""], ["2", ""]]
    for ranges in ([((0, 0), (10**6, 1))], [((0, 0), (2, 0))] * 1000, [((7, 7), (9, 9))]):
        assert unmerged([[*row] for row in rows], ranges, (0, 0)) == (rows, ())
    assert unmerged([], [((0, 0), (1, 1))], (3, 0)) == ([], ())
