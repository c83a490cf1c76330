"""A text's words and n-grams of letters as one short vector: TF-IDF by feature hashing, beside what a network makes of the text.

    tokens (B, T) -> words, pairs of words, 2 to 5 letters within words -> (1 + log count) x weight, signed, at D places -> length 1
    cosine of [sqrt(1 - share) network, sqrt(share) hashed] = (1 - share) cosine of the network's + share x cosine of the hashed

Products of hashed vectors are on average those of the long ones (Weinberger et al. 2009, arXiv:0902.2206, section 3). What a word or n-gram
weighs follows from its kind and from how many training texts have it; those that none has count too, for names are such. Weights and
share are fitted when the network has learned (train/hashed.py).
Legend: B rows, T tokens, V vocabulary, L longest spelling, G words and n-grams of a row, P places, N kinds, K bands of rarity, D numbers
of a vector.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from duomo.nn.grown import Grown
from duomo.nn.letter_features import MODULUS, n_grams, placed, spell, words

PLACES = 2**18
"""Places at which words and n-grams are told apart; the D numbers of a vector share them."""
LONGEST = 5
"""Letters of the longest n-gram."""
KINDS = 2 + LONGEST - 1
"""Words, pairs of words, and n-grams of each length."""
BANDS = 9
"""No training text has it; one to three have; four to fifteen; and so on."""
MIX = 40_503


class Hashed(Grown):
    """Tokens (B, T) -> (B, D) of length 1; until it is fitted a network's vectors stay as they are."""

    spelled_VL: Tensor
    band_P: Tensor
    weight_NK: Tensor
    share_1: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("spelled_VL", torch.zeros(0, 1, dtype=torch.int32))
        self.register_buffer("band_P", torch.zeros(0, dtype=torch.uint8))
        self.register_buffer("weight_NK", torch.zeros(0, BANDS))
        self.register_buffer("share_1", torch.zeros(0))

    def counted(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        """(B, G) twice: KINDS x place + kind of each word and n-gram in order, and 1 + log of how often it stands there; 0 where one is
        told again, or there is none."""
        letter_BW = spell(self.spelled_VL, tokens_BT)
        found = [*words(letter_BW), *n_grams(letter_BW, LONGEST)]
        key_BG = torch.cat([KINDS * placed(code_BG, PLACES) + kind for kind, code_BG in enumerate(found)], 1).sort(1).values
        new_BG = torch.cat([torch.ones_like(key_BG[:, :1]), (key_BG[:, 1:] != key_BG[:, :-1]).long()], 1)
        number_BG = new_BG.cumsum(1) - 1
        often_BG = torch.zeros_like(key_BG).scatter_add(1, number_BG, torch.ones_like(key_BG)).gather(1, number_BG)
        return key_BG, (1 + often_BG.float().log()) * new_BG * (key_BG >= KINDS)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        key_BG, value_BG = self.counted(tokens_BT)
        place_BG = key_BG // KINDS
        value_BG = value_BG * self.weight_NK[key_BG % KINDS, self.band_P[place_BG].long()]
        mixed_BG = place_BG * MIX % MODULUS
        signed_BG = value_BG * (1 - 2 * (mixed_BG // self.size % 2))
        return F.normalize(value_BG.new_zeros(tokens_BT.shape[0], self.size).scatter_add(1, mixed_BG % self.size, signed_BG), dim=1)

    def beside(self, tokens_BT: Tensor, network_BD: Tensor) -> Tensor:
        """(B, network's + D) of length 1."""
        if not len(self.share_1):
            return network_BD
        parts = F.normalize(network_BD.float(), dim=1) * (1 - self.share_1).sqrt(), self(tokens_BT) * self.share_1.sqrt()
        return torch.cat(parts, 1)


def band(count_P: Tensor) -> Tensor:
    """uint8 (P,) for the number of texts that have each."""
    return (1 + count_P.clamp(min=1).log2() / 2).floor().clamp(max=BANDS - 1).where(count_P > 0, 0.0).to(torch.uint8)
