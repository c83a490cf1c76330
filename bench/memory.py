"""Memory of large data: python bench/memory.py [--csv-mb 2000] [--rows 1000000] [--pictures 100000] [--only table,text,predict,pictures]

Data larger than memory is meant to be are made from the real rows of the samples, by repetition with a running number and
small changes. Each case runs in a process of its own, whose memory is sampled every 20 ms from /proc (Linux):
    own       what belongs to the process alone (RssAnon): this is what a machine must have
    resident  own and the pages of mapped files that happen to be in memory; the system takes those back when it needs them
    encoded   bytes of the tensors that the model reads
Bars: own < 2 GB and own <= encoded + 500 MB. The proof that resident pages are not needed is a run under a hard limit, as root:
    mkdir /sys/fs/cgroup/memory/two; echo 2147483648 > /sys/fs/cgroup/memory/two/memory.limit_in_bytes
    sh -c 'echo $$ > /sys/fs/cgroup/memory/two/cgroup.procs; exec python bench/memory.py --only table'
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psutil

from common import command_line

MB = 1e6
MOST_MB = 2000.0
BESIDES_MB = 500.0
STEPS = 20
BLOCK = 20_000


def clinic_rows(sample: Path) -> tuple[str, Iterator[str]]:
    """Header and endless rows: the case's number, its first measurement changed a little, the others as they were."""
    header, *lines = sample.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",", 1) for line in lines]

    def made() -> Iterator[str]:
        for number in count():
            first, rest = rows[number % len(rows)]
            yield f"{number},{float(first) + number % 997 * 1e-3:.3f},{rest}\n"

    return f"case_id,{header}\n", made()


def review_rows(sample: Path) -> tuple[str, Iterator[str]]:
    """Header and endless rows: the review's number, its text with that number at the end, the other cells as they were."""
    with sample.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    bodies = [(row[0].replace('"', '""'), ",".join(row[1:])) for row in rows]

    def made() -> Iterator[str]:
        for number in count():
            text, rest = bodies[number % len(bodies)]
            yield f'{number},"{text} {number}",{rest}\n'

    return ",".join(["case_id", *header]) + "\n", made()


def written(path: Path, source: tuple[str, Iterator[str]], megabytes: float, rows: float = float("inf")) -> int:
    """Rows until the file has its size, or their number; returns how many."""
    header, lines = source
    done, size = 0, 0
    with path.open("w", encoding="utf-8") as file:
        file.write(header)
        while size < megabytes * MB and done < rows:
            block = "".join(next(lines) for _ in range(int(min(BLOCK, rows - done))))
            file.write(block)
            size += len(block)
            done += block.count("\n")
    return done


def linked(sample: Path, target: Path, pictures: int) -> None:
    """Class folders of `pictures` files in all: the sample's pictures under new names, as hard links (copies where a file has too many)."""
    found = sorted(sample.rglob("*.png"))
    for folder in {path.parent.name for path in found}:
        (target / folder).mkdir(parents=True)
    for number in range(pictures):
        source = found[number % len(found)]
        place = target / source.parent.name / f"{number:06}.png"
        try:
            os.link(source, place)
        except OSError:
            place.write_bytes(source.read_bytes())


def own_bytes(pid: int) -> tuple[int, int]:
    """(RssAnon, RSS) of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "VmRSS"))}
    return found.get("RssAnon", 0), found.get("VmRSS", 0)


def watched(words: list[str], folder: Path) -> dict[str, float]:
    """Run this script's child and sample it; its last line is what it tells of itself."""
    environment = os.environ | {"DUOMO_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, __file__, "--child", *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    own = resident = 0
    process = psutil.Process(child.pid)
    while child.poll() is None:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found = own_bytes(child.pid)
                own, resident = max(own, found[0]), max(resident, found[1])
        except (OSError, psutil.NoSuchProcess):
            pass
        time.sleep(0.02)
    output = child.stdout.read() if child.stdout else ""
    if child.returncode:
        raise SystemExit(f"the measured process failed ({child.returncode}):\n{output}")
    told = json.loads(output.splitlines()[-1])
    return {"own": own / MB, "resident": resident / MB, "seconds": time.perf_counter() - started} | told


def encoded_bytes(examples: object) -> int:
    columns = examples.columns.values()  # type: ignore[attr-defined]
    return sum(column.values.nbytes + (column.offsets.nbytes if column.lengths() is not None else 0) for column in columns)


def child(verb: str, source: str, target: str, model: str) -> None:
    """One case, in a process of its own."""
    import duomo
    from duomo.work import Work

    if verb == "predict":
        run = duomo.load(target)
        told = run.predict_file(source, "answers.csv")
        print(json.dumps({"encoded": 0.0, "rows": told["rows"] if told else 0}))
        return
    sizes: list[int] = []
    prepare = Work.__post_init__

    def noted(work: Work) -> None:
        prepare(work)
        sizes.append(encoded_bytes(work.examples) + encoded_bytes(work.valid))

    Work.__post_init__ = noted  # type: ignore[method-assign, assignment]
    settings = {"train": {"steps": STEPS}, "data": {"split": "stratified"}, "model": {"name": model}}
    run = duomo.train(source, settings, target=target, out="run")
    print(json.dumps({"encoded": sum(sizes) / MB, "rows": sum(run.facts["data"]["rows"].values())}))


def report(name: str, on_disk: float, found: dict[str, float], extra: bool) -> bool:
    """Print one line of the table; returns whether the bars hold."""
    holds = found["own"] < MOST_MB and (not extra or found["own"] <= found["encoded"] + BESIDES_MB)
    print(
        f"{name:10} {found['rows']:>12,} {on_disk:>10,.0f} {found['encoded']:>11,.0f} {found['own']:>9,.0f} {found['resident']:>12,.0f} "
        f"{found['seconds']:>9,.0f}  {'holds' if holds else 'FAILS'}", flush=True,
    )  # fmt: skip
    return holds


def sample(name: str, folder: Path) -> Path:
    from duomo import samples

    return samples.write(name, folder)


def table_case(folder: Path, options: argparse.Namespace) -> bool:
    path = folder / "clinic-large.csv"
    written(path, clinic_rows(sample("clinic", folder)), options.csv_mb)
    return report("table", path.stat().st_size / MB, watched(["train", str(path), "diagnosis", options.model], folder), True)


def text_case(folder: Path, options: argparse.Namespace) -> bool:
    path = folder / "reviews-large.csv"
    written(path, review_rows(sample("reviews", folder)), options.text_mb)
    return report("text", path.stat().st_size / MB, watched(["train", str(path), "label", options.model], folder), True)


def predict_case(folder: Path, options: argparse.Namespace) -> bool:
    small, path = sample("clinic", folder), folder / "new.csv"
    watched(["train", str(small), "diagnosis", options.model], folder)
    written(path, clinic_rows(small), float("inf"), options.rows)
    found = watched(["predict", str(path), str(folder / "run"), options.model], folder)
    return report("predict", path.stat().st_size / MB, found, True)


def picture_case(folder: Path, options: argparse.Namespace) -> bool:
    linked(sample("digits", folder), folder / "pictures", options.pictures)
    found = watched(["train", str(folder / "pictures"), "label", options.picture_model], folder)
    return report("pictures", 0.0, found, False)


CASES: dict[str, Callable[[Path, argparse.Namespace], bool]] = {
    "table": table_case, "text": text_case, "predict": predict_case, "pictures": picture_case,
}  # fmt: skip


def main() -> int:
    parser = command_line(__doc__)
    parser.add_argument("--csv-mb", type=float, default=2000)
    parser.add_argument("--text-mb", type=float, default=200)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--model", default="linear")
    parser.add_argument("--picture-model", default="cnn")
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--folder", default="", help="where the data are made; a temporary folder when left out")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return 0
    print(f"{'case':10} {'rows':>12} {'on disk MB':>10} {'encoded MB':>11} {'own MB':>9} {'resident MB':>12} {'seconds':>9}", flush=True)
    good = True
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory(dir=options.folder or None) as folder:
            good &= CASES[name](Path(folder), options)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
