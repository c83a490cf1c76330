"""Search by meaning: passages of a folder as vectors of a run, kept beside it, and those nearest to a question.

Legend: P passages, D width of a vector.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from duomo.core.errors import ConfigError, DataError
from duomo.core.files import write_atomically
from duomo.core.kinds import text as text_kind
from duomo.core.messages import tr
from duomo.core.reporter import Reporter, Silent
from duomo.data.folders.files import TEXTS
from duomo.data.folders.prose import PROSE, tables_beside
from duomo.data.formats.documents import blocks
from duomo.data.formats.pages import plain, unread
from duomo.data.formats.text_encoding import Encoding, detect, open_text
from duomo.trained import Run

ENDINGS = tuple(sorted(TEXTS | PROSE))
PASSAGE = 400
"""Characters of a passage, about; paragraphs stay whole where they can."""
SHORTEST = 60
"""Of the passages of a model that learned from short texts."""
MOST_FILES = 100_000
HEADING = re.compile(r"#{1,6}\s")


def search(
    run: Run, folder: Path | str, question: str, count: int = 5, reporter: Reporter | None = None, encoding: str = ""
) -> list[dict[str, Any]]:  # fmt: skip
    """The passages nearest to the question: {"file", "passage", "score"}, best first; one that several files hold is told once.

    `encoding`: of files that are not UTF-8 and do not tell it themselves.
    """
    if run.facts["task"] != "embed":
        raise ConfigError("Searching needs a run of the task embed; {run} is one of {task}.", run=str(run.path), task=run.facts["task"])
    if not question.strip():
        raise ConfigError("A question must have words; received an empty one.")
    files, passages, vectors_PD = _index(run, Path(folder), reporter or Silent(), encoding)
    (asked,) = run.predict([question])
    score_P = vectors_PD @ np.array(asked["prediction"], np.float32)
    first: dict[str, int] = {}
    for place in np.argsort(-score_P, kind="stable").tolist():
        first.setdefault(passages[place], place)
        if len(first) == count:
            break
    return [{"file": files[place], "passage": text, "score": round(float(score_P[place]), 4)} for text, place in first.items()]


def line(found: dict[str, Any]) -> str:
    """One passage for a terminal."""
    return f"{found['score']:.3f}  {found['file']}\n       {' '.join(found['passage'].split())}"


def _index(run: Run, folder: Path, reporter: Reporter, wanted: str) -> tuple[list[str], list[str], np.ndarray]:
    """File, text and vector (P, D) of each passage; a vector is made once for the same words and the same weights."""
    if not folder.is_dir():
        raise DataError("Searching needs a folder of texts; {folder} is none.", folder=folder)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for problem in (*unread(files), *tables_beside(files)):
        reporter.say(problem)
    found = [
        (path.relative_to(folder).as_posix(), text)
        for path in _files(folder) for text in _whole([*_passages(path, reporter, wanted)], run.task.state()["tokenizer"])
    ]  # fmt: skip
    if not found:
        raise DataError("Searching needs texts ({endings}); {folder} holds none.", endings=" ".join(ENDINGS), folder=folder)
    files, passages = [file for file, _ in found], [text for _, text in found]
    place = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogatepass")).hexdigest()
    kept = run.path.with_name(f"{run.path.name}.index") / f"{place[:32]}.safetensors"
    weights = hashlib.sha256((run.path / "manifest.json").read_bytes()).digest()
    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in passages]
    known = _known(kept, weights)
    if fresh := {key: text for key, text in zip(keys, passages, strict=True) if key not in known}:
        try:
            for some, read in _vectors(run, fresh, reporter):
                known |= zip(some, np.array(read, np.float32), strict=True)
        finally:  # whoever interrupts this goes on there another time
            _keep(kept, weights, {key: known[key] for key in keys if key in known})
        reporter.say(
            tr("{count:,} passages of {files:,} files are indexed in {path}.", count=len(passages), files=len(set(files)), path=kept)
        )
    return files, passages, np.stack([known[key] for key in keys])


def _known(kept: Path, weights: bytes) -> dict[bytes, np.ndarray]:
    """The vectors (D,) that these weights gave passages of the same folder before, by what these say."""
    told = load_tensors(kept.read_bytes()) if kept.exists() else {}
    if "keys" not in told or told["weights"].tobytes() != weights:
        return {}
    return {key.tobytes(): vector_D for key, vector_D in zip(told["keys"], told["vectors"], strict=True)}


def _keep(kept: Path, weights: bytes, known: Mapping[bytes, np.ndarray]) -> None:
    if known:
        told = {"weights": np.frombuffer(weights, np.uint8), "vectors": np.stack([*known.values()]),
                "keys": np.frombuffer(b"".join(known), np.uint8).reshape(len(known), -1)}  # fmt: skip
        kept.parent.mkdir(exist_ok=True)
        write_atomically(kept, save_tensors(told))


def _vectors(run: Run, passages: Mapping[bytes, str], reporter: Reporter) -> Iterator[tuple[list[bytes], list[list[float]]]]:
    """The vectors of some passages after the other."""
    keys = [*passages]
    with reporter.progress(tr("read"), len(keys), tr("passages")) as bar:
        for start in range(0, len(keys), 256):
            some = keys[start : start + 256]
            yield some, [answer["prediction"] for answer in run.predict([passages[key] for key in some])]
            bar.update(start + len(some))


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file() and path.stat().st_size)
    if len(found) > MOST_FILES:
        raise DataError("At most {most:,} files are searched; {folder} holds {count:,}.", most=MOST_FILES, folder=folder, count=len(found))
    return found


def _passages(path: Path, reporter: Reporter, wanted: str) -> Iterator[str]:
    """One file that is no text does not keep the others from being found."""
    try:
        page = plain(path, wanted=wanted)
        encoding = _encoding(page, wanted if page == path else "")
    except DataError as error:
        reporter.say(tr("{file} is left out: {reason}", file=path.name, reason=error))
        return
    with open_text(page, encoding) as file:
        for part in _sections(file) if path.suffix.lower() == ".md" else (file,):
            yield from (text.strip() for text in blocks(part, PASSAGE) if text.strip())


def _whole(passages: list[str], tokenizer: Mapping[str, Any]) -> Iterator[str]:
    """The passages; one of which the model reads only a part, for it learned from shorter texts, is cut into as many as it reads."""
    for text, share in zip(passages, int(tokenizer["longest"]) / text_kind.sizes(tokenizer, passages), strict=True):
        size = int(len(text) * share / 1.5)  # a block may be half as long again
        yield from (
            [text] if share >= 1 else (piece.strip() for piece in blocks(text.splitlines(True), max(SHORTEST, size)) if piece.strip())
        )


def _sections(lines: Iterable[str]) -> Iterator[list[str]]:
    """A text of Markdown, cut before its headings: what a question resembles most stands with its answer."""
    held: list[str] = []
    code = False
    for line in lines:
        code ^= line.startswith(("```", "~~~"))
        if not code and HEADING.match(line) and any(one.strip() and not HEADING.match(one) for one in held):
            yield held
            held = []
        held.append(line)
    yield held


def _encoding(path: Path, wanted: str) -> Encoding:
    """As the file tells it; where it does not, the wanted one."""
    try:
        return detect(path)
    except DataError:
        if not wanted:
            raise
        return detect(path, wanted)
