"""What a run is asked: any source as a table of the columns that it learned from."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import KINDS
from duomo.core.kinds.base import Cells
from duomo.core.messages import listed, nearest, tr
from duomo.core.recipe import DataConfig
from duomo.core.table import MEDIA, Table
from duomo.data import ahead, longform, sources
from duomo.data.folders import whose
from duomo.data.formats import frames


@dataclass(frozen=True)
class Reading:
    """How a run reads what it is asked."""

    kinds: Mapping[str, str]
    """Of all columns that it saw in training."""
    features: Sequence[str]
    """The columns that it reads."""
    data: DataConfig
    past: ahead.Past | None
    """What it knows of the time before the rows to come, where it foretells."""
    optional: Sequence[str] = ()
    """Those that some training rows lack: rows need not have them."""

    def table(self, source: Any, encoding: str = "") -> Table:
        """Any source as a table of this run's kinds. A dict of cells is one row; a list of texts fills the run's text column, one of files
        its pictures or sounds, or names several sources; a list of conversations, each a list of messages, is what chat answers."""
        if isinstance(source, (list, tuple)) and source and all(isinstance(item, (str, Path)) for item in source):
            source = self._several([str(item) for item in source], encoding)
        if isinstance(source, Mapping) and any(frames.is_cell(value) for value in source.values()):
            source = [source]
        if isinstance(source, (list, tuple)) and source and all(is_conversation(item) for item in source):
            source = [{"messages": item} for item in source]
        table = whose.completed(self._read(source, encoding), self.data.target)
        if not isinstance(source, (str, Path, Table)):
            table = dataclasses.replace(table, root=Path.cwd())
        table = longform.again(table, self.data.join, self.kinds, self.features, self.past)
        return self._completed(self._named(table)).with_kinds(self.kinds, {})

    def told(self, table: Table) -> Table:
        """The table with the earlier values that its rows need, where the run foretells."""
        return ahead.again(table, self.past)

    def _several(self, items: list[str], encoding: str) -> Any:
        """Files that hold a row each as cells; other files and folders as the table of all their rows; what is no file as texts."""
        there, plain = all(map(os.path.exists, items)), all(map(sources.is_row, items))
        if self._reads_files() and (plain or not there):
            return {self.features[0]: items}
        return sources.joined([self._read(item, encoding) for item in items]) if there else self.of_texts(items)

    def _read(self, source: Any, encoding: str) -> Table:
        """The source; a file that does not tell its encoding is in the one that was named for the training data."""
        named = self.data.encoding
        try:
            return sources.read(source, encoding=encoding, wanted=self.features)
        except DataError as error:
            if encoding or "encodings" not in error.values:
                raise
            told = named or self._telling(source, error.values["encodings"])
            if not told:
                raise
        table = sources.read(source, encoding=told, wanted=self.features)
        said = tr("The file was read as {name}, as the training data; another encoding can be given with --encoding.", name=told)
        if not named:
            said = tr("The file was read as {name}, in which it has the columns of the model; another encoding can be given with "
                      "--encoding.", name=told)  # fmt: skip
        return dataclasses.replace(table, problems=(said, *table.problems))

    def _telling(self, source: Any, encodings: Any) -> str:
        """The one encoding in which the names of the run's columns stand in the file; empty where they do not tell."""
        found = []
        for name in encodings:
            with suppress(DataError):
                if set(self.features) <= set(sources.read(source, encoding=name, wanted=self.features).names):
                    found.append(name)
        return found[0] if len(found) == 1 else ""

    def _named(self, table: Table) -> Table:
        """The picture, sound or film column of a folder, or the only one of a table, under the name that this run knows it by; a GIF may be
        a picture or a film.
        """
        for kind in MEDIA:
            known = [name for name in self.features if self.kinds[name] == kind]
            if len(known) != 1 or known[0] in table.names:
                continue
            called = "image" if kind == "video" and kind not in table.names else kind
            if called in table.names:
                return dataclasses.replace(table, data=table.data.rename_columns({called: known[0]}))
            others = self.unread(table)
            alike = [name for name in others if KINDS[kind].recognise(name, Cells(table.column(name), table.root))]
            if len(alike) == 1:
                said = tr("Column {name!r} is read as {known!r}, which the model learned from.", name=alike[0], known=known[0])
                data = table.data.rename_columns({alike[0]: known[0]})
                return dataclasses.replace(table, data=data, problems=(*table.problems, said))
        return table

    def _completed(self, table: Table) -> Table:
        """With empty cells in the columns that no row has and some training rows lacked too, unless they may be there under a name much
        like theirs, or nothing else is."""
        others = self.unread(table)
        lacking = [name for name in self.optional if name not in table.names and not nearest(name, others)]
        if not lacking or len(others) == len(table.names):
            return table
        said = tr("No row has {names}: missing, as in some of the training rows.", names=listed(lacking, 5))
        empty = [pa.nulls(len(table), pa.large_string())] * len(lacking)
        data = pa.table([*table.data.columns, *empty], names=[*table.names, *lacking])
        return dataclasses.replace(table, data=data, problems=(*table.problems, said))

    def unread(self, table: Table) -> list[str]:
        """The columns that this run does not read."""
        return [name for name in table.names if name not in self.features]

    def _reads_files(self) -> bool:
        """Whether a row is a file and nothing else."""
        kinds = [self.kinds[name] for name in self.features]
        return len(kinds) == 1 and kinds[0] in MEDIA

    def of_texts(self, texts: Sequence[str]) -> dict[str, list[str]]:
        """Texts alone as rows: they fill the run's (first) text column, or its only one; every other cell is empty."""
        kinds = {name: self.kinds[name] for name in self.features}
        found = [name for name, kind in kinds.items() if kind == "text" or (kind == "category" and len(kinds) == 1)]
        if not found or set(kinds.values()) & {*MEDIA, "series"}:
            raise ConfigError(
                "A text can be answered only by a run that reads text; this one reads {columns}. Give --row or a file.",
                columns=listed(list(kinds)),
            )
        return {name: [""] * len(texts) for name in kinds} | {found[0]: list(texts)}


def is_conversation(item: Any) -> bool:
    """Whether these are messages, such as OpenAI's clients send."""
    return isinstance(item, list) and bool(item) and all(isinstance(one, dict) and "role" in one for one in item)
