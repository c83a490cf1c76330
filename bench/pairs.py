"""Few pairs of texts: python bench/pairs.py FOLDER [--set synopses] [--tasks embed,summarize] [--from] [--seeds 1]

FOLDER holds SET/{train,test}.csv as scripts/fetch_data.py writes them: synopses, long descriptions of Debian's packages with their one-line
ones, 700 pairs to learn and validate from, 300 as the test; intros, titles and questions, 2,000 or so and 500. Defaults throughout.
Embeddings: mean reciprocal rank of a test text's own partner among all partners of the test, beside TF-IDF (the scorecard's, and
scikit-learn's by words and pairs and by letters within words, which learn from all pairs that are not the test's); with --from also from
FOLDER/minilm. Summaries: ROUGE-L, beside the first sentence and the first three.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from common import command_line, ranged, trained

PEERS: dict[str, dict[str, Any]] = {
    "scikit-learn TF-IDF, words and pairs": {"ngram_range": (1, 2)},
    "scikit-learn TF-IDF, letters": {"analyzer": "char_wb", "ngram_range": (2, 5)},
}
METRICS = {"embed": "mrr", "summarize": "rouge_l"}


def peer(train: pd.DataFrame, test: pd.DataFrame, settings: dict[str, Any]) -> float:
    """Mean reciprocal rank."""
    vectors = TfidfVectorizer(sublinear_tf=True, **settings).fit([*train["text"], *train["summary"]])
    alike_NN = (vectors.transform(test["text"]) @ vectors.transform(test["summary"]).T).toarray()
    own_N = np.diag(alike_NN)
    return float((1 / (1 + (alike_NN > own_N[:, None]).sum(1) + ((alike_NN == own_N[:, None]).sum(1) - 1) / 2)).mean())


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", default="synopses", choices=["synopses", "intros", "titles", "questions"])
    parser.add_argument("--tasks", default="embed,summarize")
    parser.add_argument("--from", dest="start", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    files = {part: arguments.folder / arguments.set / f"{part}.csv" for part in ("train", "test")}
    starts = {"": "", **({"from MiniLM": str(arguments.folder / "minilm")} if arguments.start else {})}
    print("| task | what | figure (95 %) | CPU minutes, everything |\n|---|---|---|---|", flush=True)
    for task in arguments.tasks.split(","):
        for seed in range(arguments.seeds):
            for told, start in starts.items() if task == "embed" else [("", "")]:
                settings = {"data": {"task": task, "test": str(files["test"])}, "train": {"seed": seed}, "task": {"source": "text"}}
                settings |= {"adapt": {"start": start}} if start else {}
                judged = trained(files["train"], settings, target="summary")
                for result in judged.results if seed == 0 and not start else judged.results[:1]:
                    own = result["kind"] == "model"
                    name = f"{result['name']} {told} seed {seed}" if own else result["name"]
                    print(
                        f"| {task} | {name} | {ranged(result['metrics'][METRICS[task]])} | {judged.cpu / 60 if own else 0:.1f} |",
                        flush=True,
                    )
        if task == "embed":
            train, test = (pd.read_csv(path).astype(str) for path in files.values())
            for name, how in PEERS.items():
                print(f"| {task} | {name} | {peer(train, test, how):.3f} | |", flush=True)


if __name__ == "__main__":
    main()
