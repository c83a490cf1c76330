"""`duomo search`: texts by meaning (passages.py), pictures by whom they show (gallery.py)."""

import argparse
from typing import Any

from duomo import gallery, passages, pipeline
from duomo.core.reporter import Reporter


def search(arguments: argparse.Namespace, reporter: Reporter) -> Any:
    """What is nearest, printed, or returned as JSON values."""
    run = pipeline.load(arguments.run)
    asked = (run, arguments.folder, arguments.question, arguments.count, reporter)
    pictures = run.facts["task"] == "identify"
    found = gallery.search(*asked) if pictures else passages.search(*asked, arguments.encoding)
    return found if arguments.json else print("\n".join(map(gallery.line if pictures else passages.line, found)))
