"""Masked language modelling: learn from text to fill gaps from both sides.

Legend: B rows of a batch, T positions of a window, V tokens of the vocabulary, G gaps of a batch, N windows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, final

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.core.config import Within
from duomo.core.contract import Baseline, Evidence, Metric, View
from duomo.core.errors import DataError
from duomo.core.kinds import text as text_kind
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch, Examples, Ragged
from duomo.data.corpus import Running, at_wanted, loss, spread
from duomo.data.supervised import texts
from duomo.tasks.fill.baselines import Frequency, Neighbours
from duomo.tasks.fill.masking import Hiding, Masked

CONTEXT = 128
GAP = re.compile(r" ?(?:\[MASK\]|<mask>)")
"""How a gap is written; the space before it belongs to what fills it."""
CONTINUES = re.compile(r"^##|^[^\W\d_]")


@dataclass(frozen=True)
class Config:
    """What is hidden, and what is told of a gap."""

    target: tuple[str, ...] = ()
    """Unused: the text is its own target."""
    ignore: tuple[str, ...] = ()
    """Columns that are not read."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """Tokenizer, vocabulary and context length (longest_text)."""
    column: str = ""
    """The column with the text. Empty: of several the one that holds most."""
    hidden: Annotated[float, Within(0, 1)] = 0.3
    """Share of the tokens that are hidden (0.15 in BERT; more teaches more per step)."""
    whole_words: bool = False
    """Hide all tokens of a word together."""
    choices: int = 5
    """Number of most likely tokens listed for each gap."""


@final
class Main(Running):
    """See the README beside this file."""

    name = "fill"
    reads = "both"
    metric = Metric("accuracy", True)

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        self.column = self._text(table)
        encode = self.config.encode
        if self.given is not None:
            self.tokenizer = dict(self.given)
        else:
            cells = table.column(self.column).cast(pa.large_string()).drop_null()
            self.tokenizer = text_kind.learn(cells, replace(encode, tokenizer=encode.tokenizer or "bpe", longest_text=CONTEXT))
        if text_kind.special(self.tokenizer, "mask") < 0:
            raise DataError("Filling gaps needs a tokenizer with a mask token ([MASK], <mask>); this one has none. Choose another.")
        length = self._length(table, 8 * (encode.longest_text or CONTEXT))
        longest = text_kind.within(encode.longest_text, self.given) if self.given is not None else 1 << 40
        self.context = max(8, min(encode.longest_text or CONTEXT, longest, length // 8))
        self.tokenizer["longest"] = self.context

    def _hiding(self) -> Hiding:
        state, size = self.tokenizer, int(self.tokenizer["size"])
        uses = ("padding", "unknown", "begin", "end", "mask")
        fixed_V = torch.zeros(size, dtype=torch.bool)
        fixed_V[[number for use in uses if (number := text_kind.special(state, use)) >= 0]] = True
        before, after = (tuple(side) for side in state.get("frame", ((), ())))
        begins_V = torch.from_numpy(_word_begins(state)) if self.config.whole_words else None
        mask = text_kind.special(state, "mask")
        return Hiding(self.config.hidden, mask, (~fixed_V).nonzero().flatten(), fixed_V, begins_V, before, after)

    def encode(self, table: Table, *, target: bool) -> Examples:
        hiding = self._hiding()
        if target:
            width = max(1, self.context - len(hiding.before) - len(hiding.after))
            return Examples({"tokens": Masked(self.stream(table), width, hiding)})
        rows = [text_kind.framed(self.tokenizer, self._around(self._asked(cell))) for cell in texts(table.column(self.column))]
        return Examples({"tokens": Ragged.of([row.astype(np.int64) for row in rows], np.zeros(0, np.int64))})

    def _asked(self, cell: str) -> np.ndarray:
        """Token numbers of a text with gaps."""
        mask, pieces = np.array([text_kind.special(self.tokenizer, "mask")]), GAP.split(cell)
        found = text_kind.encode_text(self.tokenizer, pieces)
        return np.concatenate([part for piece in found for part in (mask, piece)][1:])

    def _around(self, tokens: np.ndarray) -> np.ndarray:
        """Of a text that is longer than what the model reads the part around its first gap."""
        most = max(1, self.context - sum(map(len, self.tokenizer.get("frame", ()))))
        gaps = np.flatnonzero(tokens == text_kind.special(self.tokenizer, "mask"))
        start = int(np.clip((gaps[0] if len(gaps) else 0) - most // 2, 0, max(0, len(tokens) - most)))
        return tokens[start : start + most]

    def too_long(self, table: Table) -> np.ndarray:
        asked = [self._asked(cell) for cell in texts(table.column(self.column))]
        return np.array([len(self._around(tokens)) < len(tokens) for tokens in asked], bool)

    def refuse(self, table: Table) -> None:
        for row, cell in enumerate(table.column(self.column).to_pylist()):
            if not GAP.search(str(cell)):
                raise DataError(
                    "A text to fill must have a gap; that of row {row} has none. Write [MASK] where a word is missing.", row=row
                )

    # -- learning
    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats, summed over the gaps."""
        return loss(output, batch)

    # -- judging
    def evidence(self, output: Tensor, batch: Batch) -> Evidence:
        wanted = batch["tokens.wanted"]
        target_G, logits_GV = batch["target"][wanted], at_wanted(output, batch).float()
        nats = functional.cross_entropy(logits_GV, target_G, reduction="none")
        return _facts(wanted.cpu().numpy(), nats.cpu().numpy(), (logits_GV.argmax(1) == target_G).cpu().numpy())

    def measure(self, evidence: Evidence) -> dict[str, float]:
        gaps = max(1.0, float(evidence["gaps"].sum()))
        nats = float(evidence["nats"].sum()) / gaps
        return {"accuracy": float(evidence["right"].sum()) / gaps, "pseudo_perplexity": float(np.exp(min(80.0, nats)))}

    def errors(self, evidence: Evidence) -> np.ndarray:
        found: np.ndarray = evidence["nats"] / np.maximum(1.0, evidence["gaps"])
        return found

    def views(self, evidence: Evidence) -> Sequence[View]:
        return [spread(self.errors(evidence), tr("Nats a gap of the windows of the test text"))]

    def baselines(self) -> Sequence[Baseline]:
        size = int(self.tokenizer["size"])
        return [kind(size, lambda table: self.stream(table).numpy(), self._gaps, _facts) for kind in (Frequency, Neighbours)]

    def _gaps(self, table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same gaps as the model is asked."""
        examples = self.encode(table, target=True)
        batch = examples.batch(np.arange(len(examples)))
        return batch["tokens"].numpy(), batch["tokens.wanted"].numpy(), batch["target"].numpy()

    # -- answering
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """The text with its gaps filled by the likeliest token, and the likeliest few for each gap with their probabilities."""
        output = model(batch)
        hiding, filled, told = self._hiding(), [], []
        for row, length in enumerate(batch["tokens.length"].tolist()):
            tokens_T = batch["tokens"][row, :length].clone()
            gaps = (tokens_T == hiding.mask).nonzero().flatten()
            logits_GV = output[row, gaps].float()
            logits_GV[:, hiding.fixed_V.to(logits_GV.device)] = -torch.inf
            shares, chosen = torch.softmax(logits_GV, 1).topk(min(self.config.choices, logits_GV.shape[1]))
            tokens_T[gaps] = chosen[:, 0]
            filled.append(text_kind.decode_text(self.tokenizer, tokens_T.tolist()))
            told.append([self._named(c, s) for c, s in zip(chosen.tolist(), shares.tolist(), strict=True)])
        return {"prediction": filled, "gaps": told}

    def _named(self, tokens: list[int], shares: list[float]) -> list[dict[str, Any]]:
        words = [text_kind.decode_text(self.tokenizer, [token]).strip() for token in tokens]
        return [{"token": word, "probability": share} for word, share in zip(words, shares, strict=True)]


def _facts(gap: np.ndarray, nats_G: np.ndarray, right_G: np.ndarray) -> Evidence:
    """For each window: how many gaps, their nats, how many were guessed."""
    rows = np.nonzero(gap)[0]
    sums = [np.bincount(rows, values, minlength=len(gap)) for values in (nats_G.astype(np.float64), right_G.astype(np.float64))]
    return {"nats": sums[0], "right": sums[1], "gaps": gap.sum(1).astype(np.float64)}


def _word_begins(state: Mapping[str, Any]) -> np.ndarray:
    """(V,) bool: whether a token begins a word: by ##, by the sign for a space before it, or because it is no letter."""
    tokenizer = text_kind.tokenizer_of(state)
    names = [tokenizer.id_to_token(number) or "" for number in range(int(state["size"]))]
    if any(name.startswith("##") for name in names):
        return np.array([not name.startswith("##") for name in names])
    marked = any(name.startswith(("Ġ", "▁")) for name in names)
    return np.array([not marked or name.startswith(("Ġ", "▁", "Ċ")) or not CONTINUES.match(name) for name in names])
