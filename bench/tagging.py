"""Entities in Chinese news without spaces: python bench/tagging.py FOLDER [--epochs 6] [--seeds 1]

FOLDER holds people/news.conll as scripts/fetch_data.py writes it (People's Daily, January 1998: persons, places, organisations). Whole
articles are kept apart: 70 % to learn, 15 % to validate, 15 % to test. Prints entity precision, recall and F1 as seqeval counts
them, for the model and each baseline, and the CPU time (all threads) of everything from reading the file to the finished scorecard.
"""

from pathlib import Path

from common import command_line, ranged, trained


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=0.0, help="of training by the clock, instead of epochs")
    parser.add_argument("--epochs", type=float, default=6.0)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    print("| what | F1 (95 %) | precision | recall | training, minutes by the clock | CPU minutes, everything |\n|---|---|---|---|---|---|")
    for seed in range(arguments.seeds):
        settings = {"data": {"group": "document"}, "train": {"seed": seed, "epochs": arguments.epochs, "minutes": arguments.minutes}}
        judged = trained(arguments.folder / "people" / "news.conll", settings)
        learning = judged.card["facts"]["seconds"]["training"] / 60
        for result in judged.results if seed == 0 else judged.results[:1]:
            f1, precision, recall = (result["metrics"][name] for name in ("f1", "precision", "recall"))
            own = result["kind"] == "model"
            times = f"{learning:.1f} | {judged.cpu / 60:.1f}" if own else f"{result['fit_seconds'] / 60:.1f} |"
            shares = f"{precision['value']:.3f} | {recall['value']:.3f}"
            name = f"{result['name']}, seed {seed}" if own else result["name"]
            print(f"| {name} | {ranged(f1)} | {shares} | {times} |")


if __name__ == "__main__":
    main()
