"""Which engine writes for a run here: the one that measured fastest among those that write what the model itself would.

    own          the model's own loop, as the run was judged
    f16, int8    the same loop over smaller weights
    llama-f16, llama-q8_0, llama-q4_0    llama.cpp over the run's GGUF export (the extra `llamacpp`), proved by the gate

Measured once for a machine and its weights, when a run is first talked to (one answer at a time) or prepared for serving (several); the
figures and the export stay in `<run>.engine/`.
A wish (`--engine`, or DUOMO_ENGINE in the environment) is taken without measuring. Small models are not worth it: their own loop writes.
"""

import dataclasses
import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from duomo.core import dialogue
from duomo.core.contract import Decoder, EncoderDecoder
from duomo.core.device import Execution, machine_facts
from duomo.core.errors import ConfigError
from duomo.core.files import write_atomically
from duomo.core.messages import nearest, tr
from duomo.core.reporter import Reporter, Silent
from duomo.decode.engine import Engine, EngineProxy, Engines, Writer
from duomo.decode.fastest import Figure, fastest
from duomo.decode.llama import SLOTS, LlamaEngine
from duomo.decode.loop import Language
from duomo.decode.quantize import quantize
from duomo.exchange import convert, parity
from duomo.nn.counts import counts_of
from duomo.trained import Run

PROBE_FAULTS = (ValueError, KeyError, TypeError)
OWN = "own"
ENGINES = (OWN, "f16", "int8", "llama-f16", "llama-q8_0", "llama-q4_0")
COMPANY = 4
"""Answers side by side for which a server's engine is looked for."""
WORTH = 20_000_000
"""Weights from which measuring is worth its seconds."""
KEYS = ("system", "cpu", "capability", "cores", "threads", "torch", "device")
"""What of a machine the figures depend on."""


class Choice:
    """The engines that a run could be written by."""

    def __init__(self, run: Run, company: int, reporter: Reporter | None = None):
        """`company`: answers written side by side. ConfigError for a run that does not write token by token."""
        if not isinstance(run.task, Writer):
            raise ConfigError(
                "Only a run that writes can be talked to; this one is of the task {task}. Use duomo predict.", task=run.task.name
            )
        self.run, self.task, self.company, self.reporter = run, run.task, company, reporter or Silent()
        known = run.task.language
        self.language = known if company == 1 else Language.of(dialogue.speaking(known.tokenizer))  # as serve/generation.py has it
        self.folder = run.path.with_name(f"{run.path.name}.engine")

    # -- which
    def name(self, wish: str = "", *, measure: bool = True) -> str:
        """The wished engine, else the one on record, else (with `measure`) the one that measures fastest now, else the own loop."""
        wish = wish or os.environ.get("DUOMO_ENGINE", "")
        if wish:
            if wish not in ENGINES:
                raise ConfigError("An engine must be one of {known}; received {value!r}.{hint}",
                                  known=", ".join(ENGINES), value=wish, hint=nearest(wish, ENGINES))  # fmt: skip
            return wish
        if not isinstance(self.run.model, Decoder) or isinstance(self.run.model, EncoderDecoder):
            return OWN
        if self._weights() < WORTH or next(self.run.model.parameters()).device.type != "cpu":
            return OWN
        kept = self._recorded()
        return kept or (self._measured() if measure else OWN)

    def _weights(self) -> int:
        return sum(value.numel() for value in self.run.model.parameters())

    def _key(self) -> dict[str, Any]:
        facts = machine_facts()
        weights = hashlib.sha256((self.run.path / "manifest.json").read_bytes()).hexdigest()
        return {name: facts[name] for name in KEYS} | {"weights": weights, "company": self.company, "llamacpp": _has_llama()}

    def _recorded(self) -> str:
        place = self.folder / f"{self.company}.json"
        if not place.is_file():
            return ""
        try:
            kept = json.loads(place.read_bytes())
            return str(kept["taken"]) if kept["key"] == self._key() and kept["taken"] in ENGINES else ""
        except PROBE_FAULTS:
            return ""

    def _measured(self) -> str:
        self.reporter.say(tr("Measuring which engine writes fastest here ..."))
        names = [name for name in ENGINES if _has_llama() or not name.startswith("llama")]
        size, longest = int(self.language.tokenizer["size"]), self.task.context // 2
        makers: dict[str, Callable[[], Engines]] = {name: lambda name=name: self.make(name) for name in names}  # type: ignore[misc]
        taken, figures = fastest(makers, parity.prompts(self.language.tokenizer, size, longest), company=self.company)
        self.folder.mkdir(exist_ok=True)
        record = {"taken": taken, "key": self._key(), "figures": {name: dataclasses.asdict(figure) for name, figure in figures.items()}}
        write_atomically(self.folder / f"{self.company}.json", json.dumps(record, ensure_ascii=False, indent=1).encode())
        for path in self.folder.glob("*.gguf"):
            if path != self._gguf(taken):
                path.unlink()
        for sentence in told(taken, figures):
            self.reporter.say(sentence)
        return taken

    # -- made
    def make(self, name: str, *, roll: bool = False) -> Engines:
        """The engine of this name. ConfigError where it cannot be had here; RunError where an export does not say the same."""
        if name.startswith("llama"):
            counts = counts_of(self.run.model)
            if counts is not None and counts.fitted:
                self.reporter.say(tr("What answers beside the network stays behind: what is written, and compared, is the network alone."))
            return LlamaEngine(self._exported(name), self.language, self.task.context, slots=max(1, min(self.company, SLOTS)))
        model, execution = self.run.model, self.run.execution
        if name != OWN:
            model, execution = quantize(model, name), plain(execution)
        slots = {"slots": 1} if self.company == 1 else {}
        return Engine(model, self.language, self.task.context, roll=roll, execution=execution, **slots)

    def served(self) -> Engines | None:
        """The engine for a server, as `--prepare` has found it; None where the model's own loop writes."""
        name = self.name(measure=False)
        return None if name == OWN else self.make(name)

    def _gguf(self, name: str) -> Path:
        return self.folder / f"{name.removeprefix('llama-')}.gguf"

    def _exported(self, name: str) -> Path:
        """The run's GGUF export, written and proved once for the same weights."""
        if not _has_llama():
            raise ConfigError("llama.cpp is not installed. Install it with: pip install 'duomo[llamacpp]'")
        place, mark = self._gguf(name), self._gguf(name).with_suffix(".sha256")
        weights = self._key()["weights"]
        if not place.is_file() or not mark.is_file() or mark.read_text() != weights:
            self.folder.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder) as fresh:
                made = Path(fresh) / place.name
                convert.convert(self.run.path, "gguf", made, name.removeprefix("llama-"))
                made.replace(place)
            write_atomically(mark, weights.encode())
        return place

    def equip(self, wish: str) -> None:
        """Let the run's answers be written by the wished engine or the one on record; nothing is measured for it."""
        name = self.name(wish, measure=False)
        if name == OWN:
            return
        predictor = self.run.predictor
        if name.startswith("llama"):
            predictor.model = EngineProxy(self.make(name))
        else:
            predictor.model, predictor.execution = quantize(predictor.model, name).eval(), plain(predictor.execution)


def equipped(run: Run, wish: str = "") -> Run:
    """The run, its answers written by the wished engine or the one on record where it writes token by token."""
    if isinstance(run.task, Writer) and isinstance(run.model, Decoder):
        Choice(run, 1).equip(wish)
    elif wish:
        raise ConfigError(
            "Only a run that writes has a choice of engines; this one is of the task {task}. Leave --engine out.", task=run.task.name
        )
    return run


def plain(execution: Execution) -> Execution:
    """Smaller weights bring their own arithmetic; all else is computed in float32."""
    return dataclasses.replace(execution, precision="float32", matmul="highest")


def told(taken: str, figures: dict[str, Figure]) -> Sequence[str]:
    """One line for each engine: its rate, what it would write otherwise, and why it is not taken."""
    found = []
    for name, figure in figures.items():
        mark = "*" if name == taken else " "
        if not figure.rate:
            found.append(f"{mark} {name:11} {figure.note}")
            continue
        other = tr("{rate:.0f} tokens/s alone, {together:.0f} in company; another token at {other:.1%} of the places",
                   rate=figure.rate, together=figure.together, other=1 - figure.agreement)  # fmt: skip
        found.append(f"{mark} {name:11} {other}" + (f" ({figure.note})" if figure.note else ""))
    return found


def _has_llama() -> bool:
    return importlib.util.find_spec("llama_cpp") is not None
