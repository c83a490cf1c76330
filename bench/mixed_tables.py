"""Texts beside cells: python bench/mixed_tables.py FOLDER [--rows 1000,6000] [--sets name:target,...] [--seed 1] [--catboost]

FOLDER is the `mixed` that scripts/fetch_data.py writes: films with what they are rated and what critics gave them, two candidates' tweets,
a forum's comments, reviews of clothes, ratings of films by their viewers. So many rows are drawn to learn from, and at most 2,000 others
are the test. Duomo trains with its defaults. Beside it, on the same rows: logistic or ridge regression over TF-IDF of words and pairs of
words of each text, categories as columns and standardised numbers, its penalty chosen by 15 % of the rows; LightGBM over 64 coordinates of
those texts (truncated SVD) and the cells, stopped by the same 15 %; with --catboost, CatBoost, which is told the texts, categories and
numbers as such. Prints log-loss (RMSE of numbers), and for each side the geometric mean of its ratio to the best of the peers.
"""

import math
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss

from common import command_line, judged_on
from duomo.core.reporter import Silent

SETS = "rated:Rated,score:Score,author:Author,mood:Score text,stars:rating,given:rating"
CLASSES = ("mood:Score text", "stars:rating", "given:rating")
TESTED, STOPS = 2000, 0.15
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def ours(train: pd.DataFrame, test: pd.DataFrame, target: str, number: bool) -> float:
    data = {"target": (target,), "kind": {} if number else {target: "category"}}
    found = judged_on({"train": train, "test": test}, {"data": data}, reporter=Silent())
    return float(found.results[0]["metrics"]["rmse" if number else "log_loss"]["value"])


class Told:
    """The rows as peers are told them: which columns are texts, categories and numbers, and what is to be learned."""

    def __init__(self, train: pd.DataFrame, test: pd.DataFrame, target: str, number: bool):
        both, self.cut, self.number = pd.concat([train, test], ignore_index=True), len(train), number
        words = [name for name in both if name != target and both[name].dtype.kind not in "fiub"]
        dates = [name for name in words if pd.to_datetime(both[name], errors="coerce", format="%Y-%m-%d %H:%M:%S").notna().mean() > 0.9]
        for name in dates:
            moment = pd.to_datetime(both.pop(name), errors="coerce")
            both = both.assign(**{f"{name} s": moment.astype("int64") / 1e9, f"{name} h": moment.dt.hour, f"{name} d": moment.dt.dayofweek})
        words = [name for name in words if name not in dates]
        both = both.assign(**{name: both[name].fillna("").astype(str) for name in words})
        self.texts = [name for name in words if both[name].nunique() > 200]
        self.categories = [name for name in words if name not in self.texts]
        self.numbers = [name for name in both if name not in (target, *words)]
        self.frame = both.drop(columns=target)
        self.classes = [] if number else sorted(both[target][: self.cut].astype(str).unique())
        self.values = both[target].to_numpy(float) if number else np.array([self.classes.index(str(one)) for one in both[target]])
        self.stop = np.random.default_rng(0).random(self.cut) < STOPS
        self.learn = ~self.stop

    def loss(self, said: np.ndarray, rows: np.ndarray | slice) -> float:
        if self.number:
            return math.sqrt(float(np.mean((said - self.values[rows]) ** 2)))
        return float(log_loss(self.values[rows], said, labels=range(len(self.classes))))

    def say(self, model: Any, x: Any) -> np.ndarray:
        if self.number:
            return np.asarray(model.predict(x))
        found = np.full((x.shape[0], len(self.classes)), 1e-6)
        found[:, model.classes_] = model.predict_proba(x)
        return np.asarray(found / found.sum(1, keepdims=True))


def theirs(told: Told, catboost: bool) -> dict[str, float]:
    import lightgbm

    cut, frame, found = told.cut, told.frame, dict[str, float]()
    read = [TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2).fit(frame[name][:cut]) for name in told.texts]
    texts = sparse.hstack([one.transform(frame[name]) for one, name in zip(read, told.texts, strict=True)]).tocsr()
    cells = pd.get_dummies(frame[told.categories + told.numbers], columns=told.categories, dtype=float).astype(float)
    level = cells.fillna(cells[:cut].median()).fillna(0.0)
    level = (level - level[:cut].mean()) / level[:cut].std().replace(0, 1).fillna(1)
    spelled = sparse.hstack([texts, sparse.csr_matrix(level.clip(-5, 5).to_numpy() * 0.1)]).tocsr()
    learn, stop, known = np.flatnonzero(told.learn), np.flatnonzero(told.stop), told.values[:cut]

    def line(c: float, rows: np.ndarray) -> Any:
        model = Ridge(alpha=1 / c) if told.number else LogisticRegression(C=c, max_iter=300)
        return model.fit(spelled[rows], known[rows])

    best = min(PENALTIES, key=lambda c: told.loss(told.say(line(c, learn), spelled[stop]), stop))
    found["line"] = told.loss(told.say(line(best, np.arange(cut)), spelled[cut:]), slice(cut, None))
    svd = TruncatedSVD(64, random_state=0).fit(texts[:cut])
    x = np.hstack([svd.transform(texts), cells.to_numpy()])
    kind = lightgbm.LGBMRegressor if told.number else lightgbm.LGBMClassifier
    model = kind(n_estimators=1000, learning_rate=0.03, verbose=-1, n_jobs=1, random_state=0)
    ended = [lightgbm.early_stopping(50, verbose=False)]
    model.fit(x[learn], known[learn], eval_set=[(x[stop], known[stop])], callbacks=ended)
    found["LightGBM"] = told.loss(told.say(model, x[cut:]), slice(cut, None))
    if catboost:
        from catboost import CatBoostClassifier, CatBoostRegressor

        columns = frame[told.texts + told.categories + told.numbers]
        settings = {"iterations": 1000, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 0}
        cat = (CatBoostRegressor if told.number else CatBoostClassifier)(
            cat_features=told.categories, text_features=told.texts, early_stopping_rounds=100, **settings
        )
        cat.fit(columns.iloc[learn], known[learn], eval_set=(columns.iloc[stop], known[stop]))
        found["CatBoost"] = told.loss(told.say(cat, columns.iloc[cut:]), slice(cut, None))
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", default="1000,6000")
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--catboost", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    ratios, heads = defaultdict[str, list[float]](list), False
    for name, target in (one.split(":") for one in given.sets.split(",")):
        whole = pd.read_csv(given.folder / f"{name}.csv", low_memory=False).sample(frac=1, random_state=given.seed)
        number = whole[target].dtype.kind in "fi" and f"{name}:{target}" not in CLASSES
        for rows in map(int, given.rows.split(",")):
            rows = min(rows, len(whole) * 2 // 3)
            train, test = whole[:rows], whole[rows : rows + TESTED]
            test = test if number else test[test[target].isin(train[target].unique())]
            peers = theirs(Told(train, test, target, number), given.catboost)
            started = time.perf_counter()
            all_ = {"Duomo": ours(train, test, target, number), **peers}
            if not heads:
                print(f"| set | rows | {' | '.join(all_)} | Duomo's seconds |\n{'|---' * (len(all_) + 3)}|", flush=True)
                heads = True
            print(
                f"| {name} | {rows:,} | {' | '.join(f'{one:.4f}' for one in all_.values())} | {time.perf_counter() - started:.0f} |",
                flush=True,
            )
            for side, one in all_.items():
                ratios[side].append(one / min(peers.values()))
    print({side: round(float(np.exp(np.mean(np.log(one)))), 3) for side, one in ratios.items()})


if __name__ == "__main__":
    main()
