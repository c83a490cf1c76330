"""Tables of a folder that are called after the parts of the data: train, valid and test.

A test that lacks a column of the training table is none: what it lacks is asked for (`Table.asked`), and it is answered afterwards.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa

from duomo.core.kinds.cells import CAST_FAULTS
from duomo.core.messages import listed, tr
from duomo.core.table import Table
from duomo.data import partition
from duomo.data.folders.files import Folder
from duomo.data.given_parts import as_type, named_alike
from duomo.data.partition import NAMES, SPLIT
from duomo.data.targets import is_named

COUNTED = re.compile(r"\d+(-of-\d+)?(-[0-9a-f]{16})?")
"""What tells such files of one part apart: train-00000-of-00002.parquet."""
SUBMISSION = re.compile(r"submission|submit|提交", re.IGNORECASE)
"""In the name of a table that shows how answers are handed in."""


def of_parts(folder: Folder, tables: list[str]) -> Table | None:
    """The training table above those of the other parts, with `split` beside; None where the names do not tell one of each, columns have
    little in common, or a test has the answers and lacks something else."""
    handed = [file for file in tables if SUBMISSION.search(PurePosixPath(file).stem)]
    files = {part: [file for file in tables if file not in handed and part_of(file) == part] for part in NAMES}
    several = len([one for one in files.values() if one]) > 1 or bool(handed)
    apart = {PurePosixPath(file).parent for one in files.values() for file in one}
    if not (several and files["train"] and all(_alike(one) for one in files.values())):
        return None
    if len(apart) > 1 and not all(part_of(str(place)) for place in apart):
        return None
    read = {part: _read(folder, one) for part, one in files.items() if one}
    train, columns = read["train"], read["train"].names
    read = {part: named_alike(table, columns) for part, table in read.items()}
    lacking = {part: [name for name in columns if name not in table.names] for part, table in read.items()}
    forms = {file: folder.read(file).names for file in handed}
    shows = bool(folder.shown)  # of pictures and the like nothing but the names need be there
    unlike = [names for names in lacking.values() if 2 * len(names) > len(columns)
              and not any({*names} & {*form} if shows else {*names} <= {*form} for form in forms.values())]  # fmt: skip
    if unlike or SPLIT in columns or partition.told(train):
        return None
    whole = {part: table for part, table in read.items() if not lacking[part]}
    bare = {files[part][0]: (lacking[part], table.names) for part, table in read.items() if lacking[part]}
    asked, said = _asked(folder.root, bare, forms)
    if not forms and any(any(map(is_named, there)) and not any(map(is_named, names)) for names, there in bare.values()):
        return None
    unknown = [name for name in dict.fromkeys(name for names, _ in bare.values() for name in names) if name not in asked]
    if unknown:
        said.append(tr("{names} are no inputs, for what is to be answered lacks them; to learn one of them, give {file} alone.",
                       names=listed(unknown, 5), file=files["train"][0]))  # fmt: skip
    if len(whole) > 1:
        said = [tr("{files} are the parts of one table: learned from, validated and tested on as they are called.",
                   files=", ".join(file for part in whole for file in files[part][:2])), *said]  # fmt: skip
    if rest := [file for file in tables if file not in handed and not any(file in one for one in files.values())]:
        said.append(tr("{count} other tables of the folder are not read: {names}.", count=len(rest), names=listed(rest, 5)))
    problems = (*said, *dict.fromkeys(problem for table in whole.values() for problem in table.problems))
    kinds = {name: kind for name, kind in train.kinds.items() if name not in unknown} | ({SPLIT: "id"} if len(whole) > 1 else {})
    data = _above_one_another(whole, [name for name in columns if name not in unknown])
    return Table(data, kinds, root=train.root, name=folder.root.name, problems=problems, asked=asked)


def _above_one_another(parts: Mapping[str, Table], columns: list[str]) -> pa.Table:
    """The columns of all parts, which part a row is of beside them where there are several."""
    first = next(iter(parts.values())).data
    data = [first.select(columns), *(like(first, table, columns) for table in [*parts.values()][1:])]
    if len(data) > 1:
        data = [one.append_column(SPLIT, pa.array([part] * len(one), pa.large_string())) for part, one in zip(parts, data, strict=True)]
    return pa.concat_tables(data, promote_options="permissive")


def like(first: pa.Table, other: Table, columns: Sequence[str]) -> pa.Table:
    """These columns of the other part, of the types of the first where Arrow finds none for both."""
    found = {}
    for name in columns:
        found[name] = other.data.column(name)
        kinds = [pa.schema([(name, one.field(name).type)]) for one in (first.schema, other.data.schema) if name in one.names]
        try:
            pa.unify_schemas(kinds, promote_options="permissive")
        except CAST_FAULTS:
            found[name] = as_type(found[name], kinds[0].field(name).type, other.name, name)
    return pa.table(found)


def part_of(file: str) -> str:
    """The part of the data that a file, or else its folder, is called after: train, valid, test; empty for none."""
    path = PurePosixPath(file)
    parts = (partition.part_of([name]) for name in (path.name, path.parent.name))
    return next((NAMES[part] for part in parts if part is not None), "")


def _alike(files: Sequence[str]) -> bool:
    """Whether there is one file at most, or several that are told apart by their numbers."""
    return len({(PurePosixPath(file).parent, COUNTED.sub("", PurePosixPath(file).name)) for file in files}) < 2


def _read(folder: Folder, files: Sequence[str]) -> Table:
    first, *others = map(folder.read, files)
    data = pa.concat_tables([first.data, *(like(first.data, other, other.names) for other in others)], promote_options="permissive")
    return Table(data, first.kinds, root=first.root, name=first.name, problems=first.problems)


def _asked(
    root: Path, bare: Mapping[str, tuple[list[str], list[str]]], forms: Mapping[str, list[str]]
) -> tuple[tuple[str, ...], list[str]]:
    """The columns that are to be answered, and sentences on the tables without answers and on the forms in which these are handed in.

    `bare`: of each such table the columns that it lacks, and those that it has; `forms`: the columns of each form.
    """
    shown = {name for names in forms.values() for name in names}
    lost = next((names for names, _ in bare.values()), [])
    asked = tuple(name for name in lost if name in shown) or tuple(lost[-1:])
    said = []
    for file, (names, there) in bare.items():
        columns = next((",".join(names) for names in forms.values() if {*names} <= {*there, *asked}), "")
        told = {"file": file, "names": listed(names, 5), "path": f"{root.name}/{file}"}
        more = f' --columns "{columns}"' if asked and columns else ""
        said.append(tr("{file} lacks {names}: it is no test. Once something is learned, answer it with: duomo predict RUN {path}{more} "
                       "-o answers.csv", more=more, **told))  # fmt: skip
    said += [tr("{file} shows how answers are handed in and is not learned from.", file=file) for file in forms]
    return asked, said
