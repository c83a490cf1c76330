"""Classification: binary, multi-class, multi-label, one or several targets, from any mix of columns.

Legend: B rows of a batch, N rows, S logits side by side, C classes of one head, K heads, k members of an ensemble.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from duomo.core.contract import Baseline, Evidence, Field, Goal, Head, Metric, Suggestion, Task, View
from duomo.core.errors import DataError
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch, Column, Dense, Examples
from duomo.data.encode import InputEncoder
from duomo.data.readable import half_read_columns
from duomo.data.supervised import feature_names, mean_weight, suggest_recipe, weights
from duomo.tasks.classify.baselines import Prior, classical
from duomo.tasks.classify.labels import MISSING, UNSEEN, Label, Labels
from duomo.tasks.classify.measures import FLOOR, fit_temperature, lists, one_target
from duomo.tasks.classify.views import draw

SHOWN_CLASSES = 20
CLASSES, LONGEST, OF_MANY = 4, 8.0, ("table", "text")
"""Epochs of these recipes suffice for so many classes; more take longer in proportion, but not longer than that (docs/experiments.md)."""
SKEWED = 0.75


@dataclass(frozen=True)
class Config:
    """What is classified, and how mistakes are weighed."""

    target: tuple[str, ...] = ()
    """Column(s) that hold the classes; one head for each."""
    ignore: tuple[str, ...] = ()
    """Columns that the model must not see."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """How cells become tensors."""
    multilabel: Literal["", "yes", "no"] = ""
    """Whether a row may have several classes. Empty: found from the cells (lists, separators, several 0/1 targets)."""
    separator: str = ""
    """Sign between the classes of one cell. Empty: found (; or | or commas, or a list as JSON or Python writes it)."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: rare classes weigh as much as frequent ones in the loss."""
    label_smoothing: float = 0.0
    """Label smoothing: share of each target that is spread over all classes (arXiv:1512.00567, section 7)."""
    weight: str = ""
    """Column with each row's weight in training. Empty: all alike. The scorecard counts every row once."""
    metric: str = ""
    """Metric that chooses checkpoints. Empty: accuracy, or auc / macro_f1 where one class has over three quarters of the rows."""


@final
class Main(Task):
    """See the README beside this file."""

    name = "classify"

    def __init__(self, config: Config):
        if not config.target:
            raise DataError("Classification needs a target column; none was named. Name it with --target.")
        self.config = config
        self.labels = Labels(config.target, config.multilabel, config.separator)
        self.encoder = InputEncoder(config.encode)
        self.temperatures: list[float] = []
        self.mean_weight = 1.0

    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        self.encoder.given = learned

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        features = self._features(table)
        self.mean_weight = mean_weight(table, self.config.weight)
        self.labels.fit(table)
        self.encoder.fit(table, features)
        self.temperatures = [1.0] * len(self.labels.classes)

    def _features(self, table: Table) -> list[str]:
        return feature_names(table, self.config.target, (*self.config.ignore, *filter(None, [self.config.weight])))

    def state(self) -> dict[str, Any]:
        return {"labels": self.labels.state(), "encoder": self.encoder.state(), "temperatures": self.temperatures}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.labels.restore(state["labels"])
        self.encoder.restore(state["encoder"])
        self.temperatures = [float(value) for value in state["temperatures"]]

    @property
    def inputs(self) -> Mapping[str, Field]:
        return self.encoder.fields()

    @property
    def columns(self) -> list[str]:
        return list(self.encoder.columns)

    @property
    def head(self) -> Head:
        parts = self.labels.parts
        return Head(sum(parts), parts=parts if len(parts) > 1 else ())

    @property
    def metric(self) -> Metric:  # type: ignore[override]
        """Accuracy misleads where one class dominates: always answering it would already look good."""
        if self.config.metric:
            return Metric(self.config.metric, self.config.metric not in ("log_loss", "ece"))
        if self.labels.lists:
            return Metric("micro_f1", True)
        counts = self.labels.counts or [[1, 1]]
        if sum(max(of) / sum(of) for of in counts) > SKEWED * len(counts):
            return Metric("auc" if max(map(len, counts)) == 2 else "macro_f1", True)
        return Metric("accuracy", True)

    def suggest(self, table: Table) -> Suggestion:
        found = suggest_recipe(table, self._features(table))
        labels = Labels(self.config.target, self.config.multilabel, self.config.separator)
        labels.fit(table)
        if labels.lists or found.recipe.partition("-")[0] not in OF_MANY:
            return found
        return replace(found, longer=min(max(1.0, max(labels.parts) / CLASSES), LONGEST))

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        mask = self.labels.present(table)
        missing, bare = int((~mask).sum()), int(self.labels.bare(table).sum())
        if missing == len(table):
            raise DataError(
                "Learning needs rows whose target is known; {name!r} is empty in all rows. Choose another target.",
                name=", ".join(self.config.target),
            )
        name, said = ", ".join(self.config.target), []
        if missing:
            said.append(tr("{missing} of {rows} rows have no {name!r} and are left out.", missing=missing, rows=len(table), name=name))
        if dashes := int(self.labels.undecided(table).sum()):
            said.append(tr("Of these {count} have a dash in its place; where it is a class of its own, give it a name.", count=dashes))
        if bare:
            said.append(tr("{count} of {rows} rows have an empty {name!r}: none of the labels. Write NA where the labels are not known.",
                           count=bare, rows=len(table), name=name))  # fmt: skip
        return mask, said + (self._unseen(table.take(np.flatnonzero(mask))) if self.labels.classes else [])

    def _unseen(self, table: Table) -> list[str]:
        """In words the rows whose class was not learned."""
        found, more = self.labels.encode(table)
        rows = np.flatnonzero((found.reshape(len(table), -1) == UNSEEN).any(axis=1) if more is None else more)
        if not len(rows):
            return []
        cell = ", ".join(str(table.column(name)[int(rows[0])].as_py()) for name in self.config.target)
        return [tr("{count} of {rows} rows have a class that was not learned, such as {value!r}; these count as wrong.",
                   count=len(rows), rows=len(table), value=cell)]  # fmt: skip

    # -- tensors
    def encode(self, table: Table, *, target: bool) -> Examples:
        columns: dict[str, Column] = dict(self.encoder.encode(table, kept=target))
        if target:
            found, unseen = self.labels.encode(table)
            columns["target.value"] = Dense(torch.from_numpy(found))
            if unseen is not None:
                columns["target.unseen"] = Dense(torch.from_numpy(unseen))
            if self.config.weight:
                columns["target.weight"] = Dense(torch.from_numpy(weights(table, self.config.weight) / self.mean_weight).float())
        return Examples(columns)

    def half_read(self, table: Table, examples: Examples) -> list[str]:
        return half_read_columns(table, examples, self.encoder.learned)

    # -- learning
    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy (or its sigmoid form for lists) summed over rows and heads; an ensemble's (B, k, S) is averaged over k."""
        logits = output.float()
        target = batch["target.value"]
        members = logits.shape[1] if logits.dim() == 3 else 1
        if logits.dim() == 3:
            logits, target = logits.flatten(0, 1), target.repeat_interleave(members, dim=0)
        rows, count = self._losses(logits, target)
        if "mix.rows" in batch:
            other = batch.get("mix.target", batch["target.value"])[batch["mix.rows"]].repeat_interleave(members, dim=0)
            share = batch["mix.share"].to(rows.dtype)
            share = share.repeat_interleave(members) if share.dim() else share
            rows = share * rows + (1 - share) * self._losses(logits, other)[0]
        if "target.weight" in batch:
            rows = rows * batch["target.weight"].repeat_interleave(members)
        return rows.sum() / members, count / members

    def _losses(self, logits_BS: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) losses, and how many targets were known."""
        smooth = self.config.label_smoothing
        if self.labels.lists:
            known = target.ge(0)
            wanted = target.clamp(min=0).to(logits_BS.dtype) * (1 - smooth) + smooth / 2
            weight = self._weights(0, logits_BS) if self.config.class_weights == "balanced" else None
            found = functional.binary_cross_entropy_with_logits(logits_BS, wanted, reduction="none", pos_weight=weight) * known
            return found.mean(dim=1), known.any(dim=1).sum()
        target_BK = target.unsqueeze(1) if target.dim() == 1 else target
        total, count = logits_BS.new_zeros(logits_BS.shape[0]), target_BK.ge(0).sum()
        for place, part_BC in enumerate(logits_BS.split(list(self.labels.parts), dim=1)):
            wanted = target_BK[:, place]
            found = functional.cross_entropy(part_BC, wanted.clamp(min=0), reduction="none", label_smoothing=smooth)
            if self.config.class_weights == "balanced":
                found = found * self._weights(place, part_BC)[wanted.clamp(min=0)]
            total = total + found * wanted.ge(0)
        return total, count

    def goals(self, batch: Batch) -> list[Goal]:
        """One for each head; of lists, one for each label."""
        target_NK = batch["target.value"].reshape(len(batch["target.value"]), -1)
        sizes = (1,) * target_NK.shape[1] if self.labels.lists else self.labels.parts
        found, first = list[Goal](), 0
        for place, size in enumerate(sizes):
            wanted = target_NK[:, place]
            weight = batch.get("target.weight", torch.ones(len(wanted)))
            if self.config.class_weights == "balanced":
                each = self._weights(0 if self.labels.lists else place, weight)
                weight = weight * (torch.where(wanted > 0, each[place], 1.0) if self.labels.lists else each[wanted.clamp(min=0)])
            found.append(Goal("class", wanted.numpy(), wanted.ge(0).numpy(), first, size, weight.double().numpy()))
            first += size
        return found

    def _weights(self, place: int, like: Tensor) -> Tensor:
        """(C,) inverse frequency, one on average over the rows; for lists, how much a present class weighs against an absent one."""
        counts = torch.tensor(self.labels.counts[place], dtype=like.dtype, device=like.device).clamp(min=1)
        if self.labels.lists:
            return (counts.max() / counts).sqrt()
        return counts.sum() / (len(counts) * counts)

    # -- judging
    def _probabilities(self, output: Tensor) -> Tensor:
        """(B, S) float32, each head tempered."""
        logits = output.float()
        found = []
        for part, temperature in zip(logits.split(list(self.labels.parts), dim=-1), self.temperatures, strict=True):
            found.append(torch.sigmoid(part / temperature) if self.labels.lists else torch.softmax(part / temperature, dim=-1))
        joined = torch.cat(found, dim=-1)
        return joined.mean(dim=1) if joined.dim() == 3 else joined

    def evidence(self, output: Tensor, batch: Batch) -> Evidence:
        found = {"probabilities": self._probabilities(output).cpu().numpy(), "target": batch["target.value"].cpu().numpy()}
        if "target.unseen" in batch:
            found["unseen"] = batch["target.unseen"].cpu().numpy()
        return found

    def judge(self, model: nn.Module, batch: Batch) -> Evidence:
        """Of films each clip by itself too: `clips.right` (N,), the share of a film's clips whose own answer is right."""
        several = [name for name, field in self.inputs.items() if field.form == "clips" and batch[name].shape[1] > 1]
        if len(self.inputs) > 1 or not several or len(self.labels.parts) > 1 or self.labels.lists:
            return self.evidence(model(batch), batch)
        (name,), target_B = several, batch["target.value"]
        clips = batch[name].shape[1]
        logits_BKS = model({name: batch[name].flatten(0, 1).unsqueeze(1)}).float().view(len(target_B), clips, -1)
        right_B = (logits_BKS.argmax(2) == target_B.view(-1, 1)).float().mean(1)
        return self.evidence(logits_BKS.mean(1), batch) | {"clips.right": right_B.cpu().numpy()}

    def _heads(self, evidence: Evidence) -> list[tuple[np.ndarray, np.ndarray]]:
        """Probabilities (N, C) and targets (N,) of each head."""
        target = evidence["target"].reshape(len(evidence["target"]), -1)
        borders = np.cumsum(self.labels.parts)[:-1]
        return [(part, target[:, place]) for place, part in enumerate(np.split(evidence["probabilities"], borders, axis=1))]

    def measure(self, evidence: Evidence) -> dict[str, float]:
        if self.labels.lists:
            return lists(evidence["probabilities"], evidence["target"], evidence["unseen"])
        each = [one_target(*head) for head in self._heads(evidence)]
        if "clips.right" in evidence:
            return each[0] | {"clip_accuracy": float(evidence["clips.right"].mean())}
        if len(each) == 1:
            return each[0]
        known = [found for found in each if found]  # a target may have no known row here, or one class alone and so no curve
        names = [name for name in dict.fromkeys(chain(*known)) if name == "auc" or all(name in found for found in known)]
        joint = {name: float(np.mean([found[name] for found in known if name in found])) for name in names}
        return joint | {f"{name}.{what}": v for name, found in zip(self.config.target, each, strict=True) for what, v in found.items()}

    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) surprise: minus the log of the probability of what was true, summed over heads; the mean over classes for lists."""
        p_NC, target = evidence["probabilities"].astype(np.float64), evidence["target"]
        if self.labels.lists:
            believed = np.where(target == 1, p_NC, np.where(target == 0, 1 - p_NC, 1.0))
            return -np.log(np.clip(believed, FLOOR, 1)).mean(axis=1) + evidence["unseen"]
        total = np.zeros(len(p_NC))
        for part, wanted in self._heads(evidence):
            believed = np.where(wanted >= 0, part[np.arange(len(part)), np.maximum(wanted, 0)], 0.0)
            total += np.where(wanted == MISSING, 0.0, -np.log(np.clip(believed, FLOOR, 1)))
        return total

    def calibrate(self, evidence: Evidence) -> None:
        """One temperature for each head (Guo et al. 2017), on top of what evidence already has; no answer changes, only confidence."""
        if self.labels.lists:
            found = [fit_temperature(evidence["probabilities"], evidence["target"], True)]
        else:
            found = [fit_temperature(part, wanted, False) for part, wanted in self._heads(evidence)]
        self.temperatures = [old * new for old, new in zip(self.temperatures, found, strict=True)]

    def views(self, evidence: Evidence) -> Sequence[View]:
        if self.labels.lists:
            return draw(self.labels, evidence["probabilities"], evidence["target"], "")
        several = len(self.labels.parts) > 1
        found: list[View] = []
        for place, (part, wanted) in enumerate(self._heads(evidence)):
            found += draw(self.labels, part, wanted, self.config.target[place] if several else "", place)
        return found

    def baselines(self) -> Sequence[Baseline]:
        kinds = {one.column: one.kind for one in self.encoder.learned}
        return Prior(self.labels), *classical(self.labels, self.encoder.columns, kinds, self.config.encode)

    # -- answering
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """`prediction` and `confidence`, and with at most 20 classes `probabilities`; by target's name where there are several."""
        p_BS = self._probabilities(model(batch)).cpu().numpy().astype(np.float64)
        if self.labels.lists:
            return self._answer_lists(p_BS)
        heads = [self._answer_one(part, place) for place, part in enumerate(np.split(p_BS, np.cumsum(self.labels.parts)[:-1], axis=1))]
        if len(heads) == 1:
            return heads[0]
        names = [name for name in heads[0] if all(name in head for head in heads)]
        return {
            name: [dict(zip(self.config.target, row, strict=True)) for row in zip(*(head[name] for head in heads), strict=True)]
            for name in names
        }

    def _answer_one(self, p_BC: np.ndarray, place: int) -> dict[str, list[Any]]:
        labels, chosen = self.labels.classes[place], p_BC.argmax(axis=1)
        found = {"prediction": [labels[c] for c in chosen], "confidence": np.round(p_BC.max(axis=1), 4).tolist()}
        return found | _named(labels, p_BC)

    def _answer_lists(self, p_BC: np.ndarray) -> dict[str, list[Any]]:
        labels = self.labels.classes[0]
        found = {
            "prediction": [[label for label, p in zip(labels, row, strict=True) if p >= 0.5] for row in p_BC],
            "confidence": np.round(np.maximum(p_BC, 1 - p_BC).min(axis=1), 4).tolist(),
        }
        return found | _named(labels, p_BC)


def _named(labels: Sequence[Label], p_BC: np.ndarray) -> dict[str, list[Any]]:
    """`probabilities` by label, where there are not too many."""
    names, rows = [str(label) for label in labels], np.round(p_BC, 4).tolist()
    return {"probabilities": [dict(zip(names, row, strict=True)) for row in rows]} if len(labels) <= SHOWN_CLASSES else {}
