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


def search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help=tr("A run folder (`duomo list runs`)."))
    parser.add_argument("folder", help=tr("A folder of texts, or of pictures; or one picture to compare with."))
    parser.add_argument("question", help=tr("What is looked for: words, or a picture's file."))
    parser.add_argument("--count", type=int, default=5, help=tr("How many to show."))


def enrol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help=tr("A run folder (`duomo list runs`)."))
    parser.add_argument("source", help=tr("A folder with a folder of pictures for each person."))
    parser.add_argument(
        "-o", "--out", required=True, metavar="DIR", help=tr("The run folder to write; it answers and serves as any other.")
    )


def chat(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--temperature", type=float, help=tr("Below 1 safer, above 1 wilder; 0 takes the likeliest token."))
    engine(parser)


def engine(parser: argparse.ArgumentParser) -> None:
    words = tr(
        "What writes: own, f16, int8, llama-f16, llama-q8_0 or llama-q4_0; of a large model the one that measured fastest when left out."
    )
    parser.add_argument("--engine", default="", metavar="NAME", help=words)
