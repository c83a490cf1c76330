"""People who were never learned from: python bench/faces.py FOLDER [--from-weights] [--seeds 0,1,2]

FOLDER holds orl/{train,test} (and mobilenet/) as scripts/fetch_data.py writes them: ten grey pictures each of people 1-20 to learn
from (some of them, apart by person, are validation) and of people 21-30, untouched by tuning, through duomo.train with the recipe that
duomo suggests for --task identify, from scratch or with --from-weights from ImageNet's MobileNetV2 at --side pixels. Eigenfaces and
the distance of pixels stand in the same scorecard. Bar: rank 1 >= 0.97 with one picture known, TPR >= 0.90 at 1 % false accepts.
"""

from pathlib import Path
from typing import Any

from common import command_line, ranged, trained

METRICS = ("rank_1", "tpr_1", "tpr_01", "auc")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--from-weights", action="store_true")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=float, default=0)
    arguments = parser.parse_args()
    print(f"| seed | what | {' | '.join(METRICS)} | CPU minutes of everything |\n|---|---|{'---|' * len(METRICS)}---|")
    for seed in map(int, arguments.seeds.split(",")):
        settings: dict[str, Any] = {"data": {"task": "identify", "test": str(arguments.folder / "orl" / "test")}, "train": {"seed": seed}}
        if arguments.from_weights:
            settings["adapt"] = {"start": str(arguments.folder / "mobilenet" / "mobilenet_v2.pth")}
            settings["encode"] = {"picture_size": arguments.side}
        if arguments.epochs:
            settings["train"]["epochs"] = arguments.epochs
        judged = trained(arguments.folder / "orl" / "train", settings)
        for result in judged.results:
            cells = " | ".join(ranged(result["metrics"][name]) for name in METRICS)
            print(f"| {seed} | {result['name']} | {cells} | {f'{judged.cpu / 60:.1f}' if result['kind'] == 'model' else ''} |", flush=True)


if __name__ == "__main__":
    main()
