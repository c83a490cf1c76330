"""Words of scripts with combining marks, and of scripts without spaces, as the simple models see them."""

import re
import unicodedata

import pytest

from duomo.core.word_patterns import COMBINING, WORD
from duomo.data.baselines.classical import tfidf


@pytest.mark.parametrize("text", ["हिन्दी में लिखा", "சென்னை நகரம்", "مُحَمَّد عَلِي", "می\u200cخواهم", "e\u0301te\u0301 naïve", "葛\U000e0100城"])
def test_a_word_keeps_its_marks(text):
    assert re.findall(WORD, f"{text}, ({text})।") == text.split() * 2


def test_marks_are_those_of_unicode():
    mark = re.compile(f"[{COMBINING}]")
    for point in range(0x110000):
        assert bool(mark.match(chr(point))) == (unicodedata.category(chr(point))[0] == "M" or point in (0x200C, 0x200D)), hex(point)


def test_long_runs_of_marks_are_matched_in_linear_time():
    assert not re.fullmatch(WORD + "!", "a\u0301\u0301" * 2000)


def test_the_words_of_a_linear_model_keep_their_marks():
    assert {"लड़की", "लड़का"} <= set(tfidf(["लड़की गई", "लड़का गया"]).vocabulary_)
    assert "ดี" in tfidf(["ฉันกินข้าวดี", "เธอกินน้ำดี"]).vocabulary_, "without spaces: n-grams of characters"
