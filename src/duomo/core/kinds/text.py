"""Text: tokens of a vocabulary learned from the training cells, or of a tokenizer that was given.

In a learned vocabulary token 0 is padding, token 1 the unknown (and what a hidden token becomes, and the end of a document); a given
one says which number is which (`special`). Legend: N rows, T tokens.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from duomo.core.contract import Field
from duomo.core.errors import ConfigError
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import is_text, sample, text_of, values_of
from duomo.core.kinds.id import WIDE
from duomo.core.messages import nearest, tr
from duomo.core.recipe import EncodeConfig

PADDING, UNKNOWN = 0, 1
SPECIAL = ["<pad>", "<unk>"]
TOKENIZERS = ("bpe", "wordpiece", "unigram", "characters")
GIVEN = "given"
OWN = {"padding": PADDING, "unknown": UNKNOWN, "begin": UNKNOWN, "end": UNKNOWN, "mask": UNKNOWN}
KNOWN = {"padding": ("<pad>", "[PAD]", "<|pad|>", "<|endoftext|>"), "unknown": ("<unk>", "[UNK]"), "mask": ("[MASK]", "<mask>"),
         "begin": ("<s>", "[CLS]", "<|begin_of_text|>", "<|im_start|>", "<bos>"),
         "end": ("</s>", "[SEP]", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "<eos>")}  # fmt: skip
"""Names that tokenizers of the field give to the special tokens, by use."""
SPACES = re.compile(r"\s")
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
BYTES = re.compile(r'"type":\s*"ByteLevel"')
_PLAIN = [*range(33, 127), *range(161, 173), *range(174, 256)]
SIGNS = {chr(byte): byte for byte in _PLAIN} | {chr(256 + place): byte for place, byte in enumerate(sorted({*range(256)} - {*_PLAIN}))}
"""The byte that each sign of a byte-level vocabulary stands for (Radford et al. 2019, section 2.2)."""
UNSPACED = 15
"""Letters between two spaces, on average, from which on these do not part words."""
LONGEST_TOKEN = 16
LARGEST_FILE = 64 * 1024 * 1024
NAMED = ("text", "transcript", "transcription", "sentence", "content", "review", "comment", "description", "message", "body",
         "question", "answer", "summary", "abstract", "文本", "内容", "评论", "句子", "正文", "描述", "摘要")  # fmt: skip
CHARACTERS = 40_000_000
"""Most characters that a vocabulary is learned from."""
PIECE = 4_000
"""A cell is learned from in pieces of this many characters, so that a whole novel in one cell is no special case."""


@final
class Text(Kind):
    """Words or sentences."""

    name: ClassVar[str] = "text"
    form: ClassVar[str | None] = "tokens"

    def recognise(self, name: str, cells: Cells) -> str | None:
        if not is_text(cells.data.type):
            return None
        text = pc.drop_null(values_of(cells.data))
        if not len(text):
            return None
        length = pc.mean(pc.utf8_length(text)).as_py()
        spaces = pc.mean(pc.count_substring_regex(text, r"\s+")).as_py()
        if length > UNSPACED * (spaces + 1) or unspaced(text):
            return tr("{length:.0f} characters a cell on average, without spaces between words", length=length)
        return tr("{length:.0f} characters and {words:.1f} words a cell on average", length=length, words=spaces + 1)

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """State: `tokenizer` (which), `json` (the tokenizer), `size` of the vocabulary, `longest` tokens kept."""
        enough = int(len(cells.data) * min(1.0, 4 * CHARACTERS / max(1, cells.data.nbytes)))
        known = pc.drop_null(text_of(sample(cells.data, max(1, enough))))
        return learn(known, config)

    def adopt(self, given: Mapping[str, Any], cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """The given tokenizer; how much of a cell is kept follows from these cells, within what the model can read."""
        return kept(dict(given), pc.drop_null(text_of(cells.data)), within(config.longest_text, given), config.most_text)

    def field(self, state: Mapping[str, Any]) -> Field:
        facts = {"tokenizer": state["tokenizer"], "json": state["json"]}
        return Field("tokens", (int(state["longest"]),), (int(state["size"]),), facts)

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        texts = [cell or "" for cell in text_of(cells.data).to_pylist()]
        rows = [framed(state, ids) for ids in encode_text(state, texts)]
        lengths = np.array([len(row) for row in rows], np.int64)
        return Block(np.concatenate([np.zeros(0, type_of(state)), *rows]), lengths)


def learn(known: pa.ChunkedArray, config: EncodeConfig) -> dict[str, Any]:
    """The state for training cells without null; ConfigError for an unknown tokenizer."""
    if config.tokenizer.endswith(".json"):
        return kept(given(read(Path(config.tokenizer))), known, config.longest_text or 1 << 40, config.most_text)
    if config.tokenizer and config.tokenizer not in TOKENIZERS:
        raise ConfigError(
            "A tokenizer must be one of {known}; received {name!r}.{hint}",
            known=", ".join(TOKENIZERS), name=config.tokenizer, hint=nearest(config.tokenizer, TOKENIZERS),
        )  # fmt: skip
    amount = int(pc.sum(pc.utf8_length(known)).as_py() or 0)
    some = sample(known, max(1, int(len(known) * min(1.0, CHARACTERS / max(1, amount)))))
    name = config.tokenizer or choose(some, amount)
    tokenizer = _train(name, some, config.vocabulary or vocabulary_for(name, amount, some))
    state: dict[str, Any] = {"tokenizer": name, "json": tokenizer.to_str(), "size": tokenizer.get_vocab_size(), "longest": 1 << 40}
    return kept(state, known, config.longest_text, config.most_text)


def within(wanted: int, given: Mapping[str, Any]) -> int:
    """How many tokens are read: `wanted`, or as many as a model that was trained before can where 0; ConfigError beyond that."""
    longest = int(given["longest"])
    if wanted > longest:
        raise ConfigError("The context may not be longer than the model's, {longest} tokens; received {wanted}. Lower longest_text.",
                          longest=longest, wanted=wanted)  # fmt: skip
    return wanted or longest


def kept(state: dict[str, Any], known: pa.ChunkedArray, longest: int, most: int) -> dict[str, Any]:
    """The state with how many tokens of a cell are kept: `longest`, or what 98 % of the cells need, at most `most`, where that is 0 or
    beyond all reason."""
    if 0 < longest < 1 << 40 and state["tokenizer"] != GIVEN:
        return state | {"longest": longest}
    lengths = [len(ids) for ids in encode_text(state, [cell[: 1 << 16] for cell in sample(known, 2000).to_pylist()])] or [1]
    need = int(np.clip(np.ceil(np.percentile(lengths, 98)), 1, max(1, most)))
    if state["tokenizer"] == GIVEN:
        need = min(need + sum(map(len, state["frame"])), longest)
    return state | {"longest": need}


def read(path: Path) -> str:
    """The text of a tokenizer.json; ConfigError where there is none or it is larger than any tokenizer."""
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        raise ConfigError("A tokenizer must be a tokenizer.json of at most {most} MB; {path} is none.", most=LARGEST_FILE >> 20, path=path)
    return path.read_text(encoding="utf-8", errors="replace")


def given(text: str, special: Mapping[str, str] | None = None, size: int = 0, longest: int = 1 << 40) -> dict[str, Any]:
    """The state of a tokenizer.json (`text`) with the names of its special tokens by use (padding, unknown, begin, end, mask),
    found by their usual names where they are not said. `size`: of the model's vocabulary, where it is larger than the tokenizer's own.

    ConfigError where the text is no tokenizer.
    """
    try:
        tokenizer = _loaded(text)
    except ValueError as error:
        raise ConfigError("A tokenizer must be a tokenizer.json; this one cannot be read: {reason}", reason=str(error)[:200]) from None
    _check_unknown(tokenizer, text)
    names = {use: (name,) for use, name in (special or {}).items() if name}
    numbers = {use: tokenizer.token_to_id(name) for use, known in (KNOWN | names).items() for name in reversed(known)
               if tokenizer.token_to_id(name) is not None}  # fmt: skip
    plain, whole = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    place = next((start for start in range(len(whole)) if whole[start : start + len(plain)] == plain), 0) if plain else 0
    return {
        "tokenizer": GIVEN, "json": text, "size": max(size, tokenizer.get_vocab_size()), "longest": longest, "special": numbers,
        "frame": [whole[:place], whole[place + len(plain) :]],
    }  # fmt: skip


def _check_unknown(tokenizer: Tokenizer, text: str) -> None:
    """ConfigError for a tokenizer that fails at the first sign that it does not know."""
    model = json.loads(text)["model"]
    missing = model.get("unk_id") is None if isinstance(model["vocab"], list) else model.get("unk_token") not in (None, *model["vocab"])
    if missing and not is_bytes(tokenizer, text) and not model.get("byte_fallback"):
        raise ConfigError("A tokenizer must have a token for what it does not know; {name!r} of this tokenizer.json is not in its "
                          "vocabulary. Add it there, or name one that is.", name=model.get("unk_token") or "unk_id")  # fmt: skip


def special(state: Mapping[str, Any], use: str) -> int:
    """Number of the token for `use` (padding, unknown, begin, end, mask); -1 where the tokenizer has none."""
    return int(state.get("special", OWN).get(use, -1))


def ends(state: Mapping[str, Any]) -> frozenset[int]:
    """Numbers of the tokens that end a text, or an answer in the template that belongs to the tokenizer (core/dialogue.py)."""
    return frozenset({*state.get("ends", ()), special(state, "end")} - {-1})


def framed(state: Mapping[str, Any], ids: np.ndarray) -> np.ndarray:
    """The tokens of a text as a model reads them: cut, between what the tokenizer puts before and after; never empty."""
    before, after = state.get("frame", ((), ()))
    ids = ids[: max(0, state["longest"] - len(before) - len(after))]
    if len(before) or len(after):
        ids = np.concatenate([before, ids, after]).astype(type_of(state))
    return ids if len(ids) else np.array([max(0, special(state, "unknown"))], type_of(state))


def sizes(state: Mapping[str, Any], texts: list[str]) -> np.ndarray:
    """(N,) tokens of each text as a model reads it, if it read the whole of it."""
    whole = {**state, "longest": 1 << 40}
    return np.array([len(framed(whole, ids)) for ids in encode_text(state, texts)], np.int64)


def choose(known: pa.ChunkedArray, amount: int) -> str:
    """characters for mainly Chinese (Japanese, Korean) text and for less than 20,000 characters, else byte-level bpe."""
    return "characters" if amount < 20_000 or unspaced(known) else "bpe"


def unspaced(known: pa.ChunkedArray) -> bool:
    """Whether texts are mainly of Chinese, Japanese or Korean characters, whose spaces count no words."""
    some = sample(known, 1000)
    wide = pc.sum(pc.count_substring_regex(some, WIDE)).as_py() or 0
    letters = pc.sum(pc.count_substring_regex(some, r"\S")).as_py() or 1
    return bool(wide > 0.3 * letters)


def vocabulary_for(name: str, amount: int, some: pa.ChunkedArray) -> int:
    """Size for this many characters: one token for every 500, between 512 and 16,384, and room for each Chinese character that is met
    three times in `some`: in pieces of characters there is little to learn; characters up to 8,192.
    """
    if name == "characters":
        return 8192
    met = pa.array([chr(code) for code, times in _frequencies(some).items() if times >= 3], pa.string())
    wide = pc.sum(pc.count_substring_regex(met, WIDE)).as_py() or 0
    return int(np.clip(max(amount // 500, 512 + wide) // 256 * 256, 512, 16384))


def _pieces(known: pa.ChunkedArray) -> Iterable[str]:
    for chunk in known.chunks:
        for cell in chunk:
            text = cell.as_py()
            for start in range(0, len(text), PIECE):
                yield text[start : start + PIECE]


def _train(name: str, known: pa.ChunkedArray, size: int) -> Tokenizer:
    """A tokenizer of at most `size` tokens, the special ones first."""
    most = max(size, 260 if name == "bpe" else 8)
    trainer: trainers.BpeTrainer | trainers.WordPieceTrainer | trainers.UnigramTrainer
    if name == "characters":
        return _characters(known, size)
    if name == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=most, min_frequency=2, show_progress=False, special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
    elif name == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[UNKNOWN]))
        tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(
            vocab_size=most, min_frequency=2, limit_alphabet=4000, show_progress=False, special_tokens=SPECIAL
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=most, unk_token=SPECIAL[UNKNOWN], show_progress=False, special_tokens=SPECIAL)
    tokenizer.train_from_iterator(_pieces(known), trainer)
    return tokenizer


def _frequencies(known: pa.ChunkedArray) -> dict[int, int]:
    """How often each character is there, by its number in Unicode."""
    counts: dict[int, int] = {}
    for start in range(0, len(known), 10_000):
        codes, times = np.unique(
            np.frombuffer("".join(known.slice(start, 10_000).to_pylist()).encode("utf-32-le", "replace"), np.uint32), return_counts=True
        )
        for code, time in zip(codes.tolist(), times.tolist(), strict=True):
            counts[code] = counts.get(code, 0) + time
    return counts


def _characters(known: pa.ChunkedArray, size: int) -> Tokenizer:
    """One token for each character, the most frequent first."""
    counts = _frequencies(known)
    order = sorted(counts, key=lambda code: (-counts[code], code))[: max(1, size - len(SPECIAL))]
    vocabulary = {token: place for place, token in enumerate([*SPECIAL, *map(chr, order)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


@lru_cache(maxsize=8)
def _loaded(text: str) -> Tokenizer:
    tokenizer = Tokenizer.from_buffer(text.encode())  # unlike from_str it raises ValueError
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()  # how much of a text is kept, and that a batch is filled up, is not the tokenizer's to say
    tokenizer.no_truncation()
    return tokenizer


def tokenizer_of(state: Mapping[str, Any]) -> Tokenizer:
    """The learned tokenizer; words such as <pad> in a cell are read as plain text."""
    return _loaded(state["json"])


def encode_text(state: Mapping[str, Any], texts: list[str]) -> list[np.ndarray]:
    """Token numbers (T,) of each text, uncut: int16, or int32 for a vocabulary above 32,767."""
    kind = type_of(state)
    # At least 1: a learned unigram vocabulary would read the word <pad> as padding.
    least = 0 if state["tokenizer"] == GIVEN else UNKNOWN
    return [
        np.maximum(np.array(found.ids, kind), least) for found in tokenizer_of(state).encode_batch_fast(texts, add_special_tokens=False)
    ]


def decode_text(state: Mapping[str, Any], tokens: Iterable[int]) -> str:
    """Tokens back to text; padding and unknown tokens are left out."""
    text: str = tokenizer_of(state).decode([int(token) for token in tokens], skip_special_tokens=True)
    return text


def bytes_of(state: Mapping[str, Any]) -> np.ndarray:
    """(V,) float64 bytes of UTF-8 that each token stands for: in a byte-level vocabulary every sign is one byte."""
    tokenizer = tokenizer_of(state)
    vocabulary = [tokenizer.id_to_token(number) or "" for number in range(int(state["size"]))]
    if is_bytes(tokenizer, state["json"]):
        return np.array([len(token) for token in vocabulary], np.float64)
    return np.array([1 if BYTE.fullmatch(token) else len(token.replace("▁", " ").encode()) for token in vocabulary], np.float64)


def spelling(text: str, size: int) -> np.ndarray:
    """(V, L) int32: each token's letters in lower case, 0 behind the last, at most `LONGEST_TOKEN`: code points, or bytes where tokens are
    made of bytes; nothing for special tokens."""
    tokenizer = _loaded(text)
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    tokens = ["" if number in special else tokenizer.id_to_token(number) or "" for number in range(size)]
    pieces = any(token.startswith("##") for token in tokens)
    found, by_bytes = np.zeros((size, LONGEST_TOKEN), np.int32), is_bytes(tokenizer, text)
    for number, token in enumerate(tokens):
        if by_bytes:
            whole = bytes(SIGNS[sign] for sign in token if sign in SIGNS).decode(errors="surrogateescape")
            letters = np.frombuffer(SPACES.sub(" ", whole.lower()).encode(errors="surrogateescape"), np.uint8)
        else:
            token = token[2:] if token.startswith("##") else " " * pieces + token
            letters = np.array([*map(ord, SPACES.sub(" ", token.replace("▁", " ").replace("</w>", " ").lower()))], np.int32)
        letters = letters[:LONGEST_TOKEN]
        found[number, : len(letters)] = letters
    return found


def is_bytes(tokenizer: Tokenizer, text: str) -> bool:
    """Whether every sign of its tokens is one byte."""
    return "ByteLevel" in type(tokenizer.pre_tokenizer).__name__ or BYTES.search(text) is not None


def type_of(state: Mapping[str, Any]) -> type[np.int16] | type[np.int32]:
    """What holds every token number."""
    return np.int16 if state["size"] <= 32767 else np.int32


KIND = Text()
