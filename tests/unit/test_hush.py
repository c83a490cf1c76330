"""Libraries that write past Python about damaged media are not heard; everybody else is."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from duomo.core import stderr
from duomo.core.kinds import audio


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.mp3", (np.sin(np.arange(16000) / 20) * 0.3).astype("float32"), 16000)
    body, random_ = bytearray((tmp_path / "a.mp3").read_bytes()), random.Random(0)
    for _ in range(60):
        body[random_.randrange(400, len(body))] = random_.randrange(256)
    (tmp_path / "a.mp3").write_bytes(bytes(body))
    return tmp_path / "a.mp3"


def test_a_damaged_mp3_is_read_in_silence(damaged: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with soundfile.SoundFile(damaged) as sound:
        sound.read()
    assert "libmpg123" in capfd.readouterr().err, "the library is quiet by itself: core/stderr.py is not needed any more"
    audio.decode(damaged, 16000, 48000)
    audio.decode(damaged.read_bytes(), 16000, 48000)
    assert capfd.readouterr().err == ""


def test_others_are_heard_from_many_threads(damaged: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            with stderr.hushed():
                os.write(2, b"ours %d %d\n" % (number, turn))
            audio.decode(damaged, 16000, 48000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stderr.write("after\n")
    sys.stderr.flush()
    heard = capfd.readouterr().err.splitlines()
    assert sorted(heard) == sorted([f"ours {number} {turn}" for number in range(4) for turn in range(5)] + ["after"])
    with pytest.raises(ValueError), stderr.hushed():
        raise ValueError
    os.write(2, b"still here\n")
    assert "still here" in capfd.readouterr().err


def test_a_line_written_while_another_thread_leaves_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> None:
        for turn in range(500):
            with stderr.hushed():
                os.write(2, b"ours %d %d\n" % (number, turn))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert len(set(capfd.readouterr().err.splitlines())) == 3000


def test_two_that_are_mute_at_once_leave_the_stream_as_it_was() -> None:
    before, inside, leave = os.fstat(2), threading.Event(), threading.Event()

    def first() -> None:
        with stderr.muted():
            inside.set()
            leave.wait(5)

    def second() -> None:
        with stderr.muted():
            leave.set()
            one.join(0.3)  # where it may leave before us

    one, other = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    inside.wait(5)
    other.start()
    other.join(0.1)
    leave.set()
    one.join()
    other.join()
    assert os.fstat(2).st_ino == before.st_ino and os.fstat(2).st_dev == before.st_dev


def test_without_an_error_stream(damaged: Path) -> None:
    code = "import os, sys; from pathlib import Path; from duomo.core.kinds import audio; os.close(2); "
    code += "print(len(audio.decode(Path(sys.argv[1]), 8000, 8000)))"
    done = subprocess.run([sys.executable, "-c", code, str(damaged)], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "8000"
