"""Search by what a run understands: texts by meaning, pictures by whom they show."""

import argparse
from typing import Any

from duomo import gallery, pipeline
from duomo import search as passages
from duomo.core.reporter import Reporter


def search(arguments: argparse.Namespace, reporter: Reporter) -> Any:
    """What is nearest, printed, or returned as JSON values."""
    run = pipeline.load(arguments.run)
    if run.facts["task"] == "identify":
        found, line = gallery.search(run, arguments.folder, arguments.question, arguments.count, reporter), gallery.line
    else:
        found, line = passages.search(run, arguments.folder, arguments.question, arguments.count, reporter), passages.line
    return found if arguments.json else print("\n".join(map(line, found)))
