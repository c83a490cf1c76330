"""Chat: learn from conversations to answer as the assistant in them does.

Legend: N rows, B rows of a batch, T tokens of a conversation, V vocabulary, M tokens of all conversations end to end, G learned tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, final

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.core import dialogue
from duomo.core.contract import Baseline, Evidence, Field, Head, Metric, Suggestion, Task, View
from duomo.core.errors import DataError
from duomo.core.kinds import text as text_kind
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch, Dense, Examples, Ragged
from duomo.data import corpus
from duomo.data.baselines.ngram import Ngrams
from duomo.data.digests import number_of
from duomo.data.several import apart, several, texts_in
from duomo.decode.engine import write_batch
from duomo.decode.loop import Language
from duomo.decode.sampling import Sampling
from duomo.tasks.chat.formats import (
    ANSWERED,
    ASKED,
    REJECTED,
    THOUGHTS,
    PartsError,
    Shape,
    ToolsError,
    UnlearnedError,
    asked_shape,
    is_instructed,
    messages_of,
    shape_of,
    told,
)
from duomo.tasks.chat.probes import QUESTIONS

CONVERSATIONS = ("messages", "conversations", "conversation")
LEAST, MOST = 512, 2048
"""Context that a model of short conversations still gets, and the longest that is chosen unasked: given weights read on as far as that."""
MARKED = ("label", "kto_tag")
SHOWN = 2000
LONG_TOKEN = 32
"""Characters of a token at most, as far as it matters here."""


@dataclass(frozen=True)
class Config:
    """What is read, and how it answers."""

    target: tuple[str, ...] = ()
    """The column with the answers, where its name does not say so; none where whole conversations stand in one column."""
    ignore: tuple[str, ...] = ()
    """Columns that are not read."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """Tokenizer, vocabulary and context length (longest_text)."""
    source: str = ""
    """The column with the questions, or (without a target) with whole conversations. Empty: found by name."""
    system: str = ""
    """System prompt for conversations that have none."""
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0, new_tokens=128))
    """How answers are sampled; what is drawn follows from the seed and the conversation."""


@final
class Main(Task):
    """See the README beside this file."""

    name = "chat"
    reads = "before"
    metric = Metric("perplexity", False)
    writes: ClassVar[bool] = True

    def __init__(self, config: Config):
        self.config = config
        self.shape = Shape("pairs", ())
        self.tokenizer: dict[str, Any] = {}
        self.given: Mapping[str, Any] | None = None
        self.context = 0

    @classmethod
    def suits(cls, table: Table) -> str:
        found = [name for name in table.names if name.lower() in CONVERSATIONS]
        if found:
            return tr("the column {name} holds conversations", name=found[0])
        known = {name.lower(): name for name in table.names}
        if is_instructed(table.names):
            return tr("the columns are those of instructions and answers (Alpaca)")
        if THOUGHTS[0] in known and ({*ASKED} & set(known)) and ({"content", *ANSWERED} & set(known)):
            return tr("column {name} tells what was thought before the answers", name=known[THOUGHTS[0]])
        if {"kind", "input", "target"} == set(known) or ({"chosen", "rejected"} <= set(known)):
            return tr("the columns are those of prompts and answers")
        answers = [known[name] for name in ("completion", "response") if name in known and table.kinds.get(known[name]) == "text"]
        return tr("the columns are those of prompts and answers") if "prompt" in known and answers else ""

    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        self.given = learned.get("text")

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        self.shape = self._shape(table)
        encode, room = self.config.encode, 0
        if self.given is not None:
            room, self.tokenizer = text_kind.within(encode.longest_text, self.given), dialogue.speaking(self.given)
        else:
            said = pa.chunked_array([[message["content"] for row in self._conversations(table) for message in row]], pa.large_string())
            learned = text_kind.learn(said, replace(encode, tokenizer=encode.tokenizer or "bpe", longest_text=MOST))
            self.tokenizer = dialogue.speaking(learned, grow=True)
        lessons = list(self._lessons(table))
        lengths = [len(tokens) for tokens, _ in lessons]
        corpus.check_length(sum(lengths))
        room = room or max(LEAST, max(lengths) + self.config.sampling.new_tokens)
        self.context = encode.longest_text or min(MOST, room)
        self.tokenizer["longest"] = self.context
        if not any(learned[1 : self.context + 1].any() for _, learned in lessons):
            raise DataError(
                "Answers must begin within the context of {context} tokens; of {rows} conversations none does. Set a longer "
                "--longest-text, or shorten what stands before the answers.", context=self.context, rows=len(lessons),
            )  # fmt: skip

    def state(self) -> dict[str, Any]:
        shape = asdict(self.shape) | {"columns": list(self.shape.columns)}
        return {"shape": shape, "tokenizer": self.tokenizer, "context": self.context}

    def restore(self, state: Mapping[str, Any]) -> None:
        shape = state["shape"]
        self.shape = Shape(**shape | {"columns": tuple(shape["columns"])})
        self.tokenizer, self.context = dict(state["tokenizer"]), int(state["context"])

    @property
    def inputs(self) -> Mapping[str, Field]:
        return {"tokens": Field("tokens", (self.context,), (int(self.tokenizer["size"]),))}

    @property
    def columns(self) -> list[str]:
        """What a question fills: without the answers of pairs."""
        asked = self.shape.columns[:1] if self.shape.name in ("messages", "sharegpt") else self.shape.columns[:-1]
        return [*asked, *((self.shape.system,) if self.shape.system else ())]

    @property
    def head(self) -> Head:
        return Head(int(self.tokenizer["size"]), "step")

    def suggest(self, table: Table) -> Suggestion:
        return corpus.suggest(sum(table.column(name).nbytes for name in self._shape(table).columns), 500_000)

    def _shape(self, table: Table) -> Shape:
        for name in (self.config.source, *self.config.target):
            if name:
                table.column(name)
        return shape_of(
            [name for name in table.names if name not in self.config.ignore], self.config.source, "".join(self.config.target[:1])
        )

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        """Conversations with an answer to learn; DataError naming the row for what is no conversation."""
        self.shape = self.shape if self.shape.columns else self._shape(table)
        rows = list(self._found(table))
        said = [[] if isinstance(row, UnlearnedError) else row for row in rows]
        mask = np.array([any(map(dialogue.taught, row)) for row in said], bool)
        bad, column = self._bad(table)
        calls, parts = (sum(isinstance(row, kind) for row in rows) for kind in (ToolsError, PartsError))
        read = sum(any(dialogue.taught({**one, "weight": 1}) for one in row) for row in said) - int(mask.sum())
        missing = int((~mask).sum()) - calls - parts - read
        words = [
            tr("{missing} of {rows} conversations have no answer of the assistant and are left out.", missing=missing, rows=len(table)),
            tr("{count} of {rows} conversations call tools, which is not learned, and are left out.", count=calls, rows=len(table)),
            tr("{count} of {rows} conversations hold more than text (pictures, sound) and are left out.", count=parts,
               rows=len(table)),
            tr("{count} of {rows} conversations have answers of weight 0 alone and are left out.", count=read, rows=len(table)),
        ]  # fmt: skip
        words = [sentence for sentence, count in zip(words, (missing, calls, parts, read), strict=True) if count]
        if thoughts := sum(any(dialogue.THOUGHT[1] in one["content"] for one in row if dialogue.taught(one)) for row in said):
            words.append(tr("{count} of {rows} conversations tell what was thought before an answer: it is learned as a part of it, "
                            "<think>…</think>. Give answers room for it: --set task.sampling.new_tokens=1024",
                            count=thoughts, rows=len(table)))  # fmt: skip
        if (count := int((mask & bad).sum())) and (mask & ~bad).any():
            mask &= ~bad
            words.append(tr("{count} of {rows} conversations are marked as bad ({column} is false) and are left out; --ignore {column} "
                            "learns them too.", count=count, rows=len(table), column=column))  # fmt: skip
        if self._several(table, self.shape):
            words.append(tr("Each cell of {column} lists several answers; each of them is learned.", column=self.shape.columns[-1]))
        if any(name.lower() in REJECTED for name in table.names if name not in self.config.ignore):
            words.append(tr("The preferred answers are learned as answers; the rejected ones are not read."))
        if not mask.any():
            raise DataError("Chat is learned from answers of the assistant; not one of the {rows} conversations can be used. {reasons}",
                            rows=len(table), reasons=" ".join(words))  # fmt: skip
        return mask, words

    def _bad(self, table: Table) -> tuple[np.ndarray, str]:
        """Which rows (N,) are marked as examples of how not to answer, and in which column (`label`, as TRL; `kto_tag`)."""
        for name in (name for name in table.names if name.lower() in MARKED and name not in self.config.ignore):
            cells = [str(cell).lower() for cell in table.column(name).to_pylist()]
            if set(cells) == {"true", "false"}:
                return np.array([cell == "false" for cell in cells], bool), name
        return np.zeros(len(table), bool), ""

    def taught(self, table: Table) -> Table:
        return apart(table, self.shape.columns[-1]) if self._several(table, self.shape) else table

    # -- tensors
    def _conversations(self, table: Table) -> Iterator[list[dict[str, Any]]]:
        for row in self._found(table):
            if isinstance(row, UnlearnedError):
                raise row
            yield row

    def _found(self, table: Table) -> Iterator[list[dict[str, Any]] | UnlearnedError]:
        shape = self.shape if set(self.columns) <= set(table.names) else asked_shape(table.names, self.shape)
        columns = {name: table.column(name) for name in (*shape.columns, *shape.aside) if name in table.names}
        first = shape.columns[-1] if self._several(table, shape) else ""
        for row in range(len(table)):
            cells = {name: columns[name][row].as_py() if name in columns else None for name in (*shape.columns, *shape.aside)}
            if first:
                cells[first] = next(iter(texts_in(cells[first])), None)
            try:
                found = messages_of(cells, shape, row + 1)
            except UnlearnedError as error:
                yield error
                continue
            if self.config.system and found and found[0]["role"] != "system":
                found = [{"role": "system", "content": self.config.system}, *found]
            yield found

    @staticmethod
    def _several(table: Table, shape: Shape) -> bool:
        """Whether each answer is a list of answers."""
        return shape.name in ("alpaca", "pairs") and shape.columns[-1] in table.names and several(table.data[shape.columns[-1]].to_pylist())

    def _lessons(self, table: Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Tokens (T,) of each conversation and which are learned (T,); at least one token."""
        for row in self._conversations(table):
            tokens, learned = dialogue.encode(self.tokenizer, dialogue.lesson(self.tokenizer, row)) if row else (np.zeros(0, np.int64),) * 2
            yield (tokens, learned.astype(bool)) if len(tokens) > 1 else (np.full(2, self._end), np.zeros(2, bool))

    def _fitting_lessons(self, table: Table) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same, each no longer than the model reads and foretells."""
        return [(tokens[: self.context + 1], learned[: self.context + 1]) for tokens, learned in self._lessons(table)]

    @property
    def _end(self) -> int:
        return max(text_kind.special(self.tokenizer, "end"), 0)

    @property
    def _room(self) -> int:
        """Tokens of a question with what was said before that leave its answer room."""
        return self.context - max(1, min(self.config.sampling.new_tokens, self.context // 4))

    def _fitting(self, row: list[dict[str, Any]]) -> np.ndarray:
        """The tokens of a question with what was said before, without its oldest messages where its answer would have no room."""
        most, row = self._room, self._asked(row)
        tokens = dialogue.prompt(self.tokenizer, row)
        first = 1 if row[0]["role"] == "system" else 0
        while len(tokens) > most and len(row) - first > 1:
            row = [*row[:first], *row[first + 2 :]] if len(row) - first > 2 else [*row[:first], row[-1]]
            tokens = dialogue.prompt(self.tokenizer, row)
        return tokens

    @staticmethod
    def _asked(row: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A conversation up to the last message that is not the assistant's own."""
        while row and row[-1]["role"] == "assistant":
            row = row[:-1]
        return row or [{"role": "user", "content": ""}]

    def _ending(self, row: list[dict[str, Any]]) -> np.ndarray:
        """As `_fitting`; of a question that is too long by itself its end alone."""
        tokens, most = self._fitting(row), self._room
        if len(tokens) < self.context:
            return tokens
        row = self._asked(row)
        system, last = row[:1] if row[0]["role"] == "system" and len(row) > 1 else [], row[-1]
        low, high = max(0, len(last["content"]) - LONG_TOKEN * most), len(last["content"])
        while low < high:  # the earliest beginning that leaves room for an answer
            place = (low + high) // 2
            tokens = dialogue.prompt(self.tokenizer, [*system, {**last, "content": last["content"][place:]}])
            low, high = (low, place) if len(tokens) <= most else (place + 1, high)
        return dialogue.prompt(self.tokenizer, [*system, {**last, "content": last["content"][low:]}])[-most:]

    def too_long(self, table: Table) -> np.ndarray:
        return np.array([len(self._fitting(row)) >= self.context for row in self._conversations(table)], bool)

    def encode(self, table: Table, *, target: bool) -> Examples:
        empty = np.zeros(0, np.int64)
        if target:
            rows, kind = self._fitting_lessons(table), text_kind.type_of(self.tokenizer)
            columns = {
                "tokens": Ragged.of([tokens[:-1].astype(kind) for tokens, _ in rows], empty.astype(kind)),
                "tokens.wanted": Ragged.of([learned[1:] for _, learned in rows], empty.astype(bool)),
                "target": Ragged.of([tokens[1:].astype(kind) for tokens, _ in rows], empty.astype(kind)),
            }
            return Examples(columns)
        asked = [self._ending(row) for row in self._conversations(table)]
        seeds = [number_of(row.tobytes()) for row in asked]
        return Examples({"tokens": Ragged.of(asked, empty), "prompt.seed": Dense(torch.tensor(seeds, dtype=torch.int64))})

    # -- learning
    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats, summed over the answers' tokens."""
        return corpus.loss(output, batch)

    # -- judging
    def evidence(self, output: Tensor, batch: Batch) -> Evidence:
        """For each conversation: nats and tokens of its answers, and how many were the likeliest."""
        wanted_BT = batch["tokens.wanted"]
        target_G, logits_GV = batch["target"][wanted_BT].long(), corpus.at_wanted(output, batch).float()
        nats_G = functional.cross_entropy(logits_GV, target_G, reduction="none").double()
        row_G = wanted_BT.nonzero()[:, 0]
        zeros = torch.zeros(len(wanted_BT), dtype=torch.float64, device=nats_G.device)
        sums = [zeros.index_add(0, row_G, values.double()) for values in (nats_G, logits_GV.argmax(1) == target_G)]
        return {"nats": sums[0].cpu().numpy(), "right": sums[1].cpu().numpy(), "tokens": wanted_BT.sum(1).double().cpu().numpy()}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        tokens = max(1.0, float(evidence["tokens"].sum()))
        nats = float(evidence["nats"].sum()) / tokens
        found = {"perplexity": float(np.exp(min(80.0, nats))), "nats_per_token": nats}
        return found | ({"token_accuracy": float(evidence["right"].sum()) / tokens} if "right" in evidence else {})

    def errors(self, evidence: Evidence) -> np.ndarray:
        found: np.ndarray = evidence["nats"] / np.maximum(1.0, evidence["tokens"])
        return found

    def views(self, evidence: Evidence) -> Sequence[View]:
        return [corpus.spread(self.errors(evidence), tr("Nats a token of the answers in the test"))]

    def baselines(self) -> Sequence[Baseline]:
        size = int(self.tokenizer["size"])
        return [
            Ngrams(order, size, lessons, self._tokens, self._baseline_facts) for order, lessons in ((1, self._answers), (5, self._tokens))
        ]

    def _tokens(self, table: Table) -> np.ndarray:
        return self._stream(table)[0]

    def _answers(self, table: Table) -> np.ndarray:
        tokens, learned = self._stream(table)
        return tokens[learned]

    def _stream(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        rows = self._fitting_lessons(table)
        return np.concatenate([tokens for tokens, _ in rows]), np.concatenate([learned for _, learned in rows])

    def _baseline_facts(self, table: Table, nats: np.ndarray) -> Evidence:
        rows = self._fitting_lessons(table)
        lengths, learned = [len(tokens) for tokens, _ in rows], np.concatenate([learned for _, learned in rows])
        row = np.repeat(np.arange(len(lengths)), lengths)
        learned[np.cumsum([0, *lengths[:-1]])] = False  # the model is not asked for the first token
        sums = [np.bincount(row, values, minlength=len(lengths)) for values in (nats * learned, learned.astype(np.float64))]
        return {"nats": sums[0], "tokens": sums[1]}

    # -- showing
    def example(self, table: Table) -> tuple[str, list[tuple[str, bool]]] | None:
        row = next((row for row in self._conversations(table) if row), [])
        lengths = np.array([len(tokens) for tokens, _ in self._lessons(table)])
        long = int((lengths > self.context + 1).sum())
        cut = tr(" {count} of {rows} conversations are longer than the context of {context} tokens and are read to there.",
                 count=long, rows=len(lengths), context=self.context) if long else ""  # fmt: skip
        parts = [(dialogue.unshielded(text)[:SHOWN], learned) for text, learned in dialogue.lesson(self.tokenizer, row).parts]
        return told(self.shape) + cut, parts

    def probes(self) -> Table | None:
        name, *others = self.columns
        columns = {name: list(QUESTIONS), **{other: [""] * len(QUESTIONS) for other in others}}
        return Table(pa.table(columns), dict.fromkeys(columns, "text"))

    # -- answering
    @property
    def language(self) -> Language:
        return Language.of(self.tokenizer)

    @property
    def sampling(self) -> Sampling:
        return self.config.sampling

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The conversation up to where the assistant speaks, its oldest messages left out where it is too long."""
        row = [dict(message) for message in messages]
        if self.config.system and row[0]["role"] != "system":
            row.insert(0, {"role": "system", "content": self.config.system})
        tokens = self._fitting(row)
        if len(tokens) >= self.context:
            raise DataError("A question must leave room for its answer in the context of {context} tokens; it has {size}. Shorten it.",
                            context=self.context, size=len(tokens))  # fmt: skip
        return tokens.tolist()

    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """What the assistant says next, drawn with the seed of config and conversation."""
        written = write_batch(model, self.language, batch, self.sampling, self.context)
        return {"prediction": [text.strip() for text in written]}
