"""Cold start: from typing `duomo serve RUN` to the first answered request, for a small run.

python bench/serving_start.py [--folder RUN] [--rounds 5]
"""

import csv
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import duomo
from common import command_line
from duomo import samples
from duomo.core.device import cores
from serving_overhead import Peer

BAR = 3.0


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--folder", type=Path, help="A finished run of the sample `clinic`; trained first when left out.")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = samples.write("clinic", Path(folder))
        settings = {"model": {"name": "linear"}, "train": {"epochs": 5.0, "exact": True}}
        path = options.folder or duomo.train(source, settings, target="diagnosis", out=Path(folder) / "clinic").path
        with source.open(encoding="utf-8") as file:
            row = {name: float(value) for name, value in next(csv.DictReader(file)).items() if name != "diagnosis"}
        body, took = json.dumps({"rows": [row]}).encode(), []
        command = [sys.executable, "-m", "duomo.cli", "serve", str(path), "--quiet", "--port", "8961"]
        for _ in range(options.rounds):
            start = time.perf_counter()
            peer = Peer(command, 8961, f"/v1/predict/{path.name}", body, threads=cores())
            took.append(time.perf_counter() - start - peer.spent)
            peer.stop()
    middle = statistics.median(took)
    print(f"ready after {middle:.2f} s, the slowest of {len(took)} {max(took):.2f} s (bar {BAR:g}) {'holds' if middle <= BAR else 'FAILS'}")
    return 0 if middle <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
