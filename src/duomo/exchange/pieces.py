"""Vocabularies of other makers in the terms of the `tokenizers` library: how they split a text, and pieces with scores, as SentencePiece
makes them, from GGUF and from its own files (tokenizer.model, spiece.model), which are messages of Protocol Buffers.
"""

import base64
import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from duomo.core.errors import ConfigError

NORMAL, UNKNOWN, CONTROL, OWN, UNUSED = 1, 2, 3, 4, 5
"""Kinds of tokens, as SentencePiece and GGUF number them."""
UNIGRAM, PAIRS = 1, 2
"""Makes of SentencePiece that are read."""
BLANK = "▁"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
CASES = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
REST = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"


def _split(digits: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": f"{CASES}{digits}{REST}"}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, BYTES | {"use_regex": False}]}


RULES: dict[str, dict[str, Any]] = {
    "gpt-2": BYTES,
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTES]},
    "qwen2": _split("\\p{N}"),
    "llama-bpe": _split("\\p{N}{1,3}"),
}
"""How byte-level vocabularies split a text, by the names that llama.cpp has for it."""
Fields = dict[int, list[int | bytes]]


def added(tokens: Sequence[str], kinds: Sequence[int]) -> list[dict[str, Any]]:
    """The tokens that stand whole in a text, special or a maker's own."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": number, "content": token, "special": kind != OWN, **flags}
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (CONTROL, OWN, UNKNOWN) and token
    ]


def whole(tokens: Sequence[str], kinds: Sequence[int], **parts: Any) -> dict[str, Any]:
    """A tokenizer.json of these parts."""
    usual = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added(tokens, kinds), "post_processor": None}
    return usual | parts


def by_pairs(tokens: Sequence[str], scores: Sequence[float], unknown: int, begins: bool) -> dict[str, Any]:
    """Parts of a tokenizer where two neighbours become one if that is a piece, the one with the best score first."""
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = []
    for token, number in vocabulary.items():
        halves = [(token[:at], token[at:]) for at in range(1, min(len(token), 64)) if token[:at] in vocabulary and token[at:] in vocabulary]
        halves.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
        merges += [(-float(scores[number]), pair) for pair in halves]
    merges.sort(key=lambda one: one[0])
    space = {"type": "Replace", "pattern": {"String": " "}, "content": BLANK}
    normalizer = {"type": "Sequence", "normalizers": [*([{"type": "Prepend", "prepend": BLANK}] if begins else []), space]}
    back = [{"type": "Replace", "pattern": {"String": BLANK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    decoder = {"type": "Sequence", "decoders": [*back, *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if begins else [])]}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [list(pair) for _, pair in merges], "byte_fallback": True, "fuse_unk": True,
             "unk_token": tokens[unknown] if tokens else None}  # fmt: skip
    return {"normalizer": normalizer, "pre_tokenizer": None, "decoder": decoder, "model": model}


def by_shares(tokens: Sequence[str], scores: Sequence[float], unknown: int, begins: bool, by_bytes: bool) -> dict[str, Any]:
    """Parts of a tokenizer that cuts a text into the likeliest pieces."""
    gaps = {"type": "Metaspace", "replacement": BLANK, "prepend_scheme": "always" if begins else "never", "split": True}
    back = [{"type": "ByteFallback"}, gaps] if by_bytes else [gaps]
    model = {"type": "Unigram", "unk_id": unknown, "vocab": [list(pair) for pair in zip(tokens, scores, strict=True)],
             "byte_fallback": by_bytes}  # fmt: skip
    return {"normalizer": None, "pre_tokenizer": gaps, "decoder": {"type": "Sequence", "decoders": back}, "model": model}


def read(body: bytes, frame: tuple[bool, bool]) -> str:
    """A file of SentencePiece as a tokenizer.json. `frame`: whether a text is read between the tokens of beginning and end. ValueError
    for what is none, ConfigError for a make that is not read."""
    file = _fields(body)
    pieces = [_fields(piece) for piece in file.get(1, []) if isinstance(piece, bytes)]
    trained, normal = (_fields(_bytes(file, place)) for place in (2, 3))
    tokens = [_bytes(piece, 1).decode() for piece in pieces]
    scores = [struct.unpack("<f", _bytes(piece, 2) or bytes(4))[0] for piece in pieces]
    kinds = [_number(piece, 3, NORMAL) for piece in pieces]
    make, begins, by_bytes = _number(trained, 3, UNIGRAM), bool(_number(normal, 3, 1)), bool(_number(trained, 35, 0))
    unknown = next((number for number, kind in enumerate(kinds) if kind == UNKNOWN), -1)
    if make not in (UNIGRAM, PAIRS) or _number(trained, 24, 0):
        raise ConfigError("A vocabulary of SentencePiece is read where it is of pairs or unigram pieces with spaces before words; this one "
                          "is of another make. Save the tokenizer as tokenizer.json.")  # fmt: skip
    if unknown < 0 or len(set(tokens)) < len(tokens):
        raise ValueError("no piece stands for what is unknown, or one is there twice")
    parts = by_pairs(tokens, scores, unknown, begins) if make == PAIRS else by_shares(tokens, scores, unknown, begins, by_bytes)
    before = [*_table(_bytes(normal, 2)), *(_single_blanks() if _number(normal, 4, 1) else [])]
    parts["normalizer"] = {"type": "Sequence", "normalizers": [*before, *([parts["normalizer"]] if parts["normalizer"] else [])]}
    around = [_number(trained, number, usual) for number, usual in ((41, 1), (42, 2))]
    ends = [place if wanted and 0 <= place < len(tokens) else -1 for place, wanted in zip(around, frame, strict=True)]
    return json.dumps(whole(tokens, kinds, **parts, **_frame(tokens, ends)), ensure_ascii=False)


def _table(table: bytes) -> list[dict[str, Any]]:
    return [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}] if table else []


def _single_blanks() -> list[dict[str, Any]]:
    return [{"type": "Strip", "strip_left": True, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]  # fmt: skip


def _frame(tokens: Sequence[str], ends: Sequence[int]) -> dict[str, Any]:
    """What stands before and behind each text: tokens by number, -1 for none."""
    around = [[{"SpecialToken": {"id": tokens[place], "type_id": 0}}] if place >= 0 else [] for place in ends]
    one, two = ([*around[0], {"Sequence": {"id": name, "type_id": 0}}, *around[1]] for name in "AB")
    known = {tokens[place]: {"id": tokens[place], "ids": [place], "tokens": [tokens[place]]} for place in ends if place >= 0}
    return {"post_processor": {"type": "TemplateProcessing", "single": one, "pair": [*one, *two], "special_tokens": known}} if known else {}


# -- Protocol Buffers
def _fields(body: bytes) -> Fields:
    """The fields of a message by number; ValueError where it is damaged."""
    found: Fields = {}
    for number, value in _read(body):
        found.setdefault(number, []).append(value)
    return found


def _read(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(body):
        key, place = _varint(body, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(body, place)
            yield key >> 3, value
            continue
        size, place = _varint(body, place) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), place)
        if not 0 <= size <= len(body) - place:
            raise ValueError("a field goes beyond the file")
        yield key >> 3, body[place : place + size]
        place += size


def _varint(body: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(body[place : place + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value - (value >> 63 << 64), place + shift + 1
    raise ValueError("a number has no end")


def _bytes(fields: Fields, number: int) -> bytes:
    found = fields.get(number, [b""])[-1]
    if not isinstance(found, bytes):
        raise ValueError("a field is of another type")
    return found


def _number(fields: Fields, number: int, other: int) -> int:
    found = fields.get(number, [other])[-1]
    if not isinstance(found, int):
        raise ValueError("a field is of another type")
    return found
