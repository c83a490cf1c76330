"""The command line: one verb per stage. Nothing heavy is imported before a verb needs it.

Exit codes: 0 done, 1 an error of duomo's own, 2 a wrong setting or flag, 3 unusable data, 4 a damaged or busy run
folder, 5 out of memory or disk, 130 interrupted (resumable).
"""

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from duomo import flags
from duomo.core.errors import ConfigError, DuomoError, Interrupted, ResourceError
from duomo.core.messages import tr
from duomo.core.parser import Parser, Plain, complain, unusable
from duomo.core.runtime import settle

if TYPE_CHECKING:
    from duomo.core.reporter import Reporter

VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], Any], Callable[[argparse.Namespace, "Reporter"], Any]]] = {}
FLAGS = {"name": "model", "start": "from"}
HIDDEN = ("source", "options")


def _verb(name: str, title: str, own_flags: Callable[[argparse.ArgumentParser], Any]) -> Callable[[Callable], Callable]:
    def register(run: Callable[[argparse.Namespace, "Reporter"], Any]) -> Callable:
        VERBS[name] = (title, own_flags, run)
        return run

    return register


def _config_flags(parser: argparse.ArgumentParser, sections: Sequence[str]) -> None:
    """One flag for each field of the recipe's sections; its help is the field's own documentation."""
    from duomo.core.config import hints
    from duomo.core.recipe import Recipe

    for section in sections:
        _fields(parser, hints(Recipe)[section], section)


def _fields(parser: argparse.ArgumentParser, cls: type, section: str) -> None:
    """One flag for each field of a config class."""
    import dataclasses
    import typing

    from duomo.core.config import documentation, hints

    group = parser.add_argument_group(section, tr(str(cls.__doc__)).replace("%", "%%"))
    for field in dataclasses.fields(cls):
        if field.name in HIDDEN:
            continue
        kind = hints(cls)[field.name]
        flag = "--" + FLAGS.get(field.name, field.name).replace("_", "-")
        dest, text = f"{section}.{field.name}", tr(documentation(cls)[field.name]).replace("%", "%%")
        if kind is bool:
            group.add_argument(flag, dest=dest, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif flag == "--kind" or typing.get_origin(kind) is tuple:  # said several times, or with commas
            name = "COLUMN=KIND" if flag == "--kind" else field.name.upper()
            group.add_argument(flag, dest=dest, action="append", default=None, metavar=name, help=text)
        else:
            group.add_argument(flag, dest=dest, default=None, metavar=field.name.upper(), help=text)


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was said on the command line as nested settings: a recipe file, then flags, then --set."""
    from pathlib import Path

    from duomo.core.config import assign, parse_assignment, read_toml

    values: dict[str, Any] = read_toml(Path(arguments.recipe)) if getattr(arguments, "recipe", None) else {}
    for dest, value in vars(arguments).items():
        if "." in dest and value is not None:
            if dest == "data.kind":
                value = {".".join(name): kind for name, kind in (parse_assignment(one, "age=number") for one in value)}
            assign(values, dest.split("."), ",".join(value) if isinstance(value, list) else value)
    for text in getattr(arguments, "set", None) or ():
        assign(values, *parse_assignment(text))
    return values


def _train_flags(parser: argparse.ArgumentParser) -> None:
    flags.source(parser)
    parser.add_argument("-o", "--out", metavar="DIR", help=tr("The run folder to write. Default: runs/<name of the data>."))
    _config_flags(parser, ("data", "clean", "model", "adapt", "train", "encode", "augment"))


def _inspect_flags(parser: argparse.ArgumentParser) -> None:
    flags.source(parser)
    parser.add_argument("-o", "--html", metavar="FILE", help=tr("The page to write. Default: <name>.inspect.html in the current folder."))
    _config_flags(parser, ("data", "clean"))


@_verb("sample", "Write a small real data set into this folder.", flags.sample)
def _sample(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from pathlib import Path

    from duomo import samples

    path = samples.write(arguments.name, Path(arguments.out))
    sample = samples.SAMPLES[arguments.name]
    reporter.say(tr("Wrote {path} ({licence}). Next: {command}", path=path, licence=sample.licence, command=sample.next(path)))
    return {"path": str(path)}


@_verb("explore", "Show pictures as a model sees them: groups, near-duplicates, outliers, a map.", flags.explore)
def _explore(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import exploring

    return exploring.explore(arguments.source, arguments.start, arguments.html, arguments.picture_size, reporter)


@_verb("inspect", "Look at data: columns, problems, and what would be trained.", _inspect_flags)
def _inspect(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import pipeline

    return pipeline.inspect(arguments.source, _settings(arguments), reporter=reporter, html=arguments.html or "")


@_verb("train", "Train a model on your data and test it honestly.", _train_flags)
def _train(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import pipeline

    return pipeline.train(arguments.source, _settings(arguments), out=arguments.out, reporter=reporter).summary()


def _compose_flags(parser: argparse.ArgumentParser) -> None:
    from duomo.data.scenes.compose import ComposeConfig

    parser.add_argument("cutouts", help=tr("A folder of pictures with transparency; each folder in it is a class."))
    parser.add_argument("backgrounds", help=tr("A folder of pictures to paste on."))
    parser.add_argument("-o", "--out", default="scenes", metavar="DIR", help=tr("The folder to write into."))
    _fields(parser, ComposeConfig, "compose")


@_verb("compose", "Compose labelled scenes from cut-outs, to train a detector on.", _compose_flags)
def _compose(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from pathlib import Path

    from duomo.core.config import build
    from duomo.data.scenes.compose import ComposeConfig, compose

    config = build(ComposeConfig, _settings(arguments).get("compose", {}))
    return compose(Path(arguments.cutouts), Path(arguments.backgrounds), Path(arguments.out), config, reporter)


@_verb("resume", "Continue an interrupted run.", flags.run)
def _resume(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import pipeline

    return pipeline.resume(arguments.run, reporter=reporter).summary()


@_verb("evaluate", "Test a run on other data with known answers.", flags.evaluate)
def _evaluate(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import pipeline

    return pipeline.load(arguments.run).evaluate(arguments.source, encoding=arguments.encoding, reporter=reporter)


@_verb("predict", "Predict for new data.", flags.predict)
def _predict(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import pipeline, writing

    run = writing.equipped(pipeline.load(arguments.run), arguments.engine)
    if sum(value not in (None, []) for value in (arguments.source, arguments.text, arguments.row)) != 1:
        raise ConfigError("Predict takes files, or --text, or --row, one of them. Example: duomo predict {run} new.csv", run=arguments.run)
    if not arguments.source:
        answer = run.predict_one(text=arguments.text, row=arguments.row)
        if arguments.json:
            return answer
        print("\n".join(f"{name}: {value}" for name, value in answer.items()) if len(answer) > 1 else next(iter(answer.values()), ""))
        return None
    columns = tuple(name for name in (arguments.columns or "").split(",") if name)
    how = {"encoding": arguments.encoding, "columns": columns, "printed": ".jsonl" if arguments.json else ".csv"}
    first, *more = arguments.source
    return run.predict_file([first, *more] if more else first, arguments.out, reporter=reporter, **how)


@_verb("search", "Find the passages nearest to a question (embed) or the pictures nearest to a picture (identify).", flags.search)
def _search(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import search

    return search.search(arguments, reporter)


@_verb("enrol", "Add people to an identify run without retraining: one folder of pictures per person.", flags.enrol)
def _enrol(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import gallery, pipeline

    return gallery.enrol(pipeline.load(arguments.run), arguments.source, arguments.out, reporter)


@_verb("show", "Show the scorecard of a run.", flags.show)
def _show(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import pipeline

    return pipeline.show(arguments.run, reporter=reporter, browser=arguments.open)


@_verb("compare", "Compare two runs, row by row, on the test they share.", flags.compare)
def _compare(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import pipeline

    return pipeline.compare(arguments.a, arguments.b, reporter=reporter)


@_verb("studio", "Do everything on a local web page.", flags.studio)
def _studio(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo.studio import server

    return server.run(arguments.folder, arguments.port, browser=arguments.open, reporter=reporter)


@_verb("serve", "Serve runs: a JSON API, OpenAI's API, and a page to try them.", flags.serve)
def _serve(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo.serve import server

    os.environ |= {"DUOMO_ENGINE": arguments.engine} if arguments.engine else {}  # read by the processes that answer
    options = server.Options(names=tuple(arguments.name), **{name: getattr(arguments, name) for name in server.FLAGS})
    return server.serve(arguments.runs, options, reporter)


@_verb("chat", "Chat with a run that generates text, in the terminal.", flags.chat)
def _chat(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import conversation

    return conversation.chat(arguments.run, arguments.temperature, arguments.engine, reporter)


@_verb("convert", "Convert a model to a Hugging Face folder, a GGUF file or a run folder.", flags.convert)
def _convert(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo.exchange import convert

    return convert.convert(arguments.model, arguments.to, arguments.out, arguments.type, reporter)


@_verb("list", "List tasks, models, published sizes, samples or runs.", flags.listing)
def _list(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    from duomo import listing

    if arguments.what == "sizes":
        from duomo import sizes

        found = sizes.sizes()
    else:
        found = listing.listing(arguments.what, arguments.folder)
    if not arguments.json:
        for name, text in found.items():
            print(f"{name:{24 if arguments.what == 'sizes' else 14}} {text}")
        if not found:
            print(tr("There are no runs in {folder}. `duomo train` makes one.", folder=arguments.folder), file=sys.stderr)
        return None
    return found


@_verb("completion", "Print a completion script for your shell.", flags.completion)
def _completion(arguments: argparse.Namespace, reporter: "Reporter") -> Any:
    import shtab

    print(shtab.complete(_parser(list(VERBS)), arguments.shell))


def _parser(wanted: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the verbs that are wanted get their flags, so that the start stays instant."""
    argparse._ = tr  # type: ignore[attr-defined]  # its own words too: it looks each of them up by this name
    words = tr("Turns the data you have into a tested model that is ready to serve.")
    parser = Parser(prog="duomo", description=words, epilog=tr(EXITS), allow_abbrev=False)  # --lang need not mean --languages
    parser.add_argument("--version", action="store_true", help=tr("Print the version."))
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for name, (title, own_flags, _) in VERBS.items():
        sub = verbs.add_parser(name, help=tr(title), description=tr(title), allow_abbrev=False)
        if name in wanted:
            own_flags(sub)
            sub.add_argument("--json", action="store_true", help=tr("For scripts: the result as JSON on stdout, events on stderr."))
    return parser


EXITS = (
    "Exit codes: 0 ok, 1 error, 2 wrong setting, 3 unusable data, 4 run folder damaged or busy, 5 out of memory or disk, 130 interrupted"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    if arguments is None and sys.getfilesystemencoding() == "ascii":  # a locale without letters: names are in UTF-8 all the same
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    sys.stdout, sys.stderr = (one or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w") for one in (sys.stdout, sys.stderr))  # closed by >&-
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal in GBK has no place for every answer
        sys.stdout.reconfigure(errors="backslashreplace")
    words = [unquote(word[7:]) if word.startswith("file:///") else word for word in (sys.argv[1:] if arguments is None else arguments)]
    machine = "--json" in words
    try:
        return _run(words)
    except DuomoError as error:
        complain(error, machine)
        return error.exit_code
    except KeyboardInterrupt:
        complain(Interrupted("Interrupted; no file is left half-written."), machine)
        return Interrupted.exit_code
    except BrokenPipeError:  # who read has had enough: as other tools end then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        refused = unusable(error)
        complain(refused, machine)
        return refused.exit_code
    except MemoryError:
        complain(ResourceError("The memory ran out. Lower train.batch_size, or choose a smaller --size."), machine)
        return ResourceError.exit_code


def _run(words: list[str]) -> int:
    parsed = _parser(words[:1]).parse_args(words)
    if parsed.version:
        from importlib.metadata import version

        print(version("duomo"))
        return 0
    if not parsed.verb:
        _parser([]).print_help()
        return 0
    settle()
    try:
        os.getcwd()
    except FileNotFoundError:  # torch would end the process
        raise ConfigError("The folder that the terminal is in must be there; it has been deleted. Go to another one (cd).") from None
    if parsed.verb in ("sample", "list", "completion"):
        from duomo.core.reporter import Silent

        reporter: Any = Silent() if parsed.verb != "sample" or parsed.json else Plain()
    else:
        from duomo.terminal import JsonReporter, TerminalReporter

        reporter = JsonReporter() if parsed.json else TerminalReporter()
    os.environ |= {"DUOMO_DEVICE": parsed.answered} if vars(parsed).get("answered") else {}  # read by all processes that answer
    result = VERBS[parsed.verb][2](parsed, reporter)
    if parsed.json and result is not None:
        print(json.dumps(result, ensure_ascii=False, indent=1))
    sys.stdout.flush()  # at the very end nobody would hear that it fails
    return 0


if __name__ == "__main__":
    sys.exit(main())
