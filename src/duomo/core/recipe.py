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
    """What is learned from, and how it is divided."""

    source: str = ""
    """The file or folder to learn from."""
    target: tuple[str, ...] = ()
    """Column(s) to predict; found by name and kind when empty."""
    task: str = ""
    """What to do (`duomo list tasks`); found from the data when empty."""
    kind: Mapping[str, str] = field(default_factory=dict)
    """Kinds that override the inferred ones: column=text."""
    ignore: tuple[str, ...] = ()
    """Columns that the model must not see."""
    encoding: str = ""
    """Text encoding of the files; found when empty."""
    test: str = ""
    """A file of its own for testing; otherwise a share of the rows."""
    valid: str = ""
    """A file of its own for validation; otherwise a share of the rows."""
    split: Literal["", "random", "stratified", "group", "time", "folders"] = ""
    """How rows are divided: random, stratified, group, time or folders (train, valid, test); chosen from the data when empty."""
    group: str = ""
    """Column whose values must not straddle the split (a patient, a user)."""
    time: str = ""
    """Date column: the latest rows are the test."""
    join: tuple[str, ...] = ()
    """Where a row is one observation: the column that names its series, and the one that orders it; rows are joined, one for each name."""
    test_share: Share = 0.15
    """Share of the rows kept for the test."""
    valid_share: Share = 0.15
    """Share of the rows kept for validation."""


@dataclass(frozen=True)
class CleanConfig:
    """What is left out of texts before the split; whatever is, is counted and shown by example."""

    languages: tuple[str, ...] = ()
    """Keep only texts in these languages (zh, en, fr …); all when empty."""
    duplicates: Literal["", "exact", "near"] = ""
    """Leave out what repeats an earlier text: exact, or near (almost the same, by MinHash over runs of letters); none when empty."""
    fewest_characters: Count = 0
    """Leave out shorter texts."""
    most_characters: Count = 0
    """Leave out longer texts; none when 0."""
    repetition: Share = 0.0
    """Leave out texts of which more than this share repeats what stood before in them; none when 0."""


@dataclass(frozen=True)
class EncodeConfig:
    """How cells become tensors."""

    picture_size: Count = 0
    """Pictures are brought to this many pixels square; from the data when 0 (28 stays 28, at most 64 on a CPU)."""
    tokenizer: str = ""
    """bpe, wordpiece, unigram or characters, or a tokenizer.json of your own; characters for Chinese and for small texts when empty."""
    vocabulary: Count = 0
    """Size of the vocabulary of text; from the amount of text when 0."""
    longest_text: Count = 0
    """Tokens kept of a text cell (context length for generate); the 98th percentile, at most `most_text`, when 0."""
    most_text: Count = 256
    """Tokens kept of a text cell at most where `longest_text` is 0."""
    sample_rate: Annotated[int, Within(1000, 192000)] = 16000
    """Hz that sounds are brought to."""
    longest_sound: Amount = 0.0
    """Seconds kept of a sound; the longest of the training data, at most 30, when 0."""
    clip_frames: Annotated[int, Within(1, 512)] = 8
    """Frames of a clip of film."""
    clip_step: Amount = 0.0
    """Seconds between the frames of a clip; a film's length spread over one clip, at most 0.25, when 0."""
    clips: Count = 0
    """Clips that a film is judged by, spread over its length (a step of training sees one); as many as fit, at most 4, when 0."""
    frame_differences: bool = False
    """Give the model also how each frame of a film differs from the one before."""
    longest_series: Count = 0
    """Steps kept of a series; when 0 all, but of more than 2,048 neighbours are averaged to fewer."""
    categories: Count = 1000
    """Most values of a category column that get a place of their own; rarer ones share the place of the unseen."""
    bins: Count = 48
    """Quantile bins of a number column for piecewise-linear embeddings."""


@dataclass(frozen=True)
class ModelConfig:
    """Which architecture, how large."""

    name: str = ""
    """Architecture (`duomo list models`); chosen by kind and amount of data when empty."""
    size: str = ""
    """small, base or large; from the amount of data when empty."""
    init: Literal["published", "xavier", "kaiming", "normal", "orthogonal"] = "published"
    """Initialisation: published (each model's own), xavier, kaiming, normal, orthogonal."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the architecture's own config that override its named size."""


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to learn."""

    minutes: Amount = 0.0
    """Time budget for training; the schedule is finished when it ends."""
    epochs: Amount = 0.0
    """Passes over the training rows; from the amount of data when 0."""
    steps: Count = 0
    """Optimizer steps; wins over epochs."""
    batch_size: Count = 0
    """Rows of one optimizer step; from the recipe when 0."""
    accumulate: Annotated[int, Within(1)] = 1
    """Micro-batches that one optimizer step is cut into, to save memory; the result stays the same."""
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop", "adafactor", "lion", "muon"] = "adamw"
    """adamw, adam, sgd, rmsprop, adafactor, lion or muon."""
    learning_rate: Amount = 0.0
    """Peak learning rate; from the recipe when 0."""
    weight_decay: Annotated[float, Within(-1)] = -1.0
    """Decoupled weight decay of matrices; from the recipe when negative."""
    momentum: Share = 0.9
    """Momentum of sgd and rmsprop; beta 1 of the Adam family."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """cosine, linear or constant, after the warm-up."""
    warmup: Share = 0.05
    """Share of the steps in which the learning rate rises."""
    clip: Amount = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""
    ema: Share = 0.0
    """Decay of the moving average of the weights that is judged and kept; 0 switches it off."""
    patience: Count = 0
    """Evaluations without improvement before stopping early; 0: never."""
    evaluate_steps: Count = 0
    """Steps between evaluations on validation; about once an epoch when 0."""
    checkpoint_steps: Count = 0
    """Steps between checkpoints; about every half minute when 0."""
    seed: Count = 0
    """Everything random follows from it."""
    exact: bool = False
    """Stay in float32 with the plainest execution."""
    device: str = ""
    """cpu or cuda; cuda where there is one when empty."""


@dataclass(frozen=True)
class AdaptConfig:
    """Going on from weights that exist already."""

    start: str = ""
    """What to go on from: a run folder, a Hugging Face folder, a GGUF or safetensors file; from nothing when empty."""
    lora: bool = False
    """Leave the weights as they are and learn a low-rank change of each matrix (arXiv:2106.09685)."""
    lora_rank: Annotated[int, Within(1)] = 8
    """Rank of that change."""
    lora_alpha: Amount = 16.0
    """The change is scaled by alpha / rank."""
    lora_targets: tuple[str, ...] = ()
    """Parts of names of the layers that are changed; every linear layer but the head when empty."""
    lora_dropout: Share = 0.0
    """Part of what that change reads set to zero in training."""
    freeze: tuple[str, ...] = ()
    """Parts of names of the weights that stay as they are."""
    still: Share = 0.0
    """Share of the layers taken over, the first ones, that stay as they are; above 0 batch norm keeps the statistics that it came with."""
    layer_decay: Annotated[float, Within(0, 1)] = 1.0
    """Each layer learns at this share of the rate of the one above it (arXiv:1801.06146); 1: all alike."""
    new_rate: Amount = 0.0
    """Weights that are new learn at this multiple of the rate; when 0 ten times, or once beside LoRA or where the head was fitted first."""
    head_first: bool = True
    """Before all weights learn, fit a new last layer to what the others make of the rows (arXiv:2202.10054)."""


@dataclass(frozen=True)
class AugmentConfig:
    """What is varied at random in training, by form of input; 0 or false switches a variation off."""

    crop: Share = 0.0
    """Pictures: largest shift by cropping, as a share of the side (zero padded)."""
    flip: bool = False
    """Pictures: mirror left and right."""
    rotate: Amount = 0.0
    """Pictures: largest rotation in degrees."""
    scale: Share = 0.0
    """Pictures: largest change of size, 0.2 means 0.8 to 1.2."""
    colour: Share = 0.0
    """Pictures: strength of changes of brightness, contrast and saturation."""
    erase: Share = 0.0
    """Pictures: probability that a rectangle is erased."""
    blur: Share = 0.0
    """Pictures: probability that a picture is blurred, a little or much."""
    policy: Count = 0
    """Pictures: changes that each picture gets from a list of thirteen (as in RandAugment, arXiv:1909.13719)."""
    strength: Share = 0.5
    """Pictures: how far the changes of the policy go, from 0 to 1."""
    mixup: Amount = 0.0
    """Pictures and tables: alpha of mixup (arXiv:1710.09412)."""
    cutmix: Amount = 0.0
    """Pictures: alpha of CutMix (arXiv:1905.04899)."""
    noise: Amount = 0.0
    """Tables and sound: standard deviation of added noise (in units of the column; of the sound's own level)."""
    speed: Share = 0.0
    """Sound: largest change of speed, 0.1 means 0.9 to 1.1."""
    specaugment: bool = False
    """Sound: mask bands of frequency and stretches of time (arXiv:1904.08779)."""
    drop_tokens: Share = 0.0
    """Text: probability that a token is hidden."""
    swap_tokens: Share = 0.0
    """Text: probability that a token changes places with its neighbour."""


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
