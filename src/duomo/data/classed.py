"""Class folders: which of the folders that files lie in name their class."""

from pathlib import Path

import pyarrow as pa

from duomo.core.errors import DataError
from duomo.core.table import Table
from duomo.data.listed import SOURCE, known, sources

SPLITS = frozenset(("train", "training", "test", "testing", "valid", "val", "validation", "dev"))


def labels_of(root: Path, files: list[str]) -> list[str] | None:
    """The first folder of each path where all lie in folders of at least two names, else None; below the folders of splits, the second."""
    if not all("/" in file for file in files):
        return None
    folders = [file.split("/")[:-1] for file in files]
    labels = [names[0] for names in folders]
    if len(set(labels)) > 1 and {label.lower() for label in labels} <= SPLITS:
        if all(len(names) > 1 for names in folders):
            return [names[1] for names in folders]
        first, *_, last = sorted(set(labels), key=lambda label: ("train" not in label.lower(), "test" in label.lower()))
        raise DataError(
            "The folders of {folder} are splits without folders of classes in them: {labels}. Put the files into a folder for each class, "
            "or train on {first} and give {last} as the test.",
            folder=root.name, labels=", ".join(sorted(set(labels))), first=f"{root.name}/{first}", last=f"--test {root.name}/{last}",
        )  # fmt: skip
    return labels


def classes(root: Path, files: list[str], media: str, problems: tuple[str, ...]) -> Table:
    labels = labels_of(root, files)
    columns = {media: pa.array(files, pa.large_string())}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.large_string())
    cut = sources(files) if media == "video" else None
    if cut is not None:
        columns[SOURCE] = pa.array(cut, pa.large_string())
    columns["file"] = columns[media]
    return Table(pa.table(columns), known(columns), root=root, name=root.name, problems=problems)
