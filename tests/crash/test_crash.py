"""The fast part of the crash harness; `make soak` runs the full figures. Bars T1, T2, T3 and T6 (T4 and T5: tests/unit/test_train.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HARNESS = Path(__file__).with_name("harness.py")
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="forks and limits as on Linux")


def harness(what: str, count: int, variant: str = "") -> dict[str, Any]:
    """What the harness found; of a broken variant up to the first time that it is caught."""
    command = [sys.executable, str(HARNESS), what, "--count", str(count), "--variant", variant, *(["--until-caught"] if variant else [])]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1", "DUOMO_LANG": "en"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_runs_end_bitwise_equal():
    kills = inside = 0
    while kills < 8 or 4 * inside < kills < 32:  # seldom fewer than half hit a save, on a busy machine two of nine: then more are tried
        found = harness("kills", 8)
        assert found["crashed"] == found["different"] == 0, found
        kills, inside = kills + found["kills"], inside + found["inside"]
    assert 4 * inside >= kills, (inside, kills)


@pytest.mark.parametrize("variant", ["in-place", "newest-wins", "rng-not-restored"])
def test_broken_variants_are_caught(variant: str):
    found = harness("kills", 60, variant)
    assert found["crashed"] + found["different"] > 0, found
    if variant == "rng-not-restored":
        assert found["crashed"] == 0 and found["different"] > 0, found


def test_damaged_checkpoints_are_named_and_passed_over():
    found = harness("mutations", 100)
    assert found["silent"] == found["wrong"] == found["different"] == 0, found


def test_a_full_disk_leaves_the_older_checkpoint():
    found = harness("disk", 3)
    assert found["bad"] == found["different"] == 0 and found["refused"] > 0, found


def test_signals_leave_a_good_checkpoint():
    found = harness("signals", 6)
    assert found["bad"] == found["lost"] == found["different"] == 0 and found["slowest"] < 25, found


def test_out_of_memory_names_the_setting_that_fits():
    found = harness("memory", 1)
    assert found["first"] == 5 and found["named"] and found["kept"] and found["second"] == 0, found
