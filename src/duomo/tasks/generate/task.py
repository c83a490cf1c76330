"""Language modelling: learn from text to write on from any beginning.

Legend: B rows of a batch, T positions of a window, V tokens of the vocabulary, M tokens of the whole stream, W windows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.core.contract import Baseline, Evidence, Metric, View
from duomo.core.kinds import text as text_kind
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch, Dense, Examples, Ragged, Windows
from duomo.data.baselines.ngram import Ngrams
from duomo.data.corpus import Running, spread
from duomo.data.digests import number_of
from duomo.data.supervised import texts
from duomo.decode.engine import write_batch
from duomo.decode.loop import Language
from duomo.decode.sampling import Sampling

CONTEXT = 256
LONG_DOCUMENT = 8
"""Windows that a document fills on average from which borders are so rare that no window is divided."""


@dataclass(frozen=True)
class Config:
    """What is learned, and how it writes."""

    target: tuple[str, ...] = ()
    """Unused: the text is its own target."""
    ignore: tuple[str, ...] = ()
    """Columns that are not read."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """Tokenizer, vocabulary and context length (longest_text)."""
    across: bool = False
    """Let a window with the end of one document and the beginning of the next read across the border."""
    column: str = ""
    """The column with the text. Empty: of several the one that holds most."""
    sampling: Sampling = field(default_factory=Sampling)
    """How text is sampled; what is drawn follows from the seed and the prompt."""


@final
class Main(Running):
    """See the README beside this file."""

    name = "generate"
    reads = "before"
    metric = Metric("bits_per_byte", False)
    writes: ClassVar[bool] = True

    def __init__(self, config: Config):
        super().__init__(config)
        self._bytes_V: np.ndarray | None = None

    @classmethod
    def suits(cls, table: Table) -> str:
        inputs = table.inputs()
        lone = inputs == ["text", "label"] and "file" in table.names and len(pc.unique(table.column("label"))) == 1
        told = tr("the data are text alone, all in one folder") if lone else tr("the data are text alone")
        return told if (lone or len(inputs) == 1) and table.kinds[inputs[0]] == "text" else ""

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        self.column = self._text(table)
        cells = table.column(self.column).cast(pa.large_string()).drop_null()
        encode = self.config.encode
        if self.given is not None:
            self.tokenizer = dict(
                self.given, longest=min(encode.longest_text or CONTEXT, text_kind.within(encode.longest_text, self.given))
            )
        else:
            config = replace(encode, tokenizer=encode.tokenizer or "bpe", longest_text=encode.longest_text or CONTEXT)
            self.tokenizer = text_kind.learn(cells, config)
        longest = int(self.tokenizer["longest"])
        self.context = max(8, min(longest, self._length(table, 8 * longest) // 8))

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._bytes_V = None

    # -- tensors
    def encode(self, table: Table, *, target: bool) -> Examples:
        if target:
            column = self.documents(table)
            width = max(1, min(self.context, len(column.values) - 1))
            apart = not self.config.across and len(column.values) < LONG_DOCUMENT * width * max(1, len(column))
            return Examples({"tokens": Windows(column.values, width, column.offsets if apart else None)})
        cells = texts(table.column(self.column))
        rows = [self._prompt(tokens) for tokens in text_kind.encode_text(self.tokenizer, cells)]
        seeds = [number_of(cell) for cell in cells]
        return Examples({"tokens": Ragged.of(rows, np.zeros(0, np.int64)), "prompt.seed": Dense(torch.tensor(seeds, dtype=torch.int64))})

    def _prompt(self, tokens: np.ndarray) -> np.ndarray:
        """A prompt that leaves room for a token; of a longer one the end, half a context. `end` where it is empty."""
        kept = tokens[-max(1, self.context // 2) :] if len(tokens) >= self.context else tokens
        kept = kept.astype(np.int64)
        return kept if len(kept) else np.array([self.end], np.int64)

    def too_long(self, table: Table) -> np.ndarray:
        found = text_kind.encode_text(self.tokenizer, texts(table.column(self.column)))
        return np.array([len(tokens) >= self.context for tokens in found], bool)

    # -- learning
    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats, summed over positions."""
        target = batch["tokens.next"]
        total = functional.cross_entropy(output.flatten(0, 1).float(), target.flatten(), reduction="sum")
        return total, torch.tensor(float(target.numel()))

    # -- judging
    def evidence(self, output: Tensor, batch: Batch) -> Evidence:
        """For each window: nats, tokens and bytes of what had to be foretold."""
        target = batch["tokens.next"]
        nats = functional.cross_entropy(output.float().transpose(1, 2), target, reduction="none").sum(1)
        return self._facts(nats.cpu().numpy().astype(np.float64), target.cpu().numpy())

    def _facts(self, nats: np.ndarray, target_WT: np.ndarray) -> Evidence:
        sizes = self._token_bytes()[target_WT].sum(1).astype(np.float64)
        return {"nats": nats, "tokens": np.full(len(nats), float(target_WT.shape[1])), "bytes": sizes}

    def _token_bytes(self) -> np.ndarray:
        """(V,) bytes of UTF-8 that a token stands for; one for what only divides documents."""
        if self._bytes_V is None:
            self._bytes_V = text_kind.bytes_of(self.tokenizer)
            self._bytes_V[[number for use in ("padding", "end") if (number := text_kind.special(self.tokenizer, use)) >= 0]] = 1.0
        return self._bytes_V

    def measure(self, evidence: Evidence) -> dict[str, float]:
        nats = float(evidence["nats"].sum())
        tokens, size = max(1.0, float(evidence["tokens"].sum())), max(1.0, float(evidence["bytes"].sum()))
        return {"bits_per_byte": nats / np.log(2) / size, "perplexity": float(np.exp(min(80.0, nats / tokens)))}

    def errors(self, evidence: Evidence) -> np.ndarray:
        found: np.ndarray = evidence["nats"] / np.log(2) / np.maximum(1.0, evidence["bytes"])
        return found

    def views(self, evidence: Evidence) -> Sequence[View]:
        return [spread(self.errors(evidence), tr("Bits per byte of the windows of the test text"))]

    def baselines(self) -> Sequence[Baseline]:
        size = int(self.tokenizer["size"])
        return [Ngrams(order, size, self._numbers, self._numbers, self._baseline_facts) for order in (1, 5)]

    def _numbers(self, table: Table) -> np.ndarray:
        return self.stream(table).numpy()

    def _baseline_facts(self, table: Table, nats: np.ndarray) -> Evidence:
        """A foreign model's nats (M,) over the same windows as ours."""
        stream = self.stream(table).numpy()
        width = max(1, min(self.context, len(stream) - 1))
        windows = max(1, (len(stream) - 1) // width)
        targets = stream[1 : windows * width + 1].reshape(windows, width)
        return self._facts(nats[1 : windows * width + 1].reshape(windows, width).sum(1), targets)

    # -- answering
    @property
    def language(self) -> Language:
        return Language.of(self.tokenizer)

    @property
    def sampling(self) -> Sampling:
        return self.config.sampling

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """One text, to which both sides add: everything said so far, as it stands."""
        text = "".join(message["content"] for message in messages)
        return self._prompt(text_kind.encode_text(self.tokenizer, [text])[0]).tolist()

    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """What the model writes on from each prompt, drawn with the seed of config and prompt."""
        return {"prediction": write_batch(model, self.language, batch, self.sampling, self.context, roll=True)}
