"""Flags of verbs that have few of them."""

import argparse

from duomo.core.messages import tr


def sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help=tr("A sample (`duomo list samples`)."))
    parser.add_argument("--out", default=".", metavar="DIR", help=tr("The folder to write into."))


def explore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=tr("A folder of pictures."))
    parser.add_argument("--from", dest="start", required=True, help=tr("A run folder or weights whose features are compared."))
    parser.add_argument("-o", "--html", default="", metavar="FILE", help=tr("Where the page goes; <name>.explore.html when left out."))
    parser.add_argument("--picture-size", type=int, default=0, help=tr("Pixels that pictures are brought to; the weights' own when 0."))
