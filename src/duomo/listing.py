"""What there is: tasks, models, samples, runs; light enough to answer at once."""

import ast
import json
import pkgutil
from pathlib import Path

from duomo import models, tasks
from duomo.core.files import JSON_FAULTS
from duomo.core.messages import language, tr
from duomo.samples import SAMPLES

SHAPE_FAULTS = (*JSON_FAULTS, LookupError, TypeError, AttributeError)


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n")[0]


def _runs(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob("*/run.json")):
        card = path.with_name("scorecard.json")
        state = tr("finished") if path.with_name("manifest.json").exists() else tr("unfinished: duomo resume {path}", path=path.parent)
        try:
            words = [str(json.loads(path.read_text(encoding="utf-8"))["task"]), state]
            if card.exists():
                judged = json.loads(card.read_text(encoding="utf-8"))
                name = judged["metric"]["name"]
                value = judged["results"][0]["metrics"][name]["value"]
                words.append(f"{tr(name.replace('_', ' '))} {f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'}")
        except SHAPE_FAULTS:
            words = [tr("damaged")]
        found[path.parent.name] = "  ".join(word for word in words if word)
    return found


def listing(what: str, folder: str = "runs") -> dict[str, str]:
    """Name -> one line, for tasks, models, samples or runs."""
    if what == "tasks":
        return {
            f.name: tr(_first_sentence(Path(p) / f.name / "task.py")) for p in tasks.__path__ for f in pkgutil.iter_modules([p]) if f.ispkg
        }
    if what == "models":
        return {f.name: tr(_first_sentence(Path(p) / f"{f.name}.py")) for p in models.__path__ for f in pkgutil.iter_modules([p])}
    if what == "samples":
        return {name: sample.title_zh if language() == "zh" else sample.title for name, sample in SAMPLES.items()}
    return _runs(Path(folder))
