"""Texts that come with data and are about it (a readme, a licence, a description), told by their names or by their size."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from duomo.data.folders.files import kind_of

FEW, SMALL = 3, 16_000
"""Texts of any name beside one table that are about it, and the bytes that each may have."""
_CACHED = re.compile(r"cache-\w+\.arrow")
_NAMES = re.compile(
    r"((data|dataset)?[-_ ]?(read[-_ ]?me|licen[cs]e|description|notice)([-_ .]\w{1,12})?"
    r"|about|authors?|(dev[-_])?requirements([-_.]\w+)?|robots|cmakelists|changelog|changes|citation|copying|copyright|terms"
    r"|.{0,8}(说明|自述|简介|许可证?|版权|更新日志)(文件|文档)?|请?先?读我)",
    re.IGNORECASE,
)


def companions(root: Path, files: Sequence[str], tables: Sequence[str]) -> list[str]:
    """Texts that are about the tables: those so named; beside one table a few small ones of any name.

    Beside JSON names alone count: it may be the settings of something that is not data.
    """
    texts = [file for file in files if kind_of(file) == "text"]
    others = [file for file in texts if not is_named(file)]
    one = len(tables) == 1 and not tables[0].lower().endswith(".json")
    sizes = [(root / file).stat().st_size for file in others]
    if one and len(others) <= FEW and max(sizes, default=0) <= SMALL and sum(sizes) <= (root / tables[0]).stat().st_size:
        return texts
    return [file for file in texts if is_named(file)]


def cards(tables: Sequence[str]) -> list[str]:
    """Files that say which data sets lie in a folder (LLaMA-Factory, `datasets`), where there are other tables; of those that `datasets`
    saved also what its cache left there."""
    found = [
        file for file in tables if PurePosixPath(file).name.lower() in ("dataset_info.json", "dataset_infos.json", "dataset_dict.json")
    ]
    states = [str(PurePosixPath(file).with_name("state.json")) for file in found]
    found += [file for file in tables if file in states or (states and _CACHED.fullmatch(PurePosixPath(file).name))]
    return found if len(found) < len(tables) else []


def above_classes(files: Sequence[str]) -> list[str]:
    """Texts so named on top of texts that all lie in folders, which without them are classes."""
    found = [file for file in files if "/" not in file]
    classes = {file.split("/")[0] for file in files if "/" in file}
    plain = all(kind_of(file) == "text" for file in files)
    return found if plain and len(classes) > 1 and all(map(is_named, found)) else []


def is_named(file: str) -> bool:
    return _NAMES.fullmatch(PurePosixPath(file).stem) is not None
