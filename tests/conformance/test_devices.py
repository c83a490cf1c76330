"""The way to a GPU and back, on a device that is simulated (far.py): every tensor is where it must be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
ROOT = Path(torch.__file__).parent


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform != "linux" or shutil.which("g++") is None:
        pytest.skip("a compiler is needed")
    if torch.cuda.is_available():
        pytest.skip("there is a device")
    made = tmp_path_factory.mktemp("far") / "far.so"
    words = ["g++", "-O0", "-shared", "-fPIC", "-std=c++20", f"-I{ROOT}/include", str(HERE / "far.cpp"), "-o", str(made), f"-L{ROOT}/lib"]
    subprocess.run([*words, "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{ROOT}/lib"], check=True)
    return made


def tried(guard: Path, *words: str) -> dict[str, str]:
    environment = os.environ | {"LD_PRELOAD": str(guard)}
    done = subprocess.run([sys.executable, str(HERE / "far.py"), *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("what", ["models", "tasks", "whole"])
def test_the_way_to_a_gpu_and_back(guard: Path, what: str) -> None:
    found = tried(guard, what)
    assert len(found) > 1 and {name: fault for name, fault in found.items() if fault} == {}


def test_what_is_left_on_the_cpu_is_found(guard: Path) -> None:
    """The control: batches are not moved."""
    assert all(tried(guard, "models", "--control").values())
