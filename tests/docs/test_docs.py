"""The documents are true: their commands run, their examples work, their names and figures are those of the code."""

import argparse
import ast
import contextlib
import doctest
import functools
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import duomo
from duomo import cli, samples
from duomo.core import find
from duomo.core.contract import Field, Head
from duomo.core.kinds import infer
from duomo.core.kinds.base import Cells
from duomo.core.recipe import EncodeConfig, ModelConfig
from duomo.data import sources
from duomo.data.loader import finish

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "duomo"
DOCS = ROOT / "docs"
READMES = ("README.md", "README.zh.md")
FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<to>[^)\s]+)\)")
CITED = re.compile(r"`(?P<file>[\w/]+\.py)::(?P<name>[\w.]+)`")


def blocks(text: str, kind: str) -> list[str]:
    return [found["body"] for found in FENCE.finditer(text) if found["kind"].strip() == kind]


def commands(session: str) -> list[str]:
    return [line[2:] for line in session.splitlines() if line.startswith("$ ")]


def readme(name: str) -> str:
    """A README's session."""
    (session,) = blocks((ROOT / name).read_text(encoding="utf-8"), "sh session")
    return session


def played(session: str) -> list[str]:
    """What the commands of a session say when they are run, line by line."""
    said: list[str] = []
    for command in commands(session):
        words, out, err = shlex.split(command), io.StringIO(), io.StringIO()
        if words[0] == "duomo":
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                assert cli.main(words[1:]) == 0, command
        else:
            out.write(subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout)
        said += [line.rstrip() for line in (out.getvalue() + err.getvalue()).splitlines()]
    return said


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A user's folder after the README's session, and what its commands said."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DUOMO_LANG", "en")
        return folder, played(readme("README.md"))


# -- README
def test_readme_session_runs(visit: tuple[Path, list[str]]) -> None:
    session, said = readme("README.md"), visit[1]
    for start in ("Wrote", "Split", "Model:", "Task:", "Scorecard of", "diagnosis,"):
        shown = [line for line in session.splitlines() if line.startswith(start)]
        assert shown, start
        assert set(shown) <= set(said), f"the README shows {shown}, the commands say otherwise"


def test_readme_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    samples.write("clinic", tmp_path)
    (code,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    names = executed(code, tmp_path, "readme_example").__dict__
    assert names["answers"][0]["prediction"] == "malignant"
    assert names["verdict"] in ("won", "lost", "unclear")
    assert names["again"].predict("clinic.csv")[:3] == names["answers"][:3]


def test_readmes_say_the_same() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in READMES)
    assert commands(readme("README.md")) == commands(readme("README.zh.md"))
    headings = [re.findall(r"^(#+) ", FENCE.sub("", text), re.MULTILINE) for text in (english, chinese)]
    assert headings[0] == headings[1]
    code = [[line.split("#")[0].rstrip() for line in blocks(text, "python")[0].splitlines()] for text in (english, chinese)]
    assert code[0] == code[1]
    typed = [re.findall(r"^\|[^|]+\| (`[^`]+`)", text, re.MULTILINE) for text in (english, chinese)]
    assert typed[0] == typed[1]
    assert len(typed[0]) > 5
    assert list(tree("README.md")) == list(tree("README.zh.md"))
    flow = [re.findall(r"^make \w+", text, re.MULTILINE) for text in (english, chinese)]
    assert flow[0] == flow[1] == ["make demo", "make test"]


def tree(name: str) -> dict[str, str]:
    """Path -> remark of the annotated tree."""
    (drawn,) = (block for block in blocks((ROOT / name).read_text(encoding="utf-8"), "") if block.startswith("src/duomo/"))
    found, parent = {}, ""
    for line in drawn.splitlines():
        path, _, remark = line.strip().partition(" ")
        if line.startswith("  "):
            path = parent + path
        else:
            parent = path
        found[path] = remark.strip()
    return found


def test_tree_is_the_house() -> None:
    drawn = tree("README.md")
    assert not [path for path in drawn if not (ROOT / path).exists()]
    tracked = {f"src/duomo/{path.parent.name}/" for path in SOURCE.glob("*/__init__.py")}
    assert tracked <= set(drawn), "a package is not drawn"
    faces = {f"src/duomo/{path.name}" for path in SOURCE.glob("*.py")} - {"src/duomo/__init__.py"}
    assert faces <= set(drawn), "a module is not drawn"
    assert {f"docs/{path.name}" for path in DOCS.glob("*.md")} <= set(drawn), "a page is not drawn"
    tasks = {path.parent.name for path in SOURCE.glob("tasks/*/task.py")}
    assert all(task in drawn["src/duomo/tasks/"] for task in tasks)


# -- journey
@pytest.mark.parametrize("name", ["journey.md", "language.md", "vision.md"])
def test_names_exist(name: str) -> None:
    cited = [(found["file"], found["name"]) for found in CITED.finditer((DOCS / name).read_text(encoding="utf-8"))]
    assert len(cited) > (15 if name != "vision.md" else 5)
    for file, cited_name in cited:
        body: Any = ast.parse((SOURCE / file).read_text(encoding="utf-8")).body
        for part in cited_name.split("."):
            found = [node for node in body if getattr(node, "name", "") == part]
            assert found, f"{file}::{cited_name}"
            body = getattr(found[0], "body", [])


def test_journey_is_drawn() -> None:
    drawn = next(block for block in blocks((DOCS / "journey.md").read_text(encoding="utf-8"), "") if "→" in block).splitlines()[0]
    for place in re.findall(r"[\w/]+(?:\.py)?", drawn):
        assert (SOURCE / place).exists(), place


def test_journey_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUOMO_LANG", "en")
    heard: list[str] = []
    parsed = doctest.DocTestParser().get_doctest((DOCS / "journey.md").read_text(encoding="utf-8"), {}, "journey", "docs/journey.md", 0)
    doctest.DocTestRunner(verbose=False).run(parsed, out=heard.append)
    assert parsed.examples
    assert not heard, "".join(heard)


# -- contract
def executed(code: str, folder: Path, name: str) -> ModuleType:
    """The code as a module of its own file, as it would lie in the project."""
    path = folder / f"{name}.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def example(kind: str, folder: Path) -> ModuleType:
    (code,) = blocks((DOCS / "contract.md").read_text(encoding="utf-8"), f"python {kind}")
    return executed(code, folder, f"contract_{kind}")


def test_contract_examples_work(tmp_path: Path) -> None:
    table = infer(sources.read(samples.write("clinic", tmp_path)), {}).take(np.arange(40))
    counts = pa.array([str(row % 7) for row in range(40)])
    columns = [name for name in table.names if name != "diagnosis"][:5]
    table = type(table)(table.data.select(columns).append_column("count", counts), {**dict.fromkeys(columns, "number"), "count": "number"})
    module, architecture = example("task", tmp_path), example("architecture", tmp_path)
    task = module.Main(module.Config(target=("count",)))
    task.fit(table)
    again = module.Main(module.Config(target=("count",)))
    again.restore(task.state())
    model = architecture.Model(architecture.SIZES["small"], again.inputs, again.head)
    batch = finish(again.encode(table, target=True).batch(torch.arange(40)), again.inputs)
    total, count = again.loss(model(batch), batch)
    (total / count).backward()
    assert model.centres_KN.grad is not None
    assert count == 40
    evidence = again.evidence(model(batch).detach(), batch)
    (mean,) = again.baselines()
    mean.fit(table)
    assert again.measure(mean.evidence(table))["mae"] == pytest.approx(1.7, abs=0.1)
    assert len(again.errors(evidence)) == len(again.answer(model, batch)["prediction"]) == 40
    assert again.views(evidence)[0].kind == "points"
    assert again.suggest(table).recipe.startswith("table")


def test_contract_kind_works(tmp_path: Path) -> None:
    kind = example("kind", tmp_path).KIND
    cells = Cells(pa.chunked_array([["#ff8800", None, "#000000"]]))
    assert kind.recognise("paint", cells)
    state = kind.fit(cells, EncodeConfig())
    assert kind.field(state).shape == (3,)
    assert kind.encode(cells, state).values.round(2).tolist()[0] == pytest.approx([1.0, 0.07, -1.0], abs=0.01)


# -- the rest
def test_recipe_page_is_fresh(tmp_path: Path) -> None:
    make = executed((ROOT / "scripts" / "make_docs.py").read_text(encoding="utf-8"), tmp_path, "make_docs")
    assert (DOCS / "recipe.md").read_text(encoding="utf-8") == make.page(), "run: python scripts/make_docs.py"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (DOCS / "dependencies.md").read_text(encoding="utf-8")
    core, _, rest = text.partition("\n## For developers")
    rows = " ".join(line.split("|")[1] for line in core.splitlines() if line.startswith("|"))
    extras = [need for group in project["optional-dependencies"].values() for need in group]
    for need, place in [(need, rows) for need in project["dependencies"]] + [(need, rest) for need in extras]:
        (name,) = re.findall(r"^[\w-]+", need)
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", place), name


def pages() -> list[Path]:
    return [ROOT / name for name in READMES] + sorted(DOCS.rglob("*.md")) + sorted(SOURCE.rglob("README.md"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for found in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" not in found["to"] and not found["to"].startswith("#"):
            assert (page.parent / found["to"].split("#")[0]).exists(), found["to"]
        file, _, heading = found["to"].partition("#")
        if heading and "://" not in found["to"]:
            assert heading in headings(page.parent / file if file else page), found["to"]


def headings(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    said = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in said}


def typed(text: str) -> list[list[str]]:
    """Words of the commands in a page's blocks, without remarks; a line with … or <…> is no command."""
    lines = [line.removeprefix("$ ") for found in FENCE.finditer(text) for line in found["body"].splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("duomo ") and not set("…<") & set(line)]


@functools.cache
def parser(verb: str) -> argparse.ArgumentParser:
    return cli._parser([verb])


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_parses(page: Path) -> None:
    """In blocks everywhere; where a page tells users what to type also within its sentences."""
    text = page.read_text(encoding="utf-8")
    found = typed(text)
    if page.name.startswith(("README", "guide")) and page.parent in (ROOT, DOCS):
        inline = [said.split() for said in re.findall(r"`(duomo [^`…]*)`", FENCE.sub("", text))]
        found += [words for words in inline if len(words) > 2]
        assert len(found) > 15
    for words in found:
        parser(words[1]).parse_args(words[1:])


def test_guides_say_the_same() -> None:
    english, chinese = ((DOCS / name).read_text(encoding="utf-8") for name in ("guide.md", "guide.zh.md"))
    assert len(typed(english)) > 20
    assert typed(english) == typed(chinese)
    for shape in (r"^(#+) ", r"^```\w*$", r"^\| (`\w+`)", r"\]\((?!guide)([\w-]+)\.md[#)]"):
        assert re.findall(shape, english, re.MULTILINE) == re.findall(shape, chinese, re.MULTILINE), shape


def test_every_task_has_its_page() -> None:
    for path in SOURCE.glob("tasks/*/task.py"):
        assert path.with_name("README.md").is_file(), path.parent.name


def test_errors_page_draws_the_tree() -> None:
    (drawn,) = (block for block in blocks((DOCS / "errors.md").read_text(encoding="utf-8"), "") if block.startswith("DuomoError"))
    written = {name: int(code) for name, code in re.findall(r"(\w+)\s+(\d+)  ", drawn)}
    classes = [duomo.DuomoError, *duomo.DuomoError.__subclasses__()]
    assert written == {cls.__name__: cls.exit_code for cls in classes if cls.__module__ == "duomo.core.errors"}


def test_run_folder_page_names_every_file_and_field(visit: tuple[Path, list[str]]) -> None:
    """After the README's session: nothing in its run that the page does not name."""
    folder = visit[0] / "runs" / "clinic"
    text = (DOCS / "run-folder.md").read_text(encoding="utf-8")
    run = duomo.load(folder)
    files = {path.name for path in folder.iterdir()} | {path.name for path in (folder / "checkpoints").glob("*/*")}
    fields = {*run.folder.read_json("run.json"), *run.scorecard, *run.folder.read_json("manifest.json"), *run.folder.read_json("task.json")}
    missing = sorted(name for name in files | fields if f"`{name}`" not in text and f"`{name}/`" not in text and f"## {name}/" not in text)
    assert not missing


def test_only_known_fences() -> None:
    """A block is a session, Python or a drawing: nothing that looks executable is left untried."""
    for name in READMES:
        kinds = {found["kind"].strip() for found in FENCE.finditer((ROOT / name).read_text(encoding="utf-8"))}
        assert kinds == {"", "sh session", "python"}


# -- vision.md
def test_vision_page_speaks_the_command_line() -> None:
    """Every command parses, every architecture in the table is known by that name, every figure is the count of its weights."""
    page = (DOCS / "vision.md").read_text(encoding="utf-8")
    said = [line for body in blocks(page, "sh vision") for line in body.splitlines()]
    assert len(said) >= 12
    for line in said:
        words = shlex.split(line)
        assert words[0] == "duomo"
        parsed = cli._parser([words[1]]).parse_args(words[1:])
        name = vars(parsed).get("model.name")
        assert name is None or find.resolve(ModelConfig(name)).name in find.model_names()
    counted = 0
    for row in re.findall(r"^\| ([a-z][\w, `-]*) \| ([\d, ]+) \|", page, re.MULTILINE):
        names = re.findall(r"[a-z]+-?[a-z]*\d*\w*", row[0].split("`")[0].split(",")[0])
        for name, figure in zip(names, re.findall(r"[\d,]{7,}", row[1]), strict=True):
            size = "base" if name in find.model_names() else ""
            choice = find.resolve(ModelConfig(name, size))
            with torch.device("meta"):
                model = find.model_module(choice.name).Model(find.model_config(choice), {"x": Field("pixels", (3, 224, 224))}, Head(1000))
            assert f"{sum(weight.numel() for weight in model.parameters()):,}" == figure, name
            counted += 1
    assert counted >= 15


@pytest.mark.parametrize("number", [0, 1])
def test_vision_sessions_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line shown is said word for word, but for those with fractions, which differ between machines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUOMO_LANG", "en")
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    session = blocks((DOCS / "vision.md").read_text(encoding="utf-8"), "sh session")[number]
    said = played(session)
    shown = [line for line in session.splitlines() if not line.startswith(("$ ", "…")) and not re.search(r"\d\.\d", line)]
    assert len(shown) >= 3
    assert set(shown) <= set(said), "\n".join(said)


def test_a_package_says_where_what_is() -> None:
    """Whoever adds a module names it in the docstring of its package; tasks and architectures are named by themselves."""
    for package in (path for path in SOURCE.rglob("__init__.py") if path.parent.name not in ("duomo", "models", "samples")):
        text = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8")))
        assert text, package
        modules = {path.stem for path in package.parent.glob("*.py")} - {"__init__"}
        if "tasks" not in package.parts:
            assert not (lost := modules - {*re.findall(r"\w+", text)}), f"{package}: {lost}"
