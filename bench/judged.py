"""Whole runs beside the scorecard's simple models: python bench/judged.py FOLDER WHAT [--minutes M] [--epochs E] [--seeds 1] [--weights]

FOLDER is what scripts/fetch_data.py writes. WHAT, with commas between, is of:
    pinglun, reviews    classes of Chinese reviews, one test for all seeds; of the sample's English ones, divided anew for each seed
    news                entities in the People's Daily of January 1998, whole articles apart: as seqeval counts them
    fill-en, fill-zh    hidden tokens of English and of Chinese reviews, learned from nothing, beside bigrams of both sides
    french              speech from minutes of recordings: character and word error rates
    orl                 people never learned from, ten grey pictures each, from scratch or with --weights from ImageNet's MobileNetV2
Everything with the defaults of `duomo train`. Prints each figure of the test with its 95 % interval, for the model of each seed and once
for each simple model; how far the model's first is from the best of theirs; minutes of training by the clock; CPU minutes of everything.
"""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from common import Judged, command_line, ranged, trained
from duomo import samples


class Case(NamedTuple):
    """What is learned from (empty: the sample `reviews`) and tested on, and how; the figures, and how long where nobody says."""

    source: str
    figures: tuple[str, ...]
    target: str | None = None
    test: str = ""
    settings: dict[str, Any] = {}
    minutes: float = 0.0
    epochs: float = 0.0


FILL: dict[str, Any] = {"data": {"task": "fill", "kind": {"text": "text"}}, "task": {"column": "text"}}
CASES = {
    "pinglun": Case("pinglun/train.csv", ("accuracy",), "label", "pinglun/test.csv"),
    "reviews": Case("", ("accuracy",), "label"),
    "news": Case("people/news.conll", ("f1", "precision", "recall"), settings={"data": {"group": "document"}}, epochs=6.0),
    "fill-en": Case("reviews/train.csv", ("accuracy",), settings=FILL, minutes=3.0),
    "fill-zh": Case("pinglun/train.csv", ("accuracy",), settings=FILL, minutes=3.0),
    "french": Case("french/train", ("cer", "wer"), "text", "french/test", {"data": {"task": "transcribe"}}, minutes=8.0),
    "orl": Case("orl/train", ("rank_1", "tpr_1", "tpr_01", "auc"), None, "orl/test", {"data": {"task": "identify"}}),
}


def judged(case: Case, folder: Path, train: dict[str, Any], weights: bool) -> Judged:
    data = case.settings.get("data", {}) | ({"test": str(folder / case.test)} if case.test else {})
    settings = {**case.settings, "data": data, "train": train}
    if weights:
        settings |= {"adapt": {"start": str(folder / "mobilenet" / "mobilenet_v2.pth")}, "encode": {"picture_size": 128}}
    with tempfile.TemporaryDirectory() as place:
        return trained(folder / case.source if case.source else samples.write("reviews", Path(place)), settings, target=case.target)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--epochs", type=float, default=0.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--weights", action="store_true")
    given = parser.parse_args()
    for name in given.what.split(","):
        case = CASES[name]
        train = {"epochs": given.epochs or case.epochs, "minutes": given.minutes or (0.0 if given.epochs else case.minutes)}
        print(f"| {name} | {' | '.join(case.figures)} | gap | training | CPU |\n|---{'|---' * len(case.figures)}|---|---|---|", flush=True)
        for seed in range(given.seeds):
            found = judged(case, given.folder, {"seed": seed} | {one: value for one, value in train.items() if value}, given.weights)
            results = [result for result in found.results if result["metrics"]]
            first = [result["metrics"][case.figures[0]]["value"] for result in results]
            gap = first[0] - (max if found.card["metric"]["higher_is_better"] else min)(first[1:])
            took = found.card["facts"]["seconds"]["training"] / 60
            for result in results if seed == 0 else results[:1]:
                own = result["kind"] == "model"
                cells = [
                    f"{result['name']}, seed {seed}" if own else result["name"],
                    *(ranged(result["metrics"][one]) for one in case.figures),
                ]
                cells += [f"{gap:+.4f}", f"{took:.1f}", f"{found.cpu / 60:.1f}"] if own else ["", f"{result['fit_seconds'] / 60:.1f}", ""]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
