"""Which place of the picture answers for which thing, and the loss that follows.

Legend: B rows, G things of a row (padded), A places, S classes, K places chosen for a thing.
Sources: Feng et al. 2021, "TOOD", arXiv:2108.07755, section 3.2 (task alignment); Li et al. 2020, "Generalized Focal Loss",
arXiv:2006.04388, eq. 5; Rezatofighi et al. 2019, "Generalized Intersection over Union", arXiv:1902.09630, algorithm 1.
"""

import torch
from torch import Tensor
from torch.nn import functional

from duomo.core.contract import Places

CHOSEN_K = 10
ALPHA, BETA = 0.5, 6.0
"""How much the class and the fit of the box count where places are chosen."""
BOX_WEIGHT = 2.0


def overlap(one: Tensor, other: Tensor, enclosing: bool = False) -> Tensor:
    """Intersection over union of boxes (..., 4) that broadcast; with `enclosing` the generalised one, in -1..1."""
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area = (one[..., 2:] - one[..., :2]).clamp(min=0).prod(-1) + (other[..., 2:] - other[..., :2]).clamp(min=0).prod(-1)
    union = (area - shared).clamp(min=1e-9)
    if not enclosing:
        return shared / union
    around = (torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])).prod(-1).clamp(min=1e-9)
    return shared / union - (around - union) / around


def _inside(output: Places, boxes_BG4: Tensor) -> Tensor:
    """(B, G, A) bool: which places lie in which boxes."""
    x_A, y_A = output.places[:, 0], output.places[:, 1]
    left, top, right, bottom = (side.unsqueeze(-1) for side in boxes_BG4.unbind(-1))
    return (x_A > left) & (x_A < right) & (y_A > top) & (y_A < bottom)


@torch.no_grad()
def assign(output: Places, boxes_BG4: Tensor, class_BG: Tensor) -> tuple[Tensor, Tensor]:
    """How well each place should say each class (B, A, S), 0 for all but the chosen places; and each place's thing (B, A)."""
    A, S = output.logits.shape[1:]
    real_BG1 = class_BG.ge(0).unsqueeze(-1)
    wanted_BGA = class_BG.clamp(min=0).unsqueeze(-1).expand(-1, -1, A)
    chance_BGA = output.logits.sigmoid().transpose(1, 2).gather(1, wanted_BGA)
    fit_BGA = overlap(boxes_BG4.unsqueeze(2), output.boxes.unsqueeze(1))
    inside_BGA, middle_BG2 = _inside(output, boxes_BG4), (boxes_BG4[..., :2] + boxes_BG4[..., 2:]) / 2
    away_BGA = (output.places[:, :2] - middle_BG2.unsqueeze(2)).square().sum(-1)
    nearest_BGA = torch.zeros_like(inside_BGA).scatter_(2, away_BGA.argmin(2, keepdim=True), True)
    # a thing between all places is answered by the nearest one; before anything is learned, nearness decides
    open_BGA = (inside_BGA | nearest_BGA) & real_BG1
    alike_BGA = (chance_BGA.pow(ALPHA) * fit_BGA.pow(BETA) + 1e-9 * torch.exp(-10 * away_BGA)) * open_BGA
    best = alike_BGA.topk(min(CHOSEN_K, A), 2)
    chosen_BGA = torch.zeros_like(open_BGA).scatter_(2, best.indices, best.values > 0)
    thing_BA = torch.where(chosen_BGA, fit_BGA + 1e-6, torch.zeros_like(fit_BGA)).argmax(1)
    mine_BGA = functional.one_hot(thing_BA, boxes_BG4.shape[1]).transpose(1, 2).bool() & chosen_BGA
    alike_BGA = alike_BGA * mine_BGA
    most_BG1 = alike_BGA.amax(2, keepdim=True).clamp(min=1e-12)
    fit_BG1 = (fit_BGA * mine_BGA).amax(2, keepdim=True)
    score_BGA = alike_BGA / most_BG1 * fit_BG1.clamp(min=0.05)
    score_BA = score_BGA.amax(1)
    class_BA = class_BG.clamp(min=0).gather(1, thing_BA)
    return functional.one_hot(class_BA, S) * score_BA.unsqueeze(-1), thing_BA


def loss(output: Places, boxes_BG4: Tensor, class_BG: Tensor) -> tuple[Tensor, Tensor]:
    """Quality focal loss of the classes and generalised overlap of the boxes, summed; and the sum of the scores aimed at.

    Within a crowd (-2 - c) nothing is learned of its class but where a thing is.
    """
    target_BAS, thing_BA = assign(output, boxes_BG4, class_BG)
    plain = functional.binary_cross_entropy_with_logits(output.logits, target_BAS, reduction="none")
    crowd_BG = class_BG < -1
    if crowd_BG.any():
        kind_BGS = functional.one_hot((-2 - class_BG).clamp(min=0), output.logits.shape[2]) * crowd_BG.unsqueeze(-1)
        crowded_BAS = _inside(output, boxes_BG4).transpose(1, 2).float() @ kind_BGS.float() > 0
        plain = torch.where(crowded_BAS & (target_BAS == 0), 0.0, plain)
    classes = (plain * (output.logits.sigmoid() - target_BAS).square()).sum()
    weight_BA = target_BAS.sum(-1)
    chosen = weight_BA > 0
    aimed = boxes_BG4.gather(1, thing_BA.unsqueeze(-1).expand(-1, -1, 4))[chosen]
    boxes = ((1 - overlap(output.boxes[chosen], aimed, enclosing=True)) * weight_BA[chosen]).sum()
    return classes + BOX_WEIGHT * boxes, weight_BA.sum().clamp(min=1.0)
