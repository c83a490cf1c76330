"""What `--from` names, opened by whatever it turns out to be. An opener is a pair: does it know this path, and the model in it."""

from collections.abc import Callable
from pathlib import Path

from duomo.core.errors import ConfigError
from duomo.core.messages import tr
from duomo.core.pretrained import Pretrained
from duomo.exchange import gguf_models, hf, pictures, runs

OPENERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Pretrained]], ...] = (
    (runs.knows, runs.read),
    (pictures.knows, pictures.read),
    (hf.knows, hf.read),
    (gguf_models.knows, gguf_models.read),
)

INSIDE = ("*.gguf", "*/config.json", "snapshots/*/config.json")
"""Models in a folder that is none itself."""


def open_pretrained(path: Path | str) -> Pretrained:
    """The model behind `path`; ConfigError where there is none or no opener knows its make."""
    place = Path(path).expanduser()
    if not place.exists():
        raise ConfigError(
            "A model must exist to be opened; there is none at {path}. Give a run folder, a model's folder or its file; nothing is "
            "downloaded.", path=path,
        )  # fmt: skip
    if place.is_file():
        hf.refuse_pointer(place)
    for knows, read in OPENERS:
        if knows(place):
            return read(place)
    raise ConfigError(
        "A model is opened from a run folder, a Hugging Face folder, a GGUF, a safetensors or a .pth file; {path} is none of them.{hint}",
        path=path, hint=tr(" Did you mean {name!r}?", name=str(found)) if (found := _near(place)) else "",
    )  # fmt: skip


def go_on_from(path: Path | str) -> Pretrained:
    """The same, to be taught; ConfigError for weights that read text and have lost the tokenizer that they know it by."""
    found = open_pretrained(path)
    if found.facts.get("family") and "embedding.weight" in found.tensors and "text" not in found.learned:
        raise ConfigError("Weights that read text know it by their tokenizer's numbers; {source} has none. Copy its tokenizer.json (or "
                          "vocab.txt, tokenizer.model) into that folder.", source=found.source)  # fmt: skip
    return found


def _near(place: Path) -> Path | None:
    """The one model that the path most likely stands for: the folder of a file of weights, or what lies in the folder."""
    if place.is_file():
        return place.parent if hf.knows(place.parent) else None
    found = [file if file.suffix == ".gguf" else file.parent for deep in INSIDE for file in sorted(place.glob(deep))]
    return found[0] if len(found) == 1 else None
