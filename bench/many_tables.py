"""Many tables, the network alone beside the same with its council: python bench/many_tables.py FOLDER [--sets swiss:Fertility] [--seeds 2]

FOLDER holds R's tables as CSV files, anywhere below it (those of the Python package pydataset 0.2.0, unpacked); at most 20,000 rows of
each are taken. For each seed 40 % of the rows are the test, divided anew, and `duomo.train` runs twice with its defaults: without advice
and with. The peers are the scorecard's own, fitted on the same rows. Prints log-loss and accuracy, or RMSE, as means over the seeds, and
at the end the geometric mean of what the council makes of each.
"""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from common import command_line, r_table, trained, written

SETS = (
    "iris:Species,cats:Sex,infert:case,birthwt:low,esoph:agegp,biopsy:class,fgl:type,Pima.te:type,bacteria:y,anorexia:Treat,survey:Sex,"
    "Melanoma:status,quine:Days,mtcars:mpg,swiss:Fertility,stackloss:stack.loss,airquality:Ozone,Boston:medv,trees:Volume,hills:time,rock:perm,"
    "attitude:rating,painters:School,warpbreaks:breaks,whiteside:Gas,ToothGrowth:len,Insurance:Claims,synth.tr:yc,Davis:weight,menarche:Menarche,"
    "Chile:vote,Hdma:deny,Heating:depvar,Fishing:mode,Aids2:status,Kakadu:answer,turnout:vote,VietNamI:pharvis,Star:tmathssk,OFP:ofp,Males:wage,"
    "Wages:lwage,Computers:price,SLID:wages,baseball:hr,nlschools:lang,quakes:mag"
)
MOST = 20_000
JUDGED = ("log_loss", "accuracy", "rmse")


def judged(frame: pd.DataFrame, target: str, seed: int) -> dict[str, dict[str, float]]:
    """Who answers -> metric -> value on the test."""
    frame = frame.dropna(subset=[target]).sample(frac=1, random_state=seed)[:MOST]
    cut, found = int(0.6 * len(frame)), dict[str, dict[str, float]]()
    with tempfile.TemporaryDirectory() as folder:
        paths = written({"train": frame[:cut], "test": frame[cut:]}, folder)
        for name, advice in (("network", False), ("council", True)):
            settings = {
                "data": {"target": (target,), "test": str(paths["test"])},
                "train": {"seed": seed},
                "model": {"options": {"advice": advice}},
            }
            results = trained(paths["train"], settings).results
            for result in results if advice else results[:1]:
                own = name if result is results[0] else result["name"]
                found[own] = {metric: result["metrics"][metric]["value"] for metric in JUDGED if metric in result["metrics"]}
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    gains = defaultdict[str, list[float]](list)
    for name, target in (pair.split(":") for pair in arguments.sets.split(",")):
        frame = r_table(arguments.folder, name)
        runs = [judged(frame, target, seed) for seed in range(arguments.seeds)]
        means = {who: {metric: float(np.mean([run[who][metric] for run in runs])) for metric in runs[0][who]} for who in runs[0]}
        told = [f"{who} {metric} {value:.4g}" for who, values in means.items() for metric, value in values.items()]
        print(" | ".join([f"{name:12} {len(frame):5}", *told]), flush=True)
        for metric in set(means["network"]) & {"log_loss", "rmse"}:
            gains[metric].append(float(np.mean([np.log(run["council"][metric] / run["network"][metric]) for run in runs])))
    for metric, logs in sorted(gains.items()):
        print(f"{metric}: with council {np.exp(np.mean(logs)):.3f} of the network alone, {len(logs)} tables")


if __name__ == "__main__":
    main()
