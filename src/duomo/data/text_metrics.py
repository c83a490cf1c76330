"""How written text is judged against a reference: BLEU, chrF, ROUGE, each from counts that add up over rows.

BLEU (Papineni et al. 2002) and chrF2 (Popović 2015) as sacreBLEU computes them (Post 2018, arXiv:1804.08771), with its tokenisation
`13a`, `zh` where the references are Chinese, or `char` of Japanese, Thai, Lao, Burmese and Khmer; ROUGE-1, -2, -L (Lin 2004) on lower-case
words, on characters where no spaces divide them.
Where several references are as good as one another, a truth holds them all (`several.any_of`): n-grams may be found in any, a text is
as long as that nearest in length, and chrF and ROUGE are those of the reference that it is most like, as those tools do.
Legend: N rows.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np

from duomo.core.contract import Evidence, View
from duomo.core.word_patterns import SOUTHEAST, runs_of
from duomo.data.several import any_of, first_of
from duomo.data.supervised import is_unspaced

ORDERS, LETTERS = 4, 6
SHOWN = 8
SEPARATE = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
"""What mteval-v13a sets apart: marks, but not those inside numbers."""
ENTITIES = (("<skipped>", ""), ("-\n", ""), ("\n", " "), ("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
CHINESE = re.compile(
    "[\u2001-\u2a6d\u2e80-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef\u3200-\u33ff\u3400-\u4db5\u4e00-\u9fbb"
    "\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef]"
)
"""What sacreBLEU sets apart as Chinese: also quotation marks, arrows and the like (its table means U+20000 and reads U+2000)."""
WORD = re.compile(runs_of(r"[^\W_]"))
APART = re.compile(f"[\u3041-\u309f\u30a1-\u30fa{SOUTHEAST}]")
"""Kana, and scripts without spaces that are not ideographs."""


def tokenise(text: str, how: str) -> list[str]:
    """Words as sacreBLEU cuts them: `13a`, `zh` (Chinese characters one by one, the rest as 13a), or `char` (each character but spaces)."""
    if how == "char":
        return list("".join(text.split()))
    if how == "zh":
        text = CHINESE.sub(r" \g<0> ", text.strip())
    elif how == "13a":
        for written, meant in ENTITIES:
            text = text.replace(written, meant)
        text = f" {text} "
    for pattern, apart in SEPARATE:
        text = pattern.sub(apart, text)
    return text.split()


def tokenisation(references: Sequence[str]) -> str:
    """`char` for references of which a tenth is kana or of Thai and its like, `zh` for Chinese, else `13a`."""
    some = "".join(references[:2000])
    if len(APART.findall(some)) > 0.1 * len(some):
        return "char"
    return "zh" if is_unspaced(references[:2000]) else "13a"


def _grams(items: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(items[start:] for start in range(order)), strict=False))


def bleu_counts(told: Sequence[str], truth: Sequence[str], how: str) -> np.ndarray:
    """(N, 10) matches of 1- to 4-grams, n-grams told, words told and wanted."""
    found = np.zeros((len(truth), 2 * ORDERS + 2))
    for row, (one, two) in enumerate(zip(told, truth, strict=True)):
        a, wanted = tokenise(one, how), [tokenise(text, how) for text in any_of(two)]
        for order in range(1, ORDERS + 1):
            known = reduce(or_, (_grams(b, order) for b in wanted))
            found[row, order - 1] = (_grams(a, order) & known).total()
            found[row, ORDERS + order - 1] = max(0, len(a) - order + 1)
        found[row, -2:] = len(a), min((len(b) for b in wanted), key=lambda size: (abs(size - len(a)), size))
    return found


def bleu(counts_NC: np.ndarray) -> float:
    """0 to 100, exponential smoothing of orders without a match, the brevity penalty."""
    total = counts_NC.sum(0)
    matches, sizes, (told, wanted) = total[:ORDERS], total[ORDERS : 2 * ORDERS], total[2 * ORDERS :]
    if not matches.any() or not sizes.all():
        return 0.0
    logs, smooth = 0.0, 1.0
    for match, size in zip(matches, sizes, strict=True):
        smooth *= 1 if match else 2
        logs += np.log(match / size if match else 1 / (smooth * size))
    return float(100 * np.exp(logs / ORDERS + min(0.0, 1 - wanted / told)))


def chrf_counts(told: Sequence[str], truth: Sequence[str]) -> np.ndarray:
    """(N, 18) n-grams of characters (without spaces) told, wanted and common, for n from 1 to 6."""
    found = np.zeros((len(truth), 3 * LETTERS))
    for row, (one, two) in enumerate(zip(told, truth, strict=True)):
        counts = np.array([_letters(one, text) for text in any_of(two)])
        found[row] = counts[np.argmax(_chrf(counts))]
    return found


def _letters(told: str, truth: str) -> np.ndarray:
    """(18,) the counts of one text against one reference."""
    a, b = "".join(told.split()), "".join(truth.split())
    found = np.zeros(3 * LETTERS)
    for order in range(1, LETTERS + 1):
        x, y = (Counter(text[place : place + order] for place in range(len(text) - order + 1)) for text in (a, b))
        # as sacreBLEU does, n-grams are not counted where the reference has none
        found[3 * order - 3 : 3 * order] = x.total() if y else 0, y.total(), (x & y).total()
    return found


def chrf(counts_NC: np.ndarray) -> float:
    """0 to 100: F2 of the mean precision and mean recall over the orders that both sides have."""
    return float(_chrf(counts_NC.sum(0, keepdims=True))[0])


def _chrf(counts_NC: np.ndarray) -> np.ndarray:
    told, wanted, common = (counts_NC[:, place::3] for place in range(3))
    both = (told > 0) & (wanted > 0)
    orders = np.maximum(1, both.sum(1))
    precision = (common / np.maximum(told, 1) * both).sum(1) / orders
    recall = (common / np.maximum(wanted, 1) * both).sum(1) / orders
    return 100 * 5 * precision * recall / np.maximum(4 * precision + recall, 1e-16)


def chrf_rows(counts_NC: np.ndarray) -> np.ndarray:
    """(N,) chrF of each row."""
    return _chrf(counts_NC)


def rouge_rows(told: Sequence[str], truth: Sequence[str], characters: bool) -> np.ndarray:
    """(N, 3) F1 of ROUGE-1, ROUGE-2 and ROUGE-L, from 0 to 1."""
    rows = [np.max([_rouge(one, text, characters) for text in any_of(two)], 0) for one, two in zip(told, truth, strict=True)]
    return np.array(rows).reshape(len(truth), 3)


def _rouge(told: str, truth: str, characters: bool) -> list[float]:
    a, b = (["".join(text.split()), WORD.findall(text.lower())][not characters] for text in (told, truth))
    found = []
    for order in (1, 2):
        common = (_grams(a, order) & _grams(b, order)).total()
        found.append(2 * common / max(1, max(0, len(a) - order + 1) + max(0, len(b) - order + 1)))
    return [*found, 2 * _longest_common(a, b) / max(1, len(a) + len(b))]


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence; a row of the table is one vector operation."""
    numbers = {item: place for place, item in enumerate(dict.fromkeys([*a, *b]))}
    other = np.array([numbers[item] for item in b], np.int64)
    best = np.zeros(len(b) + 1, np.int64)
    for item in a:
        best[1:] = np.maximum(best[1:], best[:-1] + (other == numbers[item]))
        np.maximum.accumulate(best, out=best)
    return int(best[-1])


def to_show(told: Sequence[str], truth: Sequence[str]) -> Evidence:
    """The texts themselves, as `shown` takes them."""
    return {"prediction": np.array(told, object), "truth": np.array([*map(first_of, truth)], object)}


def shown(errors_N: np.ndarray, evidence: Evidence, title: str, note: str) -> View:
    """Some rows from the best to the worst: `prediction` beneath `truth`."""
    rows = np.argsort(errors_N, kind="stable")
    some = rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)].tolist() if len(rows) else []
    items = [{"title": str(evidence["truth"][row]), "text": str(evidence["prediction"][row])} for row in some]
    return View("texts", title, {"items": items}, note)


def translation_facts(told: Sequence[str], truth: Sequence[str], how: str) -> Evidence:
    return {"bleu": bleu_counts(told, truth, how), "chrf": chrf_counts(told, truth)}
