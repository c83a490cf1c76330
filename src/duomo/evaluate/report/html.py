"""The scorecard as one HTML file: no script, no request, light and dark, every word of the user escaped."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from duomo.core.device import Execution
from duomo.core.messages import language, together, tr
from duomo.evaluate.progress import sentences
from duomo.evaluate.report.plots import picture, sparkline, whisker
from duomo.evaluate.scorecard import caution, headline, number, pretty, ranged, sentence, signed, told
from duomo.evaluate.slices import label, noted

HERE = Path(__file__).parent
MOST_CURVE_POINTS = 300


def lang() -> str:
    """The reader's language as HTML calls it."""
    return "zh-Hans" if language() == "zh" else "en"


def page(template: str, context: Mapping[str, Any]) -> str:
    """Fill one of the templates beside this file; everything is escaped but what plots.py drew."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    shell = {"tr": tr, "lang": lang(), "style": Markup((HERE / "style.css").read_text(encoding="utf-8"))}
    return environment.get_template(template).render({**shell, **context})


def render(card: Mapping[str, Any]) -> str:
    """The page of a scorecard (`scorecard.build`)."""
    card = told(card)
    facts, verdict = card["facts"], card["verdict"]
    others = [sentence(item) for item in card["verdicts"] if item["baseline"] != verdict.get("baseline")]
    return page(
        "scorecard.html.jinja",
        {
            "title": tr("{name}: scorecard", name=card["name"]), "eyebrow": tr("Duomo scorecard · {task}", task=tr(card["task"])),
            "heading": card["name"], "subtitle": facts.get("reason") or "",
            "verdict": {
                "outcome": verdict["outcome"], "headline": headline(verdict), "sentence": sentence(verdict), "others": others,
                "caution": caution(card),
            },
            "tiles": _tiles(card), "figures_note": _figures_note(card), "groups": _groups(card), "baseline_notes": _baseline_notes(card),
            "views": [_view(view) for view in card["views"]], "slices": _slices(card), "errors": _errors(card), "curves": _curves(card),
            "progress": sentences(card), "problems": list(facts.get("problems") or []), "facts": _facts(facts), "tables": _tables(card),
        },
    )  # fmt: skip


def _view(view: Mapping[str, Any]) -> dict[str, Any]:
    title = tr(view["title"])
    return {"title": title, "picture": picture(view["kind"], view["data"], title), "note": tr(view["note"]) if view["note"] else ""}


def seconds(value: float) -> str:
    """A duration as a person says it."""
    if value < 0.05:
        return tr("under 0.1 s")
    if value < 120:
        return tr("{value} s", value=f"{value:.1f}" if value < 10 else f"{value:.0f}")
    return tr("{value} min", value=f"{value / 60:.0f}") if value < 7200 else tr("{value} h", value=f"{value / 3600:.1f}")


def _range(found: Mapping[str, Any]) -> tuple[str, str]:
    """A figure and its interval as text."""
    value, interval = ranged(found, "[{}, {}]")
    return value, interval.replace("-", "−")


def _tiles(card: Mapping[str, Any]) -> list[dict[str, str]]:
    facts, name = card["facts"], card["metric"]["name"]
    found = card["results"][0]["metrics"].get(name)
    tiles = []
    if found:
        value, interval = _range(found)
        tiles.append({"label": pretty(name), "value": value, "note": f"95 % {interval}" if interval else ""})
    rows = facts.get("rows") or {}
    note = tr("after {train} to learn from", train=f"{rows['train']:,}") if "train" in rows else ""
    tiles.append({"label": tr("test rows"), "value": f"{card['test']['rows']:,}", "note": note})
    if facts.get("parameters") is not None:
        part = facts.get("trained", facts["parameters"])
        note = tr("{count} of them trained, {share:.2%}", count=f"{part:,}", share=part / max(1, facts["parameters"]))
        made = str(facts.get("model", ""))
        made = made if part == facts["parameters"] else f"{made} · {note}"
        made = " · ".join([made, *(f"{tr(name)} {share:.0%}" for name, share in (facts.get("voices") or {}).items())])
        tiles.append({"label": tr("parameters"), "value": f"{facts['parameters']:,}", "note": made})
    spent, before = facts.get("seconds") or {}, facts.get("preflight") or {}
    if spent.get("training") is not None:
        guess = (before.get("seconds") or {}).get("predicted")
        note = tr("predicted {value}", value=seconds(guess)) if guess is not None else ""
        tiles.append({"label": tr("training time"), "value": seconds(spent["training"]), "note": note})
    if facts.get("memory_mb") is not None:
        guess = (before.get("memory_bytes") or {}).get("predicted")
        note = tr("predicted {value}", value=f"{guess / 1e6:,.0f} MB") if guess is not None else ""
        tiles.append({"label": tr("memory"), "value": f"{facts['memory_mb']:,.0f} MB", "note": note})
    return tiles


def _figures_note(card: Mapping[str, Any]) -> str:
    plan, test = card["bootstrap"], card["test"]["rows"]
    note = tr(
        "On {rows} pieces of the {test} test rows, which neither training nor model choice saw. Intervals: {draws} resamples of the "
        "pieces, the same ones for all, so that differences are paired.",
        rows=f"{plan['rows']:,}", test=f"{test:,}", draws=plan["draws"],
    ) if plan["rows"] > test else tr(
        "On {rows} test rows that neither training nor model choice saw. Intervals: {draws} resamples of their {groups} groups, the same "
        "ones for all, so that differences are paired.",
        rows=f"{test:,}", draws=plan["draws"], groups=f"{plan['rows']:,}",
    ) if plan.get("units") == "groups" else tr(  # a text is judged in windows, of which a row gives many
        "On {rows} test rows that neither training nor model choice saw. Intervals: {draws} resamples of the rows, the same ones for all, "
        "so that differences are paired.",
        rows=f"{plan['rows']:,}", draws=plan["draws"],
    )  # fmt: skip
    if plan["rows_per_draw"] < plan["rows"]:
        note = together([note, tr("Each resample holds {rows} rows, its spread scaled to the whole.", rows=f"{plan['rows_per_draw']:,}")])
    return note


def _groups(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per metric the rows of all competitors on one scale; the deciding metric first."""
    results = [result for result in card["results"] if result["metrics"]]
    main = card["metric"]["name"]
    names = [main, *[name for name in results[0]["metrics"] if name != main]]
    groups = []
    for name in [name for name in names if name in results[0]["metrics"]]:
        shown = [(result, result["metrics"][name]) for result in results if name in result["metrics"]]
        ends = [part for _, found in shown for part in found.values() if part is not None]
        low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
        span = (low, high) if high > low else (low - 0.5, high + 0.5)
        note = (
            (tr("decides, higher is better") if card["metric"]["higher_is_better"] else tr("decides, lower is better"))
            if name == main
            else ""
        )
        groups.append({"name": pretty(name), "note": note, "rows": [_figure_row(result, found, name, span) for result, found in shown]})
    return groups


def _figure_row(result: Mapping[str, Any], found: Mapping[str, Any], name: str, span: tuple[float, float]) -> dict[str, Any]:
    value, interval = _range(found)
    apart = result["difference"].get(name)
    row = {
        "kind": result["kind"], "name": tr(result["name"]), "value": value, "interval": interval,
        "picture": whisker(found, span, result["kind"]),
    }  # fmt: skip
    if not apart or apart["value"] is None:
        return row | {"difference": "", "difference_interval": ""}
    known = apart["low"] is not None and apart["high"] is not None
    return row | {
        "difference": signed(apart["value"]),
        "difference_interval": f"[{signed(apart['low'])}, {signed(apart['high'])}]" if known else "",
    }


def _baseline_notes(card: Mapping[str, Any]) -> list[str]:
    found = []
    for result in card["results"][1:]:
        if result.get("note"):
            found.append(f"{tr(result['name'])}: {result['note']}")
        elif result.get("fit_seconds") is not None:
            found.append(
                tr("{name}: fitted in {fit} on {rows} rows, judged in {judge}.", name=tr(result["name"]),
                   fit=seconds(result["fit_seconds"]),
                   rows=f"{result['fitted_rows']:,}", judge=seconds(result["judge_seconds"]))
            )  # fmt: skip
    return found


def _slices(card: Mapping[str, Any]) -> dict[str, Any]:
    found = card["slices"]
    ends = [part for row in found["worst"] for part in (row["low"], row["high"], row["rest"]) if part is not None]
    span = (min(0.0, *ends), max(ends)) if ends and max(ends) > 0 else (0.0, 1.0)
    rows = []
    for item in found["worst"]:
        shown = {"value": item["error"], "low": item["low"], "high": item["high"]}
        value, interval = _range(shown)
        rows.append(
            {"label": label(item), "count": f"{item['rows']:,}", "error": value, "interval": interval,
             "picture": whisker(shown, span, "model"),
             "rest": number(item["rest"]), "stands_out": item["stands_out"]}
        )  # fmt: skip
    return {"note": noted(found), "rows": rows}


def _errors(card: Mapping[str, Any]) -> dict[str, Any]:
    found = card["errors"]
    note = found.get("note") or tr(
        "The test rows that the model gets most wrong: look here for wrong labels, unreadable inputs and what is missing."
    )
    return {"note": note, "entries": [_exhibit(item) for item in found["items"]]}


def _exhibit(item: Mapping[str, Any]) -> dict[str, Any]:
    media, texts, cells = [], [], []
    for cell in item["cells"]:
        if "source" in cell:
            tiny = cell["kind"] == "image" and len(cell["source"]) < 3000
            media.append({"kind": cell["kind"], "name": cell["name"], "source": cell["source"], "tiny": tiny})
        elif cell.get("line"):
            media.append({"kind": "series", "name": cell["name"], "picture": sparkline(cell["line"], cell["name"])})
        elif cell["kind"] == "text":
            texts.append(cell["text"])
            continue
        if cell["kind"] != "series":
            cells.append((cell["name"], cell["text"]))
    truth = [(tr("truth: {name}", name=name), value) for name, value in item["truth"].items()]
    answer = [
        (tr(name), value, place == 0 and value not in item["truth"].values()) for place, (name, value) in enumerate(item["answer"].items())
    ]
    return {
        "row": item["row"], "error": number(item["error"]), "media": media, "texts": texts, "truth": truth, "answer": answer,
        "cells": cells,
    }  # fmt: skip


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 300 points: means of neighbours."""
    size = -(-len(points) // MOST_CURVE_POINTS)
    pieces = [points[start : start + size] for start in range(0, len(points), size or 1)]
    return [(piece[-1][0], sum(value for _, value in piece) / len(piece)) for piece in pieces]


def _curves(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Loss and each metric on validation, over the steps."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in card["history"]:
        if point.get("loss") is not None:
            lines.setdefault("", []).append((point["step"], point["loss"]))
        for name, value in (point.get("valid") or {}).items():
            if value is not None:
                lines.setdefault(name, []).append((point["step"], value))
    order = ["", card["metric"]["name"], *lines]
    found = []
    for name in [name for name in dict.fromkeys(order) if len(lines.get(name, [])) > 1][:4]:
        thin = _thin(lines[name])
        title = tr("{metric} on validation", metric=pretty(name or "loss"))
        data = {"x": [x for x, _ in thin], "lines": {title: [y for _, y in thin]}, "x_label": tr("step"), "y_label": ""}
        found.append({"title": title, "picture": picture("curve", data, title)})
    return found


SHOWN_ELSEWHERE = ("name", "problems", "execution", "reason", "recipe", "preflight", "learned_all")


def flat(value: Any, named: Callable[[str], str] = lambda name: tr(name.replace("_", " "))) -> str:
    """A fact of any shape in one line, its parts named in words."""
    if isinstance(value, Mapping):
        return " · ".join(f"{named(str(name))} {flat(part, named)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(flat(part, named) for part in value) or "—"
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return number(value) if isinstance(value, float) else ("—" if value is None else str(value))


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in facts.items():
        if name in SHOWN_ELSEWHERE or value in (None, "", {}, []):
            continue
        if name == "seconds" and isinstance(value, Mapping):
            value = {stage: seconds(spent) for stage, spent in value.items()}
        elif name == "execution_chosen":
            value = str(Execution.from_dict(value))
        elif name == "machine":
            value = {part: _amount(part, fact) if part.endswith("bytes") else fact for part, fact in value.items()}
        found.append((tr(str(name).replace("_", " ")), flat(value)))
    return found


def _tables(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What fits no single line: how well the preflight guessed, the ways of execution that were timed, the whole recipe."""
    facts, found = card["facts"], []
    before = facts.get("preflight") or {}
    if before:
        rows = [
            [tr(name.replace("_", " ")), *[_amount(name, guess.get(key)) for key in ("predicted", "actual", "ratio")]]
            for name, guess in before.items()
        ]
        found.append(
            {
                "title": tr("What was predicted before training"), "head": ["", tr("predicted"), tr("actual"), tr("ratio")], "rows": rows,
                "open": True,
            }
        )  # fmt: skip
    timed = facts.get("execution")
    if isinstance(timed, list) and timed and isinstance(timed[0], Mapping):
        head = list(timed[0])
        cells = [[str(Execution.from_dict(row[name])) if name == "execution" else flat(row.get(name)) for name in head] for row in timed]
        found.append(
            {
                "title": tr("Ways of execution that were timed"), "head": [tr(name.replace("_", " ")) for name in head], "rows": cells,
                "open": False,
            }
        )  # fmt: skip
    recipe = facts.get("recipe")
    if isinstance(recipe, Mapping) and recipe:
        settings = [
            [f"{part}.{name}", flat(value, str)]
            for part, inner in recipe.items()
            if isinstance(inner, Mapping)
            for name, value in inner.items()
        ]
        found.append({"title": tr("The whole recipe"), "head": [tr("setting"), tr("value")], "rows": settings, "open": False})
    return found


def _amount(name: str, value: float | None) -> str:
    if value is None:
        return "—"
    if value > 1000 and name.endswith("bytes"):
        return f"{value / 1e6:,.1f} MB"
    return number(value)
