"""Filling gaps from nothing in minutes: python bench/filling.py FOLDER [--minutes 3] [--sets reviews,pinglun]

FOLDER holds reviews/train.csv (English) and pinglun/train.csv (Chinese) as scripts/fetch_data.py writes them; their texts are learned from
with the defaults of `duomo train --task fill`. Prints how many of the hidden tokens of the test are guessed, beside the most frequent token
and bigrams of both sides, and the CPU time of everything.
"""

from pathlib import Path

from common import command_line, ranged, trained


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--sets", default="reviews,pinglun")
    arguments = parser.parse_args()
    print("| texts | what | accuracy (95 %) | CPU minutes, everything |\n|---|---|---|---|", flush=True)
    for name in arguments.sets.split(","):
        settings = {"data": {"task": "fill", "kind": {"text": "text"}}, "task": {"column": "text"}, "train": {"minutes": arguments.minutes}}
        judged = trained(arguments.folder / name / "train.csv", settings)
        for result in judged.results:
            cpu = f"{judged.cpu / 60:.1f}" if result["kind"] == "model" else ""
            print(f"| {name} | {result['name']} | {ranged(result['metrics']['accuracy'])} | {cpu} |", flush=True)


if __name__ == "__main__":
    main()
