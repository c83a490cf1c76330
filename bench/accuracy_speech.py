"""Accuracy of speech recognition from minutes of recordings: python bench/accuracy_speech.py FOLDER [--minutes 8] [--seeds 1]

FOLDER holds french/{train,test} as scripts/fetch_data.py writes them. Prints one row for each seed and for each baseline: character
and word error rates on the test, which neither training nor the choice of checkpoint, language weight and bonus has seen.
"""

import argparse
import tempfile
from pathlib import Path

import duomo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    print("| what | CER (95 %) | WER | minutes |\n|---|---|---|---|")
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as out:
            settings = {
                "data": {"task": "transcribe", "test": str(arguments.folder / "french" / "test")},
                "train": {"seed": seed, "minutes": arguments.minutes},
            }
            source = arguments.folder / "french" / "train"
            run = duomo.train(str(source), settings, target="text", out=str(Path(out) / "run"))
            for result in run.scorecard["results"] if seed == 0 else run.scorecard["results"][:1]:
                show(result, seed, arguments.minutes)


def show(result: dict, seed: int, minutes: float) -> None:
    cer, wer = result["metrics"]["cer"], result["metrics"]["wer"]
    name = f"{result['name']}, seed {seed}" if result["kind"] == "model" else result["name"]
    took = minutes if result["kind"] == "model" else result["fit_seconds"] / 60
    print(f"| {name} | {cer['value']:.3f} ({cer['low']:.3f}–{cer['high']:.3f}) | {wer['value']:.3f} | {took:.1f} |")


if __name__ == "__main__":
    main()
