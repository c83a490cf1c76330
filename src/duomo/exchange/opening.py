"""What `--from` names, opened by whatever it turns out to be. An opener is a pair: does it know this path, and the model in it."""

from collections.abc import Callable
from pathlib import Path

from duomo.core.errors import ConfigError
from duomo.core.pretrained import Pretrained
from duomo.exchange import gguf_models, hf, pictures, runs

OPENERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Pretrained]], ...] = (
    (runs.knows, runs.read),
    (hf.knows, hf.read),
    (gguf_models.knows, gguf_models.read),
    (pictures.knows, pictures.read),
)


def open_pretrained(path: Path | str) -> Pretrained:
    """The model behind `path`; ConfigError where there is none or no opener knows its make."""
    place = Path(path).expanduser()
    if not place.exists():
        raise ConfigError(
            "A model must exist to be opened; there is none at {path}. Give a run folder, a model's folder or its file.", path=path
        )
    for knows, read in OPENERS:
        if knows(place):
            return read(place)
    raise ConfigError(
        "A model is opened from a run folder, a Hugging Face folder, a GGUF, a safetensors or a .pth file; {path} is none of them.",
        path=path,
    )
