"""Regression: one or several numbers from any mix of columns.

Legend: B rows of a batch, N rows, K targets, k members of an ensemble.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from duomo.core.contract import Baseline, Evidence, Field, Goal, Head, Metric, Suggestion, Task, View
from duomo.core.errors import DataError
from duomo.core.kinds import number
from duomo.core.kinds.cells import values_of
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.table import Table
from duomo.core.tensors import Batch, Column, Dense, Examples
from duomo.data.encode import InputEncoder
from duomo.data.readable import half_read_columns
from duomo.data.supervised import feature_names, mean_weight, numbers, suggest_recipe, weights
from duomo.tasks.regress.baselines import AsItIs, Mean, classical, nearest
from duomo.tasks.regress.levels import Level

COVERAGE = 0.9
NOTHING = 0.01
"""Share of the training rows that are exactly 0, and none below, from which on no answer is below 0: visits, rain, money spent."""
WILD = 5.0
"""So many standard deviations of the training rows are the most that is learned of a multiple of a level: an epidemic is told as one, but
is not foretold for each year to come."""
POINTS = 600
BINS = 30


@dataclass(frozen=True)
class Config:
    """Which numbers are predicted, and how mistakes are weighed."""

    target: tuple[str, ...] = ()
    """Column(s) of numbers to predict."""
    ignore: tuple[str, ...] = ()
    """Columns that the model must not see."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """How cells become tensors."""
    loss: Literal["mse", "mae", "huber"] = "mse"
    """mse aims at the mean, mae at the median, huber between them (quadratic within one standard deviation)."""
    weight: str = ""
    """Column with each row's weight in training. Empty: all alike. The scorecard counts every row once."""
    log: bool = False
    """Predict log(1 + target): for targets that are never negative and span orders of magnitude."""
    level: str = ""
    """Column that tells how large the target is about to be: multiples of it are learned, unless `log` is set. Set by `data.ahead`."""
    alike: tuple[str, ...] = ()
    """Columns of the same measure as the target, told as multiples of `level` too."""
    near: str = ""
    """Column from which answers differ only as far as that told later rows better. Set by `data.ahead`; empty: the nearest of all."""


@final
class Main(Task):
    """See the README beside this file."""

    name = "regress"
    metric = Metric("rmse", False)

    def __init__(self, config: Config):
        if not config.target:
            raise DataError("Regression needs a target column; none was named. Name it with --target.")
        self.config = config
        self.encoder = InputEncoder(config.encode)
        self.mean_K: list[float] = []
        self.scale_K: list[float] = []
        self.styles_K: list[number.Style] = []
        """How the training rows write each target: 3,5 or 12%."""
        self.halfwidth_K: list[float] = []
        """Half-width of the interval that holds 90 % of the validation rows; empty until calibrated."""
        self.floored_K: list[bool] = []
        """Whether 0 is the least that each target can be."""
        self.mean_weight = 1.0
        self.level = self._level()
        self.nearest = ""
        """The column that is nearest to the target as it stands."""
        self.near: Level | None = None
        self.share = 1.0
        """Where numbers are foretold, that column, and how much of what the model says beyond it is answered."""

    def _level(self) -> Level | None:
        wanted = self.config.level and not self.config.log and len(self.config.target) == 1
        return Level(self.config.level, self.config.alike) if wanted else None

    def adopt(self, learned: Mapping[str, Mapping[str, Any]]) -> None:
        self.encoder.given = learned

    # -- learned from the training split only
    def fit(self, table: Table) -> None:
        features = self._features(table)
        self.mean_weight = mean_weight(table, self.config.weight)
        self.mean_K, self.scale_K, self.halfwidth_K, self.floored_K = [], [], [], []
        self.styles_K = [number.style_of(table.column(name)) for name in self.config.target]
        self.level, raw_NK = self._level(), self.raw_targets(table)
        if self.level:
            self.level.fit(table, raw_NK[:, 0])
            self.level.choose(table, raw_NK[:, 0], features, self.config.encode)
        for name, raw in zip(self.config.target, raw_NK.T, strict=True):
            known = raw[np.isfinite(raw)]
            self.floored_K.append(bool(len(known) and known.min() == 0 and (known == 0).mean() >= NOTHING))
            if self.level:
                base_N, measure_N = self.level.of(table)
                raw = (raw - base_N) / measure_N
            values = self._forward(raw[np.isfinite(raw)])
            if len(values) < 2 or np.ptp(values) == 0:
                raise DataError(
                    "A number to predict must vary among the training rows; {name!r} has {values} different values. Choose another target.",
                    name=name, values=len(np.unique(values)),
                )  # fmt: skip
            self.mean_K.append(float(values.mean()))
            self.scale_K.append(float(values.std()))
        self.encoder.fit(self.level.laid(table) if self.level else table, features)
        alone = len(self.config.target) == 1
        self.nearest = nearest(table, raw_NK[:, 0], features) if alone else ""
        near = self.config.near or self.nearest
        self.near = Level(near, self.config.alike) if near and self._level() else None
        if self.near:
            self.near.fit(table)
            self.share = self.near.holds(table, raw_NK[:, 0], features, self.config.encode)

    def _features(self, table: Table) -> list[str]:
        return feature_names(table, self.config.target, (*self.config.ignore, *filter(None, [self.config.weight])))

    def raw_targets(self, table: Table) -> np.ndarray:
        """(N, K) float64 in the data's own units; NaN where missing. DataError where cells are no numbers."""
        found = []
        for place, name in enumerate(self.config.target):
            cells = table.column(name)
            values = numbers(cells, self.styles_K[place] if self.styles_K else None)
            values = np.where(np.isfinite(values), values, np.nan)
            wrong = np.flatnonzero(np.isnan(values) & values_of(cells).is_valid().to_numpy())
            shown = cells[int(wrong[0])].as_py() if len(wrong) else None
            if len(wrong) and isinstance(shown, str) and shown.strip() and len(wrong) > 0.05 * len(cells):
                raise DataError(
                    "A number to predict must be a number in every row; {name!r} has {value!r} in row {row}. "
                    "Fix the cells, or predict a class with --task classify.",
                    name=name, value=shown[:80], row=int(wrong[0]) + 1,
                )  # fmt: skip
            found.append(values)
        return np.stack(found, axis=1)

    def _forward(self, values: np.ndarray) -> np.ndarray:
        if not self.config.log:
            return values
        if len(values) and np.nanmin(values) <= -1:
            raise DataError(
                "The logarithm needs targets above -1; the least is {least}. Leave task.log off.", least=float(np.nanmin(values))
            )
        return np.log1p(values)

    def state(self) -> dict[str, Any]:
        return {"encoder": self.encoder.state(), "mean": self.mean_K, "scale": self.scale_K, "halfwidth": self.halfwidth_K,
                "styles": [style.to_list() for style in self.styles_K], "nearest": self.nearest, "floored": self.floored_K,
                **({"level": self.level.state()} if self.level else {}),
                **({"near": {**self.near.state(), "share": self.share}} if self.near else {})}  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self.encoder.restore(state["encoder"])
        self.mean_K, self.scale_K = [float(v) for v in state["mean"]], [float(v) for v in state["scale"]]
        self.halfwidth_K = [float(v) for v in state["halfwidth"]]
        self.floored_K = [bool(v) for v in state.get("floored", [False] * len(self.mean_K))]
        self.nearest = str(state.get("nearest", ""))
        self.level = self._level() if "level" in state else None
        if self.level:
            self.level.restore(state["level"])
        self.near = Level(self.config.near or self.nearest, self.config.alike) if "near" in state else None
        if self.near:
            self.near.restore(state["near"])
            self.share = float(state["near"]["share"])
        self.styles_K = [number.Style(*style) for style in state.get("styles", ())]

    @property
    def inputs(self) -> Mapping[str, Field]:
        return self.encoder.fields()

    @property
    def columns(self) -> list[str]:
        return list(self.encoder.columns)

    @property
    def head(self) -> Head:
        targets = len(self.config.target)
        return Head(targets, parts=(1,) * targets if targets > 1 else ())

    def suggest(self, table: Table) -> Suggestion:
        return suggest_recipe(table, self._features(table))

    def usable(self, table: Table) -> tuple[np.ndarray, list[str]]:
        mask = np.isfinite(self.raw_targets(table)).any(axis=1)
        missing = int((~mask).sum())
        name = ", ".join(self.config.target)
        if missing == len(table):
            raise DataError("Learning needs rows whose target is known; {name!r} is empty in all rows. Choose another target.", name=name)
        if not missing:
            return mask, []
        return mask, [tr("{missing} of {rows} rows have no {name!r} and are left out.", missing=missing, rows=len(table), name=name)]

    # -- tensors
    def encode(self, table: Table, *, target: bool) -> Examples:
        columns: dict[str, Column] = dict(self.encoder.encode(self.level.laid(table) if self.level else table, kept=target))
        base_N, measure_N = self.level.of(table) if self.level else (np.zeros(1), np.ones(1))
        if self.level:
            columns |= {"target.base": Dense(torch.from_numpy(base_N)), "target.measure": Dense(torch.from_numpy(measure_N))}
        if self.near:
            columns["target.near"] = Dense(torch.from_numpy(self.near.of(table)[0]))
        if target:
            raw_NK = self.raw_targets(table)
            told_NK = (raw_NK - base_N[:, None]) / measure_N[:, None]
            scaled_NK = (self._forward(np.where(raw_NK <= -1, np.nan, raw_NK) if self.config.log else told_NK) - self.mean_K) / self.scale_K
            scaled_NK = np.clip(scaled_NK, -WILD, WILD) if self.level else scaled_NK
            known_NK = np.isfinite(scaled_NK)
            columns["target.value"] = Dense(torch.from_numpy(np.where(known_NK, scaled_NK, 0.0).astype(np.float32)))
            columns["target.raw"] = Dense(torch.from_numpy(np.where(known_NK, raw_NK, 0.0)))
            columns["target.known"] = Dense(torch.from_numpy(known_NK))
            if self.config.weight:
                columns["target.weight"] = Dense(torch.from_numpy(weights(table, self.config.weight) / self.mean_weight).float())
        return Examples(columns)

    def half_read(self, table: Table, examples: Examples) -> list[str]:
        return half_read_columns(table, examples, self.encoder.learned)

    # -- learning
    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The chosen loss on standardised targets, summed over rows and targets; an ensemble's (B, k, K) is averaged over k."""
        predicted = output.float()
        wanted_BK, known_BK = batch["target.value"], batch["target.known"]
        if "mix.rows" in batch:
            share = batch["mix.share"].to(wanted_BK.dtype)
            share = share.unsqueeze(1) if share.dim() else share
            wanted_BK = share * wanted_BK + (1 - share) * batch.get("mix.target", wanted_BK)[batch["mix.rows"]]
        members = predicted.shape[1] if predicted.dim() == 3 else 1
        predicted_BkK = predicted if predicted.dim() == 3 else predicted.unsqueeze(1)
        target_BkK = wanted_BK.unsqueeze(1).expand_as(predicted_BkK)
        gaps = (predicted_BkK - target_BkK).abs()
        each = gaps if self.config.loss == "mae" else gaps.square()
        if self.config.loss == "huber":
            each = torch.where(gaps < 1, gaps.square() / 2, gaps - 0.5)
        each = each * known_BK.unsqueeze(1)
        if "target.weight" in batch:
            each = each * batch["target.weight"][:, None, None]
        return each.sum() / members, known_BK.sum()

    def goals(self, batch: Batch) -> list[Goal]:
        """One for each target, standardised."""
        value_NK, known_NK = batch["target.value"].double().numpy(), batch["target.known"].numpy()
        kind: Literal["mean", "median"] = "median" if self.config.loss == "mae" else "mean"
        weight = batch.get("target.weight", torch.ones(len(value_NK))).double().numpy()
        return [Goal(kind, value_NK[:, place], known_NK[:, place], place, 1, weight) for place in range(value_NK.shape[1])]

    # -- judging
    def _back(self, output: Tensor, batch: Batch) -> np.ndarray:
        """(B, K) float64 in the data's own units."""
        scaled = output.float().cpu().numpy().astype(np.float64)
        if scaled.ndim == 3:
            scaled = scaled.mean(axis=1)
        values = scaled * np.array(self.scale_K) + np.array(self.mean_K)
        if self.level:
            values = values * _measure(batch) + batch["target.base"].cpu().numpy()[:, None]
        if self.near:
            values = self.share * values + (1 - self.share) * batch["target.near"].cpu().numpy()[:, None]
        return self._floored(np.expm1(np.clip(values, None, 700)) if self.config.log else values)

    def _floored(self, values_BK: np.ndarray) -> np.ndarray:
        """At least 0 where nothing less can be."""
        return np.where(np.array(self.floored_K), np.maximum(values_BK, 0.0), values_BK)

    def evidence(self, output: Tensor, batch: Batch) -> Evidence:
        """prediction and target (N, K) in the data's own units, NaN where unknown; where a level is, what its multiples are of (N, 1)."""
        target = torch.where(batch["target.known"], batch["target.raw"], torch.nan)
        found = {"prediction": self._back(output, batch), "target": target.cpu().numpy()}
        return found | ({"measure": _measure(batch)} if self.level else {})

    def measure(self, evidence: Evidence) -> dict[str, float]:
        """rmse, mae, r2; the mean over targets, and each by name, where there are several (rmse then in standard deviations)."""
        predicted, target = evidence["prediction"], evidence["target"]
        each = [_measures(predicted[:, place], target[:, place]) for place in range(target.shape[1])]
        if len(each) == 1:
            return each[0]
        spread = [float(np.nanstd(target[:, place])) or 1.0 for place in range(target.shape[1])]
        joint = {
            "rmse": float(np.mean([found["rmse"] / scale for found, scale in zip(each, spread, strict=True)])),
            "mae": float(np.mean([found["mae"] / scale for found, scale in zip(each, spread, strict=True)])),
            "r2": float(np.mean([found["r2"] for found in each])),
        }
        return joint | {f"{name}.{what}": v for name, found in zip(self.config.target, each, strict=True) for what, v in found.items()}

    def errors(self, evidence: Evidence) -> np.ndarray:
        """(N,) absolute error, in standard deviations of the training target; the mean over targets."""
        scale = np.nanstd(evidence["target"], axis=0) if self.config.log or self.level else np.array(self.scale_K)
        gaps = np.abs(evidence["prediction"] - evidence["target"]) / np.where(scale > 0, scale, 1.0)
        known = np.isfinite(gaps)
        return np.where(known, gaps, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)

    def calibrate(self, evidence: Evidence) -> None:
        """Split-conformal 90 % half-width of each target: the ceil(0.9 (n + 1))-th smallest error (Lei et al. 2018, algorithm 2)."""
        gaps_NK = np.abs(self._to_log(evidence["prediction"]) - self._to_log(evidence["target"])) / evidence.get("measure", 1.0)
        found = []
        for gaps in gaps_NK.T:
            gaps = np.sort(gaps[np.isfinite(gaps)])
            place = int(np.ceil(COVERAGE * (len(gaps) + 1))) - 1
            found.append(float(gaps[min(place, len(gaps) - 1)]) if len(gaps) else float("nan"))
        self.halfwidth_K = found if all(value == value for value in found) else []

    def _to_log(self, values: np.ndarray) -> np.ndarray:
        """Where log(1 + y) is learned, the interval is symmetric there."""
        return np.log1p(np.maximum(values, -0.999999)) if self.config.log else values

    def views(self, evidence: Evidence) -> Sequence[View]:
        found: list[View] = []
        for place, name in enumerate(self.config.target):
            predicted, target = evidence["prediction"][:, place], evidence["target"][:, place]
            known = np.isfinite(target)
            found += _draw(predicted[known], target[known], f" ({name})" if len(self.config.target) > 1 else "")
        return found

    def baselines(self) -> Sequence[Baseline]:
        kinds = {one.column: one.kind for one in self.encoder.learned}
        near = [AsItIs(self.raw_targets, name) for name in dict.fromkeys((self.config.near, self.nearest)) if name]
        return Mean(self.raw_targets), *near, *classical(self.raw_targets, self.encoder.columns, kinds, self.config.encode)

    # -- answering
    def answer(self, model: nn.Module, batch: Batch) -> dict[str, list[Any]]:
        """`prediction`, and `low` and `high` of a 90 % interval once calibrated; by target's name where there are several."""
        predicted = self._back(model(batch), batch)
        columns = {"prediction": predicted}
        if self.halfwidth_K:
            middle, half = self._to_log(predicted), np.array(self.halfwidth_K) * (_measure(batch) if self.level else 1.0)
            low, high = middle - half, middle + half
            if self.config.log:
                low, high = np.expm1(low), np.expm1(np.clip(high, None, 700))
            columns |= {"low": self._floored(low), "high": high}
        return {name: self._shown(values) for name, values in columns.items()}

    def _shown(self, values_BK: np.ndarray) -> list[Any]:
        rows = [[float(f"{value:.6g}") for value in row] for row in values_BK.tolist()]
        return [row[0] for row in rows] if len(self.config.target) == 1 else [dict(zip(self.config.target, r, strict=True)) for r in rows]


def _measure(batch: Batch) -> np.ndarray:
    """(B, 1) what the multiples of a row are of."""
    found: np.ndarray = batch["target.measure"].cpu().numpy()[:, None]
    return found


def _measures(predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
    known = np.isfinite(target)
    gaps, truth = predicted[known] - target[known], target[known]
    if not len(gaps):
        return {"rmse": 0.0, "mae": 0.0, "r2": 0.0}
    square, spread = float(np.mean(gaps**2)), float(np.var(truth))
    return {"rmse": square**0.5, "mae": float(np.mean(np.abs(gaps))), "r2": 1 - square / spread if spread > 0 else 0.0}


def _draw(predicted: np.ndarray, target: np.ndarray, suffix: str) -> list[View]:
    if not len(target):
        return []
    kept = np.unique(np.linspace(0, len(target) - 1, min(POINTS, len(target))).round().astype(np.int64))
    points = {
        "x": [float(f"{value:.5g}") for value in target[kept]], "y": [float(f"{value:.5g}") for value in predicted[kept]],
        "x_label": tr("true"), "y_label": tr("predicted"), "diagonal": True,
    }  # fmt: skip
    gaps = predicted - target
    counts, edges = np.histogram(np.clip(gaps, *np.percentile(gaps, [0.5, 99.5])), bins=BINS)
    shares = {"edges": [float(f"{edge:.5g}") for edge in edges], "values": counts.tolist()}
    note = tr("Predicted minus true; the outermost 1 % are gathered at the ends.")
    return [View("points", tr("Predicted against true") + suffix, points), View("histogram", tr("Residuals") + suffix, shares, note)]
