"""The run folder: the product. Open formats only (TOML, JSON, safetensors), sealed by a manifest of SHA-256 sums.

recipe.toml          every setting, derived ones filled in        checkpoints/     to resume from (train/checkpoint.py)
run.json             task, model, execution, split, versions      log.jsonl        loss and metrics by step, deterministic
task.json            what preprocessing learned                   timing.jsonl     rates and times
start.json           the same before training, for a resume        data.arrow       data given in memory, until the run is done
model.safetensors    the kept weights                             scorecard.json   scorecard.html   MODEL_CARD.md
golden.json          inputs and the answers they must give        manifest.json    sums of all of the product's files
head.safetensors     a head fitted before the first step           engine.json      what computes it fastest on this machine
learned.safetensors  a number for each row that was learned from
judged.safetensors   what the test's rows were answered, where they were learned from afterwards
past.arrow          the latest values, where what comes is foretold from them
"""

import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from duomo.core.errors import MEMORY_FAULTS, ConfigError, ResourceError, RunError, lacks_memory
from duomo.core.files import JSON_FAULTS, digest, write_atomically

WEIGHT_FAULTS = (SafetensorError, OSError)
SHAPE_FAULTS = (KeyError, AttributeError, TypeError)
FORMAT = 1
"""Of a run folder; another one is refused."""
PRODUCT = ("recipe.toml", "run.json", "task.json", "model.safetensors", "learned.safetensors", "judged.safetensors", "past.arrow",
           "golden.json", "scorecard.json", "scorecard.html", "MODEL_CARD.md")  # fmt: skip
READABLE = 500_000
"""Letters of a file that has a line for each value: of thousands of columns to write it so takes long, and nobody reads it."""
HEAD, JUDGED = "head.safetensors", "judged.safetensors"
STATE_FAULTS = (LookupError, TypeError, ValueError, AttributeError, RuntimeError)
"""What is raised for values that were not written by us."""
GPU_WORDS = ("CUDA", "cuDNN", "CUBLAS", "cuda:")
"""In what a GPU fails with, or a module of the user's own that makes tensors on the CPU alone."""
OPENING = ("recipe.toml", "start.json", "data.arrow", HEAD)
"""What a resume needs; all but the recipe go when the run is finished."""


EARLIER = {"norm1": "first", "norm2": "second", "up": "rise", "down": "fall",
           "attention_norm": "first", "forward_norm": "second", "forward_in": "rise", "forward_out": "fall"}  # fmt: skip
"""What parts of a block were called before all encoders shared one (nn/attention.py), and are called now."""


def renamed(tensors: Mapping[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """Weights under the names that a model expects, those of runs from before they changed among them."""
    known = set(expected)
    return {name if name in known else ".".join(EARLIER.get(part, part) for part in name.split(".")): value
            for name, value in tensors.items()}  # fmt: skip


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """RunError where what is read of this file or folder is not as a run has it: a part is missing, or is something else."""
    try:
        yield
    except STATE_FAULTS as error:
        raise RunError("The files of a run must be whole; {path} is damaged ({error}). Restore it from a copy, or train again.",
                       path=path, error=repr(error)[:100]) from None  # fmt: skip


@contextmanager
def computable(path: Path) -> Iterator[None]:
    """ResourceError where memory does not hold the run's model or what it computes, or a GPU fails: the run itself is whole."""
    try:
        yield
    except MEMORY_FAULTS as error:
        if not lacks_memory(error) and not any(word in str(error) for word in GPU_WORDS):
            raise
        raise ResourceError("Memory and device must be fit for the model; for {path} they are not ({error}). End what else uses them, or "
                            "answer elsewhere (on the CPU: --device cpu, or DUOMO_DEVICE=cpu).",
                            path=path, error=str(error)[:100]) from None  # fmt: skip


def _sum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


class RunFolder:
    """Reads and writes one run folder."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def create(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                "A run needs a folder that can be written; {path} cannot be made: {reason}. Choose another with --out.",
                path=self.path, reason=error.strerror or str(error),
            ) from None  # fmt: skip

    def exists(self) -> bool:
        return (self.path / "run.json").is_file()

    def foreign(self) -> list[str]:
        """Names of what lies in the folder and is not part of a run: a new run may not mix with it."""
        own = {*PRODUCT, *OPENING, "manifest.json", "engine.json", "checkpoints", "tensorboard", "log.jsonl", "timing.jsonl"}
        return (
            sorted(entry.name for entry in self.path.iterdir() if entry.name not in own and not entry.name.startswith("."))
            if self.path.is_dir()
            else []
        )

    def finished(self) -> bool:
        return (self.path / "manifest.json").is_file()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Only one process trains in a folder; a second gets RunError."""
        fresh = not self.path.exists()
        self.create()
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    "Only one process may train in a run folder; {path} is in use. Wait for it, or choose another folder with --out.",
                    path=self.path,
                ) from None
            try:
                yield
            finally:
                if fresh and not self.exists():
                    self._discard()

    def busy(self) -> bool:
        """Whether a process trains here. Asked of unfinished runs only: asking holds the lock for a moment."""
        try:
            with (self.path / ".lock").open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _discard(self) -> None:
        """Take back a folder in which nothing came to be."""
        (self.path / ".lock").unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()

    # -- files
    def write_json(self, name: str, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if len(text) < READABLE:
            text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
        write_atomically(self.path / name, (text + "\n").encode())

    def read_json(self, name: str) -> Any:
        try:
            return json.loads(self.read_text(name))
        except JSON_FAULTS as error:
            raise RunError(
                "The files of a run must be whole; {path} is damaged ({error}). Restore it from a copy, or train again.",
                path=self.path / name, error=error,
            ) from None  # fmt: skip

    def write_text(self, name: str, text: str) -> None:
        write_atomically(self.path / name, text.encode())

    def read_text(self, name: str) -> str:
        path = self.path / name
        if not path.is_file():
            if name == "run.json" and (self.path.suffix.lower() == ".gguf" or (self.path / "config.json").is_file()):
                raise RunError("A run folder holds run.json; {path} is a model of other tools. Make a run of it: "
                               "duomo convert {path} --to duomo -o runs/{stem}", path=self.path, stem=self.path.stem)  # fmt: skip
            raise RunError(
                "A run folder holds {name}; {path} has none. Is it the folder that `duomo train` wrote (`duomo list runs`)?",
                name=name, path=self.path,
            )  # fmt: skip
        with whole(path):
            return path.read_text(encoding="utf-8")

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        write_atomically(self.path / name, save({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}))

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        try:
            return load_file(self.path / name)
        except WEIGHT_FAULTS as error:
            raise RunError(
                "The weights must be a whole safetensors file; {path} cannot be read ({error}). Train again or restore the folder.",
                path=self.path / name, error=error,
            ) from None  # fmt: skip

    # -- what a resume starts from
    def write_opening(self, facts: Mapping[str, Any]) -> None:
        """Write run.json last, with the sums of what was written before it: from now on the run can be resumed."""
        sums = {name: digest(self.path / name) for name in OPENING if (self.path / name).is_file()}
        whole = {**facts, "opening": sums}
        self.write_json("run.json", whole | {"sum": _sum(whole)})

    def read_opening(self) -> Any:
        """The facts of run.json; RunError where it or a file that it vouches for has changed."""
        facts = self.read_json("run.json")
        whole = {name: value for name, value in facts.items() if name != "sum"} if isinstance(facts, dict) else {}
        wrong = [name for name, expected in whole.get("opening", {}).items()
                 if not (self.path / name).is_file() or digest(self.path / name) != expected]  # fmt: skip
        if not whole or facts.get("sum") != _sum(whole):
            wrong = ["run.json"]
        if wrong:
            raise RunError(
                "Every file of a run must be as it was written; {name} in {path} has changed. Restore it from a copy, or train again.",
                name=wrong[0], path=self.path,
            )  # fmt: skip
        return facts

    # -- seal
    def seal(self) -> None:
        """Write the manifest: from now on a changed byte is refused."""
        sums = {name: digest(self.path / name) for name in PRODUCT if (self.path / name).is_file()}
        self.write_json("manifest.json", {"format": FORMAT, "sha256": sums})

    def verify(self) -> None:
        """Compare every file of the product with the manifest; RunError names the first that differs."""
        if not self.exists() and not self.finished():
            self.read_text("run.json")
        if not self.finished():
            raise RunError(
                "A run can be used once its training has finished; {path} is unfinished. Continue it with `duomo resume {path}`.",
                path=self.path,
            )
        try:
            manifest = self.read_json("manifest.json")
            sums, made = manifest["sha256"].items(), manifest.get("format", FORMAT)
        except SHAPE_FAULTS:
            raise RunError("The manifest of {path} is damaged. Restore the folder from a copy, or train again.", path=self.path) from None
        if made != FORMAT:
            raise RunError("Run folders are read in format {known}; {path} is in format {format!r}, of another version of Duomo. "
                           "Use that one.", known=FORMAT, format=made, path=self.path)  # fmt: skip
        unlisted = [name for name in PRODUCT if (self.path / name).is_file() and name not in dict(sums)]
        for name, expected in [*sums, *((name, "") for name in unlisted)]:
            path = self.path / name
            if "/" not in name and not path.exists():
                raise RunError("Every file of a run must be there; {name} is missing in {path}. Restore it from a copy, or train again.",
                               name=name, path=self.path)  # fmt: skip
            if "/" in name or not path.is_file() or digest(path) != expected:
                raise RunError(
                    "Every file of a run must be as it was written; {name} in {path} has changed. Restore it from a copy, or train again.",
                    name=name, path=self.path,
                )  # fmt: skip


def run_name(source: Any) -> str:
    """What a run is called after its data."""
    if isinstance(source, (str, Path)):
        path = Path(str(source).split("::")[-1] if "::" in str(source) else str(source))
        name = path.name or path.absolute().name
        return Path(Path(name).stem if name.endswith((".gz", ".bz2", ".xz", ".zst")) else name).stem.lstrip(".") or "data"
    return "data"
