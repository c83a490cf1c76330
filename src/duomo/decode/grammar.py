"""Answers that follow a JSON schema: before each token, which tokens could still lead to a text that the schema accepts.

The schema is compiled by llguidance (MIT, 8 MB, works offline; the extra `schema`), which walks a trie of the vocabulary's bytes
alongside an Earley parser. Legend: V vocabulary.
"""

import importlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from duomo.core.errors import ConfigError, DataError
from duomo.core.kinds import text as text_kind

LARGEST = 1 << 16
"""Characters of a schema at most."""


class JsonSchema:
    """One answer's way through a schema (decode/loop.py::Grammar)."""

    def __init__(self, schema: str | Mapping[str, Any], tokenizer: Mapping[str, Any]):
        """ConfigError where llguidance is missing or the tokenizer cannot spell JSON; DataError where the schema is none."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        if len(text) > LARGEST:
            raise DataError("A JSON schema may have at most {most:,} characters; received {size:,}.", most=LARGEST, size=len(text))
        library = _library()
        self._size, self._end = int(tokenizer["size"]), text_kind.special(tokenizer, "end")
        try:
            grammar = library.LLMatcher.grammar_from_json_schema(text, defaults={"whitespace_flexible": False})
        except ValueError as error:
            raise DataError("The JSON schema cannot be used: {reason}", reason=str(error)[:300]) from None
        problem = library.LLMatcher.validate_grammar(grammar, None)
        if problem:
            raise DataError("The JSON schema cannot be used: {reason}", reason=str(problem)[:300])
        self._matcher: Any = library.LLMatcher(_vocabulary(tokenizer["json"], tokenizer["tokenizer"], self._size, self._end), grammar)

    def mask(self) -> Tensor:
        """(V,) bool: what may come next; all False once the text is complete. DataError as in `accept`."""
        if self._matcher.is_stopped():
            return torch.zeros(self._size, dtype=torch.bool)
        words = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._refuse_failed()
        mask_V = torch.from_numpy(np.unpackbits(words, bitorder="little")[: self._size].astype(bool))
        if self._end >= 0:
            mask_V[self._end] = self._matcher.is_accepting()
        return mask_V

    def accept(self, token: int) -> None:
        """Go on with a token that the mask allowed; DataError where the schema cannot be followed on."""
        self._matcher.consume_token(token)
        self._refuse_failed()

    def _refuse_failed(self) -> None:
        """DataError where the schema asks for more than can be followed: what comes without it would no longer obey."""
        if self._matcher.is_error():
            raise DataError("The JSON schema cannot be used: {reason}", reason=str(self._matcher.get_error()).splitlines()[0][:300])


def _library() -> Any:
    try:
        return importlib.import_module("llguidance")
    except ImportError:
        raise ConfigError("Answers by a JSON schema need llguidance. Install it with: pip install 'duomo[schema]'") from None


class _Spelling:
    """What llguidance asks of a tokenizer: the bytes of every token, and how it spells what the grammar leaves no choice in."""

    def __init__(self, tokenizer: Tokenizer, tokens: list[bytes], end: int):
        self.tokens, self.eos_token_id, self.bos_token_id, self.special_token_ids = tokens, end, None, [end]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids  # refuses bytes, which says that it wants text
        return found


@lru_cache(maxsize=4)
def _vocabulary(text: str, name: str, size: int, end: int) -> Any:
    library, wrapper = _library(), importlib.import_module("llguidance._tokenizer")
    state = {"json": text, "tokenizer": name, "size": size}
    spelling = _Spelling(text_kind.tokenizer_of(state), token_bytes(state), end if end >= 0 else size - 1)
    return library.LLTokenizer(wrapper.TokenizerWrapper(spelling), n_vocab=size)


def token_bytes(state: Mapping[str, Any]) -> list[bytes]:
    """(V,) the UTF-8 that each token stands for; empty for what is not text. ConfigError for vocabularies that do not keep spaces."""
    tokenizer = text_kind.tokenizer_of(state)
    words = [tokenizer.id_to_token(number) or "" for number in range(int(state["size"]))]
    if '"WordPiece"' in state["json"] or not ({"{", '"', ":"} <= set("".join(words))):
        raise ConfigError(
            "Answers by a JSON schema need a tokenizer that can spell JSON; this one ({name}) cannot.", name=state["tokenizer"]
        )
    special = set(tokenizer.get_added_tokens_decoder())
    spelled = speller(state)
    return [b"" if number in special else spelled(word) for number, word in enumerate(words)]


def speller(state: Mapping[str, Any]) -> Callable[[str], bytes]:
    """From a token as its vocabulary has it to the bytes that it stands for."""
    if '"ByteLevel"' in state["json"]:
        of = _byte_level()
        return lambda word: bytes(of.get(sign, 0) for sign in word)
    return lambda word: bytes([int(word[3:5], 16)]) if text_kind.BYTE.fullmatch(word) else word.replace("▁", " ").encode("utf-8", "replace")


def _byte_level() -> dict[str, int]:
    """The sign that a byte-level vocabulary writes for each byte: itself where it can be printed, else the next one from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}
