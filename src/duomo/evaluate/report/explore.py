"""The page of `duomo explore`: a map of small pictures, groups, near-duplicates and odd ones; one file without a script."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from duomo.core.messages import tr
from duomo.evaluate.report.html import page
from duomo.evaluate.report.plots import pictures

WIDTH, HEIGHT, PICTURE, MARGIN = 900, 620, 26, 20
COLOURS = 5
PAIRS = 12


def headline(facts: Mapping[str, Any]) -> list[str]:
    lines = [
        tr("{rows:,} pictures as {source} sees them, {width} features each; {clusters} groups (silhouette {silhouette:.2f}).",
           rows=len(facts["rows"]), source=facts["source"], width=facts["features"], clusters=len(facts["groups"]),
           silhouette=facts["silhouette"])
    ]  # fmt: skip
    if facts["mutual_information"] is not None:
        lines.append(
            tr("Against the labels in {column}: normalised mutual information {shared:.2f} (0: unrelated, 1: the same groups).",
               column=facts["label"], shared=facts["mutual_information"])
        )  # fmt: skip
    return lines


def render(facts: Mapping[str, Any], sources: Mapping[int, str], name: str) -> str:
    """The page; `sources` holds data: URIs of the pictures to show, by row."""
    groups = []
    for number, group in enumerate(facts["groups"], 1):
        words = "Group {number}: {count} pictures, {share:.0%} {label}" if "label" in group else "Group {number}: {count} pictures"
        groups.append({"title": tr(words, **({"number": number} | {k: v for k, v in group.items() if k != "nearest"})),
                       "sources": _uris(group["nearest"], sources)})  # fmt: skip
    twins = [{"title": tr("Cosine similarity {similarity:.3f}", similarity=pair["similarity"]), "sources": _uris(pair["rows"], sources)}
             for pair in facts["near_duplicates"][:PAIRS]]  # fmt: skip
    odd = [{"title": tr("Farthest from all others"), "sources": _uris(facts["odd"], sources)}]
    parts = [
        (tr("Map ({method})", method=facts["method"]), tr("Near pictures look alike to the model. Colours are groups."),
         _map(facts["rows"], sources)),
        (tr("Groups"), tr("Each row shows the pictures nearest to the middle of its group."), pictures({"rows": groups}, "")),
        (tr("Near-duplicates"), tr("Pairs that the model can hardly tell apart: keep both on one side of a split."),
         pictures({"rows": twins}, "") or tr("None were found.")),
        (tr("Odd ones"), tr("Pictures farthest from their nearest neighbours: look here for strangers and mistakes."),
         pictures({"rows": odd}, "")),
    ]  # fmt: skip
    return page(
        "explore.html.jinja",
        {
            "title": tr("{name}: explored", name=name), "eyebrow": tr("Duomo explore"), "heading": name, "lines": headline(facts),
            "parts": parts,
        },
    )  # fmt: skip


def _uris(rows: Sequence[int], sources: Mapping[int, str]) -> list[str]:
    return [sources[row] for row in rows if row in sources]


def _map(rows: Sequence[Mapping[str, Any]], sources: Mapping[int, str]) -> Markup:
    """Every row a point in its group's colour, some of them as pictures."""
    edges = [(min(values), max(values)) for values in ([row[axis] for row in rows] for axis in ("x", "y"))]
    marks = []
    for number, row in enumerate(rows):
        x, y = (MARGIN + (row[axis] - low) / ((high - low) or 1) * (room - 2 * MARGIN)
                for axis, (low, high), room in zip(("x", "y"), edges, (WIDTH, HEIGHT), strict=True))  # fmt: skip
        title = Markup("<title>{}</title>").format(" · ".join(str(part) for part in (row["file"], row.get("label")) if part))
        colour = f"var(--c{row['group'] % COLOURS + 1})"
        marks.append(Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4" fill="{}">{}</circle>').format(x, y, colour, title))
        if number in sources:
            half = PICTURE / 2
            marks.append(Markup('<rect x="{:.1f}" y="{:.1f}" width="{}" height="{}" fill="{}"/>').format(
                x - half - 1.5, y - half - 1.5, PICTURE + 3, PICTURE + 3, colour))  # fmt: skip
            marks.append(Markup('<image x="{:.1f}" y="{:.1f}" width="{}" height="{}" href="{}">{}</image>').format(
                x - half, y - half, PICTURE, PICTURE, sources[number], title))  # fmt: skip
    return Markup('<svg class="plot whole" viewBox="0 0 {} {}" role="img">{}</svg>').format(WIDTH, HEIGHT, Markup("").join(marks))
