"""The flags of each verb; those that stand for the recipe's fields are made in cli.py."""

import argparse

from duomo.core.messages import tr

SHELLS = ("bash", "zsh", "tcsh")
OPEN = "Open the page in the browser."


def source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", help=tr("A file or folder; the recipe's own when left out."))
    parser.add_argument("--recipe", metavar="FILE", help=tr("A TOML file of settings (a run folder's recipe.toml is one)."))
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help=tr("Any setting by its path, such as train.epochs=3."))
    reads = tr("The column with the text or tokens that is read (translate, summarize, tag, embed, chat); found by name when left out.")
    parser.add_argument("--source", dest="task.source", metavar="COLUMN", help=reads)


def run(parser: argparse.ArgumentParser, name: str = "run") -> argparse.ArgumentParser:
    parser.add_argument(name, help=tr("A run folder (`duomo list runs`)."))
    return parser


def sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help=tr("A sample (`duomo list samples`)."))
    parser.add_argument("--out", default=".", metavar="DIR", help=tr("The folder to write into."))


def explore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=tr("A folder of pictures."))
    told = tr("A run folder or weights whose features are compared; pictures by their edges and colours when left out.")
    parser.add_argument("--from", dest="start", default="", help=told)
    parser.add_argument("-o", "--html", default="", metavar="FILE", help=tr("Where the page goes; <name>.explore.html when left out."))
    parser.add_argument("--picture-size", type=int, default=0, help=tr("Pixels that pictures are brought to; the weights' own when 0."))


def search(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("folder", help=tr("A folder of texts, or of pictures; or one picture to compare with."))
    parser.add_argument("question", help=tr("What is looked for: words, or a picture's file."))
    parser.add_argument("--count", type=int, default=5, help=tr("How many to show."))
    parser.add_argument("--encoding", default="", help=tr("Text encoding of files that do not tell it themselves."))


def enrol(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("source", help=tr("A folder with a folder of pictures for each person."))
    parser.add_argument(
        "-o", "--out", required=True, metavar="DIR", help=tr("The run folder to write; it answers and serves as any other.")
    )


def chat(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("--temperature", type=float, help=tr("Below 1 safer, above 1 wilder; 0 takes the likeliest token."))
    engine(parser)


def engine(parser: argparse.ArgumentParser) -> None:
    words = tr(
        "What writes: own, f16, int8, llama-f16, llama-q8_0 or llama-q4_0; of a large model the one that measured fastest when left out."
    )
    parser.add_argument("--engine", default="", metavar="NAME", help=words)


def evaluate(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("source", help=tr("A file or folder that has the target."))
    parser.add_argument("--encoding", default="", help=tr("Text encoding of the file; found when left out."))


def predict(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("source", nargs="?", help=tr("A file or folder of new rows."))
    parser.add_argument("-o", "--out", metavar="FILE", help=tr("Where answers go: .csv, .jsonl or .parquet; the screen when left out."))
    parser.add_argument("--text", help=tr("One text to answer, instead of a file."))
    parser.add_argument("--row", help=tr("One row to answer, as a JSON object."))
    parser.add_argument("--encoding", default="", help=tr("Text encoding of the file; found when left out."))
    engine(parser)


def show(parser: argparse.ArgumentParser) -> None:
    run(parser)
    parser.add_argument("--open", action="store_true", help=tr(OPEN))


def compare(parser: argparse.ArgumentParser) -> None:
    for name in ("a", "b"):
        run(parser, name)


def studio(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default=".", help=tr("Where data and runs lie; the current folder when left out."))
    parser.add_argument("--port", type=int, default=0, help=tr("Port to listen on; 8600, or a free one, when 0."))
    parser.add_argument("--open", action=argparse.BooleanOptionalAction, default=True, help=tr(OPEN))


def serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="run", help=tr("Run folders (`duomo list runs`)."))
    parser.add_argument("--host", default="127.0.0.1", help=tr("Address to listen on; only this machine by default."))
    parser.add_argument("--port", type=int, default=8000, help=tr("Port to listen on."))
    parser.add_argument("--workers", type=int, default=1, metavar="N", help=tr("Processes that answer, for each run."))
    parser.add_argument("--token-file", metavar="FILE", help=tr("Who may ask: a token a line, or NAME TOKEN [PER_MINUTE] [RUN,RUN]."))
    parser.add_argument("--name", action="append", default=[], metavar="HOST", help=tr("A further name that the server answers to."))
    parser.add_argument("--tls-cert", metavar="FILE", help=tr("Certificate of TLS, as PEM."))
    parser.add_argument("--tls-key", metavar="FILE", help=tr("Key of the certificate, as PEM."))
    parser.add_argument("--quiet", action="store_true", help=tr("No log line for each request."))
    parser.add_argument("--prepare", action="store_true", help=tr("First find the fastest engine for each run here, by measurement."))
    engine(parser)


def convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=tr("A run folder, a Hugging Face folder or a GGUF file."))
    parser.add_argument("--to", required=True, help=tr("The form to write: hf, gguf or duomo."))
    words = tr("Type of the weights: f32, f16, bf16, q8_0, q4_0; f16 for gguf and f32 otherwise when left out.")
    parser.add_argument("--type", default="", help=words)
    parser.add_argument("-o", "--out", required=True, help=tr("Where it is written."))


def listing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("tasks", "models", "sizes", "samples", "runs"), help=tr("What to list."))
    parser.add_argument("--folder", default="runs", help=tr("Where the run folders lie."))


def completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help=tr("Your shell."))
