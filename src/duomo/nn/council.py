"""Simpler learners that answer beside a network: boosted trees and a straight line over the same columns, each voice with its share.

    numbers (B, N) ──┬─ network ── logits (B, S) ─ × share ─┐
    categories (B, M)├─ trees ──── logits (B, S) ─ × share ─┼─ + ─> (B, S)
    sounds (B, D) ───┼─ line ───── logits (B, S) ─ × share ─┘
    tokens (B, T) ───┤
    pixels ──────────┘
Of a sound they see what a few numbers tell of it (nn/sound_features.py). Of texts the line sees their letters (nn/letter_features.py), of
a category of many values each by itself, of pictures edges and colours (nn/picture_features.py), and the trees what the line says of
each: a text may mean something else in another row, and of a thousand values none can be split off (Wolpert 1992, "Stacked
Generalization").
They are fitted when the network has learned, and the shares on validation (train/council.py); until then only the network speaks, and
what is not fitted yet is empty. Weighing unlike models is what wins on tables: Caruana et al. 2004, "Ensemble Selection from Libraries of
Models"; Erickson et al. 2020, arXiv:2003.06505, section 2.2.
Legend: B rows, N number columns, M category columns, D numbers that describe the sounds, F features, S logits, T trees, L nodes of all
trees, C splits by categories.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duomo.core.contract import Field
from duomo.core.tensors import Batch
from duomo.nn.fields import of_forms
from duomo.nn.grown import Grown
from duomo.nn.letter_features import Letters
from duomo.nn.picture_features import PictureFeatures
from duomo.nn.sound_features import SoundFeatures

DEPTH = 10
"""Most splits between the root of a tree and its leaves."""
KNOWN = 255
"""Most values of a category that trees tell apart; all others share one rank."""
SPELLED = 200
"""A category of more values than this has no columns in the straight line, but a weight for each value (`Values`)."""
HEARD = "heard"
"""What describes the sounds of a batch, where it has been computed before: (B, D), in place of the sounds."""
TOLD = 100
"""Most columns in which trees see what the line says of texts and large categories; where each would need more, their sum alone is told."""
FAR = 5.0
"""Deviations from the middle at which the straight line ends: one odd cell must not carry an answer away."""


class Forest(Grown):
    """float (B, F) -> (B, S): the sum of the leaves that a row falls into.

    A node's children are neighbours. It sends a row to the first where its feature is at most the threshold, or, of categories, where the
    mask of its split says so of the rank; a leaf sends every row to itself, so that all rows walk the same number of steps.
    """

    feature_L: Tensor
    threshold_L: Tensor
    child_L: Tensor
    value_L: Tensor
    split_L: Tensor
    mask_CK: Tensor
    root_T: Tensor
    place_TS: Tensor
    base_S: Tensor

    def __init__(self, size: int):
        super().__init__()
        for name in ("feature_L", "child_L", "split_L", "root_T"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))
        for name in ("threshold_L", "value_L", "base_S"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("mask_CK", torch.zeros(0, KNOWN + 1, dtype=torch.bool))
        self.register_buffer("place_TS", torch.zeros(0, size))

    def forward(self, x_BF: Tensor) -> Tensor:
        rows = x_BF.shape[0]  # not len(): an engine's graph must not remember how many rows it was shown
        shape, node_N = (rows, -1), self.root_T.repeat(rows)  # N: the trees of all rows
        for _ in range(DEPTH):
            value_BT = x_BF.gather(1, self.feature_L.index_select(0, node_N).view(shape).long())
            first_N = value_BT.flatten() <= self.threshold_L.index_select(0, node_N)
            if len(self.mask_CK):
                split_N, rank_N = self.split_L.index_select(0, node_N), value_BT.flatten().clamp(0, KNOWN).int()
                known_N = self.mask_CK.flatten().index_select(0, split_N.clamp(min=0) * (KNOWN + 1) + rank_N)
                first_N = (known_N & (split_N >= 0)) | (first_N & (split_N < 0))  # not where(): ONNX Runtime has none for truths
            node_N = self.child_L.index_select(0, node_N) + (~first_N).int()
        return self.value_L.index_select(0, node_N).view(shape) @ self.place_TS + self.base_S


class Values(Grown):
    """int64 (B,) -> (B, S): a weight for each value of a category of many."""

    weight_PS: Tensor

    def __init__(self, places: int, size: int):
        super().__init__()
        self.places = places
        self.register_buffer("weight_PS", torch.zeros(0, size))

    def weighed(self, code_B: Tensor) -> tuple[Tensor, Tensor]:
        """Places (B, 1) and what each counts there, as those of letters do."""
        return code_B.unsqueeze(1), torch.ones(len(code_B), 1)

    def forward(self, code_B: Tensor) -> Tensor:
        return self.weight_PS[code_B]


class Council(Grown):
    """Weighs a network's logits with those of trees and a line; `voices` names who speaks in the order of the shares."""

    rank_V: Tensor
    level_2D: Tensor
    lean_FS: Tensor
    lean_S: Tensor
    weight_FS: Tensor
    bias_S: Tensor
    share_3: Tensor
    voices = ("network", "trees", "line")

    def __init__(self, inputs: Mapping[str, Field], size: int):
        super().__init__()
        self.seconds = 0.0
        """What is set aside of a limited time for fitting, as long as that is known."""
        self.number_names, self.category_names = of_forms(inputs, "numbers"), of_forms(inputs, "categories")
        self.token_names = of_forms(inputs, "tokens")
        self.vocabulary = [one for name in self.category_names for one in inputs[name].vocabulary]
        self.sound_names = of_forms(inputs, "waveform")
        self.heard = nn.ModuleList(SoundFeatures(int(inputs[name].facts["rate"])) for name in self.sound_names)
        self.forest = Forest(size)
        self.letters = nn.ModuleList(Letters(size) for _ in self.token_names)
        self.large = [place for place, known in enumerate(self.vocabulary) if known > SPELLED]
        self.values = nn.ModuleList(Values(self.vocabulary[place], size) for place in self.large)
        self.picture_names = of_forms(inputs, "pixels")
        self.glimpses = nn.ModuleList(PictureFeatures(inputs[name], size) for name in self.picture_names)
        self.register_buffer("level_2D", torch.zeros(0))
        self.register_buffer("rank_V", torch.zeros(0, dtype=torch.int16))
        self.register_buffer("lean_FS", torch.zeros(0, size))
        self.register_buffer("lean_S", torch.zeros(0))
        self.register_buffer("weight_FS", torch.zeros(0, size))
        self.register_buffer("bias_S", torch.zeros(0))
        self.register_buffer("share_3", torch.zeros(0))

    @property
    def has_cells(self) -> bool:
        return bool(self.number_names or self.category_names or self.sound_names)

    @property
    def has_sparse(self) -> bool:
        """Whether there are texts or large categories, of whose many features a row has few."""
        return bool(self.token_names or self.large)

    @property
    def has_wide(self) -> bool:
        """Whether there are texts, large categories or pictures, which have more features than there may be rows."""
        return self.has_sparse or bool(self.picture_names)

    @property
    def wide_names(self) -> list[str]:
        """The inputs that `said` reads."""
        return [*self.token_names, *self.category_names, *self.picture_names]

    def looks(self, at_pictures: bool) -> bool:
        """Whether anything is left to look at; the network alone sees pictures from now on where these are not to be looked at."""
        if not at_pictures:
            self.picture_names, self.glimpses = [], nn.ModuleList()
        return bool(self.names)

    def texts(self) -> list[tuple[str, Letters]]:
        """The columns of tokens, and what reads them."""
        return [(name, one) for name, one in zip(self.token_names, self.letters, strict=True) if isinstance(one, Letters)]

    def sparse(self) -> list[Letters | Values]:
        """What reads texts, then what reads large categories."""
        return [one for one in (*self.letters, *self.values) if isinstance(one, Letters | Values)]

    def read(self, batch: Batch) -> list[Tensor]:
        """What each of `sparse` reads."""
        code_MB = self.codes(batch).unbind(1) if self.large else ()
        return [batch[name] for name in self.token_names] + [code_MB[place] for place in self.large]

    def pictures(self) -> list[tuple[str, PictureFeatures]]:
        """The columns of pictures, and what looks at them."""
        return [(name, one) for name, one in zip(self.picture_names, self.glimpses, strict=True) if isinstance(one, PictureFeatures)]

    def glimpsed(self, batch: Batch) -> Batch:
        """The batch with what is told of its pictures, float32 (B, D), in their place."""
        return {**batch, **{name: torch.cat(glimpse.describe(batch[name]), 1) for name, glimpse in self.pictures()}}

    def codes(self, batch: Batch) -> Tensor:
        """int64 (B, M); a value outside its vocabulary counts as unseen (0)."""
        code_BM = torch.cat([batch[name] for name in self.category_names], 1)
        return torch.where((code_BM >= 0) & (code_BM < torch.tensor(self.vocabulary, device=code_BM.device)), code_BM, 0)

    @property
    def names(self) -> list[str]:
        """The inputs that are looked at."""
        return [*self.number_names, *self.category_names, *self.sound_names, *self.token_names, *self.picture_names]

    def describe(self, batch: Batch) -> Tensor:
        """float32 (B, D): what is told of each row's sounds, as it is."""
        return torch.cat([heard(batch[name], batch[f"{name}.length"]) for name, heard in zip(self.sound_names, self.heard, strict=True)], 1)

    def _described(self, batch: Batch) -> list[Tensor]:
        """The same with mean 0 and deviation 1 over the rows learned from; nothing where there are no sounds."""
        if not self.sound_names:
            return []
        found_BD = batch[HEARD] if HEARD in batch else self.describe(batch)
        return [(found_BD - self.level_2D[0]) / self.level_2D[1]]

    def said(self, batch: Batch) -> list[Tensor]:
        """float32 (B, S) for each text, large category and picture: what the line says of it; nothing before the line is fitted."""
        found = [one(x) for one, x in zip(self.sparse(), self.read(batch), strict=True) if len(one.weight_PS)]
        return found + [glimpse(batch[name]) for name, glimpse in self.pictures() if len(glimpse.weight_DS)]

    def features(self, batch: Batch, said: Sequence[Tensor] = ()) -> Tensor:
        """float32 (B, F) for the trees: each category's rank (`rank_V`; KNOWN where trees do not tell it), numbers, what sounds hold, and
        what the line said of texts, large categories and pictures."""
        found = [batch[name].float() for name in self.number_names] + self._described(batch)
        if self.category_names:
            first_M = torch.tensor(self.vocabulary).cumsum(0) - torch.tensor(self.vocabulary)
            found = [self.rank_V[self.codes(batch) + first_M.to(self.rank_V.device)].float(), *found]
        return torch.cat(found + told(said), 1)

    def spelled(self, batch: Batch) -> Tensor:
        """float32 (B, F) for the line: numbers, also of sounds, cut off far from the middle, and a column for each value of the smaller
        categories."""
        found = [x_BN.float().clamp(-FAR, FAR) for x_BN in (*(batch[name] for name in self.number_names), *self._described(batch))]
        for place, code_B in enumerate(self.codes(batch).unbind(1) if self.category_names else ()):
            if self.vocabulary[place] <= SPELLED:
                found.append(F.one_hot(code_B, self.vocabulary[place]).float())
        return torch.cat(found, 1) if found else self.share_3.new_zeros(batch[self.names[0]].shape[0], 0)

    def forward(self, batch: Batch, network_BS: Tensor) -> Tensor:
        if not len(self.share_3):
            return network_BS
        if self.sound_names and HEARD not in batch:
            batch = {**batch, HEARD: self.describe(batch)}
        found_BS, said = network_BS * self.share_3[0], self.said(batch)
        if len(self.forest.root_T):
            trees_BS = self.forest(self.features(batch, said))
            if len(self.lean_FS):  # they learned what a line left over
                trees_BS = trees_BS + self.spelled(batch) @ self.lean_FS + self.lean_S
            found_BS = found_BS + trees_BS * self.share_3[1]
        if len(self.bias_S):
            line_BS = self.bias_S
            if len(self.weight_FS):  # OpenVINO computes a product over no columns wrongly
                line_BS = line_BS + self.spelled(batch) @ self.weight_FS
            # a run of before there were letters, values or glimpses has none
            found_BS = found_BS + sum(said, line_BS) * self.share_3[2]
        return found_BS


def told(said: Sequence[Tensor]) -> list[Tensor]:
    """What trees see of (B, S) said of each text, category and picture: all together, and each by itself where these are not too many."""
    if not said or said[0].shape[1] > TOLD:
        return []
    whole_BS = torch.stack(list(said)).sum(0)
    return [whole_BS] if len(said) == 1 or len(said) * whole_BS.shape[1] > TOLD else [whole_BS, *said]


def council_of(inputs: Mapping[str, Field], size: int, wanted: bool) -> Council | None:
    """A council over numbers, categories, sounds, tokens and pixels among the inputs; None where there are none, or it is not wanted."""
    seen = of_forms(inputs, "numbers", "categories", "waveform", "tokens", "pixels")
    return Council(inputs, size) if wanted and seen else None
