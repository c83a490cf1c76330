"""Speech to text: the search against brute force, the judging against the definition, the task on real recordings."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch

from duomo import samples
from duomo.core.contract import Steps
from duomo.core.device import Execution
from duomo.core.errors import DataError
from duomo.core.find import make_model, make_task
from duomo.core.kinds import audio, infer
from duomo.core.recipe import ModelConfig
from duomo.data import sources
from duomo.data.formats.cues import heard, subtitled
from duomo.data.loader import finish
from duomo.data.predictor import Block, Predictor
from duomo.data.readable import overlong
from duomo.tasks.transcribe import ctc
from duomo.tasks.transcribe.baselines import warped
from duomo.tasks.transcribe.transcripts import distance, facts, normalise

ROWS = 40


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    samples.write("words", folder)
    table = infer(sources.read(folder / "words"), {})
    return table.take(np.arange(0, len(table), len(table) // ROWS)[:ROWS])


@pytest.fixture(scope="module")
def fitted(recordings):
    task = make_task("transcribe", {"target": ["text"]})
    task.fit(recordings)
    torch.manual_seed(0)
    return task, make_model(ModelConfig("conformer", "small"), task).eval()


def steps(rows: int, length: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, length, size, generator=torch.Generator().manual_seed(seed)) * 2


def collapse(path) -> tuple:
    return tuple(c for c, before in zip(path, (0, *path), strict=False) if c and c != before)


def by_force(logits_TV: torch.Tensor) -> dict[tuple, float]:
    """Every labelling and its probability, by adding all paths."""
    p_TV, found = logits_TV.softmax(-1).tolist(), {}
    for path in itertools.product(range(len(p_TV[0])), repeat=len(p_TV)):
        key = collapse(path)
        found[key] = found.get(key, 0.0) + math.prod(p_TV[t][c] for t, c in enumerate(path))
    return found


def test_normalise():
    assert normalise("Aujourd\u2019hui,  l'arc-en-ciel\u00a0: « É » !", "spoken") == "aujourd'hui l'arc-en-ciel é"
    assert normalise("- 'Tis e\u0301te\u0301 -", "spoken") == "tis été"
    assert normalise(" Un  Coq. ", "exact") == "Un Coq."
    assert normalise("你好，世界。", "spoken") == "你好 世界"


def test_distance():
    assert distance("kitten", "sitting") == 3 and distance("", "abc") == 3 and distance("abc", "abc") == 0
    random = np.random.default_rng(0)
    for _ in range(30):
        a, b = ("".join(random.choice(list("abc"), random.integers(1, 9))) for _ in range(2))
        table = [[i + j for j in range(len(b) + 1)] for i in range(len(a) + 1)]
        for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
        assert distance(a, b) == distance(b, a) == table[-1][-1]
    assert [int(value[0]) for value in facts(["un chat noir"], ["un rat noir"]).values()] == [2, 12, 1, 3]


def test_search_finds_the_likeliest_labelling(monkeypatch):
    monkeypatch.setattr(ctc, "FLOOR", 0.0)
    for seed in range(6):
        logits = steps(1, 5, 4, seed)
        (lattice,) = ctc.lattices(logits, torch.tensor([5]))
        found = ctc.search(lattice, "abc", None, ctc.Search(1000, 0.0, 0.0))
        every = by_force(logits[0])
        best = max(every, key=lambda key: every[key])
        assert found.text == "".join("abc"[c - 1] for c in best)
        assert found.log_probability == pytest.approx(math.log(every[best]), abs=1e-5)


def test_search_weighs_language_and_length(monkeypatch):
    monkeypatch.setattr(ctc, "FLOOR", 0.0)
    texts = ["abab", "abab", "abba", "ab"]
    language = ctc.Language("abc", 3, texts)
    language.prepare(["", "a", "ab"])
    assert np.exp(language.next("ab")).sum() == pytest.approx(1.0, abs=1e-6)
    logits = steps(1, 5, 4, 3)
    (lattice,) = ctc.lattices(logits, torch.tensor([5]))
    found = ctc.search(lattice, "abc", language, ctc.Search(1000, 0.7, 0.9))

    def score(key) -> float:
        text = "".join("abc"[c - 1] for c in key)
        language.prepare([text[:place] for place in range(len(text) + 1)])
        spoken = sum(float(language.next(text[:place])[c]) for place, c in enumerate((*key, 0)))
        return math.log(by_force(logits[0])[key]) + 0.7 * spoken + 0.9 * len(key)

    assert found.text == "".join("abc"[c - 1] for c in max(by_force(logits[0]), key=score))


def test_a_text_is_laid_over_the_steps_by_the_likeliest_path():
    for seed, text in enumerate(["ab", "aa", "abca", "", "c"]):
        logits = steps(1, 6, 4, seed)
        (lattice,) = ctc.lattices(logits, torch.tensor([6]))
        p_TV, wanted = logits[0].softmax(-1).tolist(), tuple("abc".index(c) + 1 for c in text)
        paths = [path for path in itertools.product(range(4), repeat=6) if collapse(path) == wanted]
        best = max(paths, key=lambda path: math.prod(p_TV[t][c] for t, c in enumerate(path)))
        runs = [[t for t, _ in run] for c, run in itertools.groupby(enumerate(best), key=lambda pair: pair[1]) if c]
        assert ctc.aligned(lattice, text, "abc").tolist() == [[run[0], run[-1] + 1] for run in runs]


def test_words_are_told_with_their_times_and_written_as_subtitles():
    task = make_task("transcribe", {"target": ["text"]})
    task.alphabet = list(" abc你好")
    said = [0, 2, 2, 0, 3, 0, 1, 0, 0, 0, 0, 0, 4, 4, 0, 0]  # "ab c"
    logits = torch.full((1, 16, 7), -9.0)
    logits[0, range(16), said] = 9.0
    (row,) = ctc.lattices(logits, torch.tensor([16]))
    words = task._words(row, "ab c", 1.6)
    assert words == [{"word": "ab", "start": 0.0, "end": 0.6}, {"word": "c", "start": 1.1, "end": 1.5}]
    assert [one["word"] for one in task._words(row, "你好 ab", 1.6)] == ["你", "好", "ab"] and not task._words(row, "", 1.6)
    cues = heard([{"word": "a", "start": 3599.5, "end": 3599.9}, {"word": "b.c", "start": 3661.2, "end": 3661.75}])
    assert subtitled(cues, ".srt").split("\n") == [
        "1", "00:59:59,500 --> 00:59:59,900", "a", "", "2", "01:01:01,200 --> 01:01:01,750", "b.c", ""]  # fmt: skip
    assert subtitled(cues, ".vtt").startswith("WEBVTT\n\n00:59:59.500 --> 00:59:59.900\na\n\n01:01:01.200")


def test_loss_is_what_all_paths_leave():
    task = make_task("transcribe", {"target": ["text"]})
    task.alphabet = ["a", "b", "c"]
    logits = steps(3, 5, 4)
    texts = ["ab", "", "aéb"]
    points = torch.zeros(3, 3, dtype=torch.int32)
    for row, text in enumerate(texts):
        points[row, : len(text)] = torch.tensor([ord(c) for c in text], dtype=torch.int32)
    batch = {"target.points": points, "target.points.length": torch.tensor([len(text) for text in texts])}
    total, count = task.loss(Steps(logits, torch.tensor([5, 5, 5])), batch)
    expected = -sum(math.log(by_force(logits[row])[key]) for row, key in enumerate([(1, 2), (), (1, 2)]))
    assert float(total) == pytest.approx(expected, rel=1e-4) and int(count) == 4
    evidence = task.evidence(Steps(logits, torch.tensor([5, 5, 5])), batch)
    assert evidence["characters"].tolist() == [2, 0, 3] and evidence["edits"][2] >= 1


def test_warping_prefers_the_same_at_another_pace():
    wave = np.sin(np.linspace(0, 6, 32))[:, None]
    slower_first = np.sin(np.linspace(0, 1, 32) ** 1.3 * 6)[:, None]
    assert warped(wave, [slower_first, -wave])[0] < warped(wave, [slower_first, -wave])[1]


def test_remembers_and_answers_alike_whatever_the_padding(recordings, fitted):
    task, model = fitted
    examples = task.encode(recordings, target=True)
    batch = finish(examples.batch(np.arange(ROWS)), task.inputs)
    with torch.inference_mode():
        evidence = task.evidence(model(batch), batch)
        task.calibrate(evidence)
        again = make_task("transcribe", {"target": ["text"]})
        again.restore(json.loads(json.dumps(task.state())))
        one = finish(examples.batch(np.array([int(np.argmin(examples.lengths()))])), task.inputs)
        name = next(iter(task.inputs))
        wide = one | {name: torch.nn.functional.pad(one[name], (0, 5000))}
        assert again.answer(model, one)["prediction"] == task.answer(model, wide)["prediction"]
    assert again.decoding == task.decoding and evidence["truth"][0] == task.transcripts(recordings)[0]
    assert len(task.views(evidence)) == 2


def test_a_long_recording_is_answered_whole_in_pieces_cut_at_pauses(recordings, fitted, tmp_path):
    task, model = fitted
    sounds = [audio.decode(recordings.root / name, 16_000, 48_000) for name in recordings.column("audio").to_pylist()[:6]]
    wave = np.concatenate([part for sound in sounds for part in (sound, np.zeros(6_000, np.int16))])
    soundfile.write(tmp_path / "long.flac", np.stack([wave, wave], 1), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(400_000, np.int16), 16_000)
    longest = max(map(len, sounds)) + 6_000
    begins, found = zip(*audio.pieces(tmp_path / "long.flac", 16_000, longest), strict=True)
    assert all(np.allclose(wave[round(begin * 16_000) :][: len(piece)], piece, atol=2) for begin, piece in zip(begins, found, strict=True))
    assert all(0 < len(piece) <= longest for piece in found) and len(found) >= 4
    assert sum(np.abs(piece.astype(np.int64)).sum() for piece in found) == pytest.approx(np.abs(wave.astype(np.int64)).sum(), rel=0.02)
    assert all(np.abs(piece[-200:]).max() <= audio.SILENT for piece in found[:-1])  # no word is cut
    halved = [piece for _, piece in audio.pieces(tmp_path / "long.flac", 8_000, longest // 2)]
    assert abs(sum(map(len, halved)) - len(wave) / 2) < 4_000 and not list(audio.pieces(tmp_path / "silent.wav", 16_000, longest))

    cells = pa.array([recordings.column("audio")[0].as_py(), str(tmp_path / "long.flac"), str(tmp_path / "silent.wav")], pa.large_string())
    table = replace(recordings, data=pa.table({"audio": cells}), kinds={"audio": "audio"})
    predictor = Predictor(task, model, Execution(), Block(1))
    answers, one = predictor.answers(table), predictor.answers(table.take(np.array([0])))
    parts = [part for row, parts in task.windows(table) if row == 1 for part in parts]
    pieces = [text for part in parts for text in predictor.answers(part)["prediction"]]
    assert answers["prediction"] == [one["prediction"][0], " ".join(text for text in pieces if text), ""] and len(pieces) > 2
    hushed = replace(table, data=pa.table({"audio": pa.array([audio.wav(np.full(8_000, 9, np.int16), 16_000)], pa.large_binary())}))
    assert predictor.answers(hushed)["prediction"] == [""] and predictor.answers(hushed)["words"] == [[]]
    assert [" ".join(one["word"] for one in words) for words in answers["words"]] == answers["prediction"]
    times = [moment for one in answers["words"][1] for moment in (one["start"], one["end"])]
    assert times == sorted(times) and begins[-1] < times[-1] <= len(wave) / 16_000
    assert overlong(table, predictor.hearing())[0].startswith("2 of 3 sounds")


def test_baselines_are_judged_alike(recordings, fitted):
    task, _ = fitted
    for baseline in task.baselines():
        baseline.fit(recordings)
        evidence = baseline.evidence(recordings)
        assert len(evidence["edits"]) == ROWS
        if baseline.name.startswith("nearest"):
            assert task.measure(evidence)["cer"] < 0.05


def test_leaves_out_what_cannot_be_learned(recordings):
    cells = recordings.column("text").to_pylist()
    cells[0], cells[1], cells[2] = None, " ", "a " * 3000
    place = recordings.names.index("text")
    table = replace(recordings, data=recordings.data.set_column(place, "text", pa.array(cells, pa.large_string())))
    mask, sentences = make_task("transcribe", {"target": ["text"]}).usable(table)
    assert mask.sum() == ROWS - 3 and not mask[:3].any() and len(sentences) == 2
    short = make_task("transcribe", {"target": ["text"], "encode": {"longest_sound": 0.5}})
    assert short.usable(recordings)[0].sum() < ROWS / 2
    with pytest.raises(DataError, match="one target column"):
        make_task("transcribe", {})
    with pytest.raises(DataError, match="exactly one column of sounds"):
        make_task("transcribe", {"target": ["text"], "ignore": recordings.of_kind("audio")}).fit(recordings)
