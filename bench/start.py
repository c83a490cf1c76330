"""Time to start: python bench/start.py [--times 7]

Each command runs in a fresh process; the median of the wall times is shown beside its bar. `import torch` is what a command
that computes cannot avoid; an empty interpreter is what nothing can avoid.
"""

import os
import statistics
import subprocess
import sys
import time

from common import command_line

PYTHON = [sys.executable]
CASES: dict[str, tuple[list[str], float]] = {
    "python -c pass": ([*PYTHON, "-c", "pass"], 0.0),
    "import duomo": ([*PYTHON, "-c", "import duomo"], 0.15),
    "duomo --help": ([*PYTHON, "-m", "duomo.cli", "--help"], 0.25),
    "duomo train --help": ([*PYTHON, "-m", "duomo.cli", "train", "--help"], 0.0),
    "duomo list samples": ([*PYTHON, "-m", "duomo.cli", "list", "samples"], 0.0),
    "duomo list tasks": ([*PYTHON, "-m", "duomo.cli", "list", "tasks"], 0.0),
    "duomo list models": ([*PYTHON, "-m", "duomo.cli", "list", "models"], 0.0),
    "import torch": ([*PYTHON, "-c", "import torch"], 0.0),
}


def seconds(command: list[str]) -> float:
    """Wall time of one run, in a terminal's environment without its width."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"COLUMNS": "100"})
    return time.perf_counter() - started


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--times", type=int, default=7)
    times = parser.parse_args().times
    print(f"{'command':20} {'median s':>9} {'least':>7} {'most':>7} {'bar':>6}")
    good = True
    for name, (command, bar) in CASES.items():
        seconds(command)
        found = [seconds(command) for _ in range(times)]
        median = statistics.median(found)
        good &= not bar or median <= bar
        verdict = f"{bar:6.2f}  {'holds' if median <= bar else 'FAILS'}" if bar else f"{'-':>6}"
        print(f"{name:20} {median:9.3f} {min(found):7.3f} {max(found):7.3f} {verdict}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
