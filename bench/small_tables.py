"""Small tables beside boosting and linear models: python bench/small_tables.py FOLDER [--sets crabs:sp] [--seeds 4] [--alone]

FOLDER holds R's tables as CSV files, anywhere below it (those of the Python package pydataset 0.2.0, unpacked); at most 20,000 rows of
each are taken. For each seed 40 % of the rows are the test, divided anew; `duomo.train` does the rest with its defaults, and with --alone
once more as a network without advice. The peers are the scorecard's own, fitted on the same rows. Prints log-loss and accuracy, or RMSE,
as means over the seeds, how often the scorecard's verdict was won, a tie or lost, and what the council makes of the network's loss.
"""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common import command_line, judged_on, r_table

SETS = {
    "few": "crabs:sp,Pima.tr:type,kyphosis:Kyphosis,Participation:lfp,Rubber:loss,petrol:Y,longley:Employed,InsectSprays:spray,"
    "chickwts:weight,Salaries:salary",
    "many": "iris:Species,cats:Sex,infert:case,birthwt:low,esoph:agegp,biopsy:class,fgl:type,Pima.te:type,bacteria:y,"
    "anorexia:Treat,survey:Sex,Melanoma:status,quine:Days,mtcars:mpg,swiss:Fertility,stackloss:stack.loss,airquality:Ozone,"
    "Boston:medv,trees:Volume,hills:time,rock:perm,attitude:rating,painters:School,warpbreaks:breaks,whiteside:Gas,"
    "ToothGrowth:len,Insurance:Claims,synth.tr:yc,Davis:weight,menarche:Menarche,Chile:vote,Hdma:deny,Heating:depvar,Fishing:mode,"
    "Aids2:status,Kakadu:answer,turnout:vote,VietNamI:pharvis,Star:tmathssk,OFP:ofp,Males:wage,Wages:lwage,Computers:price,"
    "SLID:wages,baseball:hr,nlschools:lang,quakes:mag",
}
"""None of the few was looked at while settings were chosen."""
MOST = 20_000
JUDGED = ("log_loss", "accuracy", "rmse")


def judged(frame: pd.DataFrame, target: str, seed: int, advice: bool) -> dict[str, Any]:
    frame = frame.dropna(subset=[target]).sample(frac=1, random_state=seed)[:MOST]
    parts, options = {"train": frame[: int(0.6 * len(frame))], "test": frame[int(0.6 * len(frame)) :]}, {} if advice else {"advice": False}
    return judged_on(parts, {"data": {"target": (target,)}, "train": {"seed": seed}, "model": {"options": options}}).card


def means(cards: list[dict[str, Any]], name: str, place: int) -> dict[str, list[float]]:
    """Metric -> its values for one of those who answer."""
    found = [card["results"][place]["metrics"] for card in cards]
    return {f"{name} {metric}": [one[metric]["value"] for one in found] for metric in JUDGED if metric in found[0]}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default="few", help="few, many, or name:target, with commas between")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--alone", action="store_true", help="the network without its council beside it")
    arguments = parser.parse_args()
    gains = defaultdict[str, list[float]](list)
    for name, target in (pair.split(":") for pair in SETS.get(arguments.sets, arguments.sets).split(",")):
        frame = r_table(arguments.folder, name)
        cards = [judged(frame, target, seed, True) for seed in range(arguments.seeds)]
        told = {
            one: values for place, result in enumerate(cards[0]["results"]) for one, values in means(cards, result["name"], place).items()
        }
        if arguments.alone:
            alone = means([judged(frame, target, seed, False) for seed in range(arguments.seeds)], "alone", 0)
            for metric in ("log_loss", "rmse") if alone else ():
                own = means(cards, "alone", 0).get(f"alone {metric}")
                gains[metric] += [float(np.mean(np.log(np.divide(own, alone[f"alone {metric}"]))))] if own else []
            told |= alone
        words = [f"{name:14} {len(frame):5}", *(f"{one} {np.mean(values):.4g}" for one, values in told.items())]
        print(" | ".join(words), dict(Counter(card["verdict"]["outcome"] for card in cards)), flush=True)
    for metric, logs in sorted(gains.items()):
        print(f"{metric}: with council {np.exp(np.mean(logs)):.3f} of the network alone, {len(logs)} tables")


if __name__ == "__main__":
    main()
