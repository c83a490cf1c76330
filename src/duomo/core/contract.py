"""The one contract: how a task, a model and a stream of steps meet.

    Table --Task.encode--> Examples --Stream.batch(step)--> Batch --Model--> output --Task.loss--> sum, count
                                                                       └----Task.evidence--> Task.measure
                                                                       └----Task.answer--> what a person reads

A model is a file `duomo/models/<name>.py` that exports
    Config   a frozen dataclass, every field with a default and documented beneath it
    SIZES    {"small": Config(...), "base": ..., "large": ...}
    FORMS    the forms of input field that it takes (`Form`)
    TRAIN    training settings that suit it where no recipe names it: {"learning_rate": ..., "batch_size": ..., ...}
    Model    an nn.Module: Model(config, inputs: Mapping[str, Field], head: Head); forward(batch: Batch) -> output
A task is a folder `duomo/tasks/<name>/` whose task.py exports `Config` (a frozen dataclass) and `Main`, a Task,
and whose recipes.toml names the recipes that `suggest` chooses from.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from duomo.core.table import Table
from duomo.core.tensors import Batch, Examples

Form = Literal["numbers", "categories", "tokens", "pixels", "waveform", "frames", "clips"]
Evidence = dict[str, np.ndarray]
"""Per-row facts (N, ...) that the metrics are computed from; resampling its rows resamples the metric. Rows of one `CLUSTER` value are
drawn together, for they are no independent witnesses."""
CLUSTER = "cluster"


@dataclass(frozen=True)
class Field:
    """What one input of a model looks like in a batch (after `data.loader.finish`).

    form        batch[name]                      shape                vocabulary
    numbers     float32 (B, N) standardised      (N,)                 ()
    categories  int64 (B, M), 0 = unseen         (M,)                 sizes of the M vocabularies
    tokens      int64 (B, T), 0 = padding        (longest,)           (size,)
    pixels      float32 (B, C, H, W) normalised  (C, H, W)            ()
    waveform    float32 (B, S) in [-1, 1]        (longest,)           ()      facts: rate in Hz
    frames      float32 (B, T, C) standardised   (longest, C)         ()
    clips       float32 (B, K, T, C, H, W)       (T, C, H, W)         ()      normalised; K clips of a film, one in training
    Ragged forms (tokens, waveform, frames) also bring batch[name + ".length"] int64 (B,). Where few steps of tokens are judged, the
    batch says which by batch[name + ".wanted"] bool (B, T): `bert` and `gpt` then give logits (G, size) for these alone, row by row.
    """

    form: Form
    shape: tuple[int, ...]
    vocabulary: tuple[int, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON values learned from the training split: pixels and clips mean, std; waveform rate; numbers bins (list of N lists),
    spread (list of N triples: centre and scale that were taken away, and 1 where the inverse hyperbolic sine of the rest is told), columns
    (list of N names)."""


@dataclass(frozen=True)
class Head:
    """What a model must put out: `size` logits for each row (B, size), for each step (B, T, size), each place (`Places`),
    or beside a vector the cosines to the centres of `size` classes (`Vectors`).

    A size of 0 asks for what stands before the head: vectors as wide as the model (of the models `bert` and `gpt`).
    """

    size: int
    per: Literal["row", "step", "place", "vector"] = "row"
    parts: tuple[int, ...] = ()
    """Sizes of the heads side by side, one per target; their sum is `size`. Empty: one head."""


class Steps(NamedTuple):
    """Output of a model that shortens its input: logits (B, T', size) and how many steps of each row count (B,)."""

    logits: Tensor
    lengths: Tensor


class Places(NamedTuple):
    """Output of a detector over A places of the picture: logits (B, A, size), and the box that each place proposes (B, A, 4) as left, top,
    right, bottom in shares of the sides; centre and spacing of the places (A, 3), x, y and step, in the same measure.
    """

    logits: Tensor
    boxes: Tensor
    places: Tensor


class Vectors(NamedTuple):
    """Output of a model that places what it sees: vectors (B, D) of length 1, and their cosines to the centres of the classes (B, size)."""

    vectors: Tensor
    cosines: Tensor


@dataclass(frozen=True)
class Metric:
    """The metric that chooses checkpoints and names the winner."""

    name: str
    higher_is_better: bool


@dataclass(frozen=True)
class View:
    """One picture of the scorecard as data: the report draws it, the task only says what it shows.

    kind     data
    bars     {"labels": [...], "values": [...]}
    histogram {"edges": [...], "values": [...]}: one more edge than values
    matrix   {"rows": [...], "columns": [...], "values": [[...]]}
    curve    {"x": [...], "lines": {name: [...]}, "x_label": str, "y_label": str, "diagonal": bool}
    points   {"x": [...], "y": [...], "x_label": str, "y_label": str, "diagonal": bool}
    texts    {"items": [{"title": str, "text": str}, ...]}
    pictures {"rows": [{"title": str, "sources": [data: URI, ...]}, ...]}
    """

    kind: Literal["bars", "histogram", "matrix", "curve", "points", "texts", "pictures"]
    title: str
    data: Mapping[str, Any]
    note: str = ""


class Goal(NamedTuple):
    """What a simple learner is taught beside the model: one target of N rows, and where its `size` logits stand among those of the head."""

    kind: Literal["class", "mean", "median"]
    values: np.ndarray
    """(N,) numbers of classes (of a label with one logit: 0 or 1), or the number to predict as the model gives it."""
    known: np.ndarray
    """(N,) bool: rows whose target is there."""
    first: int
    size: int
    weight: np.ndarray
    """(N,) float64 what a row's mistake counts."""


class Baseline(ABC):
    """What a model must beat: fitted on the same rows, judged by the same metrics."""

    name: str
    ends: float = math.inf
    """By `time.perf_counter()`: a fit that takes longer may end with TimeoutError."""

    def fit(self, train: Table) -> None:
        """Learn from the training rows; nothing by default."""
        return

    @abstractmethod
    def evidence(self, test: Table) -> Evidence:
        """The same keys that Task.measure reads, for every row of `test`."""


@dataclass(frozen=True)
class Suggestion:
    """A recipe of the task's recipes.toml, and in one line why it suits these data."""

    recipe: str
    reason: str
    longer: float = 1.0
    """So many times the recipe's epochs."""


class Task(ABC):
    """How tables become tensors, what loss and metrics mean, how outputs become answers."""

    name: ClassVar[str]
    writes: ClassVar[bool] = False
    """Whether an answer is written token by token (through duomo/decode, which keeps rows apart): rows are then given unpadded."""
    reads: ClassVar[Literal["any", "before", "both"]] = "any"
    """What a step's logits come from: of a text that is written on, steps `before` the one foretold alone; of a gap, `both` sides."""
    judged_bytes: ClassVar[int] = 0
    """Bytes of cells that tell enough about validation, and four times as many about the test; 0: rows are counted, not bytes."""
    cuts: ClassVar[bool] = False
    """Whether single rows that are too long are answered by their beginning, as those of a file are, and not refused."""
    apart: ClassVar[bool] = False
    """Whether rows of one target value stay on one side of the split: people are told apart who were never learned from."""
    metric: Metric
    """May depend on what `fit` learned (binary or not)."""
    chosen_by: ClassVar[Metric | None] = None
    """What of validation chooses checkpoints and ends training early, where it is not `metric`: the loss, where the metric is told of
    texts that only a search writes."""

    @abstractmethod
    def __init__(self, config: Any): ...

    @classmethod
    def suits(cls, table: Table) -> str:
        """In words why data without a named target are plainly this task's; empty where they may be another's."""
        return ""

    @classmethod
    def find_target(cls, table: Table) -> tuple[str, ...]:
        """The columns to predict where none was named; none where the task has none, or cannot tell."""
        return ()

    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        """Before `fit`: kind -> what a model trained before encodes that kind with (`Pretrained.learned`), and `decoder` where it only
        writes on. Without use by default."""
        return

    # -- learned from the training split only
    @abstractmethod
    def fit(self, table: Table) -> None: ...

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything learned, as JSON values; `restore(state())` leaves a task that encodes and answers alike."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None: ...

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, Field]: ...

    @property
    @abstractmethod
    def head(self) -> Head: ...

    @property
    def columns(self) -> list[str]:
        """The columns of a table that `encode` reads without `target`; those that the inputs are named after, `kind:column`."""
        return [name.partition(":")[2] or name for name in self.inputs]

    @abstractmethod
    def suggest(self, table: Table) -> Suggestion:
        """The recipe for these (training) data, before or after `fit`."""

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        """Which rows (N,) can be learned and judged from, and one sentence for each reason why others cannot. All by default."""
        return np.ones(len(table), bool), []

    def divided(self, table: Table) -> Table:
        """Usable rows as they are learned from and judged, once the parts are parted: of one that is read in pieces each makes a row."""
        return table

    def taught(self, table: Table) -> Table:
        """The training rows as they are learned from, once they are parted from the others: of several right answers each makes a row."""
        return table

    # -- tensors
    @abstractmethod
    def encode(self, table: Table, *, target: bool) -> Examples:
        """One vectorised call; with `target` the batch also carries what `loss` and `evidence` need."""

    # -- learning
    @abstractmethod
    def loss(self, output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum of the losses and how many were summed (scalars), so that accumulated gradients stay exact."""

    def goals(self, batch: Batch) -> Sequence[Goal]:
        """The targets of a batch as simpler learners beside the model are taught them. None by default: the model answers alone."""
        return ()

    # -- judging
    @abstractmethod
    def evidence(self, output: Any, batch: Batch) -> Evidence: ...

    def judge(self, model: nn.Module, batch: Batch) -> Evidence:
        """The evidence of a finished model. A task whose answers are written judges what is written, not what is foretold word by word."""
        return self.evidence(model(batch), batch)

    def together(self, evidence: Evidence) -> Evidence:
        """The evidence of all rows at once, before it is measured: what depends on the other rows (a rank among them) is told here."""
        return evidence

    @abstractmethod
    def measure(self, evidence: Evidence) -> dict[str, float]: ...

    @abstractmethod
    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) how wrong each row is: sorts the worst errors and finds the worst slices."""

    def calibrate(self, evidence: Evidence) -> None:
        """Learn from validation what makes confidences honest (a temperature, an interval). Nothing by default."""
        return

    def remember(self, table: Table, facts: Callable[[Table], Evidence]) -> None:
        """Take along from rows, learned from or not, what answers are drawn from (people who are known); `facts` are what `judge` gives of
        rows. Called for the training rows before the test is judged, for the others afterwards. Nothing by default.
        """
        return

    @abstractmethod
    def views(self, evidence: Evidence) -> Sequence[View]: ...

    def side_by_side(self, evidence: Evidence) -> Sequence[tuple[str, Sequence[int]]]:
        """Rows of the test whose pictures are worth seeing next to one another, each group with a title. None by default."""
        return ()

    @abstractmethod
    def baselines(self) -> Sequence[Baseline]:
        """The trivial one first, then the classical one."""

    # -- showing
    def example(self, table: Table) -> tuple[str, list[tuple[str, bool]]] | None:
        """After `fit`: a title, and a training example as the model will read it, in parts; True where a part is learned."""
        return None

    def half_read(self, table: Table, examples: Examples) -> list[str]:
        """In words, of how many rows that are learned from (`examples` of them) only the beginning is read. Nothing by default."""
        return []

    def probes(self) -> Table | None:
        """Rows that a model which goes on from another's weights answers before and after, side by side in the scorecard."""
        return None

    # -- answering
    def too_long(self, table: Table) -> np.ndarray:
        """(N,) bool: rows too long to be read whole, which are counted; single ones are refused unless the task `cuts`. None by default."""
        return np.zeros(len(table), bool)

    def refuse(self, table: Table) -> None:
        """DataError where who asks for single rows would be told nothing; in a file they are answered as they are. None by default."""
        return

    def windows(self, table: Table) -> Iterator[tuple[int, Iterator[Table]]]:
        """Rows that are answered in pieces, each with its pieces, a few at a time; what `join` makes of their answers is the row's.

        None by default.
        """
        yield from ()

    def join(self, answers: Mapping[str, list[Any]]) -> dict[str, Any]:
        """One answer from those to the pieces of a row, in order, and from what else the tables of the pieces told."""
        raise NotImplementedError

    @abstractmethod
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """Columns for a person or a client, one value per row: `prediction`, `confidence`, …"""


@runtime_checkable
class Settles(Protocol):
    """A model that learns its last layer alone: what stands before it is read off rows, then the layer is fitted (train/head.py)."""

    def settle(self, batch: Batch) -> None:
        """Read off some training rows, before the first step, what no step changes; it lies in buffers."""


@runtime_checkable
class Slots(Protocol):
    """A cache whose rows come and go (nn/cache.py); other caches are read by one batch that begins and ends together."""

    def part(self, first: int, lengths: Sequence[int], ragged: bool = False) -> Any:
        """Rows `first` and following over the same memory, `lengths` tokens of each in use; a forward pass over it gives only the last
        token's logits. With `ragged` each row gets one token at its own length; without, all lengths are the same."""

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` tokens of one row also in another."""


@runtime_checkable
class Decoder(Protocol):
    """A language model that can go on from where it stopped: each call is fed only the tokens that are new."""

    def start(self, rows: int, positions: int) -> Any:
        """An empty cache for (rows, positions) tokens; its `select(rows)` makes its rows copies of these, which beam search needs."""

    def forward_cached(self, tokens: Tensor, cache: Any) -> Tensor:
        """Logits (B, T, size) of the new tokens (B, T); the cache grows by T."""


@runtime_checkable
class EncoderDecoder(Protocol):
    """A model that reads one text and writes another: a Decoder that also needs what its encoder read.

    Its batch holds `source`, `source.length`, and to learn from `target` (the wanted text behind its start token), `target.length`;
    ask for it before `Decoder`, whose names it shares.
    """

    def encode(self, batch: Batch) -> Any:
        """The memory of a batch's sources, read once; `memory.select(rows)` takes rows of it, several times where several are tried."""

    def start(self, rows: int, positions: int, memory: Any) -> Any:
        """An empty cache for (rows, positions) tokens over the memory of the same rows."""

    def forward_cached(self, tokens: Tensor, cache: Any) -> Tensor:
        """Logits (B, T, size) of the new tokens (B, T); the cache grows by T."""


class Stream(ABC):
    """Where steps come from. A step is a pure function of its number: nothing about order needs saving."""

    steps_per_epoch: int

    @abstractmethod
    def rows(self, step: int) -> np.ndarray:
        """Row numbers (B,) of step `step`."""

    @abstractmethod
    def batch(self, step: int) -> Batch: ...
