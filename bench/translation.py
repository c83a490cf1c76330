"""English to Chinese on LibreOffice's help: python bench/translation.py FOLDER [--epochs 12] [--shares 1 0.5 0.25] [--similarity 0.3 2]

FOLDER holds help/{train,test}.tsv as scripts/fetch_data.py writes them: no page is in both, validation is by page too. Prints chrF2 and
BLEU (tokenisation zh of sacreBLEU) on the test with 95 % intervals for the model and for both baselines, the CPU time (all threads) of
everything from reading the file to the finished scorecard, and what validation said while training. `--shares`: parts of the training
pages, for the curve over data. `--similarity 2` learns without the translation memory.
"""

import tempfile
from pathlib import Path

import pandas as pd

from common import command_line, ranged, trained


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=0.0, help="of training by the clock, instead of epochs")
    parser.add_argument("--epochs", type=float, default=12.0)
    parser.add_argument("--shares", type=float, nargs="*", default=[1.0])
    parser.add_argument("--similarity", type=float, nargs="*", default=[0.3])
    parser.add_argument("--test-rows", type=int, default=1 << 40, help="judge on so many rows of the test, evenly spread")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=NUMBER", help="options of the model, such as width=256")
    arguments = parser.parse_args()
    train = pd.read_csv(arguments.folder / "help" / "train.tsv", sep="\t", keep_default_na=False)
    test = pd.read_csv(arguments.folder / "help" / "test.tsv", sep="\t", keep_default_na=False)
    test = test.iloc[:: max(1, len(test) // arguments.test_rows)]
    pages = sorted(set(train["page"]))
    print("| pairs | memory from | what | chrF2 (95 %) | BLEU (95 %) | CPU minutes |\n|---|---|---|---|---|---|")
    options = {name: float(value) if "." in value else int(value) for name, value in (text.split("=") for text in arguments.set)}
    for share in arguments.shares:
        some = train[train["page"].isin(set(pages[: round(share * len(pages))]))] if share < 1 else train
        for similarity in arguments.similarity:
            with tempfile.TemporaryDirectory() as out:
                some.to_csv(Path(out) / "train.tsv", sep="\t", index=False)
                test.to_csv(Path(out) / "test.tsv", sep="\t", index=False)
                data = {"task": "translate", "test": str(Path(out) / "test.tsv"), "group": "page", "ignore": ("page",)}
                settings = {"data": data, "task": {"source": "en", "similarity": similarity}, "model": {"options": options}}
                settings |= {"train": {"epochs": arguments.epochs, "minutes": arguments.minutes, "seed": arguments.seed}}
                judged = trained(Path(out) / "train.tsv", settings, target="zh")
                show(judged.card, len(some), similarity, judged.cpu / 60)


def show(card: dict, pairs: int, similarity: float, minutes: float) -> None:
    for result in card["results"]:
        shown = " | ".join(ranged(result["metrics"][name], 2) for name in ("chrf", "bleu"))
        own = result["kind"] == "model"
        print(f"| {pairs:,} | {similarity if own else ''} | {result['name']} | {shown} | {f'{minutes:.1f}' if own else ''} |", flush=True)
    told = [
        (entry["step"], *(entry["valid"].get(name) or float("nan") for name in ("loss", "chrf")))
        for entry in card["history"]
        if entry["valid"]
    ]
    print("validation (step: loss, chrF of each token behind the true ones): " + "; ".join(f"{s}: {a:.3f}, {b:.1f}" for s, a, b in told))


if __name__ == "__main__":
    main()
