"""Pieces of long recordings: listed with times, or told by subtitles, Praat, ELAN, Audacity, Kaldi."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soundfile

from duomo.core import kinds
from duomo.core.recipe import DataConfig
from duomo.data import audit, outputs, sources
from duomo.plan import choose

RATE, LONG = 8000, 12
PITCH = {"low": 200.0, "high": 900.0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path / "cache"))


def record(folder: Path, count: int = 5) -> list[tuple[str, float, float, str]]:
    """Recordings in which every second has a pitch of its own, and what each two of them are."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(count):
        classes = [("low", "high")[(second // 2 + number) % 2] for second in range(0, LONG, 2)]
        time = np.arange(2 * RATE) / RATE
        waves = [0.3 * np.sin(2 * np.pi * PITCH[name] * time) for name in classes]
        soundfile.write(folder / f"r{number}.wav", np.concatenate(waves), RATE)
        rows += [(f"r{number}.wav", 2.0 * place, 2.0 * place + 2, name) for place, name in enumerate(classes)]
    return rows


def pitch_of(path: str) -> float:
    wave, rate = soundfile.read(path)
    assert rate == RATE and len(wave) == 2 * RATE
    return float(np.abs(np.fft.rfft(wave)).argmax() / 2)


@pytest.mark.parametrize(
    ("names", "scale"),
    (
        (("start", "end"), 1), (("Begin Time (s)", "End Time (s)"), 1), (("onset", "offset"), 1000), (("开始时间", "结束时间"), 1),
        (("start_sample", "end_sample"), RATE), (("start", "duration"), 1),
    ),
)  # fmt: skip
def test_a_list_with_times_is_a_piece_a_row(tmp_path: Path, names: tuple[str, str], scale: float) -> None:
    rows = record(tmp_path / "field")
    listed = pd.DataFrame(rows, columns=["file", *names, "label"])
    if names[1] == "duration":
        listed["duration"] = 2.0
    listed[list(names)] *= scale
    listed.to_csv(tmp_path / "field/list.csv", index=False)
    for source in (tmp_path / "field", tmp_path / "field/list.csv", listed.assign(file=[str(tmp_path / "field" / row[0]) for row in rows])):
        table = kinds.infer(sources.read(source), {})
        assert [table.kinds[name] for name in ("audio", *names)] == ["audio", "id", "id"]
        for path, (_, _, _, name) in zip(table.column("audio").to_pylist()[:8], rows[:8], strict=True):
            assert pitch_of(path) == pytest.approx(PITCH[name], abs=1)
        assert outputs.shown(table, False)[-1] == "source" and "audio" not in outputs.shown(table, False)
        proposal, _ = audit.propose(table, "label")
        assert (proposal.how, proposal.group) == ("group", "source")  # what is heard in one recording stays on one side


def test_times_on_a_clock_and_pieces_that_are_not_there(tmp_path: Path) -> None:
    rows = record(tmp_path / "field", 2)
    listed = pd.DataFrame([(file, f"00:00:{begin:04.1f}", f"0:00:{end:04.1f}", name) for file, begin, end, name in rows])
    listed.columns = ["file", "start", "end", "label"]
    listed.loc[len(listed)] = ["r0.wav", "00:07:00", "00:07:02", "low"]
    listed.to_csv(tmp_path / "field/list.csv", index=False)
    found = sources.read(tmp_path / "field").column("audio").to_pylist()
    assert found[-1] is None and pitch_of(found[1]) == pytest.approx(900, abs=1)


def test_clips_that_were_cut_already_stay_whole(tmp_path: Path) -> None:
    """As UrbanSound8K has them: the times are those of recordings that are not there."""
    (tmp_path / "clips").mkdir()
    for number in range(12):
        soundfile.write(tmp_path / "clips" / f"c{number}.wav", np.zeros(2 * RATE), RATE)
    names = [f"clips/c{number}.wav" for number in range(12)]
    for first in (0.0, 1.5, 10.0):
        begin = first * np.arange(12)
        pd.DataFrame({"file": names, "start": begin, "end": begin + 2, "label": list("ab") * 6}).to_csv(tmp_path / "l.csv", index=False)
        assert "source" not in sources.read(tmp_path / "l.csv").names
        asked = [sources.read(tmp_path / "l.csv", wanted=wanted).kinds.get("end") for wanted in ((), ("end",))]
        assert asked == ["id", None]  # what is asked for may be learned


def cues(form: str, name: str, said: list[tuple[float, float, str]]) -> tuple[str, str]:
    clock = [(f"00:00:{begin:06.3f}", f"00:00:{end:06.3f}", text) for begin, end, text in said]
    match form:
        case "srt":
            return f"{name}.srt", "\n\n".join(
                f"{n + 1}\n{a.replace('.', ',')} --> {b.replace('.', ',')}\n{t}" for n, (a, b, t) in enumerate(clock)
            )
        case "vtt":
            return f"{name}.vtt", "WEBVTT\n\n" + "\n\n".join(f"{a} --> {b}\n<i>{t}</i>" for a, b, t in clock)
        case "whisper":
            return f"{name}.json", json.dumps({"text": "", "segments": [{"start": a, "end": b, "text": f" {t}"} for a, b, t in said]})
        case "audacity":
            return f"{name}.txt", "\n".join(f"{a:.6f}\t{b:.6f}\t{t}" for a, b, t in said)
        case "praat":
            words = "\n".join(f'    intervals [{n + 1}]:\n  xmin = {a}\n  xmax = {b}\n  text = "{t}"' for n, (a, b, t) in enumerate(said))
            phones = "\n".join(
                f'  intervals [{n + 1}]:\n  xmin = {a}\n  xmax = {a + 0.5}\n  text = "x"' for n, (a, _, _) in enumerate(said)
            )
            head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 40\ntiers? <exists>\nsize = 2\nitem []:\n'
            tier = '  item [{}]:\n class = "IntervalTier"\n name = "{}"\n xmin = 0\n xmax = 40\n intervals: size = {}\n{}\n'
            tiers = [tier.format(1, "phones", len(said), phones), tier.format(2, "words", len(said), words)]
            return f"{name}.TextGrid", head + "".join(tiers)
    slot, slots, rows = '<TIME_SLOT TIME_SLOT_ID="{}" TIME_VALUE="{:.0f}"/>', "", ""
    for n, (a, b, t) in enumerate(said):
        slots += slot.format(f"a{n}", 1000 * a) + slot.format(f"b{n}", 1000 * b)
        rows += f'<ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="a{n}" TIME_SLOT_REF2="b{n}"><ANNOTATION_VALUE>{t}</ANNOTATION_VALUE>'
        rows += "</ALIGNABLE_ANNOTATION></ANNOTATION>"
    told = f'<TIME_ORDER>{slots}</TIME_ORDER><TIER TIER_ID="w">{rows}</TIER>'
    return f"{name}.eaf", f'<?xml version="1.0"?>\n<ANNOTATION_DOCUMENT>{told}</ANNOTATION_DOCUMENT>'


SAID = [(0.0, 1.0, "今天"), (1.0, 2.0, "天气很好"), (3.0, 5.0, "we go to the park"), (31.0, 33.0, "明天会下雨吗")]


@pytest.mark.parametrize("form", ("srt", "vtt", "whisper", "audacity", "praat", "elan"))
def test_what_is_said_by_time_is_a_sentence_a_row(tmp_path: Path, form: str) -> None:
    (tmp_path / "talk").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / f"talk/t{number}.wav", 0.1 * np.random.default_rng(number).normal(size=35 * RATE), RATE)
        name, text = cues(form, f"t{number}", [(a, b, f"{t}" + " ," * number) for a, b, t in SAID])
        (tmp_path / "talk" / name).write_text(text, encoding="utf-8")
    table = sources.read(tmp_path / "talk")
    assert [text.rstrip(" ,") for text in table.column("text").to_pylist()[:3]] == ["今天天气很好", "we go to the park", "明天会下雨吗"]
    assert [len(soundfile.read(path)[0]) / RATE for path in table.column("audio").to_pylist()[:3]] == [2.0, 2.0, 2.0]
    assert table.column("source").to_pylist()[:4] == ["t0.wav"] * 3 + ["t1.wav"]


def test_marked_classes_stay_as_they_were_marked(tmp_path: Path) -> None:
    rows = record(tmp_path / "field")
    for number in range(5):
        told = [(begin, end, name) for file, begin, end, name in rows if file == f"r{number}.wav"]
        (tmp_path / "field" / f"r{number}.txt").write_text(cues("audacity", "", told)[1])
    table = sources.read(tmp_path / "field")
    assert table.column("label").to_pylist() == [name for *_, name in rows] and "text" not in table.names


def test_kaldis_segments(tmp_path: Path) -> None:
    record(tmp_path / "field", 2)
    (tmp_path / "field/segments").write_text("u1 r0 0.0 2.0\nu2 r0 4.0 6.0\nu3 r1 2.0 4.0\n")
    (tmp_path / "field/text").write_text("u1 the first\nu2 the second one\nu3 the third\n")
    table = sources.read(tmp_path / "field")
    assert table.column("text").to_pylist() == ["the first", "the second one", "the third"]
    assert [pitch_of(path) for path in table.column("audio").to_pylist()] == pytest.approx([200, 200, 200], abs=1)


def test_a_list_in_a_folder_apart_names_the_files(tmp_path: Path) -> None:
    record(tmp_path / "set/audio")
    (tmp_path / "set/meta").mkdir()
    pd.DataFrame({"filename": [f"r{n}.wav" for n in range(5)], "kind": list("ababa"), "take": range(5)}).to_csv(
        tmp_path / "set/meta/list.csv"
    )
    assert sources.read(tmp_path / "set").column("kind").to_pylist() == list("ababa")


def test_a_class_under_another_name_is_not_learned_from(tmp_path: Path) -> None:
    record(tmp_path / "set/audio", 12)
    listed = pd.DataFrame(
        {"file": [f"r{n}.wav" for n in range(12)], "target": [0, 7, 9] * 4, "name": list("abc") * 4, "take": list("aabb") * 3}
    )
    listed.to_csv(tmp_path / "set/list.csv", index=False)
    table = kinds.infer(sources.read(tmp_path / "set"), {})
    data, notes = choose(table, DataConfig(target=("target",)))
    assert data.ignore == ("name",) and "under other names" in notes[-1]
    grown = replace(
        table, data=table.data.append_column("group of", pa.array(list("xyy") * 4)), kinds={**table.kinds, "group of": "category"}
    )
    assert choose(grown, DataConfig(target=("target",)))[0].ignore == ("name",)  # of few classes an input may follow from the class
    codes = pa.array([number % 8 for number in range(24)])
    many = table.take(np.resize(np.arange(12), 24))
    many = replace(many, data=many.data.set_column(many.names.index("target"), "target", codes))
    many = replace(many, data=many.data.append_column("large", pc.greater(codes, 5)), kinds={**many.kinds, "large": "category"})
    assert "large" in choose(many, DataConfig(target=("target",)))[0].ignore  # what several of many classes are together
    assert choose(table, DataConfig(target=("target",), kind={"name": "category"}))[0].ignore == ()
    assert choose(table.without(["audio", "file"]), DataConfig(target=("target",)))[0].ignore == ()  # there is nothing else to learn from
