"""`duomo search`: texts by meaning (passages.py), pictures by whom they show (gallery.py)."""

import argparse
from typing import Any

from duomo import gallery, passages, pipeline
from duomo.core.reporter import Reporter


def search(arguments: argparse.Namespace, reporter: Reporter) -> Any:
    """What is nearest, printed, or returned as JSON values."""
    run = pipeline.load(arguments.run)
    kind = gallery if run.facts["task"] == "identify" else passages
    found = kind.search(run, arguments.folder, arguments.question, arguments.count, reporter)
    return found if arguments.json else print("\n".join(map(kind.line, found)))
