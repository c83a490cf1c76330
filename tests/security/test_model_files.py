"""Damaged and lying GGUF, safetensors and settings files (bar F1): no crash, no memory; and a control that the harness must catch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).with_name("fuzz_models.py")
LIMIT_MB = 256


def harness(*arguments: str, optimised: bool = False) -> dict:
    command = [sys.executable, *(["-O"] if optimised else []), str(HARNESS), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found: dict = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("optimised", [False, True])
def test_damaged_files_cost_a_sentence(optimised: bool) -> None:
    """Under `python -O` too, where no assert stands guard."""
    found = harness("300", str(int(optimised)), optimised=optimised)
    assert not found["crashes"] and found["grew_mb"] <= LIMIT_MB
    assert found["opened"] < found["count"] / 2  # most mutants are no models any more


def test_the_harness_sees_a_reader_that_believes_its_file() -> None:
    found = harness("0", "--control")
    assert found["crashed"] or found["grew_mb"] > LIMIT_MB
