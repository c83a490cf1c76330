"""Whole texts for the rows of a batch that were read: what translate and summarize answer with.

Legend: B rows, S source tokens.
"""

import math
from collections.abc import Sequence

from torch import nn

from duomo.core.contract import EncoderDecoder
from duomo.core.errors import ConfigError
from duomo.core.tensors import Batch
from duomo.data.instructed import Instructed
from duomo.data.pairs import Pairs
from duomo.decode.beam import Beam, search
from duomo.decode.engine import write
from duomo.decode.loop import Language
from duomo.decode.sampling import Sampling

ROOM = 3
"""A text may be this many times as long as its source, and SPARE tokens."""
SPARE = 16
Written = tuple[list[int], float]
"""Tokens and their mean log-probability."""


def answers(
    model: nn.Module, batch: Batch, pairs: Pairs | Instructed, width: int, penalties: Sequence[float]
) -> list[list[tuple[str, float]]]:
    """For each length penalty each row's text and mean log-probability of a token, `width` beams searched; a model that only writes on
    takes the likeliest token each time."""
    if isinstance(pairs, Instructed):
        return [_likeliest(model, batch, pairs)] * len(penalties)
    beam = Beam(width, new_tokens=pairs.longest[1], least=1)  # no text of a pair is empty
    found = written(model, batch, beam, penalties, pairs.start, pairs.end, (pairs.padding,))
    return [pairs.spoken(texts, batch) for texts in found]


def _likeliest(model: nn.Module, batch: Batch, pairs: Instructed) -> list[tuple[str, float]]:
    """Rows that are asked the same are answered once."""
    requests = [tuple(row) for row in pairs.requests(batch)]
    several = list(dict.fromkeys(requests))
    sampling = Sampling(temperature=0.0, new_tokens=pairs.longest[1], logprobs=-1)
    told = write(model, Language.of(pairs.tokenizer), several, [sampling] * len(several), pairs.longest[0])
    known = {row: (answer.text.strip(), answer.mean) for row, answer in zip(several, told, strict=True)}
    return [known[row] for row in requests]


def written(
    model: nn.Module, batch: Batch, beam: Beam, penalties: Sequence[float], start: int, end: int, banned: Sequence[int] = ()
) -> list[list[Written]]:  # fmt: skip
    """For each length penalty what is written for each row, searched one by one; a row that repeats the one
    before is not searched again.

    ConfigError for a model that does not read and write.
    """
    if not isinstance(model, EncoderDecoder):
        raise ConfigError("This task needs a model that reads one text and writes another; received {name}. Choose seq2seq.",
                          name=type(model).__name__)  # fmt: skip
    found: list[list[Written]] = [[] for _ in penalties]
    for row, size in enumerate(batch["source.length"].tolist()):
        if row and bool((batch["source"][row] == batch["source"][row - 1]).all()):
            for texts in found:
                texts.append(texts[-1])
            continue
        one = {name: batch[name][row : row + 1] for name in ("source", "source.length")}
        context = min(beam.new_tokens, ROOM * size + SPARE) + 1
        searched = search(model, [start], [end], beam, context, penalties, batch=one, banned=banned)
        for texts, best, penalty in zip(found, searched, penalties, strict=True):
            length = len(best.tokens) + 1
            mean = best.score * ((5 + length) / 6) ** penalty / length
            texts.append((best.tokens, mean if math.isfinite(mean) else -20.0))
    return found
