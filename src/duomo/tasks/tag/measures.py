"""How tags are judged: spans as seqeval counts them (both ends and the type right), tags one by one.

Legend: N rows, K types (and one for what training never saw).
"""

from collections.abc import Sequence

import numpy as np

from duomo.core.contract import Evidence
from duomo.tasks.tag.labels import Scheme


def counted(scheme: Scheme, truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> Evidence:
    """Rows of classes (T,) compared: `found`, `predicted`, `true` (N, K + 1), `right`, `tokens` (N,)."""
    size = len(scheme.types) + 1
    number = {kind: place for place, kind in enumerate(scheme.types)}
    table = np.zeros((3, len(truth), size), np.int64)
    right = np.zeros(len(truth), np.int64)
    for row, (one_T, two_T) in enumerate(zip(truth, predicted, strict=True)):
        same_T = one_T == two_T
        right[row] = same_T.sum()
        if not scheme.written:
            for place, some in enumerate((one_T[same_T], two_T, one_T)):
                table[place, row] = np.bincount(some, minlength=size)[:size]
            continue
        if not one_T.any() and not two_T.any():
            continue
        true, told = set(scheme.spans(one_T)), set(scheme.spans(two_T))
        for place, spans in enumerate((true & told, told, true)):
            for span in spans:
                table[place, row, number.get(span.type, size - 1)] += 1
    tokens = np.array([len(row) for row in truth], np.int64)
    return {"found": table[0], "predicted": table[1], "true": table[2], "right": right, "tokens": tokens}


def figures(evidence: Evidence, spans: bool) -> dict[str, float]:
    """Micro-averaged precision, recall and F1 of spans and the mean F1 of types; accuracy and mean F1 of tags one by one."""
    found_K, predicted_K, true_K = (evidence[name].sum(0).astype(np.float64) for name in ("found", "predicted", "true"))
    seen_K = (predicted_K + true_K) > 0
    macro = float((2 * found_K[seen_K] / (predicted_K + true_K)[seen_K]).mean()) if seen_K.any() else 0.0
    accuracy = float(evidence["right"].sum() / max(1, evidence["tokens"].sum()))
    if not spans:
        return {"accuracy": accuracy, "macro_f1": macro}
    found, predicted, true = found_K.sum(), predicted_K.sum(), true_K.sum()
    return {
        "f1": float(2 * found / max(1.0, predicted + true)), "precision": float(found / max(1.0, predicted)),
        "recall": float(found / max(1.0, true)), "macro_f1": macro, "token_accuracy": accuracy,
    }  # fmt: skip
