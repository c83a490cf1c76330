"""From any form of a model to any other: run folders, Hugging Face folders, GGUF. What is written is read again and must say the same."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from duomo.core.errors import ConfigError
from duomo.core.messages import nearest, tr
from duomo.core.pretrained import BESIDE, Pretrained
from duomo.core.reporter import Reporter, Silent
from duomo.exchange import gguf_models, hf, parity, runs, said
from duomo.exchange.opening import open_pretrained

WRITERS: dict[str, Callable[[Path, Pretrained, str], list[str] | None]] = {
    "hf": hf.write,
    "gguf": lambda place, model, kind: gguf_models.write(place, model, kind, place.stem),
    "duomo": lambda place, model, kind: runs.write(place, model),
}
"""What writes each form, and names the weights that it has no place for."""


def convert(source: Path | str, to: str, out: Path | str, kind: str = "", reporter: Reporter | None = None) -> dict[str, Any]:
    """Write the model behind `source` as `to` (hf, gguf, duomo) at `out`, its weights as `kind` (f32, f16, bf16, q8_0, q4_0).

    Returns where it is, how far its golden logits moved, and what others must know beside. ConfigError for what cannot be
    written; RunError where what was written does not say the same within `parity.TOLERANCE`: then nothing is left behind.
    """
    reporter = reporter or Silent()
    if to not in WRITERS:
        raise ConfigError("A model is converted to one of {known}; received {name!r}.{hint}",
                          known=", ".join(WRITERS), name=to, hint=nearest(to, WRITERS))  # fmt: skip
    place = Path(out).expanduser()
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise ConfigError("A converted model needs a place of its own; {path} exists already. Choose another with -o.", path=place)
    model = _network(open_pretrained(source), reporter)
    if runs.knows(Path(source).expanduser()):
        runs.prove(Path(source).expanduser())
    reporter.say(
        tr(
            "{source}: a {model} of {count:,} weights",
            source=source, model=model.model, count=sum(value.numel() for value in model.tensors.values()),
        )
    )  # fmt: skip
    kind = kind or ("f16" if to == "gguf" else "f32")
    if to == "duomo" and kind != "f32":
        raise ConfigError("A run folder keeps its weights as f32; received {name!r}. Leave --type out.", name=kind)
    if kind not in parity.TOLERANCE:
        raise ConfigError("The weights of a GGUF file are written as one of {known}; received {name!r}.{hint}",
                          known=", ".join(parity.TOLERANCE), name=kind, hint=nearest(kind, parity.TOLERANCE))  # fmt: skip
    try:
        place.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("The folder of the output must be one that can be made; {folder} is not ({error}). Choose another with -o.",
                          folder=place.absolute().parent, error=error.strerror) from None  # fmt: skip
    temperature = float(model.facts.get("temperature", 1.0))
    model = said.answering(model) if to == "hf" else model
    apart, left = _written(model, to, place, kind)
    notes = said.beside(place, model, temperature) if to == "hf" else []
    if left:
        reporter.say(tr("Left out, because the other form has no place for them: {names}", names=", ".join(left[:6])))
    for sentence in notes:
        reporter.say(sentence)
    most = parity.TOLERANCE[kind]
    reporter.say(tr("Wrote {path} ({kind}). Golden logits moved by {apart:.2g} standard deviations; allowed: {most}.",
                    path=place, kind=kind, apart=apart, most=most))  # fmt: skip
    return {"out": str(place), "type": kind, "distance": apart, "tolerance": most, "left": left, "notes": notes}


def _network(model: Pretrained, reporter: Reporter) -> Pretrained:
    """The model without what is fitted beside it, for which other forms have no place; says so."""
    tensors = {name: value for name, value in model.tensors.items() if name.split(".")[0] not in BESIDE}
    if len(tensors) < len(model.tensors):
        reporter.say(tr("What answers beside the network stays behind: what is written, and compared, is the network alone."))
        return dataclasses.replace(model, tensors=tensors, facts={**model.facts, "temperature": 1.0})  # it was found for all voices
    return model


def _written(model: Pretrained, to: str, place: Path, kind: str) -> tuple[float, list[str]]:
    """Write, read again, compare; what failed is taken away."""
    fresh, passed = not place.exists(), False
    try:
        left = WRITERS[to](place, model, kind) or []
        apart = parity.gate(model, open_pretrained(place), kind, left)
        passed = True
        return apart, left
    finally:
        if not passed:
            _taken_away(place, fresh)


def _taken_away(place: Path, fresh: bool) -> None:
    if not place.is_dir():
        place.unlink(missing_ok=True)
        return
    shutil.rmtree(place)
    if not fresh:
        place.mkdir()
