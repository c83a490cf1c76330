"""What bench/soak_equal.py trains: every task on rows of the package's samples, every model on a form that it reads, in seconds."""

import csv
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from duomo import samples

SHORT = {"steps": 12, "batch_size": 8, "evaluate_steps": 10**6}
GAP = "[MASK]"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A run to train: `source` writes its data into a folder of its own, `asked` makes of its first rows what is asked."""

    source: Callable[[Path], Path]
    task: str = ""
    target: tuple[str, ...] = ()
    model: str = ""
    size: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    asked: Callable[[Rows], Rows] = list
    start: str = ""
    """The case whose run is gone on from."""

    def settings(self, runs: Path) -> dict[str, Any]:
        chosen = {"model.name": self.model, "model.size": self.size, "adapt.start": self.start and str(runs / self.start)}
        found: dict[str, Any] = {"train": SHORT, "data": {"task": self.task}}
        for name, value in chosen.items():
            if value:
                found.setdefault(name.split(".")[0], {})[name.split(".")[1]] = value
        for name, part in self.more.items():
            found[name] = {**found.get(name, {}), **part}
        return found


def sample(name: str) -> Callable[[Path], Path]:
    return lambda folder: samples.write(name, folder)


def _read(folder: Path, name: str) -> list[dict[str, str]]:
    with samples.write(name, folder).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _lines(folder: Path, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _spoken(folder: Path) -> list[tuple[str, str, str]]:
    """File, what it is called in English, what is said in French."""
    with (samples.write("words", folder) / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(f"words/{row['file']}", re.sub(r"[-\d]+", " ", Path(row["file"]).stem).strip(), row["text"]) for row in rows]


def articles(folder: Path) -> Path:
    """Recordings by the article that they begin with."""
    rows = [{"clip": file, "article": said.split()[0].lower()[:3]} for file, _, said in _spoken(folder)]
    return _lines(folder, "articles.jsonl", [row for row in rows if row["article"] in ("un", "une", "des")][:160])


def recordings(folder: Path) -> Path:
    return _lines(folder, "recordings.jsonl", [{"clip": file, "text": said} for file, _, said in _spoken(folder)[:160]])


def phrases(folder: Path) -> Path:
    return _lines(folder, "phrases.jsonl", [{"en": called, "fr": said} for _, called, said in _spoken(folder)])


def talks(folder: Path) -> Path:
    rows = [{"prompt": f"What is {called} in French?", "response": said} for _, called, said in _spoken(folder)]
    return _lines(folder, "talks.jsonl", rows)


def couplets(folder: Path) -> Path:
    verses = re.findall(r"^([^，\n]{5})，([^。\n]{5})。$", samples.write("poems", folder).read_text(encoding="utf-8"), re.MULTILINE)
    return _lines(folder, "couplets.jsonl", [{"upper": one, "lower": other} for one, other in verses[:1500]])


def summaries(folder: Path) -> Path:
    rows = [(row["text"], row["text"].split(". ")[0]) for row in _read(folder, "reviews")]
    return _lines(folder, "summaries.jsonl", [{"text": text, "summary": short} for text, short in rows if len(short) < len(text)][:600])


def _sentences(folder: Path) -> list[list[str]]:
    text = samples.write("novel", folder).read_text(encoding="utf-8")
    return [re.findall(r"\w+|[^\w\s]", one) for one in re.split(r"(?<=[.!?])\s+", text)[50:900] if 20 < len(one) < 400]


def names(folder: Path) -> Path:
    """Sentences of the novel, words within them that begin with a capital as names; CoNLL."""
    rows = []
    for words in _sentences(folder):
        tags = ["B-NAME" if place and word[0].isupper() and len(word) > 1 else "O" for place, word in enumerate(words)]
        rows.append("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)))
    path = folder / "names.conll"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def figures(folder: Path) -> Path:
    """Chinese reviews with the figures in them as spans."""
    texts = [row["text"] for row in _read(folder, "pinglun")]
    rows = [(text, [[*found.span(), "FIGURE"] for found in re.finditer(r"\d+", text)]) for text in texts]
    return _lines(folder, "figures.jsonl", [{"text": text, "spans": spans} for text, spans in rows if spans][:300])


def segmented(folder: Path) -> Path:
    """Chinese with spaces between what stands for words."""
    path = folder / "segmented.txt"
    texts = [re.sub(r"\s", "", row["text"]) for row in _read(folder, "pinglun")[:400]]
    path.write_text("".join(" ".join(re.findall(r"[\u4e00-\u9fff]{1,2}|\w+|.", text)) + "\n" for text in texts), encoding="utf-8")
    return path


def opinions(folder: Path) -> Path:
    """Reviews with several labels each."""
    rows = [{"text": row["text"], "about": [row["department"], row["label"]]} for row in _read(folder, "reviews")[:800]]
    return _lines(folder, "opinions.jsonl", rows)


def texts(folder: Path) -> Path:
    return _lines(folder, "texts.jsonl", [{"text": row["text"], "age": int(row["age"])} for row in _read(folder, "reviews")[:600]])


def gaps(folder: Path) -> Path:
    return _lines(folder, "gaps.jsonl", [{"text": " ".join(words)} for words in _sentences(folder)])


def plain(folder: Path) -> Path:
    path = folder / "plain.txt"
    path.write_text(samples.write("novel", folder).read_text(encoding="utf-8")[:150_000], encoding="utf-8")
    return path


def _digits(folder: Path, count: int) -> list[Path]:
    found = sorted(samples.write("digits", folder).rglob("*.png"))
    random.Random(0).shuffle(found)
    return found[:count]


def films(folder: Path) -> Path:
    """Digits that go right, go left or stay."""
    rows: list[dict[str, Any]] = []
    for number, path in enumerate(_digits(folder, 90)):
        digit, way = np.asarray(Image.open(path).convert("L")), number % 3
        shots = [np.full((40, 40), 20, np.uint8) for _ in range(8)]
        for time, shot in enumerate(shots):
            left = (6, 1 + time, 11 - time)[way]
            shot[6:34, left : left + 28] = np.maximum(shot[6:34, left : left + 28], digit)
        first, *others = map(Image.fromarray, shots)
        first.save(folder / f"{number}.gif", save_all=True, append_images=others, duration=100, loop=0)
        rows.append({"film": f"{number}.gif", "way": ("stays", "right", "left")[way]})
    return _lines(folder, "films.jsonl", rows)


def scenes(folder: Path) -> Path:
    """Digits somewhere on a larger ground, with their boxes."""
    chance, rows = random.Random(0), list[dict[str, Any]]()
    for number, path in enumerate(_digits(folder, 80)):
        ground = Image.new("L", (chance.randint(70, 110), chance.randint(70, 110)), 40)
        left, top = chance.randint(0, ground.width - 28), chance.randint(0, ground.height - 28)
        ground.paste(Image.open(path), (left, top))
        ground.save(folder / f"{number}.png")
        rows.append({"picture": f"{number}.png", "boxes": [{"label": path.parent.name, "box": [left, top, left + 28, top + 28]}]})
    return _lines(folder, "scenes.jsonl", rows)


def everything(folder: Path) -> Path:
    """A number, a category, a text, a picture, a sound and a series in each row."""
    signals = samples.write("watch", folder).read_text(encoding="utf-8").splitlines()
    parts = zip(_read(folder, "reviews"), _digits(folder, 120), _spoken(folder), map(json.loads, signals[::9]), strict=False)
    rows = [{"age": int(row["age"]), "department": row["department"], "text": row["text"], "picture": str(picture.relative_to(folder)),
             "clip": clip, "signal": signal["signal"], "label": row["label"]} for row, picture, (clip, _, _), signal in parts]  # fmt: skip
    return _lines(folder, "everything.jsonl", rows)


def with_gap(rows: Rows) -> Rows:
    """A word of each text left out."""
    found = []
    for number, row in enumerate(rows):
        words = row["text"].split()[:30]
        words[number % len(words)] = GAP
        found.append({"text": " ".join(words)})
    return found


def beginnings(rows: Rows) -> Rows:
    """Pieces of the one text, of many lengths."""
    ((name, text),) = rows[0].items()
    return [{name: text[500 * place : 500 * place + 1 + 7 * place]} for place in range(12)] + [{name: text[:4]}] * 2


GREEDY = {"task": {"sampling": {"temperature": 0.0, "new_tokens": 12}}}
DRAWN = {"task": {"sampling": {"new_tokens": 12}}}
CASES: dict[str, Case] = {
    "clinic": Case(sample("clinic"), target=("diagnosis",)),
    "houses": Case(sample("houses"), target=("price",)),
    "two numbers": Case(sample("houses"), target=("price", "rooms"), model="mlp", size="small"),
    "reviews": Case(sample("reviews"), target=("label",)),
    "two labels": Case(sample("reviews"), target=("label", "department"), model="widetext", size="small"),
    "many labels": Case(opinions, "classify", ("about",)),
    "pinglun": Case(sample("pinglun"), target=("label",)),
    "age of a text": Case(texts, target=("age",)),
    "digits": Case(sample("digits"), target=("label",)),
    "watch": Case(sample("watch"), target=("exercise",)),
    "articles": Case(articles, target=("article",)),
    "films": Case(films, target=("way",)),
    "everything": Case(everything, target=("label",)),
    "novel": Case(plain, "generate", model="gpt", size="nano", more=DRAWN, asked=beginnings),
    "novel greedy": Case(plain, "generate", model="gpt", size="nano", more=GREEDY, asked=beginnings),
    "novel rnn": Case(plain, "generate", model="rnn", size="small", more=DRAWN, asked=beginnings),
    "poems": Case(sample("poems"), "generate", model="gpt", size="nano", more=DRAWN, asked=beginnings),
    "chat": Case(talks, "chat", model="gpt", size="nano", more=DRAWN),
    "chat greedy": Case(talks, "chat", model="gpt", size="nano", more=GREEDY),
    "fill": Case(gaps, "fill", model="bert", size="small", asked=with_gap),
    "phrases": Case(phrases, "translate", ("fr",), "seq2seq", "small"),
    "phrases asked": Case(phrases, "translate", ("fr",), start="chat"),
    "couplets": Case(couplets, "translate", ("lower",), "seq2seq", "small"),
    "summaries": Case(summaries, "summarize", ("summary",), "seq2seq", "small", {"encode": {"longest_text": 128}}),
    "summaries asked": Case(summaries, "summarize", ("summary",), start="chat"),
    "embed": Case(phrases, "embed", ("fr",)),
    "names": Case(names, "tag"),
    "figures": Case(figures, "tag", ("spans",)),
    "segmented": Case(segmented, "tag"),
    "names from fill": Case(names, "tag", start="fill"),
    "label from fill": Case(sample("reviews"), "classify", ("label",), start="fill", more={"data": {"ignore": ("age", "department")}}),
    "recordings": Case(recordings, "transcribe", ("text",)),
    "who": Case(sample("digits"), "identify", ("label",)),
    "scenes": Case(scenes, "detect", ("boxes",)),
}
OF_FORMS = {
    ("clinic", ("diagnosis",)): (sample("clinic"), ("linear", "mlp", "tabular", "transformer", "fusion", "rocket")),
    ("texts", ("age",)): (texts, ("linear", "bert", "rnn", "transformer", "widetext", "fusion")),
    ("digits", ("label",)): (sample("digits"), ("linear", "mlp", "cnn", "resnet", "convnext", "mobilenet", "inception", "vgg", "alexnet",
                                                "vit", "fusion")),
    ("watch", ("exercise",)): (sample("watch"), ("linear", "mlp", "rnn", "transformer", "rocket", "fusion")),
    ("articles", ("article",)): (articles, ("linear", "crnn", "conformer", "fusion")),
    ("recordings", ("text",)): (recordings, ("crnn", "conformer")),
    ("films", ("way",)): (films, ("r2plus1d", "vtn", "fusion")),
}  # fmt: skip
CASES |= {
    f"{name} {model}": Case(source, "transcribe" if name == "recordings" else "", target, model, "small")
    for (name, target), (source, models) in OF_FORMS.items()
    for model in models
}
