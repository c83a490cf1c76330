"""A straight line over a text's letters: logistic regression on TF-IDF of the n-grams of characters within words.

Of few texts these say more than words do, for a word's forms share them and a new word is made of known ones (Joachims 1998 for the line;
McNamee & Mayfield 2004, "Character N-Gram Tokenization", for the n-grams). A model is given tokens: each is spelled by a table, the
spellings are put one behind the other, and every n-gram without a space inside it counts.
Legend: B rows, T tokens, V vocabulary, L longest spelling, W letters of a row, G n-grams of a row, P places, S logits.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from duomo.nn.grown import Grown

ORDERS = (2, 3, 4)
SPACE = 32
LETTERS = 6
"""Letters for which there is room, for each token of a row; what is beyond is not read."""
PLACES, MOST = 2**18, 2**22
"""Places that n-grams are hashed to, and weights of the table at most: with many classes it gets fewer places."""
PRIME, SPREAD, MODULUS = 1_000_003, 2_654_435_761, 2**31 - 1
LEAST = 1e-6


class Letters(Grown):
    """tokens (B, T) -> (B, S), 0 until it is fitted (train/council.py)."""

    spelled_VL: Tensor
    idf_P: Tensor
    weight_PS: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.places = max(1, min(PLACES, MOST // max(1, size)))
        self.register_buffer("spelled_VL", torch.zeros(0, 1, dtype=torch.int32))
        self.register_buffer("idf_P", torch.zeros(0))
        self.register_buffer("weight_PS", torch.zeros(0, size))

    def spell(self, tokens_BT: Tensor) -> Tensor:
        """int64 (B, W): the letters between two spaces, 0 behind the last one."""
        letter_BTL = self.spelled_VL[tokens_BT.clamp(0, len(self.spelled_VL) - 1)].long()
        there_BTL = letter_BTL > 0
        count_BT = there_BTL.sum(2)
        first_BT = 1 + count_BT.cumsum(1) - count_BT
        room_B1 = 1 + LETTERS * (tokens_BT > 0).sum(1, keepdim=True)  # of the row alone, however long the others are
        beyond = LETTERS * tokens_BT.shape[1] + 2
        place_BTL = first_BT.unsqueeze(2) + torch.arange(letter_BTL.shape[2], device=tokens_BT.device)
        place_BTL = torch.where(there_BTL & (place_BTL < room_B1.unsqueeze(2)), place_BTL, beyond)
        row_BW = letter_BTL.new_zeros(tokens_BT.shape[0], beyond + 1).scatter(1, place_BTL.flatten(1), letter_BTL.flatten(1))
        row_BW = row_BW.scatter(1, (1 + count_BT.sum(1, keepdim=True)).minimum(room_B1), SPACE)[:, :beyond]
        return torch.cat([torch.full_like(row_BW[:, :1], SPACE), row_BW[:, 1:]], 1)

    def where(self, tokens_BT: Tensor) -> Tensor:
        """int64 (B, G): the place of each n-gram, from 1 on; 0 where there is none."""
        letter_BW = self.spell(tokens_BT)
        code_BW, following_BW, found = letter_BW, letter_BW, list[Tensor]()
        whole_BW = letter_BW > 0
        for order in range(2, ORDERS[-1] + 1):
            inside_BW = following_BW != SPACE
            following_BW = F.pad(following_BW[:, 1:], (0, 1))
            code_BW = (code_BW * PRIME + following_BW) % MODULUS
            whole_BW = whole_BW & (following_BW > 0) & (inside_BW if order > 2 else letter_BW + following_BW > 2 * SPACE)
            found.append(torch.where(whole_BW, (code_BW + order) * SPREAD % MODULUS % self.places + 1, 0))
        return torch.cat(found, 1)

    def weighed(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Places (B, G) and what each n-gram counts there: its inverse document frequency, each row of length one."""
        place_BG = self.where(tokens_BT)
        idf_BG = self.idf_P[place_BG]
        return place_BG, idf_BG / idf_BG.square().sum(1, keepdim=True).sqrt().clamp(min=LEAST)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        place_BG, value_BG = self.weighed(tokens_BT)
        return F.embedding_bag(place_BG, self.weight_PS, mode="sum", per_sample_weights=value_BG)
