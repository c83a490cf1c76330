"""Classes told by a mark in one of several columns, one for each class, beside pictures, sounds or films.

image  melanoma  naevus  keratosis        image  label
a.jpg         0       1          0   ->   a.jpg  naevus
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from duomo.core.kinds import number
from duomo.core.kinds.cells import is_number, is_text
from duomo.core.messages import listed, tr
from duomo.core.table import MEDIA, Table
from duomo.data.partition import told

LABEL = "label"


def exclusive(table: Table) -> Table:
    """The table with a column of classes in place of columns of zeros and ones, where these are all that is told of its files and each row
    has a single one; any other table as it is."""
    if not {*MEDIA} & {*table.names}:
        return table
    parts = told(table)
    beside = [name for name in table.inputs() if name not in (*MEDIA, parts)]
    if len(beside) < 2 or LABEL in beside:
        return table
    if not all(is_text(table.column(name).type) or is_number(table.column(name).type) for name in beside):
        return table
    marks_NC = np.stack([number.parse(table.column(name))[0] for name in beside], axis=1)
    if not np.isin(marks_NC, (0, 1)).all() or (marks_NC.sum(axis=1) != 1).any():
        return table
    cells = pa.array(beside, pa.large_string()).take(pa.array(marks_NC.argmax(axis=1)))
    said = tr("Each file has a mark in one of the columns {names}: they are read as its class, in a column {label}.",
              names=listed(beside, 8), label=LABEL)  # fmt: skip
    bare = table.without(beside)
    kinds, problems = {**bare.kinds, LABEL: "category"}, (*table.problems, said)
    asked = () if {*table.asked} & {*beside} else table.asked
    return replace(bare, data=bare.data.append_column(LABEL, cells), kinds=kinds, problems=problems, asked=asked)
