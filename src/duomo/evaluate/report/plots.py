"""The few kinds of picture that reports need, written as inline SVG.

Colours are the page's own custom properties (`var(--c1)`), so that a picture follows light and dark without a script;
every mark carries a <title>, every picture an accessible label. User text is escaped by markupsafe.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

Number = float | None
WIDTH, HEIGHT = 460, 280
MOST_BARS = 24
MOST_POINTS = 900
NUMBERED_CELLS = 14
"""Matrices up to this many columns show their numbers."""


class Box(NamedTuple):
    """The plotting area in SVG units, and the data range it shows."""

    left: float
    top: float
    right: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)


def picture(kind: str, data: Mapping[str, Any], title: str) -> Markup:
    """A `View` (core.contract) drawn; an unknown kind gives nothing."""
    draw = PICTURES.get(kind)
    return draw(data, title) if draw else Markup()


def short(text: Any, longest: int = 20) -> str:
    """A label cut to about `longest` Latin letters; a Chinese character counts as two."""
    taken, room = "", longest
    for letter in str(text):
        room -= 2 if ord(letter) > 0x2E80 else 1
        if room < 0:
            return taken + "…"
        taken += letter
    return taken


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers across a range."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    step = 10 ** math.floor(math.log10(span / count))
    step *= next((factor for factor in (1, 2, 2.5, 5, 10) if span / (step * factor) <= count + 1e-9), 10)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def figure(value: Number) -> str:
    """A number short enough for an axis."""
    if value is None or not math.isfinite(value):
        return "—"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g}{letter}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def _svg(width: float, height: float, label: str, body: Sequence[Markup]) -> Markup:
    inside = Markup("").join(body)
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        f"{width:g}", f"{height:g}", label, inside
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(x, y, anchor, kind, text)


def _line(start: tuple[float, float], end: tuple[float, float], kind: str) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(*start, *end, kind)


def _axes(box: Box, x_label: str, y_label: str) -> list[Markup]:
    found = []
    for value in ticks(*box.y):
        x, y = box.at(box.x[0], value)
        found += [_line((box.left, y), (box.right, y), "rule"), _text(x - 7, y + 4, figure(value), "end", "tick")]
    for value in ticks(*box.x):
        x, y = box.at(value, box.y[0])
        found.append(_text(x, y + 17, figure(value), "middle", "tick"))
    found.append(_line((box.left, box.bottom), (box.right, box.bottom), "axis"))
    found.append(_text((box.left + box.right) / 2, box.bottom + 36, x_label, "middle", "label"))
    found.append(_text(4, 14, y_label, "start", "label"))
    return found


def _range(values: Sequence[Number], pad: float = 0.04) -> tuple[float, float]:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if low == high:
        return low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5
    space = (high - low) * pad
    return (0.0 if 0 <= low < space else low - space), high + space


def bars(data: Mapping[str, Any], title: str, width: int = WIDTH) -> Markup:
    """Horizontal bars with their values at the end."""
    pairs = [(str(name), value) for name, value in zip(data["labels"], data["values"], strict=False) if value is not None][:MOST_BARS]
    low, high = min([0.0, *[value for _, value in pairs]]), max([0.0, *[value for _, value in pairs]])
    row, left, right = 24, (150 if width >= WIDTH else 104), width - 58
    box = Box(left, 4, right, 4 + row * len(pairs), (low, high or 1.0), (0, 1))
    found, zero = [], box.at(0, 0)[0]
    for place, (name, value) in enumerate(pairs):
        end, y = box.at(value, 0)[0], 4 + place * row
        found.append(_text(left - 8, y + 16, short(name, 20 if width >= WIDTH else 14), "end", "name"))
        found.append(
            Markup('<rect x="{:.1f}" y="{}" width="{:.1f}" height="15" rx="3" class="bar"><title>{}: {}</title></rect>').format(
                min(zero, end), y + 4, max(1.0, abs(end - zero)), name, figure(value)
            )
        )
        found.append(_text(max(zero, end) + 6, y + 16, figure(value), "start", "tick"))
    return _svg(width, row * len(pairs) + 8, title, found)


def matrix(data: Mapping[str, Any], title: str) -> Markup:
    """A table of counts as a heat map: each row is coloured by its own share, rows are what is true."""
    rows, columns, values = list(data["rows"]), list(data["columns"]), data["values"]
    size = min(44.0 if len(columns) > 4 else 76.0, (WIDTH - 110) / max(1, len(columns)))
    left, top = 100.0, 64.0 if max((len(short(name, 12)) for name in columns), default=0) > 4 else 30.0
    found = []
    for across, name in enumerate(columns):
        x = left + (across + 0.5) * size
        turn = Markup(' transform="rotate(-40 {:.1f} {:.1f})"').format(x, top - 8) if top > 30 else Markup()
        anchor = "start" if top > 30 else "middle"
        found.append(
            Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="name"{}>{}</text>').format(
                x, top - 8, anchor, turn, short(name, 12)
            )
        )
    for down, name in enumerate(rows):
        total = sum(value or 0 for value in values[down]) or 1
        y = top + down * size
        found.append(_text(left - 8, y + size / 2 + 4, short(name, 13), "end", "name"))
        for across, value in enumerate(values[down]):
            found.append(
                _square((left + across * size, y, size), value or 0, (value or 0) / total, f"{name} → {columns[across]}", len(columns))
            )
    return _svg(WIDTH, top + size * len(rows) + 6, title, found)


def _square(place: tuple[float, float, float], value: float, share: float, name: str, columns: int) -> Markup:
    x, y, size = place
    words = f"{name}: {figure(value)} ({share:.1%})"
    found = Markup('<g><title>{}</title><rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="3" class="cell"/>').format(
        words, x + 1, y + 1, size - 2, size - 2
    )
    found += Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="3" class="heat" fill-opacity="{:.2f}"/>').format(
        x + 1, y + 1, size - 2, size - 2, 0.92 * max(0.0, share) ** 0.6
    )
    if columns <= NUMBERED_CELLS and value:
        found += _text(x + size / 2, y + size / 2 + 4, figure(value), "middle", "inverse" if share > 0.4 else "value")
    return found + Markup("</g>")


def curve(data: Mapping[str, Any], title: str) -> Markup:
    """Lines over a common x, with a legend where there are several."""
    x, lines = list(data["x"]), {str(name): list(values) for name, values in data["lines"].items()}
    diagonal = bool(data.get("diagonal"))
    every = [value for values in lines.values() for value in values]
    x_range, y_range = (_both(x + every), _both(x + every)) if diagonal else (_range(x, 0.0), _range(every))
    box = Box(52, 24, WIDTH - 12, HEIGHT - 46, x_range, y_range)
    found = _axes(box, data.get("x_label", ""), data.get("y_label", ""))
    if diagonal:
        found.append(_line(box.at(x_range[0], y_range[0]), box.at(x_range[1], y_range[1]), "guide"))
    for place, (name, values) in enumerate(lines.items()):
        found += _path(box, x, values, (name, place % 5 + 1))
    picture = _svg(WIDTH, HEIGHT, title, found)
    if len(lines) < 2:
        return picture
    keys = Markup("").join(Markup('<span><i class="key k{}"></i>{}</span>').format(place % 5 + 1, name) for place, name in enumerate(lines))
    return picture + Markup('<div class="legend">{}</div>').format(keys)


def _both(values: Sequence[Number]) -> tuple[float, float]:
    low, high = _range(values, 0.0)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _path(box: Box, x: Sequence[float], values: Sequence[Number], drawn: tuple[str, int]) -> list[Markup]:
    """A line broken where values are missing; dots with titles while they are few."""
    name, colour = drawn
    steps, pen, dots = [], "M", []
    known = [(a, b) for a, b in zip(x, values, strict=False) if b is not None and math.isfinite(b)]
    for a, b in zip(x, values, strict=False):
        if b is None or not math.isfinite(b):
            pen = "M"
            continue
        place = box.at(a, b)
        steps.append(f"{pen}{place[0]:.1f} {place[1]:.1f}")
        pen = "L"
        if len(known) <= 40:
            words = f"{name}: {figure(a)}, {figure(b)}"
            dots.append(
                Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3" class="d{}"><title>{}</title></circle>').format(*place, colour, words)
            )
    return [Markup('<path d="{}" class="l{}"/>').format(" ".join(steps), colour), *dots]


def points(data: Mapping[str, Any], title: str) -> Markup:
    """A cloud of points; of very many an even sample."""
    pairs = [(a, b) for a, b in zip(data["x"], data["y"], strict=False) if a is not None and b is not None]
    pairs = pairs[:: max(1, math.ceil(len(pairs) / MOST_POINTS))]
    x, y = [a for a, _ in pairs], [b for _, b in pairs]
    diagonal = bool(data.get("diagonal"))
    x_range, y_range = (_range(x + y), _range(x + y)) if diagonal else (_range(x), _range(y))
    box = Box(52, 24, WIDTH - 12, HEIGHT - 46, x_range, y_range)
    found = _axes(box, data.get("x_label", ""), data.get("y_label", ""))
    if diagonal:
        found.append(_line(box.at(x_range[0], x_range[0]), box.at(x_range[1], x_range[1]), "guide"))
    for a, b in pairs:
        words = f"{figure(a)}, {figure(b)}"
        found.append(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.6" class="point"><title>{}</title></circle>').format(*box.at(a, b), words)
        )
    return _svg(WIDTH, HEIGHT, title, found)


def distribution(data: Mapping[str, Any], title: str) -> Markup:
    """Counts between edges, as large as the other pictures."""
    return histogram(data["values"], data["edges"], title, size=(WIDTH, 200.0))


def histogram(
    counts: Sequence[float],
    edges: Sequence[float],
    title: str,
    labels: Sequence[str] | None = None,
    size: tuple[float, float] = (240.0, 74.0),
) -> Markup:
    """Counts between edges (one more edge than counts), small: for one column of a table; `labels` name the edges."""
    names = [figure(edge) for edge in edges] if labels is None else [str(label) for label in labels]
    (width, height), top = size, max([1.0, *counts])
    step, found = width / max(1, len(counts)), []
    for place, count in enumerate(counts):
        tall = (height - 20) * count / top
        words = f"{names[place]} … {names[place + 1]}: {figure(count)}"
        found.append(
            Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5" class="bar"><title>{}</title></rect>').format(
                place * step + 0.6, height - 18 - tall, max(0.8, step - 1.2), max(tall, 0.8 if count else 0), words
            )
        )
    if len(edges) > 1:
        found += [_line((0, height - 17), (width, height - 17), "axis"), _text(0, height - 4, names[0], "start", "tick")]
        found.append(_text(width, height - 4, names[-1], "end", "tick"))
        if 0.85 * edges[0] + 0.15 * edges[-1] < 0 < 0.15 * edges[0] + 0.85 * edges[-1]:
            zero = -edges[0] / (edges[-1] - edges[0]) * width
            found += [_line((zero, 0), (zero, height - 17), "guide"), _text(zero, height - 4, "0", "middle", "tick")]
    return _svg(width, height, title, found)


def whisker(shown: Mapping[str, Number], span: tuple[float, float], kind: str) -> Markup:
    """One figure as a dot on its 95 % interval; `span` is the scale shared by the rows of a metric."""
    value, low, high = shown["value"], shown["low"], shown["high"]
    if value is None:
        return Markup()
    low, high = (value if low is None else low), (value if high is None else high)
    box = Box(6, 0, 214, 20, span, (0, 1))
    left, right, middle = box.at(low, 0)[0], box.at(high, 0)[0], box.at(value, 0)[0]
    words = f"{figure(value)} [{figure(low)}, {figure(high)}]"
    body = Markup('<title>{}</title><line x1="6" y1="10" x2="214" y2="10" class="rule"/>').format(words)
    body += Markup('<rect x="{:.1f}" y="6" width="{:.1f}" height="8" rx="4" class="reach {}"/>').format(left, max(2.0, right - left), kind)
    body += Markup('<circle cx="{:.1f}" cy="10" r="4.5" class="dot {}"/>').format(middle, kind)
    return Markup('<svg class="whisker" viewBox="0 0 220 20" role="img" aria-label="{}">{}</svg>').format(words, body)


def sparkline(values: Sequence[float], title: str) -> Markup:
    """A series without axes."""
    if len(values) < 2:
        return Markup()
    box = Box(2, 4, 198, 46, (0, len(values) - 1), _range(values))
    steps = " ".join(f"{'L' if place else 'M'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(box.at(i, v) for i, v in enumerate(values)))
    return _svg(200, 50, title, [Markup('<path d="{}" class="l1"/>').format(steps)])


def texts(data: Mapping[str, Any], title: str) -> Markup:
    """Pieces of text under their titles."""
    items = [
        Markup("<figure><figcaption>{}</figcaption><blockquote>{}</blockquote></figure>").format(item["title"], item["text"])
        for item in data["items"]
    ]
    return Markup('<div class="texts" aria-label="{}">{}</div>').format(title, Markup("").join(items))


def pictures(data: Mapping[str, Any], title: str) -> Markup:
    """Rows of small pictures beneath their titles; only data: URIs are shown."""
    image = Markup('<img src="{}" alt="" loading="lazy">')
    row = Markup('<figure class="strip"><figcaption>{}</figcaption>{}</figure>')
    found = [(one["title"], [uri for uri in one["sources"] if str(uri).startswith("data:image/")]) for one in data["rows"]]
    return Markup("").join(row.format(text, Markup("").join(image.format(uri) for uri in uris)) for text, uris in found)


PICTURES: dict[str, Callable[[Mapping[str, Any], str], Markup]] = {
    "bars": bars, "histogram": distribution, "matrix": matrix, "curve": curve, "points": points, "texts": texts, "pictures": pictures,
}  # fmt: skip
