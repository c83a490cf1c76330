"""A sound in a few numbers, for learners that take no waveform: how strong each band is, how much that varies, and how fast.

Legend: B rows, S samples, T frames, M mel bands, D numbers of a sound (3 M + 1).
"""

import torch
from torch import Tensor, nn

from duomo.nn.audio import LogMel
from duomo.nn.fields import within

BANDS = 40
FAINT = 1e-6
"""Below this share of the mean power a band counts as silent."""


class SoundFeatures(nn.Module):
    """float (B, S) and lengths (B,) in samples -> float32 (B, D): of each band's logarithm the mean, the deviation and the mean change from
    one frame to the next, and the logarithm of the length. Nothing of a row depends on its batch mates.
    """

    def __init__(self, rate: int):
        super().__init__()
        self.mel = LogMel(rate, BANDS, augment=False)

    def forward(self, wave_BS: Tensor, length_B: Tensor) -> Tensor:
        with torch.autocast(wave_BS.device.type, enabled=False):
            power_BTM = self.mel.power(wave_BS.float())
            inside_BT1 = within(self.mel.frames(length_B), power_BTM.shape[1]).unsqueeze(2)
            count_B11 = inside_BT1.sum(1, keepdim=True).clamp(min=1)
            mean_B11 = (power_BTM * inside_BT1).sum((1, 2), keepdim=True) / count_B11 / BANDS
            x_BTM = torch.log(power_BTM + FAINT * mean_B11.clamp(min=1e-12))
            mean_B1M = (x_BTM * inside_BT1).sum(1, keepdim=True) / count_B11
            spread_B1M = (((x_BTM - mean_B1M) * inside_BT1).square().sum(1, keepdim=True) / count_B11).sqrt()
            change_B1M = (x_BTM.diff(dim=1).abs() * inside_BT1[:, 1:]).sum(1, keepdim=True) / (count_B11 - 1).clamp(min=1)
            return torch.cat([mean_B1M[:, 0], spread_B1M[:, 0], change_B1M[:, 0], torch.log1p(length_B.float()).unsqueeze(1)], 1)
