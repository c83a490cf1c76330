"""The flags of each verb; those that stand for the recipe's fields are made in cli.py."""

import argparse

from duomo.core.messages import tr

SHELLS = ("bash", "zsh", "tcsh")
OPEN = "Open the page in the browser."


def source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", help=tr("A file or folder. Default: the source in the recipe."))
    parser.add_argument("--recipe", metavar="FILE", help=tr("A TOML file of settings, such as the recipe.toml of an earlier run."))
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help=tr("Any setting by its path, such as train.epochs=3."))
    reads = tr("The input column for translate, summarize, tag, embed and chat. Default: found by name.")
    parser.add_argument("--source", dest="task.source", metavar="COLUMN", help=reads)


def run(parser: argparse.ArgumentParser, name: str = "run") -> argparse.ArgumentParser:
    parser.add_argument(name, help=tr("A run folder (`duomo list runs`)."))
    return parser


def sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help=tr("A sample (`duomo list samples`)."))
    parser.add_argument("-o", "--out", default=".", metavar="DIR", help=tr("The folder to write into."))


def explore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=tr("A folder of pictures."))
    told = tr("A run folder or weights whose features are used. Default: edges and colours.")
    parser.add_argument("--from", dest="start", default="", help=told)
    parser.add_argument("-o", "--html", default="", metavar="FILE", help=tr("The page to write. Default: <name>.explore.html."))
    parser.add_argument(
        "--picture-size", type=int, default=0, help=tr("Side in pixels that pictures are resized to. 0: what the weights expect.")
    )
    device(parser)


def search(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("folder", help=tr("A folder of texts or pictures, or one picture to compare with."))
    parser.add_argument("question", help=tr("What to look for: words, or the path of a picture."))
    parser.add_argument("--count", type=int, default=5, help=tr("Number of results."))
    parser.add_argument("--encoding", default="", help=tr("Text encoding of files that do not state it."))
    device(parser)


def enrol(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("source", help=tr("A folder with one folder of pictures per person."))
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help=tr("The run folder to write. It is used like any other."))


def chat(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("--temperature", type=float, help=tr("0 takes the most likely token; below 1 is safer, above 1 more varied."))
    engine(parser)


def engine(parser: argparse.ArgumentParser) -> None:
    words = tr(
        "What generates text: own, f16, int8, llama-f16, llama-q8_0 or llama-q4_0. Default: for large models, the one measured fastest."
    )
    parser.add_argument("--engine", default="", metavar="NAME", help=words)
    device(parser)


def device(parser: argparse.ArgumentParser) -> None:
    words = "Where to answer: cpu, cuda or cuda:N. Default: a GPU if there is one; rows of numbers and categories on the CPU."
    parser.add_argument("--device", dest="answered", default="", metavar="NAME", help=tr(words))


def evaluate(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("source", help=tr("A file or folder with the target column."))
    parser.add_argument("--encoding", default="", help=tr("Text encoding of the file. Default: detected."))
    device(parser)


def predict(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("source", nargs="*", help=tr("Files or folders of new data."))
    words = ("Where to write the answers: .csv, .jsonl or .parquet; for a detector also a picture, a film or a folder; of one recording, "
             "what is said and when: .srt or .vtt. Default: the screen.")  # fmt: skip
    parser.add_argument("-o", "--out", metavar="FILE", help=tr(words))
    words = "Only these columns, with commas between; the target's name stands for the answer. Default: all, and the answers beside them."
    parser.add_argument("--columns", metavar="NAMES", help=tr(words))
    parser.add_argument("--text", help=tr("One text instead of a file."))
    parser.add_argument("--row", help=tr("One row instead of a file, as a JSON object."))
    parser.add_argument("--encoding", default="", help=tr("Text encoding of the file. Default: detected."))
    engine(parser)


def show(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("--open", action="store_true", help=tr(OPEN))


def compare(parser: argparse.ArgumentParser) -> None:
    for name in ("a", "b"):
        run(parser, name)


def studio(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default=".", help=tr("The folder for data and runs. Default: the current one."))
    parser.add_argument("--port", type=int, default=0, help=tr("Port to listen on. 0: 8600, or a free one if it is taken."))
    parser.add_argument("--open", action=argparse.BooleanOptionalAction, default=True, help=tr(OPEN))


def serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="run", help=tr("Run folders (`duomo list runs`)."))
    parser.add_argument("--host", default="127.0.0.1", help=tr("Address to listen on. Default: this machine only."))
    parser.add_argument("--port", type=int, default=8000, help=tr("Port to listen on."))
    parser.add_argument("--workers", type=int, default=1, metavar="N", help=tr("Worker processes for each run."))
    parser.add_argument(
        "--token-file", metavar="FILE", help=tr("File of access tokens, one per line: TOKEN, or NAME TOKEN [PER_MINUTE] [RUN,RUN].")
    )
    parser.add_argument("--name", action="append", default=[], metavar="HOST", help=tr("Another host name that the server is reached by."))
    parser.add_argument("--tls-cert", metavar="FILE", help=tr("TLS certificate (PEM)."))
    parser.add_argument("--tls-key", metavar="FILE", help=tr("Private key of the certificate (PEM)."))
    parser.add_argument("--quiet", action="store_true", help=tr("Do not log every request."))
    parser.add_argument("--prepare", action="store_true", help=tr("First measure which engine is fastest for each run on this machine."))
    engine(parser)


def convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=tr("A run folder, a Hugging Face folder or a GGUF file."))
    parser.add_argument("--to", required=True, help=tr("Format to write: hf, gguf or duomo."))
    words = tr("Type of the weights: f32, f16, bf16, q8_0 or q4_0. Default: f16 for gguf, otherwise f32.")
    parser.add_argument("--type", default="", help=words)
    parser.add_argument("-o", "--out", required=True, help=tr("Where to write it."))


def listing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("tasks", "models", "sizes", "samples", "runs"), help=tr("What to list."))
    parser.add_argument("--folder", default="runs", help=tr("The folder with the runs."))


def completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help=tr("Your shell."))
