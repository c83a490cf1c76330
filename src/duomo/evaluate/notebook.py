"""How a run looks in a notebook, and in a line."""

from abc import abstractmethod
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from duomo.core.messages import tr
from duomo.core.reporter import Silent
from duomo.evaluate import scorecard


class Page(Silent):
    """What is said as HTML, every word escaped."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def say(self, sentence: str) -> None:
        self.parts.append(f"<p>{escape(sentence)}</p>")

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = [("th", head), *(("td", row) for row in rows)]
        cells = "".join(f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in line)}</tr>" for tag, line in lines)
        self.parts.append(f"<p><b>{escape(title)}</b></p><table>{cells}</table>")


class Shown:
    """A run that shows itself: where it lies and what it is worth."""

    @property
    @abstractmethod
    def path(self) -> Path: ...

    @property
    @abstractmethod
    def scorecard(self) -> dict[str, Any]: ...

    def __repr__(self) -> str:
        card = self.scorecard
        name = card["metric"]["name"]
        value = "".join(scorecard.ranged(card["results"][0]["metrics"][name]))
        return f"<duomo.Run {self.path}: {card['task']}, {name} {value}, {card['test']['rows']} test rows>"

    def _repr_html_(self) -> str:
        card, page = self.scorecard, Page()
        scorecard.show(card, page)
        for sentence in card["facts"].get("problems") or ():
            page.say(sentence)
        page.say(tr("The page: {path}", path=(self.path / "scorecard.html").absolute().as_uri()))
        return "".join(page.parts)
