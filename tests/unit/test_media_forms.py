"""Forms of sounds and pictures: those that are read, and those that nothing here decodes, which are named with the remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from PIL import Image

from duomo import plan
from duomo.core import films, kinds
from duomo.core.errors import DataError
from duomo.core.kinds import audio, image
from duomo.core.kinds.base import Cells
from duomo.core.recipe import DataConfig, EncodeConfig
from duomo.core.reporter import Silent
from duomo.data import sources
from duomo.data.readable import readable

HEADS = {
    "m4a": ("MP4", b"\0\0\0\x20ftypM4A \0\0\2\0isomiso2" + bytes(20) + b"moov" + bytes(8) + b"hdlr" + bytes(8) + b"soun" + bytes(200)),
    "aac": ("AAC", b"\xff\xf1\x50\x80\x2e\x7f\xfc" + bytes(300)),
    "wma": ("WMA", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9" + bytes(300)),
    "weba": ("Matroska", b"\x1a\x45\xdf\xa3" + bytes(30) + b"A_OPUS" + bytes(300)),
    "amr": ("AMR", b"#!AMR\n" + bytes(300)),
}


def wave(path: Path, number: int, **form: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(9600) * (0.02 + 0.01 * number)), 48000, **form)


@pytest.mark.parametrize("ending", ["opus", "aiff", "oga", "flac", "mp3", "caf"])
def test_sounds_that_are_read(tmp_path: Path, ending: str) -> None:
    form = {"opus": {"format": "OGG", "subtype": "OPUS"}, "oga": {"format": "OGG"}}.get(ending, {})
    for number in range(6):
        wave(tmp_path / str(number % 2) / f"{number}.{ending}", number, **form)
    table = kinds.infer(sources.read(tmp_path), {})
    assert table.kinds["audio"] == "audio" and readable(table)[0].all()


@pytest.mark.parametrize("ending", HEADS)
def test_sounds_that_are_not_decoded_are_named_with_the_remedy(tmp_path: Path, ending: str) -> None:
    codec, content = HEADS[ending]
    for number in range(8):
        wave(tmp_path / str(number % 2) / f"{number}.wav", number)
    for place in ("0", "1"):
        (tmp_path / place / f"x.{ending}").write_bytes(content)
    opens, said = readable(kinds.infer(sources.read(tmp_path), {}))
    assert opens.sum() == 8 and "2 of 10 rows" in said[0]
    assert f"0/x.{ending}, 1/x.{ending}: sound in {codec} is not decoded here; make it WAV" in said[0] and "ffmpeg -i" in said[0]
    for file in tmp_path.rglob("*.wav"):
        file.unlink()
    with pytest.raises(DataError, match=f"of 2 none does: 0/x.{ending}, 1/x.{ending}: sound in {codec}"):
        plan.make(tmp_path, {}, Silent())


def test_a_list_of_sounds_that_are_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "x.m4a").write_bytes(HEADS["m4a"][1])
    (tmp_path / "metadata.csv").write_text("file,text\nx.m4a,hello there\n")
    table = kinds.infer(sources.read(tmp_path), {})
    assert table.kinds["audio"] == "audio" and plan.choose(table, DataConfig())[0].task == "transcribe"
    with pytest.raises(DataError, match="sound in MP4"):
        readable(table)


@pytest.mark.parametrize(("ending", "head"), [("mp4", "m4a"), ("webm", "weba")])
def test_films_without_pictures_are_told(tmp_path: Path, ending: str, head: str) -> None:
    for number in range(2):
        (tmp_path / f"{number}.{ending}").write_bytes(HEADS[head][1])
    with pytest.raises(DataError, match=f"0.{ending}, 1.{ending}: it holds sound and no pictures"):
        readable(kinds.infer(sources.read(tmp_path), {}))


PICTURES = {
    "heic": ("HEIF", b"\0\0\0\x18ftypheic" + bytes(300)),
    "avif": ("AVIF", b"\0\0\0\x18ftypavif" + bytes(300)),
    "svg": ("SVG", b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "psd": ("PSD", b"8BPS" + bytes(300)),
    "jp2": ("JPEG 2000", b"\0\0\0\x0cjP  \r\n" + bytes(300)),
}


@pytest.mark.parametrize("ending", PICTURES)
def test_pictures_that_are_not_decoded_are_named_with_the_remedy(tmp_path: Path, ending: str) -> None:
    form, content = PICTURES[ending]
    for number in range(6):
        place = tmp_path / str(number % 2) / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.new("L", (9, 9), 40 * number).save(place)
    (tmp_path / "1" / f"x.{ending}").write_bytes(content)
    opens, said = readable(kinds.infer(sources.read(tmp_path), {}))
    assert opens.sum() == 6 and f"1/x.{ending}: pictures in {form} are not decoded here; make it PNG or JPEG" in said[0]
    with pytest.raises(DataError, match=f"x.{ending}: pictures in {form}"):
        readable(kinds.infer(sources.read(tmp_path / "1" / f"x.{ending}"), {}))


def test_pictures_with_other_endings_are_counted(tmp_path: Path) -> None:
    for number in range(6):
        place = tmp_path / str(number % 2) / f"{number}.{'bin' if number > 3 else 'png'}"
        place.parent.mkdir(exist_ok=True)
        Image.new("L", (9, 9), 40 * number).save(place, "jpeg")
    (tmp_path / "0" / "notes.bin").write_bytes(b"BM, a text")
    table = sources.read(tmp_path)
    assert len(table) == 4 and table.problems == (
        "2 pictures are left out, for their names do not end as a picture's (0/4.bin, 1/5.bin): rename them to .jpg or .png.",
    )
    for number in range(4):
        (tmp_path / str(number % 2) / f"{number}.png").rename(tmp_path / str(number % 2) / f"{number}")
    with pytest.raises(DataError, match=r"6 files of .* are pictures but do not \(0/0, 0/2, 0/4.bin and 3 more\)"):
        sources.read(tmp_path)


OTHERS = {
    "exr": b"v/1\1\2\0\0\0", "hdr": b"#?RADIANCE\n", "dng": b"II*\0", "wmv": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "flv": b"FLV\1",
    "mpg": b"\0\0\1\xba", "mts": (b"\0" * 4 + b"G" + bytes(187)) * 3, "ogv": b"OggS" + bytes(24) + b"\x80theora",
}  # fmt: skip


def test_pictures_and_films_in_other_forms_are_counted_with_the_remedy(tmp_path: Path) -> None:
    """What nothing reads is told beside what is read, alone in a folder, and as a file; a film without an ending is to be renamed."""
    for number in range(4):
        place = tmp_path / "some" / str(number % 2) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 40 * number).save(place)
    for ending, content in OTHERS.items():
        for place in (tmp_path / "some" / "0", tmp_path / ending / "0"):
            place.mkdir(parents=True, exist_ok=True)
            (place / f"x.{ending}").write_bytes(content + bytes(300))
        for source in (tmp_path / ending, tmp_path / ending / "0" / f"x.{ending}"):
            with pytest.raises(DataError, match=rf"1 file holds pictures or films .*x.{ending}\).*ffmpeg -i IN OUT.mp4"):
                sources.read(source)
    (tmp_path / "some" / "1" / "film").write_bytes(b"\0\0\0\x18ftypisom" + bytes(300))
    (tmp_path / "some" / "1" / "page.html").write_text("<html><svg width='9'/></html>")
    said = " ".join(sources.read(tmp_path / "some").problems)
    assert "8 files hold pictures or films in forms that nothing here reads (0/x.dng, 0/x.exr" in said
    assert "1 file holds films under names that no film has (1/film)" in said


def test_a_wrong_file_is_told_the_endings_of_pictures_too(tmp_path: Path) -> None:
    (tmp_path / "a.pgn").write_bytes(b"x")
    with pytest.raises(DataError, match=r"or of a picture, sound or film \(.*\.png"):
        sources.read(tmp_path / "a.pgn")


def test_a_list_of_pictures_under_another_name_is_answered(runs: Any, tmp_path: Path) -> None:
    run = runs("digits")
    files = sorted(runs.source("digits").rglob("*.png"))[:3]
    table = "\n".join(["photo,note", *[f"{file},n{number}" for number, file in enumerate(files)]]) + "\n"
    (tmp_path / "list.csv").write_text(table)
    given = run.table(tmp_path / "list.csv")
    assert given.problems == ("Column 'photo' is read as 'image', which the model learned from.",)
    assert [answer["prediction"] for answer in run.predict(given)] == [answer["prediction"] for answer in run.predict([*files])]


@pytest.mark.parametrize("form", ["png", "tif"])
def test_colours_of_twelve_bits_are_as_bright_as_of_eight(tmp_path: Path, form: str) -> None:
    """Stored in 16 bits from 0 to 4095, as cameras and microscopes write them; full 16 bits stay as they are."""
    cv2 = films.library()
    shades = np.linspace(0, 255, 20 * 20 * 3).reshape(20, 20, 3).round()
    for bits, factor in ((8, 1), (12, 16), (16, 257)):
        for number in range(3):
            place = tmp_path / str(bits) / f"{number}.{form}"
            place.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(place), (shades * factor).astype(np.uint8 if bits == 8 else np.uint16))
    found = {}
    for bits in (8, 12, 16):
        cells = Cells(pa.chunked_array([[f"{bits}/{number}.{form}" for number in range(3)]]), tmp_path)
        state = image.KIND.fit(cells, EncodeConfig())
        found[bits] = image.KIND.encode(cells, state).values.astype(int)
        assert (
            np.abs(np.asarray(image.shown(image.open_picture(tmp_path / str(bits) / f"0.{form}"))).astype(int) - shades[..., ::-1]).max()
            <= 1
        )
    assert np.abs(found[8] - found[16]).max() <= 1 and np.abs(found[8] - found[12]).max() <= 2
    whole = (tmp_path / "16" / f"0.{form}").read_bytes()
    for cut in (whole[: len(whole) // 2], whole[:60]):
        with pytest.raises(ValueError, match=r"truncated|no picture|TIFF"):
            image.decode(cut, state)


@pytest.mark.parametrize("shape", [(20, 20, 3), (20, 20)])
def test_deep_pictures_are_frames_where_they_are_alike(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Of more than 8 bits too: none is white all over, and so like all others."""
    random = np.random.default_rng(0)
    for like, place in ((0.0, tmp_path / "apart"), (0.95, tmp_path / "frames")):
        for start in [f"{label}/{letter}" for label in "xy" for letter in "abcd"]:
            (place / start).parent.mkdir(parents=True, exist_ok=True)
            first = random.uniform(300, 4095, shape)
            for number in range(6):
                values = like * first + (1 - like) * random.uniform(300, 4095, shape)
                films.library().imwrite(str(place / f"{start}_{number}.png"), values.astype(np.uint16))
        assert ("source" in sources.read(place).names) == bool(like)


def test_half_a_sound_is_named(tmp_path: Path) -> None:
    """Of a WAV file libsndfile takes what is there for all; a length that a pipe left open promises nothing."""
    for number in range(12):
        wave(tmp_path / str(number % 2) / f"{number}.wav", number)
    half, piped = (tmp_path / str(number % 2) / f"{number}.wav" for number in (3, 4))
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    body = bytearray(piped.read_bytes())
    body[4:8] = body[40:44] = b"\xff\xff\xff\xff"
    piped.write_bytes(body)
    opens, said = readable(kinds.infer(sources.read(tmp_path), {}))
    assert "1 of 12 rows" in said[0] and "1/3.wav: the sound is truncated or damaged" in said[0] and opens.sum() == 11


def test_noise_to_be_mixed_in_is_no_class(tmp_path: Path) -> None:
    for number in range(60):
        wave(tmp_path / ("yes", "no")[number % 2] / f"{number}.wav", number)
    for number in range(3):
        place = tmp_path / "_background_noise_" / f"{number}.wav"
        place.parent.mkdir(exist_ok=True)
        soundfile.write(place, np.zeros(48000 * 5), 48000)
    table = sources.read(tmp_path)
    assert set(table.column("label").to_pylist()) == {"yes", "no"} and "3 recordings (_background_noise_/0.wav and" in " ".join(
        table.problems
    )
    for number in range(3):  # short ones are a class, however few
        soundfile.write(tmp_path / "_background_noise_" / f"{number}.wav", np.zeros(4800), 48000)
    assert "_background_noise_" in sources.read(tmp_path).column("label").to_pylist()


def test_a_column_of_masks_is_no_input(tmp_path: Path) -> None:
    """Of a list that names the mask of each picture, be it given alone or its folder; a second picture stays."""
    random, rows = np.random.default_rng(0), ["image_path,second,mask_path,diagnosis"]
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(12):
        for name in (f"images/{number}.png", f"images/{number}_b.png"):
            Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(tmp_path / name)
        Image.fromarray(np.kron(np.eye(2), np.full((8, 8), 255)).astype(np.uint8)).save(tmp_path / "masks" / f"m{number}.png")
        rows.append(f"images/{number}.png,images/{number}_b.png,masks/m{number}.png,{'yn'[number % 2]}")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    for source in (tmp_path, tmp_path / "list.csv"):
        table = kinds.infer(sources.read(source), {})
        assert len(table.of_kind("image")) == 2 and "'mask_path' names masks" in " ".join(table.problems)
        asked = plan.read(source, DataConfig(kind={"mask_path": "image"}), Silent())
        assert len(asked.of_kind("image")) == 3 and asked.kinds["mask_path"] == "image"


def test_sounds_whose_length_nothing_told(tmp_path: Path) -> None:
    """A program that writes into a pipe leaves 0 in the header; a file without samples stays without."""
    wave(tmp_path / "whole.wav", 1)
    whole = (tmp_path / "whole.wav").read_bytes()
    place = whole.index(b"data") + 4
    (tmp_path / "piped.wav").write_bytes(whole[:4] + bytes(4) + whole[8:place] + bytes(4) + whole[place + 4 :])
    (tmp_path / "empty.wav").write_bytes(whole[:place] + bytes(4) + b"LIST\x04\0\0\0INFO")
    looks = [audio.look(tmp_path / f"{name}.wav").frames for name in ("whole", "piped", "empty")]
    assert looks == [9600, 9600, 0] and audio.trial(tmp_path / "piped.wav")
    assert (audio.decode(tmp_path / "piped.wav", 48000, 9600) == audio.decode(tmp_path / "whole.wav", 48000, 9600)).all()
