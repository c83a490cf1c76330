"""Files of other programs that are not read here, each with the line that turns it into one that is.

Their readers are left out on purpose: SciPy's of MATLAB files and ReadStat's of SPSS files crashed the process (SIGSEGV) on one damaged
file in a hundred, and a pickle runs whatever its maker wrote.
"""

import re
import shlex
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from duomo.core.errors import DataError
from duomo.core.messages import tr

_STAT = "import pyreadstat; pyreadstat.{reader}({file!r}, apply_value_formats=True)[0].to_csv({table!r}, index=False)"
_HDF5 = (
    "import h5py, numpy; found = {{}}; h5py.File({file!r}).visititems(lambda name, held: "
    "found.update({{name.replace('/', '_'): held[()]{turned}}}) "
    "if isinstance(held, h5py.Dataset) and held.shape and held.dtype.kind in 'biuf' else None); numpy.savez({arrays!r}, **found)"
)
_MATLAB = (
    "import scipy.io, numpy; numpy.savez({arrays!r}, **{{name: held.squeeze() for name, held in scipy.io.loadmat({file!r}).items() "
    "if name[0] != '_' and held.dtype.kind in 'biufU'}})"
)
_PANDAS = "import pandas; pandas.read_hdf({file!r}).to_csv({table!r}, index=False)"
_PICKLE = "import pandas; pandas.DataFrame(pandas.read_pickle({file!r})).to_csv({table!r}, index=False)"
_JOBLIB = "import joblib, pandas; pandas.DataFrame(joblib.load({file!r})).to_csv({table!r}, index=False)"
_RSCRIPT = "write.csv({object}, {table!r}, row.names = FALSE)"


def _stat(reader: str) -> str:
    return _STAT.replace("{reader}", reader)


_PYTHON = {
    ".dta": ("Stata", "pandas", "import pandas; pandas.read_stata({file!r}).to_csv({table!r}, index=False)"),
    ".sav": ("SPSS", "pandas pyreadstat", _stat("read_sav")),
    ".zsav": ("SPSS", "pandas pyreadstat", _stat("read_sav")),
    ".por": ("SPSS", "pandas pyreadstat", _stat("read_por")),
    ".sas7bdat": ("SAS", "pandas pyreadstat", _stat("read_sas7bdat").replace("apply_value_formats=True", "encoding=None")),
    ".xpt": ("SAS", "pandas pyreadstat", _stat("read_xport").replace("apply_value_formats=True", "encoding=None")),
    ".mat": ("MATLAB", "", _MATLAB),
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".he5"), ("HDF5", "h5py", _HDF5.replace("{turned}", ""))),
    ".avro": ("Avro", "polars", "import polars; polars.read_avro({file!r}).write_parquet({parquet!r})"),
    ".nc": ("netCDF", "pandas xarray netCDF4", "import xarray; xarray.open_dataset({file!r}).to_dataframe().reset_index()"
            ".to_csv({table!r}, index=False)"),
    **dict.fromkeys((".pkl", ".pickle"), ("pickle", "pandas", _PICKLE)),
    ".joblib": ("pickle", "pandas", _JOBLIB),
}  # fmt: skip
"""By ending: whose file it is, what the line needs beside Duomo, and the line of Python."""
_R = {".rds": "readRDS({file!r})", **dict.fromkeys((".rda", ".rdata"), "get(load({file!r})[1])")}
_PROGRAMS = {
    **dict.fromkeys((".7z", ".rar"), ("7z x {file}", "an archive of 7-Zip or RAR")),
    **dict.fromkeys((".mdb", ".accdb"), ("mdb-export {file} TABLE > {table}", "a database of Access")),
}
_LMDB, _PICKLED = b"\xde\xc0\xef\xbe", re.compile(rb"\x80[\x02-\x05][^\0]", re.DOTALL)
"""What LMDB's files have behind 16 bytes, and what pickles begin with."""
_RECORDS = (".tfrecord", ".tfrecords", ".tfrec")
LOOKED_AT = 1000
"""Files of a folder of which one may be such."""
FOREIGN = frozenset((*_PYTHON, *_R, *_PROGRAMS))


def refuse(path: Path) -> None:
    """DataError with the line that converts the file, where its ending is one of another program's."""
    ending, head = path.suffix.lower(), _head(path, 64)
    framed = head[12:13] == b"\n" and 16 + int.from_bytes(head[:8], "little") <= path.stat().st_size
    if head[16:20] == _LMDB or ending in _RECORDS or framed:
        kind = "LMDB" if head[16:20] == _LMDB else "TensorFlow (TFRecord)"
        raise DataError("{file} holds records of {kind}, whose form only their maker knows; they are not read. Write each picture or sound "
                        "as a file into a folder of its class, rows of a table as Parquet or CSV, and give that folder or file.",
                        file=path.name, kind=kind)  # fmt: skip
    ending = ".pkl" if not ending and _PICKLED.match(head) else ending
    if ending not in FOREIGN:
        return
    names = {"file": path.name, **{made: f"{path.stem}{end}" for made, end in
             (("table", ".csv"), ("arrays", ".npz"), ("parquet", ".parquet"))}}  # fmt: skip
    if ending in _PROGRAMS:
        line, kind = _PROGRAMS[ending]
        raise DataError("{file} is {kind}, which is not read. Take out of it what is to be read, for instance with: {line}",
                        file=path.name, kind=tr(kind),
                        line=line.format(**{name: shlex.quote(told) for name, told in names.items()}))  # fmt: skip
    if ending in _R:
        line = "Rscript -e " + _quoted(_RSCRIPT.replace("{object}", _R[ending]).format(**names))
        raise DataError("{file} holds objects of R, which are not read. In its folder write the table as CSV: {line}",
                        file=path.name, line=line)  # fmt: skip
    kind, needed, code = _PYTHON[ending]
    head = _head(path)
    if ending == ".mat" and (head.startswith(b"MATLAB 7.3") or b"\x89HDF" in head):
        needed, code = "h5py", _HDF5.replace("{turned}", ".T.squeeze()")
    if kind == "HDF5" and b"pandas_type" in head:
        needed, code = "pandas tables", _PANDAS
    line = "python -c " + _quoted(code.format(**names))
    told = {"file": path.name, "line": f"pip install {needed} && {line}" if needed else line}
    if kind == "pickle":
        raise DataError("A pickle can run any code and is never opened here; {file} is one. If you trust who made it, convert it "
                        "in its folder: {line}", **told)  # fmt: skip
    raise DataError("{file} is a file of {kind}, which is not read. In its folder convert it: {line}", kind=kind, **told)


def refuse_any(root: Path, files: Iterable[str]) -> None:
    """The same for the first such file of a folder."""
    for file in islice(files, LOOKED_AT):
        refuse(root / file)


def _quoted(code: str) -> str:
    """The code as one word of a command line."""
    return f'"{code}"' if '"' not in code and not set("$`\\!") & set(code.replace(" != ", "")) else shlex.quote(code)


def _head(path: Path, size: int = 1 << 16) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
