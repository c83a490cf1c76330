"""Histograms of oriented gradients of pictures, for the classical baselines.

Source: Dalal and Triggs 2005, "Histograms of Oriented Gradients for Human Detection", section 6: 9 unsigned orientations, cells of an
eighth of the side, blocks of 2×2 cells normalised with clipping at 0.2. Legend: N rows, H height, W width, O orientations, Y and X cells.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from duomo.core.tensors import Dense

ORIENTATIONS, CELLS, SIDE, CLIP = 9, 8, 64, 0.2
FEW_CELLS, LARGE = 5, 48
"""Pictures of less than 48 pixels have fewer cells: 576 numbers in place of 1,764."""
ROWS = 256


def histograms(column: Dense) -> np.ndarray:
    """(N, F) float64 of pictures (N, C, H, W) of 0..255; larger ones are averaged down to 64 pixels first."""
    found = [_block(column.values[start : start + ROWS].float()) for start in range(0, len(column), ROWS)]
    return torch.cat(found).double().numpy() if found else np.zeros((0, 1))


def _block(x_NCHW: Tensor) -> Tensor:
    grey = x_NCHW.mean(1, keepdim=True) / 255
    height, width = grey.shape[2:]
    if max(height, width) > SIDE:
        grey = functional.adaptive_avg_pool2d(grey, (min(height, SIDE), min(width, SIDE)))
    padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    across, down = padded[:, 0, 1:-1, 2:] - padded[:, 0, 1:-1, :-2], padded[:, 0, 2:, 1:-1] - padded[:, 0, :-2, 1:-1]
    strength = torch.hypot(across, down)
    place = torch.remainder(torch.atan2(down, across), np.pi) * (ORIENTATIONS / np.pi) - 0.5
    low = place.floor()
    share = place - low
    votes = grey.new_zeros(len(grey), ORIENTATIONS, *strength.shape[1:])
    for offset, weight in ((0, 1 - share), (1, share)):
        which = torch.remainder(low + offset, ORIENTATIONS).long().unsqueeze(1)
        votes.scatter_add_(1, which, (strength * weight).unsqueeze(1))
    cells = min(CELLS if min(strength.shape[1:]) >= LARGE else FEW_CELLS, *strength.shape[1:])
    cell_NOYX = functional.adaptive_avg_pool2d(votes, cells)
    if cells > 1:  # every 2×2 neighbours normalised together, so that a cell counts in up to four blocks
        corners = [cell_NOYX[:, :, y : cells - 1 + y, x : cells - 1 + x] for y in (0, 1) for x in (0, 1)]
        cell_NOYX = torch.cat(corners, 1)
    for _ in range(2):  # L2, clipped, L2 again
        cell_NOYX = (cell_NOYX / (cell_NOYX.norm(dim=1, keepdim=True) + 1e-3)).clamp(max=CLIP)
    return cell_NOYX.flatten(1)
