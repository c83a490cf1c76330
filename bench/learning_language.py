"""Learning from little text in little time: samples `novel` and `poems`, or texts of your own, against 5-gram Kneser–Ney, same tokens.

python bench/learning_language.py [--minutes 5] [novel poems FILE ...]   bits per byte of the test text; the bar: a tenth below Kneser–Ney

The model is a network with counts beside it; `alone` is the network without them.
"""

import tempfile
import time
from pathlib import Path

import duomo
from common import command_line
from duomo import plan, samples
from duomo.core.kinds import text as text_kind
from duomo.core.reporter import Silent
from duomo.nn.counts import counts_of

BAR = 0.10
SETTINGS = {"data": {"task": "generate"}}


def rate(run: "duomo.Run") -> float:
    """Tokens a second of one answer."""
    run.predict_one("The ")
    start = time.perf_counter()
    answer = run.predict_one("The ")["prediction"]
    seconds = time.perf_counter() - start
    return len(text_kind.encode_text(run.task.state()["tokenizer"], [answer])[0]) / seconds


def judged(path: Path, out: Path, minutes: float) -> str:
    """One training, in a line."""
    wall, cpu = time.perf_counter(), time.process_time()
    run = duomo.train(str(path), SETTINGS, out=out, minutes=minutes)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = {result["name"]: result["metrics"]["bits_per_byte"]["value"] for result in run.scorecard["results"]}
    own, ngram = next(iter(found.values())), found["5-gram Kneser–Ney"]
    size, writes = (run.path / "model.safetensors").stat().st_size / 1e6, [rate(run)]
    counts = counts_of(run.model)
    if counts is not None:
        counts.clear()
    alone = run.task.measure(run.evidence(plan.make(str(path), SETTINGS, Silent()).test))["bits_per_byte"]
    writes.append(rate(run))
    gain = 1 - own / ngram
    return (f"{own:.3f} against {ngram:.3f}: {gain:+.1%} {'met' if gain >= BAR else 'MISSED'}; alone {alone:.3f}; {wall:.0f} s, "
            f"{cpu:.0f} CPU s; {size:.1f} MB; {writes[0]:.0f} tokens/s, alone {writes[1]:.0f}")  # fmt: skip


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("names", nargs="*", default=["novel", "poems"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.names:
            path = Path(name) if Path(name).is_file() else samples.write(name, Path(folder))
            print(f"{name:8}", judged(path, Path(folder) / f"{path.stem}.run", arguments.minutes), flush=True)


if __name__ == "__main__":
    main()
