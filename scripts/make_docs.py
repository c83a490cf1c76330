"""Writes docs/recipe.md from the classes that hold the settings: `python scripts/make_docs.py` (a test holds it fresh)."""

import dataclasses
import math
import re
import sys
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from duomo.core import find
from duomo.core.config import documentation, hints
from duomo.core.recipe import Recipe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "recipe.md"
SHARED = ("target", "ignore", "encode")
HEAD = """# Every setting

Written by `scripts/make_docs.py` from `core/recipe.py` and the `Config` of each task and model. To change a sentence, change it beneath the
field there, never on this page.

A recipe is a TOML file with one table per section. "Empty: …", "0: …" and "Negative: …" say what the default stands for; the run folder's
`recipe.toml` holds what was chosen. There are three ways to set something; the later one wins:

```
duomo train reviews.csv --recipe mine.toml                      # a file
duomo train reviews.csv --epochs 3 --batch-size 32              # a flag: the field's name with hyphens (`--model` is model.name)
duomo train reviews.csv --set train.epochs=3 --set model.options.depth=2      # any setting by its path
```

From Python, nested dicts: `duomo.train("reviews.csv", {"train": {"epochs": 3}})`. All mistakes are reported at once, with the nearest
known names.

**Sections.** [data](#data) · [clean](#clean) · [encode](#encode) · [task](#task) · [model](#model) · [train](#train) ·
[augment](#augment) · [adapt](#adapt) (fine-tuning, LoRA) · [model.options](#modeloptions)
"""


def shown(kind: Any) -> str:
    """A type as a reader knows it: `number`, `text`, `yes or no`, one of several words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        low, high = parts[1].low, parts[1].high
        return f"{shown(parts[0])} from {low:g}" + (f" to {high:g}" if math.isfinite(high) else "")
    if origin is Literal:
        return "one of " + ", ".join(f"`{part}`" for part in parts if part != "")
    if origin in (Union, UnionType):
        return " or ".join(shown(part) for part in parts if part is not type(None))
    if origin is tuple:
        return f"list of {shown(parts[0])}"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(kind, "table")


def default(field: "dataclasses.Field[Any]", made: Any) -> str:
    value = getattr(made, field.name)
    if dataclasses.is_dataclass(value):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{part}`" for part in value)
    return f"`{value}`" if value not in ("", {}) else ""


def table(cls: Any, without: tuple[str, ...] = ()) -> list[str]:
    """The fields of one dataclass: name, type, default, documentation."""
    made, docs = cls(), documentation(cls)
    lines = ["| setting | takes | default | |", "|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        if field.name in without:
            continue
        text = re.sub(r"\s+", " ", docs.get(field.name, "")).replace("|", r"\|")
        lines.append(f"| `{field.name}` | {shown(hints(cls)[field.name])} | {default(field, made)} | {text} |")
    return lines


def named_sizes(module: Any) -> list[str]:
    """What each size of an architecture changes."""
    plain = module.Config()
    lines = []
    for name, config in module.SIZES.items():
        changed = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if getattr(config, f.name) != getattr(plain, f.name)}
        lines.append(f"- `{name}`: " + (", ".join(f"{key} = {value}" for key, value in changed.items()) or "as above"))
    return lines


def page() -> str:
    lines = [HEAD]
    for field in dataclasses.fields(Recipe):
        cls = hints(Recipe)[field.name]
        if dataclasses.is_dataclass(cls):
            lines += [f"## [{field.name}]", "", cls.__doc__ or "", "", *table(cls), ""]
        else:
            lines += [
                f"## [{field.name}]",
                "",
                "The settings of each task; `target`, `ignore` and `encode` are in the sections above.",
                "",
            ]
            for name in find.task_names():
                lines += [f"### {name}", "", *table(find.task_module(name).Config, SHARED), ""]
    lines += ["## [model.options]", "", "The settings of each architecture; a named size sets some of them.", ""]
    for name in find.model_names():
        module = find.model_module(name)
        lines += [f"### {name}", "", (module.__doc__ or "").split("\n\n")[0].replace("\n", " "), ""]
        lines += [*table(module.Config), "", "Sizes:", "", *named_sizes(module), ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
