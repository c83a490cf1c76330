"""Hashed words and n-grams beside a network of pairs (nn/hashed.py): fitted when it has learned, weighed on validation.

    training pairs ── how many texts have each ── bands of rarity
              └─ parts ── what each kind and band says of pairs that were not counted ── weights
    validation ── network, hashed ── share
A task takes part by giving source and target of each pair in turn (core/tensors.py::Turns).
Legend: N pairs, T tokens, G words and n-grams, P places, W kinds x bands, D numbers of a vector.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Task
from duomo.core.kinds import text
from duomo.core.reporter import Reporter
from duomo.core.tensors import Batch, Examples
from duomo.data.loader import finish
from duomo.nn.hashed import BANDS, KINDS, PLACES, Hashed, band
from duomo.train.council import Fitted, say
from duomo.train.holdout import slope, spread

SHARE, SOON, UNLIMITED = 0.2, 10.0, 60.0
"""Of a limited time, so many seconds at most; what it may take where no time was set."""
COUNTED, JUDGED, AT_ONCE = 20_000, 1000, 32
"""Most pairs that are counted, and judged by, and at a time."""
PARTS = 5
FIRM, SMOOTH = 1.0, 4.0
"""Weight of the squares of what a weight differs by (logarithms) from TF-IDF, and from its neighbours in rarity."""
PRIOR, HELD = 0.6, 3.0
"""Share of what is hashed that nothing speaks against, held as firmly as so many pairs."""
SHARES, SCALES = np.linspace(0.05, 0.95, 19), np.geomspace(2, 100, 18)
LEAST = 1e-9


def hashed_of(model: nn.Module) -> Hashed | None:
    return next((one for one in model.children() if isinstance(one, Hashed)), None)


def seconds_of(minutes: float) -> float:
    """What it has of a limited time."""
    return min(SOON, SHARE * 60 * minutes) if minutes else UNLIMITED


def fit(hashed: Hashed, model: nn.Module, task: Task, both: tuple[Examples, Examples], seconds: float, reporter: Reporter) -> Fitted:
    """Count, fit weights and share. `both`: training and validation; `seconds`: about what it may take."""
    (name, field), ends = next(iter(task.inputs.items())), time.monotonic() + seconds
    device = next(model.parameters()).device
    hashed.cpu().put(spelled_VL=torch.from_numpy(text.spelling(field.facts["json"], field.vocabulary[0])))
    learned, texts = _told(hashed, task, both[0], ends)
    count_P = _texts_with(learned)
    parts = [_part(learned, rows, count_P) for rows in np.array_split(spread(np.arange(len(learned.same)), JUDGED), PARTS) if len(rows) > 1]
    prior_W = _rarity(count_P, texts)
    weight_W = _weights(parts, prior_W) if parts else prior_W
    hashed.put(band_P=band(torch.from_numpy(count_P)), weight_NK=(weight_W / 2).exp().view(KINDS, BANDS))
    hashed.to(device)
    share = _share(hashed, model, task, both[1], name)
    hashed.put(share_1=torch.tensor([share]))
    shares = {"network": round(1 - share, 4), "letters": round(share, 4)}
    say(shares, reporter)
    return Fitted(shares)


class Told(NamedTuple):
    """Of training pairs: CSR (2 N, KINDS x P) of what their texts hold, and the number of each target (N,)."""

    held: Any
    same: Tensor


def _told(hashed: Hashed, task: Task, examples: Examples, ends: float) -> tuple[Told, int]:
    """Pairs from all over, as many as half of the time suffices for; and how many texts that are."""
    from scipy import sparse

    rows = torch.from_numpy(spread(np.arange(len(examples)), COUNTED))
    rows, half = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))], (ends + time.monotonic()) / 2
    held, same = [], []
    for some in rows.split(AT_ONCE):
        batch = finish(examples.batch(some), task.inputs)
        key_BG, value_BG = (one.numpy() for one in hashed.counted(batch[next(iter(task.inputs))]))
        row, place = np.nonzero(value_BG)
        held.append(sparse.csr_matrix((value_BG[row, place], (row, key_BG[row, place])), shape=(len(key_BG), KINDS * (PLACES + 1))))
        same.append(batch["same"])
        if time.monotonic() > half:
            break
    told = Told(sparse.vstack(held, "csr"), torch.cat(same))
    return told, 2 * len(told.same)


def _texts_with(told: Told) -> np.ndarray:
    """float32 (P,): how many texts hold what is at each place."""
    return np.asarray(np.bincount(told.held.indices // KINDS, minlength=PLACES + 1), np.float32)


def _rarity(count_P: np.ndarray, texts: int) -> Tensor:
    """(W,): logarithm of the square of the inverse document frequency."""
    band_P, idf_P = band(torch.from_numpy(count_P)).long(), torch.from_numpy(np.log((1 + texts) / (1 + count_P)) + 1)
    number_K = torch.bincount(band_P, minlength=BANDS)
    middle_K = torch.bincount(band_P, idf_P, minlength=BANDS) / number_K.clamp(min=1)
    return (2 * middle_K.clamp(min=1).log()).float().repeat(KINDS)


class Part(NamedTuple):
    """Of pairs that were not counted: products of sources and targets (W, N, N), squares of lengths (W, 2, N), who may not compete."""

    near: Tensor
    square: Tensor
    barred: Tensor


def _part(told: Told, rows: np.ndarray, count_P: np.ndarray) -> Part:
    own = told.held[np.stack([2 * rows, 2 * rows + 1], 1).ravel()]
    left_P = count_P - np.bincount(own.indices // KINDS, minlength=len(count_P))
    band_P, near, square = band(torch.from_numpy(left_P)).numpy(), list[np.ndarray](), list[np.ndarray]()
    which = own.indices % KINDS * BANDS + band_P[own.indices // KINDS]
    for number in range(KINDS * BANDS):
        some = own.copy()
        some.data = np.where(which == number, own.data, 0).astype(np.float32)
        some.eliminate_zeros()
        near.append((some[0::2] @ some[1::2].T).toarray())
        square.append(np.asarray(some.multiply(some).sum(1)).reshape(-1, 2).T)
    return Part(torch.from_numpy(np.stack(near)), torch.from_numpy(np.stack(square)).float(), _barred(told.same[torch.from_numpy(rows)]))


def _barred(same_N: Tensor) -> Tensor:
    """bool (N, N): other pairs with an equal target."""
    return (same_N.unsqueeze(0) == same_N.unsqueeze(1)).fill_diagonal_(False)


def _lost(near_NN: Tensor, barred_NN: Tensor) -> Tensor:
    """Sum over pairs of -log of the own partner's share, from either side."""
    near_NN = near_NN.masked_fill(barred_NN, -torch.inf)
    own_N = torch.arange(len(near_NN), device=near_NN.device)
    return (F.cross_entropy(near_NN, own_N, reduction="sum") + F.cross_entropy(near_NN.T, own_N, reduction="sum")) / 2


def _weights(parts: Sequence[Part], prior_W: Tensor) -> Tensor:
    """(W,): logarithms of the squares of the weights with which pairs that were not counted find one another best."""
    from scipy.optimize import minimize

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.from_numpy(flat).float().requires_grad_()
        weight_W, differs_WK = (free[:-1] + prior_W).exp(), free[:-1].view(KINDS, BANDS)
        total = FIRM * differs_WK.square().sum() + SMOOTH * differs_WK.diff(dim=1).square().sum()
        for part in parts:
            length_2N = torch.einsum("w,wsn->sn", weight_W, part.square).clamp(min=LEAST).sqrt()
            near_NN = torch.einsum("w,wij->ij", weight_W, part.near) / (length_2N[0].unsqueeze(1) * length_2N[1])
            total = total + _lost(near_NN * free[-1].exp(), part.barred)
        return slope(total, free)

    start = np.append(np.zeros(len(prior_W)), np.log(10.0))
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 40}).x
    return torch.from_numpy(found[:-1]).float() + prior_W


def _share(hashed: Hashed, model: nn.Module, task: Task, valid: Examples, name: str) -> float:
    """The share of what is hashed with which validation pairs find one another best, at the scale that suits each share."""
    rows = torch.from_numpy(spread(np.arange(len(valid)), JUDGED))
    vectors, same = (list[Tensor](), list[Tensor]()), list[Tensor]()
    device = hashed.band_P.device
    with torch.no_grad():
        for some in rows.split(AT_ONCE):
            batch: Batch = {key: value.to(device) for key, value in finish(valid.batch(some), task.inputs).items()}
            vectors[0].append(F.normalize(model.eval()(batch).float(), dim=1).cpu())
            vectors[1].append(hashed(batch[name]).cpu())
            same.append(batch["same"].cpu())
        if not vectors[0]:
            return PRIOR
        near = [(whole := torch.cat(parts))[0::2] @ whole[1::2].T for parts in vectors]
        barred = _barred(torch.cat(same))

        def lost(share: float) -> float:
            said = (1 - share) * near[0] + share * near[1]
            return min(float(_lost(said * scale, barred)) for scale in SCALES) - HELD * float(
                PRIOR * np.log(share) + (1 - PRIOR) * np.log(1 - share)
            )

        return float(min(SHARES, key=lost))
