"""Chinese and Japanese text whose words stand between spaces, as contests in word segmentation give it (SIGHAN, Emerson 2005).

迈向  充满  希望  ->  text 迈向充满希望, tokens ["迈", "向", "充", "满", "希", "望"], tags ["B", "E", "B", "E", "B", "E"]
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from duomo.core.messages import tr
from duomo.data.formats.text_encoding import detect, open_text

WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
HAN, HANGUL = re.compile(r"[\u3400-\u9fff]"), re.compile(r"[\uac00-\ud7af]")
FEWEST = 10
"""Lines of words, at least."""
MEAN, LONGEST, MOST_LONG = (1.15, 2.8), 6, 0.03
"""Wide characters of a word on average: single characters are no words, verses are longer; and the share of those longer than LONGEST."""
WORDS_A_LINE = 3


def is_segmented(cells: Sequence[Sequence[str]]) -> bool:
    """Whether lines, cut at their spaces, are mostly words of a script without spaces."""
    words = [word for line in cells for word in line]
    sizes = [size for word in words if (size := len(WIDE.findall(word)))]
    if len(cells) < FEWEST or len(words) < WORDS_A_LINE * len(cells) or len(sizes) < len(words) / 2:
        return False
    wide, text = sum(sizes), "".join(words)
    if wide < len(text) / 2 or not HAN.search(text) or HANGUL.search(text):
        return False
    return MEAN[0] <= wide / len(sizes) <= MEAN[1] and sum(size > LONGEST for size in sizes) <= MOST_LONG * len(sizes)


def read_segmented(path: Path, wanted: str = "") -> tuple[pa.Table, tuple[str, ...]]:
    """Columns `text` (the line without its spaces), `tokens` (its characters) and `tags` (B, M, E and S), a row a line."""
    encoding = detect(path, wanted)
    columns: dict[str, list[str]] = {"text": [], "tokens": [], "tags": []}
    with open_text(path, encoding) as file:
        for line in file:
            if words := line.split():
                columns["text"].append("".join(words))
                columns["tokens"].append(json.dumps(list("".join(words)), ensure_ascii=False))
                columns["tags"].append(json.dumps([tag for word in words for tag in letters(len(word))]))
    note = tr(
        "{file} holds words between spaces; it was read as characters, with tags that tell where a word begins and ends.", file=path.name
    )
    return pa.table({name: pa.array(cells, pa.large_string()) for name, cells in columns.items()}), (*encoding.problems, note)


def letters(length: int) -> str:
    """The tags of a word of so many characters."""
    return "S" if length == 1 else "B" + "M" * (length - 2) + "E"
