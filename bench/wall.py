"""Wall time from typing a command to a finished scorecard: python bench/wall.py [--times 3] [--only clinic,digits]

`duomo train` runs in a fresh process and a fresh folder on the samples, everything at its defaults: imports, reading, choosing the
execution, training, baselines, scorecard, HTML page. The median is shown beside its bar, and how much of it was training.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import command_line

CASES: dict[str, tuple[list[str], float]] = {
    "clinic": (["clinic.csv", "--target", "diagnosis"], 10.0),
    "digits": (["digits"], 60.0),
}


def finished(name: str, words: list[str]) -> tuple[float, dict[str, float], dict[str, float]]:
    """Wall seconds, the run's own account of them, and the model's metrics."""
    command = [sys.executable, "-m", "duomo.cli"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, "sample", name], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        started = time.perf_counter()
        done = subprocess.run([*command, "train", *words], cwd=folder, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed ({done.returncode}):\n{done.stderr or done.stdout}")
        card = json.loads((Path(folder) / "runs" / name / "scorecard.json").read_text(encoding="utf-8"))
    baselines = sum(result.get("fit_seconds", 0.0) + result.get("judge_seconds", 0.0) for result in card["results"])
    metrics = {metric: figure["value"] for metric, figure in card["results"][0]["metrics"].items()}
    return wall, {"training": card["facts"]["seconds"]["training"], "baselines": baselines}, metrics


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", default=",".join(CASES))
    options = parser.parse_args()
    print(f"{'sample':8} {'wall s':>7} {'least':>7} {'most':>7} {'training':>9} {'baselines':>10} {'bar':>6}")
    good = True
    for name in options.only.split(","):
        words, bar = CASES[name]
        found = [finished(name, words) for _ in range(options.times)]
        walls = [wall for wall, _, _ in found]
        median = statistics.median(walls)
        good &= median <= bar
        parts = {part: statistics.median(own[part] for _, own, _ in found) for part in ("training", "baselines")}
        verdict = f"{bar:6.0f}  {'holds' if median <= bar else 'FAILS'}"
        accuracy = ", ".join(f"{metric} {value:.4f}" for metric, value in list(found[-1][2].items())[:3])
        print(
            f"{name:8} {median:7.1f} {min(walls):7.1f} {max(walls):7.1f} {parts['training']:9.1f} {parts['baselines']:10.1f} "
            f"{verdict}  {accuracy}", flush=True,
        )  # fmt: skip
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
