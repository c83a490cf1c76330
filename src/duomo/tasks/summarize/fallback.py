"""Where a text's own beginning is answered in place of what the model wrote: where validation shows it to be the better summary.

Legend: N rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from duomo.core.contract import Evidence
from duomo.core.messages import tr
from duomo.decode.length_penalty import DRAWS, FEWEST, SURE
from duomo.decode.threshold import NEVER, best
from duomo.tasks.summarize.baselines import lead

COUNTS = (1, 3)
"""Sentences of a beginning that are tried."""
FEW = 5
"""Rows at least that tell whether the beginnings are better."""


@final
@dataclass
class Fallback:
    """So many sentences are the answer where the model doubts its own summary so much: `doubt` is 1 less its confidence."""

    sentences: int = COUNTS[0]
    doubt: float | None = None
    """None until `choose`; 0: always the beginning, above 1: never."""
    told: tuple[float, float, float] | None = None
    """ROUGE-L on validation of the model's summaries, of the beginnings, and of both by this rule."""

    def choose(self, own_N: np.ndarray, leads: Mapping[int, np.ndarray], doubt_N: np.ndarray) -> None:
        """By ROUGE-L of each row. Alone the better of the two answers, the beginnings of few rows only where that is no chance; by doubt
        only of many, and where that is none."""
        self.doubt = NEVER
        if len(own_N) < FEW:
            return
        self.sentences = max(leads, key=lambda count: leads[count].mean())
        lead_N = leads[self.sentences]
        draws_DN, many = np.random.default_rng(0).integers(0, len(own_N), (DRAWS, len(own_N))), len(own_N) >= FEWEST
        always = lead_N.mean() > own_N.mean() and (many or _sure(lead_N - own_N, draws_DN))
        alone_N = lead_N if always else own_N
        least = best(doubt_N, lambda kept_N: (float(np.where(kept_N, lead_N, own_N).mean()),))
        gain_N = np.where(doubt_N >= least, lead_N, own_N) - alone_N
        self.doubt = least if many and _sure(gain_N, draws_DN) else 0.0 if always else NEVER
        both_N = np.where(doubt_N >= self.doubt, lead_N, own_N)
        self.told = (float(own_N.mean()), float(lead_N.mean()), float(both_N.mean()))

    def answered(self, text: str, doubt: float, beginning: str) -> tuple[str, bool]:
        """The answer, and whether it is the text's beginning."""
        said = lead(beginning, self.sentences) if self.doubt is not None and doubt >= self.doubt else ""
        return (said, True) if said else (text, False)

    def words(self, evidence: Evidence) -> str:
        """How often and why, for the scorecard."""
        if self.told is None or self.doubt is None or "lead" not in evidence or not len(evidence["lead"]):
            return ""
        own, beginning, both = self.told
        return tr("{share:.0%} of the answers are not written but the beginning of the text (sentences: {sentences}), taken where the "
                  "model's confidence is {limit:.2f} or less (1: always, below 0: never). "
                  "ROUGE-L on validation: what the model writes {own:.3f}, the beginning {beginning:.3f}, so {both:.3f}.",
                  share=float(evidence["lead"].mean()), sentences=self.sentences, limit=1 - self.doubt, own=own, beginning=beginning,
                  both=both)  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {"sentences": self.sentences, "doubt": self.doubt, "told": None if self.told is None else list(self.told)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.sentences, self.doubt = int(state.get("sentences", COUNTS[0])), state.get("doubt", NEVER)
        told = state.get("told")
        self.told = (float(told[0]), float(told[1]), float(told[2])) if told else None


def _sure(gain_N: np.ndarray, draws_DN: np.ndarray) -> bool:
    """Whether rows drawn again gain nearly always."""
    return bool(np.mean(gain_N[draws_DN].mean(1) > 0) >= SURE)
