"""Which length penalty suits: the one that validation prefers to the usual one, where that is no chance.

Legend: N rows, D draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from duomo.core.contract import Evidence
from duomo.core.messages import tr

USUAL = 1.0
PENALTIES = (USUAL, 0.6, 1.5)
FEWEST = 20
"""Rows of validation below which nothing is told from them."""
DRAWS = 200
SURE = 0.95
"""Share of draws of rows (Efron 1979) in which another penalty must be better than the usual one."""


@final
@dataclass
class Penalty:
    """The penalty that was asked for, or else the one that `choose` finds; the usual one until then."""

    asked: float
    """Negative where validation chooses."""
    chosen: float | None = None
    told: tuple[tuple[float, float], ...] = ()
    """Each penalty with the figure that validation gave it."""

    @property
    def value(self) -> float:
        return self.asked if self.asked >= 0 else USUAL if self.chosen is None else self.chosen

    @property
    def tried(self) -> tuple[float, ...]:
        """What is written by: one penalty, or several as long as `choose` must compare; the usual one first."""
        return PENALTIES if self.asked < 0 and self.chosen is None else (self.value,)

    def beside(self, facts: Sequence[Evidence]) -> Evidence:
        """The facts of the first penalty, and those of the others for `choose`."""
        others = zip(self.tried[1:], facts[1:], strict=True)
        return {**facts[0], **{f"{name} at {penalty:g}": value for penalty, found in others for name, value in found.items()}}

    def choose(self, evidence: Evidence, names: Sequence[str], figure: Callable[[Evidence], float]) -> Evidence:
        """The same evidence with the facts `names` of the penalty chosen in place of the usual one's."""
        if len(self.tried) < 2 or f"{names[0]} at {PENALTIES[-1]:g}" not in evidence:
            return evidence
        facts = {USUAL: {name: evidence[name] for name in names}}
        facts |= {penalty: {name: evidence[f"{name} at {penalty:g}"] for name in names} for penalty in PENALTIES[1:]}
        rows = len(evidence[names[0]])
        draws_DN = np.random.default_rng(0).integers(0, max(1, rows), (DRAWS if rows >= FEWEST else 0, rows))
        usual_D = [figure({name: value[draw_N] for name, value in facts[USUAL].items()}) for draw_N in draws_DN]
        figures = {penalty: figure(found) for penalty, found in facts.items()}
        sure = [USUAL]
        for penalty in PENALTIES[1:]:
            other_D = [figure({name: value[draw_N] for name, value in facts[penalty].items()}) for draw_N in draws_DN]
            if rows >= FEWEST and np.mean(np.array(other_D) > np.array(usual_D)) >= SURE:
                sure.append(penalty)
        self.chosen, self.told = max(sure, key=lambda penalty: figures[penalty]), tuple(sorted(figures.items()))
        return {**evidence, **facts[self.chosen]}

    def words(self, figure: str) -> str:
        """How it was chosen, for the scorecard; `figure`: what its figures are."""
        if self.asked >= 0:
            return tr("Length penalty of the search: {penalty:g}, as asked for.", penalty=self.asked)
        if self.chosen is None:
            return tr("Length penalty of the search: {penalty:g}, the usual one.", penalty=USUAL)
        told = ", ".join(f"{penalty:g}: {value:.4g}" for penalty, value in self.told)
        return tr("Length penalty of the search: {penalty:g}, chosen on validation; {figure} at {told} (another than {usual:g} only where "
                  "{sure:.0%} of draws of the rows prefer it).",
                  penalty=self.chosen, figure=figure, told=told, usual=USUAL, sure=SURE)  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {"chosen": self.chosen, "told": [list(pair) for pair in self.told]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.chosen = state.get("chosen", USUAL)
        self.told = tuple((float(penalty), float(value)) for penalty, value in state.get("told", ()))
