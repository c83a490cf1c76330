"""From a waveform to what a network hears: log-mel bands, normalised, with parts hidden in training.

Legend: B rows, S samples, T frames, W samples of a window, M mel bands, Q bins of the spectrum.
Sources: mel scale after O'Shaughnessy 1987 (2595 log10(1 + f/700)); Park et al. 2019, "SpecAugment", arXiv:1904.08779,
with time masks bounded by a part of the length (Park et al. 2020, "SpecAugment on Large Scale Datasets", arXiv:1912.05533).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.nn.fields import within

MASKS, BANDS_PART, TIME_PART = 2, 0.3, 0.1
"""Stretches that are hidden in training, and the widest as parts of the bands and of the length."""
WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.010
FLOOR = 1e-6
"""Power below which a band counts as silent: about -60 dB of a full-scale sine."""
LEAST = 1e-10
"""The same at least, where it follows the sound: about the steps of 16 bits."""


def mel_filters(rate: int, transform: int, bands: int) -> Tensor:
    """(Q, M) triangles of equal width on the mel scale between 20 Hz and half the rate; each column sums to one."""
    to_mel, to_hertz = lambda f: 2595 * math.log10(1 + f / 700), lambda m: 700 * (10 ** (m / 2595) - 1)
    low, high = to_mel(20.0), to_mel(rate / 2)
    edges = torch.tensor([to_hertz(low + (high - low) * i / (bands + 1)) for i in range(bands + 2)], dtype=torch.float64)
    bin_Q1 = torch.linspace(0, rate / 2, transform // 2 + 1, dtype=torch.float64).unsqueeze(1)
    # a low band can be narrower than a bin: it is widened to one, so that no band is empty
    width = torch.clamp(edges.diff(), min=rate / transform)
    rising, falling = (bin_Q1 - edges[1:-1]) / width[:-1] + 1, (edges[1:-1] - bin_Q1) / width[1:] + 1
    filters = torch.minimum(rising, falling).clamp(min=0)
    return (filters / filters.sum(0, keepdim=True).clamp(min=1e-12)).float()


class Shorten(nn.Module):
    """(B, T, M), lengths -> (B, T/4, D), lengths: two 3×3 convolutions of stride 2, with or without a norm behind them."""

    def __init__(self, bands: int, channels: int, width: int, normed: bool = False):
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, 2, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, 2, padding=1)
        self.out = nn.Linear(channels * ((bands + 3) // 4), width)
        self.norm = nn.LayerNorm(width) if normed else None

    def forward(self, x_BTM: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
        x_BCTM = x_BTM.unsqueeze(1)
        for convolution in (self.first, self.second):
            x_BCTM = F.silu(convolution(x_BCTM))
            length_B = (length_B + 1) // 2
            x_BCTM = x_BCTM * within(length_B, x_BCTM.shape[2])[:, None, :, None]
        x_BTD = self.out(x_BCTM.permute(0, 2, 1, 3).flatten(2))
        return (x_BTD if self.norm is None else F.silu(self.norm(x_BTD))), length_B


def spec_augment(x_BTM: Tensor, length_B: Tensor) -> Tensor:
    """Zero up to `MASKS` stretches of bands and of frames in each row, each as wide as a random part of its bound."""
    rows, frames, bands = x_BTM.shape
    device = x_BTM.device
    band_M, frame_T = torch.arange(bands, device=device), torch.arange(frames, device=device)
    draw = torch.rand(MASKS, 4, rows, 1, device=device)
    kept = x_BTM.new_ones(rows, frames, bands, dtype=torch.bool)
    for i in range(MASKS):
        width_B1 = draw[i, 0] * BANDS_PART * bands
        start_B1 = draw[i, 1] * (bands - width_B1)
        kept &= ~((band_M >= start_B1) & (band_M < start_B1 + width_B1)).unsqueeze(1)
        width_B1 = draw[i, 2] * TIME_PART * length_B.unsqueeze(1)
        start_B1 = draw[i, 3] * (length_B.unsqueeze(1) - width_B1)
        kept &= ~((frame_T >= start_B1) & (frame_T < start_B1 + width_B1)).unsqueeze(2)
    return x_BTM * kept


class LogMel(nn.Module):
    """float (B, S) in [-1, 1] and lengths (B,) in samples -> (B, T, M) and lengths (B,) in frames of 10 ms.

    T = 1 + S // hop, and a row of L > 0 samples has 1 + L // hop frames; frames beyond are zero. Nothing of a row depends
    on its batch mates. `normalise`: "bands" gives each band of a row mean 0 and deviation 1 (for speech: removes the
    channel and the voice's colour), "level" only removes the row's mean level (for sounds, whose colour matters). What is fainter than
    `faint` times the row's mean power counts as silent, however loud the row is; where 0, what is fainter than FLOOR.
    """

    window_W: Tensor
    filters_QM: Tensor

    def __init__(self, rate: int, bands: int = 80, normalise: str = "bands", augment: bool = True, faint: float = 0.0):
        super().__init__()
        self.hop, width = max(1, round(rate * HOP_SECONDS)), max(2, round(rate * WINDOW_SECONDS))
        self.transform = max(512, 2 ** math.ceil(math.log2(width)))
        self.normalise, self.augment, self.faint = normalise, augment, faint
        self.register_buffer("window_W", torch.hann_window(width), persistent=False)
        self.register_buffer("filters_QM", mel_filters(rate, self.transform, bands), persistent=False)

    def frames(self, length_B: Tensor) -> Tensor:
        """How many frames come of so many samples."""
        return torch.where(length_B > 0, 1 + length_B // self.hop, 0)

    def forward(self, wave_BS: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
        frames_B = self.frames(length_B)
        # an FFT has no bfloat16, and powers span more digits than it holds
        with torch.autocast(wave_BS.device.type, enabled=False):
            power_BTM = self.power(wave_BS.float())
            inside_BT1 = within(frames_B, power_BTM.shape[1]).unsqueeze(2)
            x_BTM = self._normalised(torch.log(power_BTM + self._floor(power_BTM, inside_BT1)), inside_BT1)
            if self.training and self.augment:
                x_BTM = spec_augment(x_BTM, frames_B)
        return x_BTM, frames_B

    def power(self, wave_BS: Tensor) -> Tensor:
        """(B, T, M): the power in each band, of a full-scale sine about one."""
        width = self.window_W.shape[0]
        padded_BS = F.pad(wave_BS, (width // 2, width - width // 2))
        framed_BTW = padded_BS.unfold(1, width, self.hop) * self.window_W
        spectrum_BTQ = torch.fft.rfft(framed_BTW, n=self.transform)
        power_BTQ = (spectrum_BTQ.real.square() + spectrum_BTQ.imag.square()) / self.window_W.sum().square()
        return power_BTQ @ self.filters_QM

    def _floor(self, power_BTM: Tensor, inside_BT1: Tensor) -> Tensor | float:
        """(B, 1, 1) power below which a band counts as silent."""
        if not self.faint:
            return FLOOR
        count_B11 = inside_BT1.sum(1, keepdim=True).clamp(min=1) * power_BTM.shape[2]
        return (self.faint * (power_BTM * inside_BT1).sum((1, 2), keepdim=True) / count_B11).clamp(min=LEAST)

    def _normalised(self, x_BTM: Tensor, inside_BT1: Tensor) -> Tensor:
        axes = (1,) if self.normalise == "bands" else (1, 2)
        count = inside_BT1.sum(1, keepdim=True).clamp(min=1)
        if len(axes) == 2:
            count = count * x_BTM.shape[2]
        centred = (x_BTM - (x_BTM * inside_BT1).sum(axes, keepdim=True) / count) * inside_BT1
        if self.normalise != "bands":
            return centred / 3  # a row's bands deviate by about 3 nepers
        variance = centred.square().sum(axes, keepdim=True) / count
        return centred / (variance + 0.01).sqrt()
