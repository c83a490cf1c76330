"""Few texts, beside TF-IDF: python bench/small_texts.py FILE.csv:TEXT:TARGET ... [--rows 150,600,2000] [--seeds 2]

For each file, number of rows and seed so many rows are drawn without repeated texts, and 1,000 others as the test; `duomo.train` does the
rest with its defaults, once as it is and once as a network alone (`model.options.advice=false`). The peers learn from all the rows drawn,
while Duomo keeps some of them to validate: logistic regression on TF-IDF of words and pairs of words, and of two to five letters within
words, C chosen among 1, 10, 100 and 1,000 by five folds. Prints log-loss and accuracy.
"""

import warnings
from typing import Any

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

from common import command_line, judged_on
from duomo.core.reporter import Silent

PEERS: dict[str, dict[str, object]] = {"words": {"ngram_range": (1, 2)}, "letters": {"analyzer": "char_wb", "ngram_range": (2, 5)}}


def ours(train: pd.DataFrame, test: pd.DataFrame, seed: int, advice: bool) -> str:
    settings: dict[str, Any] = {"data": {"kind": {"text": "text", "target": "category"}}, "train": {"seed": seed}}
    settings |= {} if advice else {"model": {"options": {"advice": False}}}
    metrics = judged_on({"train": train, "test": test}, settings, target="target", reporter=Silent()).results[0]["metrics"]
    return f"{metrics['log_loss']['value']:.3f} / {metrics['accuracy']['value']:.3f}"


def theirs(train: pd.DataFrame, test: pd.DataFrame, settings: dict[str, object]) -> str:
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, **settings),
        LogisticRegressionCV(Cs=[1, 10, 100, 1000], cv=5, scoring="neg_log_loss", max_iter=200),
    )
    model.fit(train["text"], train["target"])
    chances = model.predict_proba(test["text"])
    found = log_loss(test["target"], chances, labels=list(model.classes_))
    return f"{found:.3f} / {(model.predict(test['text']) == test['target']).mean():.3f}"


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rows", default="150,600,2000")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| set | rows | seed | Duomo | its network alone | words | letters |\n|---|---|---|---|---|---|---|", flush=True)
    for path, text, target in (one.rsplit(":", 2) for one in given.files):
        whole = pd.read_csv(path, low_memory=False)[[text, target]].dropna().astype(str).set_axis(["text", "target"], axis=1)
        whole = whole[whole["text"].str.len() > 1].drop_duplicates("text")
        for rows in map(int, given.rows.split(",")):
            for seed in range(given.seeds):
                mixed = whole.sample(frac=1, random_state=seed)
                train = mixed[:rows].groupby("target").filter(lambda part: len(part) >= 5)
                test = mixed[rows : rows + 1000]
                test = test[test["target"].isin(set(train["target"]))]
                told = [ours(train, test, seed, advice) for advice in (True, False)] + [theirs(train, test, one) for one in PEERS.values()]
                print(f"| {path.split('/')[-1]} | {rows} | {seed} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
