"""The full reliability figures of training (bars T1, T2, T3, T6): 200 kills, controls that must fail, 1,000 mutations, 100 signals.

    python bench/soak_training.py [--share 0.1]

No failure in n trials bounds the failure rate at 3/n (95 %). Exits with 1 when a bar is missed or a control is not caught.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import command_line

HARNESS = Path(__file__).parents[1] / "tests" / "crash" / "harness.py"


def run(what: str, count: int, variant: str, seed: int) -> dict[str, Any]:
    command = [sys.executable, str(HARNESS), what, "--count", str(count), "--variant", variant, "--seed", str(seed)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1", "DUOMO_LANG": "en"}
    )
    return json.loads(done.stdout.splitlines()[-1])


def bound(failures: int, trials: int) -> str:
    return f"{failures}/{trials} failed" + (f", rate below {3 / trials:.2%} (95 %)" if not failures else "")


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the full numbers")
    share, held = parser.parse_args().share, True

    def count(full: int) -> int:
        return max(5, round(full * share))

    found = run("kills", count(200), "", 1)
    failures = found["crashed"] + found["different"]
    held &= not failures and 2 * found["inside"] >= found["kills"]
    print(f"T1 kill -9, bitwise equal after resuming: {bound(failures, found['runs'])}; {found['kills']} kills in {found['runs']} runs,")
    print(f"   {found['inside']} of them inside a save, a rotation or a resume {found['where']}")
    for variant in ("in-place", "newest-wins", "rng-not-restored"):
        found = run("kills", count(60), variant, 2)
        broken = found["crashed"] + found["different"]
        held &= broken > 0
        print(
            f"   control {variant}: {broken}/{found['runs']} broken ({found['crashed']} crashed, {found['different']} silently different)"
        )
    found = run("mutations", count(1000), "", 3)
    failures = found["silent"] + found["wrong"] + found["different"]
    held &= not failures
    print(f"T2 damaged checkpoints: {bound(failures, found['mutations'])} {found['kinds']}; {found['trained']} trained to the end")
    found = run("disk", count(50), "", 4)
    failures = found["bad"] + found["different"]
    held &= not failures
    print(f"T2 full disk: {bound(failures, found['disks'])}; {found['refused']} refused with exit code 5")
    found = run("signals", count(100), "", 5)
    failures = found["bad"] + found["lost"] + found["different"]
    held &= not failures and found["slowest"] < 25
    print(f"T3 signals: {bound(failures, found['signals'])}; slowest exit {found['slowest']} s {found['where']}")
    found = run("memory", 1, "", 6)
    good = found["first"] == 5 and found["named"] and found["kept"] and found["second"] == 0
    held &= good
    print(f"T6 out of memory: {'named the setting that fits, and it fitted' if good else found}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
