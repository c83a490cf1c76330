"""Characters stay whole where tokens are bytes, whatever a model wants to write."""

import numpy as np
import pyarrow as pa
import pytest

from duomo.core.kinds import text as text_kind
from duomo.core.recipe import EncodeConfig
from duomo.decode.whole_characters import WholeCharacters, behind


def bytewise(text: str, size: int = 300) -> dict:
    return text_kind.learn(pa.chunked_array([[text]]), EncodeConfig(tokenizer="bpe", vocabulary=size))


def test_where_a_text_stands_behind_its_bytes():
    for sign, lacking in (("a", 0), ("é", 1), ("中", 2), ("😀", 3)):
        body = sign.encode()
        assert [behind(b"x" + body[: size + 1]).lacking for size in range(len(body))] == list(range(lacking, -1, -1))
    assert behind(b"\xe0")[1:] == (0xA0, 0xBF) and behind(b"\xed")[1:] == (0x80, 0x9F) and behind(b"\xf4")[1:] == (0x80, 0x8F)
    assert behind(b"\x80\x80").lacking == behind(b"").lacking == behind(b"\xff").lacking == 0


@pytest.mark.parametrize("text", ["春風又綠江南岸明月何時照我還" * 30, "naïve café, déjà vu, über 😀 𝄞 " * 30])
def test_what_is_drawn_from_noise_has_whole_characters(text: str):
    state = bytewise(text)
    draw = np.random.default_rng(0)
    whole, written = WholeCharacters(state, []), []
    for _ in range(600):
        mask = whole.mask()
        allowed = np.arange(state["size"]) if mask is None else np.flatnonzero(mask.numpy())
        written.append(int(draw.choice(allowed[allowed > 1])))
        whole.add(written[-1])
    assert "\ufffd" not in text_kind.decode_text(state, written).rstrip("\ufffd")


def test_all_that_is_written_in_a_language_may_be_written():
    state = bytewise("春風又綠江南岸 café 😀 " * 30)
    tokens = text_kind.encode_text(state, ["明月何時照我還？ naïve ÿ 𝄞 😀 end"])[0].tolist()
    whole = WholeCharacters(state, tokens[:3])
    for token in tokens[3:]:
        assert (mask := whole.mask()) is None or mask[token]
        whole.add(token)
    assert (
        WholeCharacters({**state, **text_kind.learn(pa.chunked_array([["明月何時"]]), EncodeConfig(tokenizer="characters"))}, []).mask()
        is None
    )
