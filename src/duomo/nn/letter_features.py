"""A straight line over a text's letters: logistic regression on TF-IDF of words, pairs of words, and n-grams of characters within words.

Of few texts the n-grams say more than words do, for a word's forms share them and a new word is made of known ones (Joachims 1998 for the
line; McNamee & Mayfield 2004, "Character N-Gram Tokenization"); of many texts words say more, and both together most. A model is given
tokens: each is spelled by a table, the spellings are put one behind the other, every n-gram without a space inside it counts, and every
run of letters and digits is a word, of Chinese and its like each character.
Legend: B rows, T tokens, V vocabulary, L longest spelling, W letters of a row, G words, pairs and n-grams of a row, P places, S logits.
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
WORD, PAIR = 5, 6
"""What tells a word and a pair of words from an n-gram of so many letters."""
LONGEST_WORD = 64
"""Letters by which a word is told from others."""
IDEOGRAPHS = 0x2E80
"""From here on a character is a word by itself."""
LEAST = 1e-6


class Letters(Grown):
    """tokens (B, T) -> (B, S), 0 until it is fitted (train/council.py)."""

    spelled_VL: Tensor
    idf_P: Tensor
    weight_PS: Tensor
    wordless_1: Tensor
    """Of length 1 where words count nothing, and their n-grams alone are read."""

    def __init__(self, size: int):
        super().__init__()
        self.places = max(1, min(PLACES, MOST // max(1, size)))
        self.register_buffer("spelled_VL", torch.zeros(0, 1, dtype=torch.int32))
        self.register_buffer("idf_P", torch.zeros(0))
        self.register_buffer("weight_PS", torch.zeros(0, size))
        self.register_buffer("wordless_1", torch.zeros(0))

    def where(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        """int64 (B, G): the place of each word and pair, and of each n-gram, from 1 on; 0 where there is none."""
        letter_BW = spell(self.spelled_VL, tokens_BT)
        found = words(letter_BW), n_grams(letter_BW, ORDERS[-1])
        return placed(torch.cat(found[0], 1), self.places), placed(torch.cat(found[1], 1), self.places)

    def weighed(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Places (B, G) and what each counts there: its inverse document frequency, words and n-grams of a row each of half its length."""
        words_BG, grams_BG = self.where(tokens_BT)
        places, values = (grams_BG,) if len(self.wordless_1) else (words_BG, grams_BG), list[Tensor]()
        for place_BG in places:
            idf_BG = self.idf_P[place_BG]
            values.append(idf_BG / (2 * idf_BG.square().sum(1, keepdim=True)).sqrt().clamp(min=LEAST))
        return torch.cat(places, 1), torch.cat(values, 1)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        place_BG, value_BG = self.weighed(tokens_BT)
        return F.embedding_bag(place_BG, self.weight_PS, mode="sum", per_sample_weights=value_BG)


def placed(code_BG: Tensor, places: int) -> Tensor:
    """int64 (B, G): the place of each number, from 1 on; 0 of one below 0."""
    return torch.where(code_BG >= 0, code_BG * SPREAD % MODULUS % places + 1, 0)


def spell(spelled_VL: Tensor, tokens_BT: Tensor) -> Tensor:
    """int64 (B, W): the letters of tokens (B, T) between two spaces, 0 behind the last one."""
    letter_BTL = spelled_VL[tokens_BT.clamp(0, len(spelled_VL) - 1)].long()
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


def n_grams(letter_BW: Tensor, longest: int) -> list[Tensor]:
    """Of each length from 2 to the longest int64 (B, G): a number for each n-gram of letters, below 0 where there is none."""
    code_BW, following_BW, found = letter_BW, letter_BW, list[Tensor]()
    whole_BW = letter_BW > 0
    for order in range(2, longest + 1):
        inside_BW = following_BW != SPACE
        following_BW = F.pad(following_BW[:, 1:], (0, 1))
        code_BW = (code_BW * PRIME + following_BW) % MODULUS
        whole_BW = whole_BW & (following_BW > 0) & (inside_BW if order > 2 else letter_BW + following_BW > 2 * SPACE)
        found.append(torch.where(whole_BW, code_BW + order, -1))
    return found


def words(letter_BW: Tensor) -> list[Tensor]:
    """int64 (B, G) twice: a number for each word, and for each pair of words that follow one another; below 0 where there is none."""
    digit_BW, latin_BW = (letter_BW >= ord("0")) & (letter_BW <= ord("9")), (letter_BW >= ord("a")) & (letter_BW <= ord("z"))
    part_BW = digit_BW | latin_BW | (letter_BW > 127)
    single_BW = letter_BW >= IDEOGRAPHS
    goes_on_BW = F.pad(part_BW & ~single_BW, (1, 0))[:, :-1]
    start_BW = part_BW & (single_BW | ~goes_on_BW)
    number_BW = torch.where(part_BW, start_BW.long().cumsum(1), 0)  # of its word, from 1 on; long(): engines add no truths
    at_BW = torch.arange(letter_BW.shape[1], device=letter_BW.device).expand_as(letter_BW)
    first_BW = torch.zeros_like(letter_BW).scatter(1, torch.where(start_BW, number_BW, 0), at_BW)
    power_L = torch.tensor([pow(PRIME, place, MODULUS) for place in range(LONGEST_WORD)], device=letter_BW.device)
    term_BW = letter_BW * power_L[(at_BW - first_BW.gather(1, number_BW)).clamp(0, LONGEST_WORD - 1)] % MODULUS
    code_BW = torch.zeros_like(letter_BW).scatter_add(1, number_BW, term_BW)[:, 1:] % MODULUS
    there_BW = at_BW[:, 1:] <= number_BW.amax(1, keepdim=True)
    pair_BW = (code_BW[:, :-1] * PRIME + code_BW[:, 1:]) % MODULUS
    return [torch.where(there_BW, code_BW + WORD, -1), torch.where(there_BW[:, 1:], pair_BW + PAIR, -1)]
