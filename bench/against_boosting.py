"""Tables nobody had prepared, beside the field's boosting and forests: python bench/against_boosting.py FOLDER [--sets name:target,...]

FOLDER holds the tables as NAME.csv. Either `--sets strangers`, in .bench/data/strangers as scripts/fetch_data.py writes them; or, when
--sets is not given, the data frames of Debian's packages r-cran-mlbench, -kernlab, -caret, -modeldata, -aer, -cardata and -ggplot2 as
`write.csv(frame, "PACKAGE__NAME.csv", row.names = FALSE)` writes them. At most 10,000 rows of each are taken, in an order drawn by seed
1; 30 % of them are the test. Duomo trains with its defaults. CatBoost (1,000 trees) and LightGBM (2,000, rate 0.03) stop by 15 % of the
training rows, categories told to them; random forest and extra trees have 500 trees, and logistic or ridge regression reads standardised
columns. Prints log-loss, or RMSE, and for each side the geometric mean of its ratio to the best of the peers, and how often it is best.
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import command_line, judged_on
from duomo.core.reporter import Silent

SETS = (
    "mlbench__LetterRecognition:lettr,mlbench__Satellite:classes,mlbench__DNA:Class,mlbench__Vowel:Class,mlbench__Soybean:Class,"
    "kernlab__spam:type,caret__GermanCredit:Class,AER__HMDA:deny,carData__TitanicSurvival:survived,modeldata__wa_churn:churn,"
    "modeldata__attrition:Attrition,mlbench__Glass:Type,mlbench__BostonHousing:medv,modeldata__concrete:compressive_strength,"
    "modeldata__Chicago:ridership,AER__CPS1988:wage,mlbench__Servo:Class,ggplot2__diamonds:price,modeldata__biomass:HHV,"
    "AER__NMES1988:visits,mlbench__Vehicle:Class,mlbench__Ionosphere:Class,mlbench__Sonar:Class,mlbench__Shuttle:Class,"
    "kernlab__income:INCOME,kernlab__ticdata:CARAVAN,modeldata__lending_club:Class,modeldata__stackoverflow:Remote,"
    "modeldata__credit_data:Status,modeldata__hpc_data:class,modeldata__cells:class,modeldata__mlc_churn:churn,modeldata__scat:Species,"
    "carData__Arrests:released,AER__SmokeBan:smoker,modeldata__ames:Sale_Price,modeldata__car_prices:Price,caret__Sacramento:price,"
    "AER__CASchools:math,AER__CollegeDistance:score,AER__HousePrices:price,mlbench__Ozone:V4,carData__SLID:wages,AER__Guns:violent"
)
STRANGERS = (
    "adult_services:lnw,black_politicians:responded,ccdrug:custody,close_elections_lmb:democrat,credit_cards:LateSept,"
    "fetter_mortgages:home_ownership,nhefs:death,restaurant_data:inspection_score,scorecard:earnings_med,Cai_2015:takeup_survey,"
    "thornton_hiv:got,apartments:m2_price,dragons:life_length,fifa:value_eur,german:risk,hr:status,ACTG175:cens,dd:duration,gbsg2:time,"
    "card:wage,meps:ldrugexp,wage_panel:lwage,phishing:is_phishing,segment:category"
)
LEFT_OUT = {
    "AER__CASchools": ["read"], "close_elections_lmb": ["demvoteshare", "id"], "nhefs": ["yrdth", "modth", "dadth", "seqn", "id"],
    "thornton_hiv": ["hiv2004"], "card": ["lwage", "id"], "meps": ["drugexp"], "ACTG175": ["days", "pidnum"], "dd": ["observed"],
    "gbsg2": ["cens"],
}  # fmt: skip
"""Columns that are nearly the target, are known only with it, or number the rows."""
MOST, LEAST = 10_000, 1e-6


def ours(train: pd.DataFrame, test: pd.DataFrame, target: str, number: bool) -> float:
    found = judged_on({"train": train, "test": test}, {"data": {"target": (target,)}}, reporter=Silent())
    return float(found.results[0]["metrics"]["rmse" if number else "log_loss"]["value"])


def theirs(train: pd.DataFrame, test: pd.DataFrame, target: str, number: bool) -> dict[str, float]:
    import lightgbm
    from catboost import CatBoostClassifier, CatBoostRegressor

    both = pd.concat([train, test]).drop(columns=[target])
    words = [name for name in both if both[name].dtype.kind not in "fi"]
    told = both.assign(**{name: both[name].fillna("").astype(str) for name in words})
    typed = both.assign(**{name: both[name].astype("category") for name in words})
    spelled = pd.get_dummies(both[[name for name in both if name not in words or both[name].nunique() <= 60]], dtype=float)
    spelled = spelled.astype(float).fillna(spelled[: len(train)].median()).fillna(0)
    classes = sorted(train[target].astype(str).unique())
    place = {name: number for number, name in enumerate(classes)}
    y, y_test = (frame[target].to_numpy(float) if number else frame[target].astype(str).map(place).to_numpy() for frame in (train, test))
    whole = None if number or np.bincount(y).min() < 2 else y
    learn, stop = train_test_split(np.arange(len(train)), test_size=0.15, random_state=0, stratify=whole)
    cut = len(train)

    def boosted(model: Any, x: pd.DataFrame, **how: Any) -> Any:
        part = x[:cut]
        return model.fit(part.iloc[learn], y[learn], eval_set=[(part.iloc[stop], y[stop])], **how)

    light = lightgbm.LGBMRegressor if number else lightgbm.LGBMClassifier
    forest, extra = (RandomForestRegressor, ExtraTreesRegressor) if number else (RandomForestClassifier, ExtraTreesClassifier)
    few = {"n_jobs": 1, "random_state": 0, "min_samples_leaf": 1 if number else 2}
    line = RidgeCV(np.logspace(-2, 4, 13)) if number else LogisticRegression(C=0.1, max_iter=500)
    cat = (CatBoostRegressor if number else CatBoostClassifier)(
        iterations=1000, verbose=0, allow_writing_files=False, thread_count=1, cat_features=words, random_seed=0
    )
    made: dict[str, tuple[Callable[[], Any], pd.DataFrame]] = {
        "catboost": (lambda: boosted(cat, told, early_stopping_rounds=50), told),
        "lightgbm": (lambda: boosted(light(n_estimators=2000, learning_rate=0.03, verbose=-1, n_jobs=1, random_state=0), typed,
                                     callbacks=[lightgbm.early_stopping(50, verbose=False)]), typed),
        "forest": (lambda: forest(500, **few).fit(spelled[:cut], y), spelled),
        "extra trees": (lambda: extra(500, **few).fit(spelled[:cut], y), spelled),
        "line": (lambda: make_pipeline(StandardScaler(), line).fit(spelled[:cut], y), spelled),
    }  # fmt: skip
    found = {}
    for name, (fit, x) in made.items():
        model = fit()
        if number:
            found[name] = float(np.square(model.predict(x[cut:]) - y_test).mean() ** 0.5)
        else:
            chance = np.clip(model.predict_proba(x[cut:]), LEAST, 1)
            found[name] = float(-np.log((chance / chance.sum(1, keepdims=True))[np.arange(len(y_test)), y_test]).mean())
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default=SETS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    sets = STRANGERS if given.sets == "strangers" else given.sets
    ratios, best = defaultdict[str, list[float]](list), defaultdict[str, int](int)
    for name, target in (pair.split(":") for pair in sets.split(",")):
        frame = pd.read_csv(given.folder / f"{name}.csv").dropna(subset=[target]).drop(columns=LEFT_OUT.get(name, []))
        frame = frame.sample(frac=1, random_state=1)[:MOST].reset_index(drop=True)
        number = frame[target].dtype.kind in "fi" and frame[target].nunique() > 10
        cut = int(0.7 * len(frame))
        found = {"Duomo": ours(frame[:cut], frame[cut:], target, number)} | theirs(frame[:cut], frame[cut:], target, number)
        least = min(found.values())
        for who, value in found.items():
            ratios[who].append(math.log(value / min(value for peer, value in found.items() if peer != "Duomo")))
            best[who] += value == least
        print(f"{name:28} {cut:6} " + "  ".join(f"{who} {value:.4g}" for who, value in found.items()), flush=True)
    for who, logs in ratios.items():
        print(f"{who:12} {math.exp(sum(logs) / len(logs)):.3f} times the best peer, best on {best[who]} of {len(logs)}")


if __name__ == "__main__":
    main()
