"""The house keeps to its budget: sizes, layers, no catch-all, no pickle; the public surface is a tested list."""

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import duomo
from duomo.evaluate import scorecard

SOURCE = Path(duomo.__file__).parent
FILES = sorted(path for path in SOURCE.rglob("*.py") if not path.name.startswith("test_"))
FACES = ("cli.py", "__init__.py")
PLACES = re.compile(r"{(\w+)")


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_budget(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400
    for function in functions(tree):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < 50, f"{function.name} is too long"
        assert len(function.args.args) + len(function.args.kwonlyargs) <= 8, f"{function.name} takes too many arguments"
        if path.name not in FACES or path.parent != SOURCE:
            inner = [node for node in ast.walk(function) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("duomo")]
            assert not inner, f"{function.name} imports the project inside"
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = {getattr(part, "id", "") for part in ast.walk(node.type)} if node.type else {"Exception"}
            assert not caught & {"Exception", "BaseException"}, f"line {node.lineno}"
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            assert called not in ("eval", "exec", "hasattr") or (called == "eval" and isinstance(node.func, ast.Attribute)), (
                f"line {node.lineno}"
            )
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"} & {name.split(".")[0] for name in names}
    assert "torch.load(" not in text


def test_what_is_imported_is_there() -> None:
    """Of this package, by all that imports it: mypy passes over modules that it does not find."""
    root = SOURCE.parents[1]
    for path in (path for folder in ("src", "tests", "bench", "scripts") for path in (root / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "duomo":
                place = SOURCE.parent / str(node.module).replace(".", "/")
                assert place.is_dir() or place.with_suffix(".py").is_file(), f"{path}: {node.module}"


@cache
def said(path: Path) -> tuple[set[str], set[str]]:
    """Sentence templates of a file, first arguments of tr(...) and of the errors; and whatever it has written with places to fill."""
    found, placed = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "{" in node.value:
            placed.add(node.value)
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            told = [arg for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            errs = name.endswith("Error") and name not in ("ValueError", "TypeError", "AttributeError")
            if told and told[0] is node.args[0] and (errs or name in ("tr", "Interrupted")):
                found.add(told[0].value)
            if name in ("Slice", "_bins"):  # what the rows of a slice share
                found.update(arg.value for arg in told if " " in arg.value)
    return found, placed


def chinese() -> dict[str, str]:
    """All sentences; each stands in one file alone, for of two the last would be told."""
    found: dict[str, str] = {}
    for path in (SOURCE / "core" / "zh").glob("*.json"):
        told = json.loads(path.read_text(encoding="utf-8"))
        assert not found.keys() & told.keys(), path.name
        found |= told
    return found


def test_every_sentence_has_its_chinese() -> None:
    known, pages = chinese(), "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.jinja"))
    spoken = {template for path in FILES for template in said(path)[0]} - {"{problems}"} | {*scorecard.HEADLINES.values()}
    spoken |= {found[2] for found in re.finditer(r"""\btr\((["'])(.*?)\1""", pages)}
    missing = sorted(template for template in spoken if template not in known)
    assert not missing, f"{len(missing)} without Chinese: {missing[:5]}"


def test_no_sentence_outlives_the_source() -> None:
    """Of those with places, which nothing puts together from names."""
    written = {template for path in FILES for template in said(path)[1]}
    reports = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.jinja"))
    left = [english for english in chinese() if PLACES.search(english) and english not in written]
    assert not [english for english in left if f'"{english}"' not in reports]


def test_the_chinese_fills_the_same_places() -> None:
    for english, translated in chinese().items():
        assert set(PLACES.findall(english)) == set(PLACES.findall(translated)), english


def test_public_surface() -> None:
    assert duomo.__all__ == [
        "ConfigError", "DataError", "DuomoClassifier", "DuomoError", "DuomoRegressor", "Interrupted", "ResourceError",
        "Run", "RunError", "inspect", "load", "resume", "train",
    ]  # fmt: skip
    for name in duomo.__all__:
        assert getattr(duomo, name).__doc__


def seconds(code: list[str]) -> float:
    """The fastest of five starts, in seconds: the noise of a machine only adds."""
    import time

    found = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(code, check=True, capture_output=True)
        found.append(time.perf_counter() - start)
    return min(found)


def test_starts_in_a_blink() -> None:
    empty = seconds([sys.executable, "-c", "pass"])
    assert seconds([sys.executable, "-c", "import duomo"]) - empty < 0.15
    assert seconds([sys.executable, "-m", "duomo.cli", "--help"]) < 0.25 + empty


def test_help_and_import_load_nothing_heavy() -> None:
    code = """
import sys
import duomo, duomo.cli
try:
    duomo.cli.main(["--help"])
except SystemExit:
    pass
print([name for name in ("torch", "numpy", "pyarrow", "rich") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip().endswith("[]")


def test_the_function_keeps_its_name() -> None:
    """The subpackage duomo.train, imported first, must not stand in the function's place."""
    code = "import duomo.train.loop, duomo; from duomo.train import loop; print(callable(duomo.train), loop.__name__)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["True", "duomo.train.loop"]
