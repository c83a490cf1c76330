"""Accuracy of speech recognition from minutes of recordings: python bench/accuracy_speech.py FOLDER [--minutes 8] [--seeds 1]

FOLDER holds french/{train,test} as scripts/fetch_data.py writes them. Prints one row for each seed and for each baseline: character
and word error rates on the test, which neither training nor the choice of checkpoint, language weight and bonus has seen.
"""

from pathlib import Path

from common import command_line, ranged, trained


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    print("| what | CER (95 %) | WER | minutes |\n|---|---|---|---|")
    for seed in range(arguments.seeds):
        settings = {
            "data": {"task": "transcribe", "test": str(arguments.folder / "french" / "test")},
            "train": {"seed": seed, "minutes": arguments.minutes},
        }
        results = trained(arguments.folder / "french" / "train", settings, target="text").results
        for result in results if seed == 0 else results[:1]:
            show(result, seed, arguments.minutes)


def show(result: dict, seed: int, minutes: float) -> None:
    metrics = result["metrics"]
    name = f"{result['name']}, seed {seed}" if result["kind"] == "model" else result["name"]
    took = minutes if result["kind"] == "model" else result["fit_seconds"] / 60
    print(f"| {name} | {ranged(metrics['cer'])} | {metrics['wer']['value']:.3f} | {took:.1f} |")


if __name__ == "__main__":
    main()
