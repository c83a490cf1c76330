"""From which score on another's answer is better than what the model writes; chosen on validation.

Legend: N rows.
"""

from collections.abc import Callable

import numpy as np

NEVER = 2.0
"""A score that no row reaches."""


def best(score_N: np.ndarray, figure: Callable[[np.ndarray], tuple[float, ...]]) -> float:
    """The least score from which on the other's answer is taken: that with the highest `figure` (of bool (N,), the rows answered so);
    of equal ones the highest, and `NEVER` where the model is better alone."""
    tried = (NEVER, *np.unique(score_N[score_N > 0].round(2)).tolist())
    return max(tried, key=lambda least: (*figure(score_N >= least), least))
