"""The recipe: every setting of a run, typed, documented once beneath each field; zero or empty means «derived from the data».

Help texts, flags, the TOML file in the run folder and the web form all come from these classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from duomo.core.config import Within

Share = Annotated[float, Within(0, 1)]
Amount = Annotated[float, Within(0)]
Count = Annotated[int, Within(0)]


@dataclass(frozen=True)
class DataConfig:
    """The data, and how they are split."""

    source: str = ""
    """The file or folder to learn from."""
    target: tuple[str, ...] = ()
    """Column(s) to predict. Empty: found by name and kind."""
    task: str = ""
    """What to do (`duomo list tasks`). Empty: chosen from the data."""
    kind: Mapping[str, str] = field(default_factory=dict)
    """Kind of a column where the inferred one is wrong: column=text."""
    ignore: tuple[str, ...] = ()
    """Columns that the model must not see."""
    encoding: str = ""
    """Text encoding of the files. Empty: detected."""
    test: str = ""
    """A separate test file. Empty: a share of the rows is kept for testing."""
    valid: str = ""
    """A separate validation file (needs `test` too). Empty: a share of the rows is kept for validation."""
    split: Literal["", "random", "stratified", "group", "time", "blocks", "folders"] = ""
    """How rows are split: random, stratified, group, time, blocks (of neighbours) or folders (train, valid, test). Empty: by the data."""
    group: str = ""
    """Column whose rows stay together: all rows of a patient or user fall on one side of the split."""
    time: str = ""
    """Date column, or columns of its parts (year,month,day,hour); the latest rows become the test."""
    ahead: Count = 0
    """Foretell a dated number so many steps of its time ahead: each row is told of earlier values, none of them younger. 0: of none."""
    join: tuple[str, ...] = ()
    """Where each row is one observation: the column that names the series, the one that orders it. Rows are joined, one per name."""
    test_share: Share = 0.15
    """Share of the rows kept for the test."""
    valid_share: Share = 0.15
    """Share of the rows kept for validation."""


@dataclass(frozen=True)
class CleanConfig:
    """Which texts are dropped before the split. They are counted, and examples shown."""

    languages: tuple[str, ...] = ()
    """Keep only texts in these languages (zh, en, fr …). Empty: all."""
    duplicates: Literal["", "exact", "near"] = ""
    """Drop repeated texts: exact, or near (almost the same, by MinHash over runs of letters). Empty: none."""
    fewest_characters: Count = 0
    """Drop texts with fewer characters."""
    most_characters: Count = 0
    """Drop texts with more characters. 0: none."""
    repetition: Share = 0.0
    """Drop texts in which more than this share repeats earlier parts of the same text. 0: none."""


@dataclass(frozen=True)
class EncodeConfig:
    """How cells become tensors."""

    picture_size: Count = 0
    """Pictures are resized to this many pixels square. 0: from the data (28 stays 28; at most 64 on a CPU)."""
    tokenizer: str = ""
    """bpe, wordpiece, unigram, characters, or a tokenizer.json. Empty: by the data (characters for Chinese and small texts)."""
    vocabulary: Count = 0
    """Vocabulary size. 0: from the amount of text."""
    longest_text: Count = 0
    """Tokens kept of each text (for generate: the context length). 0: the 98th percentile, at most `most_text`."""
    most_text: Count = 256
    """Upper limit where `longest_text` is 0."""
    sample_rate: Annotated[int, Within(1000, 192000)] = 16000
    """Sample rate in Hz that sounds are resampled to."""
    longest_sound: Amount = 0.0
    """Seconds kept of each sound. 0: the longest in the training data, at most 30."""
    clip_frames: Annotated[int, Within(1, 512)] = 8
    """Frames per clip of a film."""
    clip_step: Amount = 0.0
    """Seconds between the frames of a clip. 0: the film's length spread over one clip, at most 0.25."""
    clips: Count = 0
    """Clips taken of each film, spread over its length (a training step sees one). 0: as many as fit, at most 4."""
    frame_differences: bool = False
    """Also give the model the difference between each frame and the one before."""
    longest_series: Count = 0
    """Steps kept of each series. 0: all; above 2,048, neighbours are averaged."""
    categories: Count = 1000
    """At most so many values of a category column are told apart; rarer ones are treated like unseen ones."""
    bins: Count = 48
    """Quantile bins per number column, for piecewise-linear embeddings."""


@dataclass(frozen=True)
class ModelConfig:
    """Architecture and size."""

    name: str = ""
    """Architecture (`duomo list models`). Empty: chosen by the kind and amount of data."""
    size: str = ""
    """small, base, large, or a published size (`duomo list sizes`). Empty: from the amount of data."""
    init: Literal["published", "xavier", "kaiming", "normal", "orthogonal"] = "published"
    """Initialisation: published (as in the model's paper), xavier, kaiming, normal or orthogonal."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The architecture's own settings; they override its named size."""


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train."""

    minutes: Amount = 0.0
    """Time budget for training in minutes; the learning-rate schedule fits it. Judging and comparing take up to as long again."""
    epochs: Amount = 0.0
    """Passes over the training rows. 0: from the amount of data."""
    steps: Count = 0
    """Optimizer steps; overrides epochs."""
    batch_size: Count = 0
    """Rows per optimizer step. 0: from the recipe."""
    accumulate: Annotated[int, Within(1)] = 1
    """Split each step into so many micro-batches to save memory; the result stays the same."""
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop", "adafactor", "lion", "muon"] = "adamw"
    """adamw, adam, sgd, rmsprop, adafactor, lion or muon."""
    learning_rate: Amount = 0.0
    """Peak learning rate. 0: from the recipe."""
    weight_decay: Annotated[float, Within(-1)] = -1.0
    """Decoupled weight decay of matrices. Negative: from the recipe."""
    momentum: Share = 0.9
    """Momentum of sgd and rmsprop; beta 1 of the Adam family."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Learning rate after the warm-up: cosine, linear or constant."""
    warmup: Share = 0.05
    """Share of the steps used for warm-up."""
    clip: Amount = 1.0
    """Largest gradient norm. 0: no clipping."""
    ema: Share = 0.0
    """Decay of the moving average of the weights; the average is what is tested and kept. 0: off."""
    patience: Count = 0
    """Stop early after so many evaluations without improvement. 0: never."""
    evaluate_steps: Count = 0
    """Steps between evaluations on validation. 0: about once per epoch."""
    checkpoint_steps: Count = 0
    """Steps between checkpoints. 0: about every half minute."""
    learn_all: bool = True
    """After the test, trees and line learn from its rows and validation's too; its figures tell of before. A given test stays unseen."""
    seed: Count = 0
    """Seed of everything random."""
    exact: bool = False
    """Use plain float32 only: no bf16, no compiling."""
    device: str = ""
    """cpu, cuda or cuda:N. Empty: what DUOMO_DEVICE names, else cuda if there is one."""


@dataclass(frozen=True)
class AdaptConfig:
    """Fine-tuning: training on from existing weights."""

    start: str = ""
    """Weights to start from: a run folder, a Hugging Face folder, a GGUF, safetensors or .pth file. Empty: train from scratch."""
    lora: bool = False
    """LoRA: keep the weights fixed and learn a low-rank change of each matrix (arXiv:2106.09685)."""
    lora_rank: Annotated[int, Within(1)] = 8
    """Rank of the LoRA change."""
    lora_alpha: Amount = 16.0
    """The LoRA change is scaled by alpha / rank."""
    lora_targets: tuple[str, ...] = ()
    """Layers that get LoRA, by parts of their names. Empty: every linear layer but the head."""
    lora_dropout: Share = 0.0
    """Dropout on the input of the LoRA change."""
    freeze: tuple[str, ...] = ()
    """Weights that stay fixed, by parts of their names."""
    still: Share = 0.0
    """Share of the loaded layers, from the first on, that stays fixed. Above 0, batch norm keeps its loaded statistics."""
    layer_decay: Annotated[float, Within(0, 1)] = 1.0
    """Each layer learns at this share of the rate of the layer above it (arXiv:1801.06146). 1: all alike."""
    new_rate: Amount = 0.0
    """New weights learn at this multiple of the learning rate. 0: 10; with LoRA or a head fitted first, 1."""
    head_first: bool = True
    """First fit the new last layer alone, on the features of the loaded ones (arXiv:2202.10054)."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random variations in training. 0 or false: off."""

    crop: Share = 0.0
    """Pictures: largest shift, as a share of the side (padded with zeros)."""
    flip: bool = False
    """Pictures: mirror left and right at random."""
    rotate: Amount = 0.0
    """Pictures: largest rotation in degrees."""
    scale: Share = 0.0
    """Pictures: largest change of size; 0.2 means 0.8 to 1.2."""
    colour: Share = 0.0
    """Pictures: strength of changes of brightness, contrast and saturation."""
    erase: Share = 0.0
    """Pictures: probability that a rectangle is erased."""
    blur: Share = 0.0
    """Pictures: probability that a picture is blurred."""
    policy: Count = 0
    """Pictures: number of changes drawn for each picture from a list of thirteen (as in RandAugment, arXiv:1909.13719)."""
    strength: Share = 0.5
    """Pictures: strength of these changes, from 0 to 1."""
    mixup: Amount = 0.0
    """Pictures and tables: alpha of mixup (arXiv:1710.09412)."""
    cutmix: Amount = 0.0
    """Pictures: alpha of CutMix (arXiv:1905.04899)."""
    noise: Amount = 0.0
    """Tables and sound: standard deviation of added noise (in units of the column; of the sound's own level)."""
    speed: Share = 0.0
    """Sound: largest change of speed; 0.1 means 0.9 to 1.1."""
    specaugment: bool = False
    """Sound: mask bands of frequency and stretches of time (arXiv:1904.08779)."""
    drop_tokens: Share = 0.0
    """Text: probability that a token is hidden."""
    swap_tokens: Share = 0.0
    """Text: probability that a token is swapped with its neighbour."""


@dataclass(frozen=True)
class Recipe:
    """Everything that a run is made from."""

    data: DataConfig = field(default_factory=DataConfig)
    clean: CleanConfig = field(default_factory=CleanConfig)
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    task: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the task's own config."""
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
