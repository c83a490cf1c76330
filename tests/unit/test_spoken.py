"""Transcripts in the forms that corpora of speech have them, told by what the files hold."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.kinds import audio
from duomo.core.recipe import DataConfig
from duomo.data import audit, sources
from duomo.plan import choose

SAID = ["鸟儿，在唱歌", "une alouette", "the second bird: a lark", "rain"]
LINES = {
    "tab": "{n}\t{t}", "ending": "wavs/{n}.wav|{t}", "speaker": "{n}.wav|{t}|0", "colon": "{n}: {t}", "wide": "{n}：{t}",
    "comma": "{n},{t}", "space": "{n} {t}", "festival": '( {n} "{t}" )', "prompts": "mfc/{n} {t}",
}  # fmt: skip


def sounds(folder: Path, count: int = len(SAID)) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        soundfile.write(folder / f"u{number}.wav", np.zeros(800), 8000)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def said(root: Path) -> list[str | None]:
    return sources.read(root).column("text").to_pylist()


@pytest.mark.parametrize("form", LINES)
def test_a_list_with_a_recording_a_line(tmp_path: Path, form: str) -> None:
    sounds(tmp_path / "wavs")
    write(tmp_path / "etc" / "lines.txt", "\n".join(LINES[form].format(n=f"u{n}", t=text) for n, text in enumerate(SAID)))
    write(tmp_path / "README.txt", "Recorded in a quiet room.\nAll rights given away.")
    assert said(tmp_path) == SAID


def test_objects_without_words_and_numbers_beside_words(tmp_path: Path) -> None:
    """An object may say nothing of its recording, null, or its name; lengths are not what is said, however unlike they are."""
    for name in ("bare", "null", "named", "lengths"):
        sounds(tmp_path / name / "audio")
    write(tmp_path / "bare/data.list", "\n".join(json.dumps({"wav": f"u{n}.wav"}) for n in range(len(SAID))))
    assert sources.read(tmp_path / "bare").names == ["audio", "file"]
    told = [{"key": f"u{n}", "wav": f"u{n}.wav", "seconds": 1.5, "txt": text if n else None} for n, text in enumerate(SAID)]
    write(tmp_path / "null/data.list", "\n".join(map(json.dumps, told)))
    assert said(tmp_path / "null") == [None, *SAID[1:]]
    write(tmp_path / "named/data.list", "\n".join(json.dumps({"wav": f"u{n}.wav", "txt": f"u{n}"}) for n in range(len(SAID))))
    assert said(tmp_path / "named") == [f"u{n}" for n in range(len(SAID))]
    write(tmp_path / "lengths/text", "".join(f"u{n} {('far', 'away it goes')[n % 2]}\n" for n in range(len(SAID) - 1)))
    write(tmp_path / "lengths/utt2samples", "".join(f"u{n} {800 + n}\n" for n in range(len(SAID))))
    assert sources.read(tmp_path / "lengths").data.column(1).to_pylist() == ["far", "away it goes", "far", None]


def test_what_corpora_write_beside_the_words(tmp_path: Path) -> None:
    """MLS' list of where recordings come from, WeNet's objects, AISHELL-3's syllables, Biaobei's rests."""
    for name in ("mls", "wenet", "aishell", "biaobei"):
        sounds(tmp_path / name / "audio")
    write(tmp_path / "mls/segments.txt", "".join(f"u{n}\thttp://far/book_{n % 2}.mp3\t{n}.5\t{n + 1}.5\n" for n in range(len(SAID))))
    write(tmp_path / "mls/transcripts.txt", "".join(f"u{n}\t{text}\n" for n, text in enumerate(SAID)))
    assert said(tmp_path / "mls") == SAID
    keys = [{"key": f"u{n}", "wav": f"/far/audio/u{n}.wav", "txt": "今天"[: 1 + n % 2]} for n in range(len(SAID))]
    write(tmp_path / "wenet/data.list", "\n".join(json.dumps(one, ensure_ascii=False) for one in keys))
    assert said(tmp_path / "wenet") == ["今", "今天"] * 2
    write(tmp_path / "aishell/content.txt", "".join(f"u{n}.wav\t广 guang3 州 zhou1 女 nv3 花儿 huar1\n" for n in range(len(SAID))))
    assert said(tmp_path / "aishell") == ["广州女花儿"] * len(SAID)
    lines = (f"u{n}\t卡尔#2陪外孙#1玩#4。\n\tka2 er3 pei2 wai4 sun1 wan2\n" for n in range(len(SAID)))
    write(tmp_path / "biaobei/labels/000.txt", "".join(lines))
    assert said(tmp_path / "biaobei") == ["卡尔陪外孙玩。"] * len(SAID)


def test_recordings_with_a_header_of_nist(tmp_path: Path) -> None:
    """As LDC has them: .sph, and what wav.scp pipes through sph2pipe."""
    for number in range(len(SAID)):
        soundfile.write(tmp_path / "a.wav", np.full(800, 0.25), 8000, format="NIST")
        write(tmp_path / f"LDC/audio/u{number}.sph", "")
        (tmp_path / "a.wav").replace(tmp_path / f"LDC/audio/u{number}.sph")
    write(tmp_path / "LDC/data/text", "\n".join(f"spk-{n} {text}" for n, text in enumerate(SAID)))
    write(tmp_path / "LDC/data/wav.scp", "\n".join(f"spk-{n} sph2pipe -f wav -c 1 /far/u{n}.sph |" for n in range(len(SAID))))
    assert said(tmp_path / "LDC") == SAID
    assert (audio.decode(tmp_path / "LDC/audio/u0.sph", 8000, 800) == 8192).all()


@pytest.mark.parametrize("mark", (" ", "\t"))
def test_kaldis_names_lead_to_recordings(tmp_path: Path, mark: str) -> None:
    sounds(tmp_path / "audio")
    write(tmp_path / "data/train/text", "\n".join(f"spk-{n} {text}" for n, text in enumerate(SAID)))
    write(tmp_path / "data/train/wav.scp", "\n".join(f"spk-{n}{mark}sox /far/u{n}.wav -t wav - |" for n in range(len(SAID))))
    write(tmp_path / "data/train/utt2spk", "\n".join(f"spk-{n} spk" for n in range(len(SAID))))
    assert said(tmp_path) == SAID
    (tmp_path / "lone").mkdir()
    write(tmp_path / "lone/wav.scp", "a /far/a.wav")
    with pytest.raises(DataError, match="holds none"):
        sources.read(tmp_path / "lone")


def test_speakers_are_kept_apart(tmp_path: Path) -> None:
    """By Kaldi's list of them, or by the folders that LibriSpeech and AISHELL have for each; too few folders are none."""
    for folder in ("s1", "s2", "s3", "s4", "s5"):
        sounds(tmp_path / "corpus/clean" / folder)
        for number in range(len(SAID)):
            (tmp_path / "corpus/clean" / folder / f"u{number}.wav").rename(tmp_path / "corpus/clean" / folder / f"{folder}-{number}.wav")
        write(tmp_path / "corpus/clean" / folder / "c.trans.txt", "\n".join(f"{folder}-{n} {text}" for n, text in enumerate(SAID)))
    table = sources.read(tmp_path / "corpus")
    assert table.column("speaker").to_pylist() == [f"s{n}" for n in range(1, 6) for _ in SAID] and table.kinds["speaker"] == "id"
    proposal, _ = audit.propose(kinds.infer(table, {}), "text")
    assert (proposal.how, proposal.group) == ("group", "speaker")
    write(tmp_path / "corpus/utt2spk", "\n".join(f"s{n}-{place} {place % 2}" for n in range(1, 6) for place in range(len(SAID))))
    assert sources.read(tmp_path / "corpus").column("speaker").to_pylist() == ["0", "1"] * 10
    sounds(tmp_path / "two/a")
    sounds(tmp_path / "two/b")
    write(tmp_path / "two/list.txt", "\n".join(f"{f}/u{n}.wav\t{text}" for f in "ab" for n, text in enumerate(SAID)))
    assert "speaker" not in sources.read(tmp_path / "two").names


def test_chapters_have_lists_of_their_own_names(tmp_path: Path) -> None:
    for chapter in ("1", "2"):  # the names are the same in both
        sounds(tmp_path / chapter)
        write(tmp_path / chapter / "c.trans.txt", "\n".join(f"u{n} {chapter} {text}" for n, text in enumerate(SAID)))
    assert said(tmp_path) == [f"{chapter} {text}" for chapter in ("1", "2") for text in SAID]


@pytest.mark.parametrize("name", ("u{}.lab", "u{}.wav.trn", "u{}.normalized.txt", "../text/u{}.txt"))
def test_words_in_a_file_of_the_recordings_name(tmp_path: Path, name: str) -> None:
    sounds(tmp_path / "wav")
    for number, text in enumerate(SAID):
        write(tmp_path / "wav" / name.format(number), f"{text}\n")
    assert said(tmp_path) == SAID


def test_subtitles_of_short_recordings_are_words_and_those_of_others_are_refused(tmp_path: Path) -> None:
    sounds(tmp_path / "a", 1)
    write(tmp_path / "a/u0.srt", "1\n00:00:00,000 --> 00:00:01,000\n<i>one</i>\n7 birds\n\n2\n00:00:01,000 --> 00:00:02,000\ntwo\n")
    assert said(tmp_path / "a") == ["one 7 birds two"]
    write(tmp_path / "a/u0.srt", "1\n00:00:00,000 --> 00:01:01,000\none\n")
    with pytest.raises(DataError, match=r"u0\.wav it goes to 61 s, behind its end"):
        sources.read(tmp_path / "a")


@pytest.mark.parametrize("name", ("u0.stm", "segments"))
def test_transcripts_by_time_are_refused(tmp_path: Path, name: str) -> None:
    sounds(tmp_path / "a", 1)
    write(tmp_path / "a" / name, "x")
    with pytest.raises(DataError, match=r"whole recording.*Cut them"):
        sources.read(tmp_path / "a")


def test_class_folders_with_a_note_stay_classes(tmp_path: Path) -> None:
    for label in ("dog", "cat"):
        sounds(tmp_path / label)
    write(tmp_path / "README.txt", "dog and cat\nu0 is the first")
    assert set(sources.read(tmp_path).column("label").to_pylist()) == {"dog", "cat"}


def test_a_text_as_long_as_its_sound_is_what_is_said(tmp_path: Path) -> None:
    """Whatever the columns are called; where classes stand beside, these may be meant."""
    said, speakers = ["".join(chr(0x4E00 + 7 * n + 3 * k) for k in range(4 + n % 9)) for n in range(40)], list("甲乙丙丁")
    for number, text in enumerate(said):
        soundfile.write(tmp_path / f"{number:02}.wav", np.zeros(1600 * len(text) + 80 * number), 8000)
    rows = [f"{number:02}.wav,{speakers[number % 4]},{text},{number % 7}" for number, text in enumerate(said)]

    def chosen(who: str) -> tuple[str, tuple[str, ...]]:
        write(tmp_path / "清单.csv", "\n".join([f"文件名,{who},内容,次数", *rows]))
        made = choose(kinds.infer(sources.read(tmp_path), {}), DataConfig())[0]
        return made.task, made.target

    assert chosen("说话人") == ("transcribe", ("内容",)) and chosen("情绪") == ("classify", ("情绪",))
