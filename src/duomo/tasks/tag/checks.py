"""What is refused before tags are learned: settings without use here, and tokens named as if they were tags."""

from collections.abc import Iterable, Sequence
from itertools import chain

from duomo.core.errors import ConfigError, DataError
from duomo.core.recipe import EncodeConfig

MOST_TAGS = 50
"""Different tags that few texts may have, however few different tokens."""


def check_encode(encode: EncodeConfig) -> None:
    """ConfigError where a tokenizer was asked for, which only weights that exist read with."""
    if encode.tokenizer or encode.vocabulary:
        raise ConfigError(
            "Tags are learned from tokens as the data have them; received {name!r}. Leave --tokenizer and --vocabulary out, "
            "or start with --from an encoder, which brings its own.", name=encode.tokenizer or encode.vocabulary,
        )  # fmt: skip


def check_tags(known: Iterable[tuple[Sequence[str], Sequence[str]]], target: str) -> None:
    """DataError for tags that are all the same; ConfigError for more different tags than tokens: then these are the tokens."""
    tokens, tags = (set(chain.from_iterable(cells)) for cells in zip(*known, strict=True))
    if len(tags) == 1:
        raise DataError(
            "A target must have at least two different tags among the training rows; every token of {name!r} has {tag!r}. "
            "Choose another target, or add rows with another tag.", name=target, tag=next(iter(tags)),
        )  # fmt: skip
    if len(tags) > max(MOST_TAGS, len(tokens)):
        raise ConfigError(
            "Tags are fewer than words; {name!r} has {tags:,} different ones for {words:,} different tokens. Name the tags' column "
            "with --target and the tokens' with --source.", name=target, tags=len(tags), words=len(tokens),
        )  # fmt: skip
