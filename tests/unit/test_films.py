"""Films are read as a stream by time, and what is no film, cut off or too large is refused in one sentence."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from duomo.core import films

MAKES = {"film.mp4": "mp4v", "film.mov": "mp4v", "film.avi": "MJPG", "film.mkv": "FFV1", "film.webm": "VP80"}


def write(path: Path, frames: list[np.ndarray], rate: float = 25.0) -> Path:
    """RGB frames as a film of the make that the suffix says."""
    if path.suffix == ".gif":
        pictures = [Image.fromarray(frame) for frame in frames]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=1000 / rate)
        return path
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*MAKES[f"film{path.suffix}"]), rate, (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def rising(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames whose red says their number."""
    return [np.full((height, width, 3), (4 * number, 30, 60), np.uint8) for number in range(count)]


@pytest.mark.parametrize("name", [*MAKES, "film.gif"])
def test_every_make_is_read_with_its_times(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, rising(50), 10.0)
    film = films.look(path)
    assert (film.width, film.height, film.frames) == (64, 48, 50) and film.rate == pytest.approx(10.0)
    found = list(films.frames(path))
    assert [time for time, _ in found] == pytest.approx([number / 10 for number in range(50)], abs=0.02)
    assert all(frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for _, frame in found)
    reds = [frame[24, 32, 0] for _, frame in found]
    assert np.abs(np.array(reds, float) - 4 * np.arange(50)).max() <= 12


def test_time_is_sampled_not_frame_numbers(tmp_path: Path) -> None:
    slow, fast = write(tmp_path / "slow.avi", rising(20), 5.0), write(tmp_path / "fast.avi", rising(60), 15.0)
    for path in (slow, fast):
        assert [time for time, _ in films.frames(path, every=0.4)] == pytest.approx(np.arange(0, 4, 0.4), abs=0.07)
    part = [time for time, _ in films.frames(fast, every=0.2, start=1.0, stop=2.0)]
    assert part == pytest.approx([1.0, 1.2, 1.4, 1.6, 1.8], abs=0.07)


def test_a_far_start_is_sought_exactly(tmp_path: Path) -> None:
    path = write(tmp_path / "long.mp4", [frame for frame in rising(60, 16, 16) for _ in range(10)], 10.0)
    (time, frame), *_ = films.frames(path, start=45.0)
    assert time == pytest.approx(45.0, abs=0.11) and abs(int(frame[8, 8, 0]) - 4 * 45) <= 8


def test_bytes_are_read_as_files_are(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mp4", rising(10))
    assert films.look(path.read_bytes()) == films.look(path)


def test_a_film_that_is_sent_may_not_be_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "film.mp4", rising(50))
    monkeypatch.setattr(films, "MOST_SENT", 48 * 64 * 49)
    assert films.look(path).frames == 50
    with pytest.raises(ValueError, match="50 frames, more than the 49"):
        films.look(path.read_bytes())
    monkeypatch.setattr(films, "MOST_SENT", 48 * 64 * 50)
    assert films.look(path.read_bytes()).frames == 50


@pytest.mark.parametrize("name", [*MAKES, "film.gif"])
def test_a_cut_film_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0)
    path = write(tmp_path / name, [noise.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(100)])
    assert films.trial(path).width == 64
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"truncated|no film that can be read"):
        films.trial(path)


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as found:
        films.trial(path)
    return str(found.value)


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    here = write(tmp_path / "here.avi", rising(5))
    lists = {
        "list.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n%s\n#EXT-X-ENDLIST\n" % str(here).encode(),
        "list.avi": b"ffconcat version 1.0\nfile here.avi\n",
        "text.mkv": b"not a film",
        "empty.webm": b"",
        "box.mp4": b"\0\0\0\x18ftypisom\0\0\0\0isomiso2",
        "head.avi": here.read_bytes()[:300],
    }
    for name, content in lists.items():
        (tmp_path / name).write_bytes(content)
        assert "no film that can be read" in refusal(tmp_path / name) or "no frame" in refusal(tmp_path / name), name
    assert "no such file" in refusal(tmp_path / "nowhere.mp4")
    still = write(tmp_path / "none.avi", rising(1))
    assert films.trial(still).frames == 1


BOMB = """
import resource, sys
from pathlib import Path
from duomo.core import films
try:
    films.trial(Path(sys.argv[1]))
except ValueError as error:
    print(error)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.parametrize("name", ["film.avi", "film.mp4", "film.gif", "true.avi"])
def test_frames_of_too_many_pixels_are_refused_unseen(tmp_path: Path, name: str) -> None:
    """Headers that lie (codecs that know better go by their own), and frames that really are that large (F2: 5 s, 512 MB)."""
    path = tmp_path / name
    if name == "true.avi":
        write(path, [np.zeros((9000, 9000, 3), np.uint8)])
    else:
        data = bytearray(write(path, rising(20)).read_bytes())
        place, size = {"film.avi": (data.find(b"strf") + 12, 4), "film.mp4": (data.find(b"mp4v") + 28, 2), "film.gif": (6, 2)}[name]
        data[place : place + 2 * size] = (30_000).to_bytes(size, "big" if name == "film.mp4" else "little") * 2
        path.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", BOMB, str(path)], capture_output=True, text=True, timeout=10, check=True)
    *said, peak = done.stdout.split("\n")[:-1]
    assert int(peak) < 512 * 1024 and (said or name in ("film.avi", "film.mp4")), done.stdout
