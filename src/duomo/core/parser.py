"""The command line's parser, whose errors follow the house."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from duomo.core.errors import ConfigError, DuomoError, ResourceError
from duomo.core.messages import nearest, tr


class Parser(argparse.ArgumentParser):
    """argparse whose errors follow the house: near misses suggested, exit code 2."""

    def verbs(self) -> list[argparse.ArgumentParser]:
        """The parsers of the verbs, which leave what they do not know to this one."""
        return [sub for action in self._actions if isinstance(action, argparse._SubParsersAction) for sub in action.choices.values()]

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but what is not known is said by the verb that was asked."""
        found, left = self.parse_known_args(args, namespace)
        if left and isinstance(vars(found).get("source"), list) and not any(word.startswith("-") for word in left):
            found.source += left  # files behind a flag: predict RUN -o answers.csv a.jpg b.jpg
        elif left:
            asked = next((verb for verb in self.verbs() if verb.prog.endswith(f" {found.verb}")), self)
            asked.error(tr("unrecognized arguments: %s") % " ".join(left))
        return found

    def error(self, message: str) -> NoReturn:
        known = [option for parser in (self, *self.verbs()) for action in parser._actions for option in action.option_strings]
        wrong = "".join(re.findall(r"--[\w-]+", message)[:1])
        start, _, rest = tr("invalid choice: %(value)r (choose from %(choices)s)").partition("%(value)r")
        middle, _, end = rest.partition("%(choices)s")
        if start in message:
            wrong, _, choices = message.partition(start)[2].replace("'", "").partition(middle)
            known = choices.removesuffix(end).replace(",", " ").split()
        hint = nearest(wrong, known) if wrong and wrong not in known else ""
        words = message.partition(tr("unrecognized arguments: %s").partition("%s")[0])[2]
        if words and not words.startswith("-"):
            hint = tr(
                " Several values of one setting are joined by commas (zh,en); a verb takes one file or folder: put several "
                "files into a folder, or start it once for each."
            )
        raise ConfigError("{message}.{hint} Try `{program} --help`.", message=message, hint=hint, program=self.prog)


class Plain:
    """Enough of a reporter for the verbs that must not wait for rich."""

    def say(self, sentence: str) -> None:
        print(sentence)


def unusable(error: OSError) -> ResourceError:
    """What a file that cannot be read or written is said to be: by the name that was asked for, not by that of its unfinished part."""
    path = Path(str(error.filename or ""))
    if path.name.startswith(".") and path.suffix == ".part":
        path = path.with_name(path.name[1:-5])
    return ResourceError("Files must be readable and writable; {file} is not: {reason}. Check rights and free space.",
                         file=path if error.filename else tr("one of them"), reason=error.strerror or str(error))  # fmt: skip


def complain(error: DuomoError, machine: bool) -> None:
    if machine:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}, ensure_ascii=False), file=sys.stderr)
    else:
        print(tr("duomo: {message}", message=error), file=sys.stderr)
