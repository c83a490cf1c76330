"""Who is it: vectors of pictures that lie near for one person and apart for others, learned from some, good for strangers.

Legend: B rows, N rows, K people learned from, D numbers of a vector, G pictures that are known.
Source: Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", arXiv:1801.07698, eq. 3.
"""

import base64
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, final

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.core.config import Within
from duomo.core.contract import CLUSTER, Baseline, Evidence, Field, Head, Metric, Suggestion, Task, Vectors, View
from duomo.core.errors import DataError, RunError
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table, evenly
from duomo.core.tensors import Batch, Column, Dense, Examples
from duomo.data.digests import number_of
from duomo.data.encode import InputEncoder
from duomo.data.folders.classes import are_people
from duomo.data.folders.listed import GROUP
from duomo.data.supervised import texts
from duomo.tasks.identify.baselines import Chance, Eigenfaces, NearestPixels
from duomo.tasks.identify.measures import MOST, cautious, compared, hits, measure, near_of, pairs, roc

NAMES = ("person", "identity", "who", "subject", "name", "label", "class", "id", "individual", "人", "姓名", "身份", "标签")
SIDE, SMALL = 64, 64
UNKNOWN = "unknown"
MANY = 3000
REMEMBERED, MOST_REMEMBERED = 5, 20_000
"""Pictures of a person, and of all, that answers are compared with."""
SHOWN, BESIDE = 6, 5
"""Pictures shown in the scorecard, right and wrong ones, and their nearest beside each."""


@dataclass(frozen=True)
class Config:
    """Who is told apart, how strictly, and when nobody is meant."""

    target: tuple[str, ...] = ()
    """The column that says who it is; found by name, or the folders of the pictures."""
    ignore: tuple[str, ...] = ()
    """Columns that are not read."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """How pictures become tensors: picture_size is the side of the square. 0: 64."""
    margin: Annotated[float, Within(0, 1.5)] = 0.3
    """Angle, in radians, that a picture must lie nearer to its own person than to any other while learning (m of eq. 3)."""
    scale: Annotated[float, Within(1)] = 24.0
    """What cosines are multiplied by in the loss (s in eq. 3)."""
    false_accept: Annotated[float, Within(0, 1)] = 0.01
    """Share of strangers that may be mistaken for a known person; the lowest similarity of an answer follows, on validation."""


@final
class Main(Task):
    """See the README beside this file."""

    name = "identify"
    metric = Metric("d_prime", True)
    apart = True

    def __init__(self, config: Config):
        self.config = config
        self.target = config.target[0] if config.target else "label"
        self.encoder = InputEncoder(replace(config.encode, picture_size=config.encode.picture_size or SIDE))
        self.people: list[str] = []
        self.least = 0.5
        self.known: list[str] = []
        self.known_GD = np.zeros((0, 0), np.float32)

    @classmethod
    def find_target(cls, table: Table) -> tuple[str, ...]:
        lower = {name.lower(): name for name in reversed(table.names)}
        found = [lower[name] for name in NAMES if name in lower] or table.of_kind("category")[:1]
        if not found:
            raise DataError("Telling people apart needs a folder for each, or a column that says who it is; the columns are {columns}. "
                            "Name it with --target.", columns=", ".join(table.names[:30]))  # fmt: skip
        groups = {*table.column(GROUP).to_pylist()} - {None} if found[0] == "label" and GROUP in table.names else set()
        apart = are_people(groups) and len(groups) > len(pc.unique(table.column(found[0])))  # person_1/glasses, person_2/glasses
        return (GROUP if apart else found[0],)

    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        given = {kind: dict(state) for kind, state in learned.items() if kind == "image"}
        self.encoder = InputEncoder(self.config.encode)  # the size of the weights, unless another was asked for
        self.encoder.given = given

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        pictures = [name for name in table.of_kind("image") if name not in self.config.ignore]
        if len(pictures) != 1:
            raise DataError("People are told apart by one column of pictures; there are {count}: {columns}. Leave others out with "
                            "--ignore.", count=len(pictures), columns=", ".join(pictures) or "-")  # fmt: skip
        self.encoder.fit(table, pictures)
        self.encoder.learned[0].state["fit"] = "letterbox"  # chin and hair tell people apart, too
        self.people = sorted(set(self._names(table)))

    def state(self) -> dict[str, Any]:
        packed = base64.b64encode(self.known_GD.astype("<f2").tobytes()).decode()
        known = {"names": self.known, "width": int(self.known_GD.shape[1]), "vectors": packed}
        return {"encoder": self.encoder.state(), "target": self.target, "people": self.people, "least": self.least, "known": known}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.encoder.restore(state["encoder"])
        self.target, self.people, self.least = state["target"], list(state["people"]), float(state["least"])
        known = state["known"]
        try:
            vectors = np.frombuffer(base64.b64decode(known["vectors"], validate=True), "<f2").astype(np.float32)
            self.enrol(known["names"], vectors.reshape(len(known["names"]), int(known["width"])))
        except ValueError as error:
            raise RunError(
                "The known people of a run must be as many vectors as names; here they are not ({error}).", error=error
            ) from error

    def enrol(self, names: Sequence[str], vectors_GD: np.ndarray) -> None:
        """Whom answers name from now on: a picture's vector (of length 1) and the name of its person, G times."""
        self.known, self.known_GD = list(names), vectors_GD.astype(np.float16).astype(np.float32)

    def remember(self, table: Table, facts: Callable[[Table], Evidence]) -> None:
        """Some pictures of each person: answers compare pictures with pictures, as `least` was chosen. The few people of a validation may
        be less alike than others are: what holds for them is to hold among those learned from, too."""
        names, counts, rows = self._names(table), Counter(self.known), list[int]()
        for row, name in enumerate(names):
            counts[name] += 1
            if counts[name] <= REMEMBERED and len(self.known) + len(rows) < MOST_REMEMBERED:
                rows.append(row)
        if rows:
            vectors_GD = facts(table.take(np.array(rows)))["vector"]
            before_GD = self.known_GD if self.known else vectors_GD[:0]
            if not self.known:
                some = evenly(len(rows), MOST)
                who_G = np.array([number_of(name) for name in names[rows][some]])
                self.least = max(self.least, self._strict({"vector": vectors_GD[some], CLUSTER: who_G}) or -1.0)
            self.enrol([*self.known, *names[rows].tolist()], np.concatenate([before_GD, vectors_GD]))

    @property
    def inputs(self) -> Mapping[str, Field]:
        return self.encoder.fields()

    @property
    def head(self) -> Head:
        return Head(max(1, len(self.people)), "vector")

    def suggest(self, table: Table) -> Suggestion:
        count = len(set(self._names(table)))
        return Suggestion(
            "few" if len(table) < MANY else "many", tr("{rows:,} pictures of {people:,} people", rows=len(table), people=count)
        )

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        """Rows that say who it is. Single pictures stay: others must be told from them."""
        named_N = ~np.asarray(pc.is_null(table.column(self.target)).to_numpy(), dtype=bool)
        people, counts = np.unique(self._names(table)[named_N], return_counts=True)
        if len(people) < 2:
            raise DataError("People are told apart from one another: at least two are needed; {target!r} names {count}. Add a folder of "
                            "another.", target=self.target, count=len(people))  # fmt: skip
        if not (counts > 1).any():
            raise DataError("At least one person needs two pictures, to be known again; each of the {count} people has one. Add pictures.",
                            count=len(people))  # fmt: skip
        said = [tr("{count:,} pictures do not say who it is and are left out.", count=int((~named_N).sum()))] if not named_N.all() else []
        single = people[counts == 1]
        if len(single):
            said.append(tr("There is but one picture of {examples} (people: {count:,}): they serve as others where the model is judged.",
                           count=len(single), examples=", ".join(single[:3])))  # fmt: skip
        return named_N, said

    # -- tensors
    def _names(self, table: Table) -> np.ndarray:
        return np.array(texts(table.column(self.target)), dtype=object)

    def _who(self, table: Table) -> np.ndarray:
        """(N,) int64: one number for each person, the same in every table."""
        return np.array([number_of(name) for name in self._names(table)], np.int64)

    def encode(self, table: Table, *, target: bool) -> Examples:
        columns: dict[str, Column] = dict(self.encoder.encode(table, kept=target))
        if target:
            places = {name: place for place, name in enumerate(self.people)}
            own = np.array([places.get(name, -1) for name in self._names(table)], np.int64)
            columns["target.person"], columns["target.who"] = Dense(torch.from_numpy(own)), Dense(torch.from_numpy(self._who(table)))
        return Examples(columns)

    # -- learning
    def loss(self, output: Vectors, batch: Batch) -> tuple[Tensor, Tensor]:
        """-log of the own person's share, with the angle to the own centre widened by the margin (eq. 3); strangers do not count."""
        known_B = batch["target.person"] >= 0
        cosine_BK, own_B = output.cosines.float()[known_B], batch["target.person"][known_B]
        angle_BK = torch.acos(cosine_BK.clamp(-1 + 1e-6, 1 - 1e-6))
        wide_BK = torch.cos((angle_BK + self.config.margin).clamp(max=math.pi))
        own_BK = functional.one_hot(own_B, cosine_BK.shape[1]).bool()
        lost = functional.cross_entropy(torch.where(own_BK, wide_BK, cosine_BK) * self.config.scale, own_B, reduction="sum")
        return lost, known_B.sum().float()

    # -- judging
    def evidence(self, output: Vectors, batch: Batch) -> Evidence:
        return {"vector": output.vectors.float().cpu().numpy(), CLUSTER: batch["target.who"].cpu().numpy()}

    def together(self, evidence: Evidence) -> Evidence:
        """Every picture beside every other: cosines (N, N). Beyond `MOST` pictures the people that fit are judged."""
        if len(evidence[CLUSTER]) > MOST:
            _, first, place_N = np.unique(evidence[CLUSTER], return_index=True, return_inverse=True)
            order = np.argsort(first[place_N], kind="stable")[:MOST]
            evidence = {name: values[order] for name, values in evidence.items()}
        return {"near": near_of(evidence).astype(np.float32), CLUSTER: evidence[CLUSTER], "row": np.arange(len(evidence[CLUSTER]))}

    def measure(self, evidence: Evidence) -> dict[str, float]:
        return measure(evidence)

    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) how often a picture finds another person first, one picture being known of each."""
        return np.nan_to_num(1 - hits(compared(evidence)))

    def calibrate(self, evidence: Evidence) -> None:
        """The least similarity at which a person is named: `false_accept` of the strangers' pairs of validation exceed it."""
        found = self._strict(evidence)
        self.least = self.least if found is None else found

    def _strict(self, evidence: Evidence) -> float | None:
        """The similarity that `false_accept` of the strangers' pairs exceed; None where there are none."""
        similarity_M, same_M, weight_M = pairs(compared(evidence))
        return cautious(similarity_M[~same_M], weight_M[~same_M], self.config.false_accept) if not same_M.all() else None

    def views(self, evidence: Evidence) -> Sequence[View]:
        found = compared(evidence)
        false, true = roc(found)
        accepted = tr("true pairs accepted")
        curve = {"x": np.log10(false).round(4).tolist(), "lines": {accepted: true.round(4).tolist()}, "diagonal": False,
                 "x_label": tr("strangers' pairs accepted, power of ten"), "y_label": accepted}  # fmt: skip
        similarity_M, same_M, _ = pairs(found)
        edges = np.linspace(float(similarity_M.min(initial=0)), float(similarity_M.max(initial=1)), 41)
        shares = [np.histogram(similarity_M[which], edges)[0] / max(1, which.sum()) for which in (same_M, ~same_M)]
        lines = dict(zip((tr("same person"), tr("strangers")), [share.round(5).tolist() for share in shares], strict=True))
        spread = {"x": edges[:-1].round(4).tolist(), "lines": lines, "x_label": tr("similarity"), "y_label": tr("share of pairs"),
                  "diagonal": False}  # fmt: skip
        note = tr("Answers name a person from a similarity of {least:.2f} on.", least=self.least)
        return [View("curve", tr("Are these two the same? (ROC)"), curve), View("curve", tr("How alike pairs are"), spread, note)]

    def side_by_side(self, evidence: Evidence) -> Sequence[tuple[str, Sequence[int]]]:
        """The pictures that go most wrong, and some others, each followed by its nearest among the rest."""
        error_N, person_N = self.errors(evidence), evidence[CLUSTER]
        order = np.argsort(-error_N, kind="stable")
        chosen = dict.fromkeys([*order[:SHOWN].tolist(), *np.linspace(0, len(order) - 1, min(SHOWN, len(order))).astype(int).tolist()])
        found = []
        for row in chosen:
            near_N = evidence["near"][row].copy()
            near_N[row] = -np.inf
            best = np.argsort(-near_N, kind="stable")[: min(BESIDE, len(near_N) - 1)].tolist()
            marks = " ".join(f"{'✓' if person_N[other] == person_N[row] else '✗'} {near_N[other]:.2f}" for other in best)
            found.append((tr("asked, then the nearest: {marks}", marks=marks), [row, *best]))
        return found

    def baselines(self) -> Sequence[Baseline]:
        return Chance(self._who), NearestPixels(self._pixels, self._who), Eigenfaces(self._pixels, self._who)

    def _pixels(self, table: Table) -> np.ndarray:
        """(N, F) grey, at most 64 pixels wide, 0 to 1."""
        column = next(iter(self.encoder.encode(table, kept=True).values()))
        assert isinstance(column, Dense)
        grey = column.values.float().mean(1, keepdim=True) / 255
        side = min(SMALL, *grey.shape[2:])
        return functional.adaptive_avg_pool2d(grey, side).flatten(1).numpy()

    # -- answering
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """`prediction`: the nearest of the known people, or unknown; `similarity`: cosine to the nearest picture of them."""
        output: Vectors = model(batch)
        near_BG = output.vectors.float() @ torch.from_numpy(self.known_GD).T.to(output.vectors) if self.known else output.cosines.float()
        names = self.known or self.people  # nobody is remembered while the model still learns
        best = near_BG.max(1)
        near, places = best.values.tolist(), best.indices.tolist()
        named = [names[place] for place in places]
        told = [name if value > self.least else UNKNOWN for name, value in zip(named, near, strict=True)]
        return {"prediction": told, "similarity": [round(value, 4) for value in near], "nearest": named}
