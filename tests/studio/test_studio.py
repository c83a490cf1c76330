"""The studio without a browser: who may call it, what it may touch, that its form is the recipe, that runs outlive it."""

import asyncio
import base64
import dataclasses
import fcntl
import io
import itertools
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.requests import ClientDisconnect

import duomo.studio
import duomo.tasks
from duomo import cli, samples
from duomo.core import find
from duomo.core.config import build, documentation, hints
from duomo.core.errors import ConfigError, DataError, ResourceError
from duomo.core.messages import chinese
from duomo.core.recipe import Recipe
from duomo.listing import listing
from duomo.studio import form, look
from duomo.studio.app import Studio
from duomo.studio.guard import LARGEST_BODY
from duomo.studio.jobs import POLL_SECONDS
from duomo.studio.place import Place, free_name, numbered
from duomo.studio.served import Served

PAGE = Path(duomo.studio.__file__).with_name("page")
TINY = {"model": {"name": "mlp", "size": "small"}, "train": {"exact": True, "steps": 20}}


def until(found: Callable[[], Any], seconds: float = 240.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:g} s in vain")


# -- who may call
@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "127.0.0.1.evil.example:8600"}, {"origin": "http://evil.example"}, {"origin": "null"},
     {"origin": "http://127.0.0.1:9"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)  # fmt: skip
def test_strangers_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("api/runs", headers=headers).status_code in (403, 421)
    assert client.post("api/sample", json={"name": "clinic"}, headers=headers).status_code in (403, 421)


@pytest.mark.parametrize("path", ["/", "/api/runs", "/another/api/runs", "/a-toke/", "/a-token-/", "/%00/"])
def test_without_the_token_there_is_nothing(client: TestClient, path: str) -> None:
    assert client.get(f"http://127.0.0.1:8600{path}").status_code == 404


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    for path in ("", "api/runs", "page/main.js", "nothing", "tasks/classify.js"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "require-trusted-types-for 'script'" in policy


def test_too_large_a_body_is_refused_unread(client: TestClient) -> None:
    assert client.post("api/look", content=b"{}", headers={"content-length": str(LARGEST_BODY + 1)}).status_code == 413


def test_the_page_names_no_other_machine() -> None:
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text), path.name


# -- what it may touch
@pytest.mark.parametrize("path", ["..", "../other", "/etc/passwd", "data/../../x", "a\0b", "link"])
def test_nothing_outside_the_folder_is_read(client: TestClient, studio: Studio, path: str) -> None:
    (studio.place.root / "link").symlink_to("/etc")
    assert client.post("api/look", json={"source": path}).status_code == 422
    assert client.get("api/files", params={"path": path}).status_code == 422
    assert client.post("api/train", json={"source": path}).status_code == 422


@pytest.mark.parametrize("name", ["../x", "a/../../b", ".hidden", "", "a//b", "x" * 300, "a\nb", "a\u202egnp.csv", "a\u2028b"])
def test_uploads_stay_where_they_belong(client: TestClient, studio: Studio, name: str) -> None:
    before = sorted(studio.place.root.rglob("*"))
    assert client.put("api/upload/one", params={"path": name}, content=b"x").status_code == 422
    assert client.put("api/upload/..", params={"path": "a.csv"}, content=b"x").status_code in (404, 405, 422)
    assert client.post("api/upload/none").status_code == 422
    assert sorted(studio.place.root.rglob("*")) == before


@pytest.mark.parametrize("name", ["..", ".", "../runs", "", "a%2Fb"])
def test_names_of_runs_are_names(client: TestClient, studio: Studio, name: str) -> None:
    (studio.place.runs / "one").mkdir()
    assert client.post("api/runs/one/rename", json={"name": name.replace("%2F", "/")}).status_code == 422
    assert client.delete(f"api/runs/{name}").status_code in (404, 405, 422)
    assert client.post("api/undo", json={"kept": name}).status_code == 422
    assert (studio.place.runs / "one").is_dir()


def test_what_is_dropped_arrives_as_it_was(client: TestClient) -> None:
    for name, content in (("cats/1.png", b"one"), ("cats/2.png", b"two"), ("dogs/1.png", b"three")):
        assert client.put("api/upload/u", params={"path": f"pets/{name}"}, content=content).json() == {"received": True}
    assert client.post("api/upload/u").json()["source"] == "data/pets"
    listed = client.get("api/files", params={"path": "data/pets"}).json()
    assert [entry["name"] for entry in listed["entries"]] == ["cats", "dogs"]
    for upload, content in (("v", b"x,y\n1,2\n"), ("w", b"x,y\n1,3\n"), ("x", b"x,y\n1,2\n")):  # the last is the first once more
        client.put(f"api/upload/{upload}", params={"path": "a.csv"}, content=content)
    assert [client.post(f"api/upload/{upload}").json()["source"] for upload in "vwx"] == ["data/a.csv", "data/a-2.csv", "data/a.csv"]


@pytest.mark.parametrize("name", ["Screenshot at 9.41\u202fAM", "最终　数据", "👨\u200d👩\u200d👧❤️", "a\u00a0b", "it's \"<b>"])
def test_files_are_called_what_phones_and_people_call_them(client: TestClient, studio: Studio, name: str) -> None:
    client.put("api/upload/u", params={"path": f"{name}.csv"}, content=b"x,y\n1,2\n")
    assert client.post("api/upload/u").json()["source"] == f"data/{name}.csv"
    assert [entry["name"] for entry in client.get("api/files", params={"path": "data"}).json()["entries"]] == [f"{name}.csv"]
    assert client.post("api/look", json={"source": f"data/{name}.csv"}).json()["rows"] == 1
    (studio.place.runs / name).mkdir()
    assert [run["name"] for run in client.get("api/runs").json()["runs"]] == [name]


def test_an_encoding_that_is_not_plain_can_be_chosen(client: TestClient, studio: Studio) -> None:
    rows = [f"{number};Wohnfläche {number % 7};{'groß' if number % 2 else 'klein'}" for number in range(60)]
    (studio.place.data / "flats.csv").write_bytes("\n".join(["Nr;Fläche;Größe", *rows]).encode("cp1252"))
    refused = client.post("api/look", json={"source": "data/flats.csv"})
    assert refused.status_code == 422 and "cp1252" in refused.json()["error"]["encodings"]
    found = client.post("api/look", json={"source": "data/flats.csv", "settings": {"data": {"encoding": "cp1252"}}}).json()
    assert [column["name"] for column in found["columns"]] == ["Nr", "Fläche", "Größe"]
    assert found["command"] == "duomo inspect data/flats.csv --encoding=cp1252"


def test_of_several_tables_one_can_be_chosen(client: TestClient, studio: Studio) -> None:
    for name in ("north", "south"):
        client.put("api/upload/u", params={"path": f"{name}.csv"}, content=f"{name},y\n1,2\n".encode())
    source = client.post("api/upload/u").json()["source"]
    refused = client.post("api/look", json={"source": source})
    assert refused.status_code == 422 and refused.json()["error"]["choices"] == ["north.csv", "south.csv"]
    assert client.post("api/look", json={"source": f"{source}/north.csv"}).json()["rows"] == 1


def test_of_a_file_with_several_parts_one_can_be_chosen(client: TestClient, studio: Studio) -> None:
    """A database, a JSON file of several lists, a book: each refusal or notice names parts that a click opens."""
    rows = {
        "orders": [{"n": n, "kind": "ab"[n % 2]} for n in range(30)],
        "people & <b>": [{"m": n, "kind": "cd"[n % 2]} for n in range(40)],
    }
    base = sqlite3.connect(studio.place.data / "shop.db")
    with base:
        for name, cells in rows.items():
            first, second = cells[0]
            base.execute(f'CREATE TABLE "{name}" ({first}, {second})')
            base.executemany(f'INSERT INTO "{name}" VALUES (?, ?)', [(*row.values(),) for row in cells])
    base.close()
    (studio.place.data / "shop.json").write_text(json.dumps(rows))
    with pd.ExcelWriter(studio.place.data / "shop.xlsx") as book:
        for name, cells in rows.items():
            pd.DataFrame(cells).to_excel(book, sheet_name=name, index=False)
    for name in ("shop.db", "shop.json"):
        assert client.post("api/look", json={"source": f"data/{name}"}).json()["error"]["parts"] == [*rows]
    noticed = client.post("api/look", json={"source": "data/shop.xlsx"}).json()["noticed"]
    assert [act["value"] for one in noticed for act in one["acts"]] == ["people & <b>"]
    for name in ("shop.db", "shop.json", "shop.xlsx"):
        assert client.post("api/look", json={"source": f"data/{name}::people & <b>"}).json()["rows"] == 40
        said = client.post("api/command", json={"source": f"data/{name}::people & <b>"}).json()["command"]
        assert shlex.split(said)[2] == f"data/{name}::people & <b>"


def test_every_task_can_be_chosen_and_weights_begun_from(client: TestClient, studio: Studio) -> None:
    table = samples.write("clinic", studio.place.data)
    found = client.post(
        "api/look", json={"source": f"data/{table.name}", "settings": {"data": {"task": "regress", "target": ["mean_radius"]}}}
    )
    assert set(found.json()["tasks"]) == set(find.task_names()) and found.json()["proposal"]["task"] == "regress"
    for name in ("config.json", "model.safetensors"):
        client.put("api/upload/u", params={"path": f"bert/{name}"}, content=b"{}")
    assert client.post("api/upload/u").json() == {"source": "data/bert", "weights": True}
    assert client.get("api/form").json()["starts"] == ["data/bert"]
    asked = {"source": f"data/{table.name}", "settings": {"data": {"group": "id"}, "adapt": {"start": "data/bert"}}, "name": "new"}
    said = client.post("api/command", json=asked).json()["command"]
    assert said == f"duomo train data/{table.name} --out=runs/new --group=id --from=data/bert"
    parsed = cli._settings(cli._parser(["train"]).parse_args(shlex.split(said)[1:]))
    assert parsed["adapt"] == {"start": "data/bert"} and parsed["data"]["group"] == "id"


def test_what_no_browser_shows_is_drawn(client: TestClient) -> None:
    picture = io.BytesIO()
    Image.new("L", (30, 20), 90).save(picture, "PPM")
    body = base64.b64encode(picture.getvalue()).decode()
    found = client.post("api/thumbnail", json={"base64": body, "kind": "image"}).json()
    assert found["source"].startswith("data:image/") and (found["width"], found["height"]) == (30, 20)
    for wrong in ("bm90aGluZw==", "?", ""):
        for kind in ("image", "video"):
            assert client.post("api/thumbnail", json={"base64": wrong, "kind": kind}).json()["source"] == ""


# -- the form is the recipe
def test_the_form_has_every_setting(client: TestClient) -> None:
    for task in find.task_names():
        sections = {section["name"]: section["fields"] for section in client.get("api/form", params={"task": task}).json()["sections"]}
        shown = {field["path"] for fields in sections.values() for field in fields}
        for name in form.SECTIONS:
            cls = hints(Recipe)[name]
            for field in dataclasses.fields(cls):
                path = f"{name}.{field.name}"
                mapping = "Mapping" in str(hints(cls)[field.name])
                assert path in shown or path in form.HIDDEN or mapping, path
        own = find.task_module(task).Config
        left = {field.name for field in dataclasses.fields(own)} - {path.partition(".")[2] for path in shown if path.startswith("task.")}
        assert {"target", "ignore", "encode"} <= left
        assert all(field["help"] for fields in sections.values() for field in fields)
        derived = {field["path"] for fields in sections.values() for field in fields if field["derived"]}
        assert {"model.size", "train.epochs", "train.weight_decay", "encode.picture_size"} <= derived
        assert not {"train.clip", "train.patience", "train.ema"} & derived
    assert documentation(Recipe)


@pytest.mark.parametrize("task", find.task_names())
def test_the_form_speaks_chinese(task: str, client: TestClient) -> None:
    sections = client.get("api/form", params={"task": task}, headers={"accept-language": "zh"}).json()["sections"]
    fields = [field for section in sections for field in section["fields"]]
    said = [section["title"] for section in sections] + [field[part] for field in fields for part in ("title", "help")]
    assert not [one for one in said if not re.search("[\u4e00-\u9fff]", one)]
    for section in sections:  # two settings that stand side by side are told apart
        titles = [field["title"] for field in section["fields"]]
        assert len(set(titles)) == len(titles)
    assert all(re.search("[\u4e00-\u9fff]", chinese()[line]) for what in ("tasks", "models") for line in listing(what).values())


def test_what_the_page_says_in_a_terminal_means_the_same() -> None:
    """The words of the command line, read back by the command line's own parser, give the settings that were filled in."""
    settings = {
        "data": {
            "target": ("a, b", 'c"d'),
            "kind": {"x.y = z": "text", "<b>": "number"},
            "ignore": ("e",),
            "test_share": 0.2,
            "test": "a b/t.csv",
        },
        "train": {
            "minutes": 1.5,
            "exact": True,
            "optimizer": "lion",
            "steps": 7,
            "epochs": 0.5,
            "batch_size": 8,
            "learning_rate": 0.001,
            "seed": 3,
        },
        "model": {"size": "small", "options": {"width": 8}},
        "task": {"label_smoothing": 0.1},
    }
    words = shlex.split(shlex.join(form.command("data/x.csv", "runs/x", settings)))
    assert build(Recipe, cli._settings(cli._parser(["train"]).parse_args(words))) == build(Recipe, settings)
    one = form.command("x.csv", "runs/x", {"data": {"target": ("price",)}})
    assert one == ["train", "x.csv", "--out=runs/x", "--target=price"]


def test_wrong_settings_are_all_named(client: TestClient, studio: Studio) -> None:
    (studio.place.root / "x.csv").write_text("a,b\n1,2\n")
    said = client.post("api/train", json={"source": "x.csv", "settings": {"train": {"epoch": 1, "steps": -1}}})
    assert said.status_code == 422
    assert "epochs" in said.json()["error"]["message"]
    assert "train.steps" in said.json()["error"]["message"]


# -- the page's words and renderers
def sentences(text: str) -> set[str]:
    return {one.replace('\\"', '"') for one in re.findall(r'(?<![\w.])t\("((?:[^"\\]|\\.)*)"', text)}


def test_every_sentence_of_the_page_has_its_chinese() -> None:
    known = dict(re.findall(r'"((?:[^"\\]|\\.)*)": "((?:[^"\\]|\\.)*)"', (PAGE / "words.js").read_text(encoding="utf-8")))
    files = [*PAGE.glob("*.js"), *(path for root in duomo.tasks.__path__ for path in Path(root).glob("*/page.js"))]
    spoken = set().union(*(sentences(path.read_text(encoding="utf-8")) for path in files))
    assert len(spoken) > 100
    assert not sorted(spoken - set(known) - set(chinese()))
    for english, translated in known.items():
        assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", translated)), english


@pytest.mark.parametrize("task", find.task_names())
def test_each_task_brings_its_renderers(task: str, client: TestClient) -> None:
    """tasks/<name>/page.js exports `input` and `answer`; see docs/studio.md. (The browser test imports them.)"""
    text = client.get(f"tasks/{task}.js").text
    for name in ("input", "answer"):
        assert re.search(rf"export (const|function|async function) {name}\b|export {{[^}}]*\b{name}\b", text), f"{task}: {name}"


def test_sentences_come_in_the_readers_language(client: TestClient) -> None:
    for language, word in (("zh-CN", "不在"), ("en", "must lie")):
        message = client.post("api/look", json={"source": "no.csv"}, headers={"accept-language": language}).json()["error"]["message"]
        assert (word in message) or language.startswith("zh"), message
        assert ("no.csv" in message) and (("数据" in message) == language.startswith("zh"))


# -- runs
def train(client: TestClient, studio: Studio, settings: dict[str, Any], name: str = "") -> str:
    path = studio.place.root / "clinic.csv"
    if not path.exists():
        lines = samples.write("clinic", studio.place.root).read_text().splitlines()
        path.write_text("\n".join(lines[:151]) + "\n")
    said = client.post("api/train", json={"source": "clinic.csv", "settings": {"data": {"target": ["diagnosis"]}} | settings, "name": name})
    assert said.status_code == 200, said.text
    return str(said.json()["name"])


def test_a_run_goes_on_without_the_studio(client: TestClient, studio: Studio) -> None:
    """Queued, watched, left alone, found again by another studio, paused, resumed by it, tried, exported, deleted and taken back."""
    long = train(client, studio, TINY | {"train": {"exact": True, "steps": 200_000, "checkpoint_steps": 200}})
    second = train(client, studio, TINY, "second")
    began = until(lambda: (found := client.get(f"api/runs/{long}").json())["lines"] and found)
    assert began["state"] == "running"
    assert "Preflight" in began["preflight"]
    waits = client.get(f"api/runs/{second}").json()
    assert (waits["state"], waits["waits_for"]) == ("queued", 1)
    assert client.delete(f"api/runs/{long}").status_code == 422
    studio.jobs.close()
    other = Studio(studio.place.root)
    try:
        assert other.jobs.state(long) == "running"
        other.jobs.pause(long)
        until(lambda: other.jobs.state(long) == "paused")
        assert (studio.place.runs / long / "checkpoints").is_dir()
        until(lambda: other.jobs.state(second) == "finished")
        before = len((studio.place.runs / long / "log.jsonl").read_bytes())
        other.jobs.queue(long, ["resume", f"runs/{long}"])
        until(lambda: len((studio.place.runs / long / "log.jsonl").read_bytes()) > before)
        assert other.jobs.state(long) == "running"
        other.jobs.stop(long)
        assert other.jobs.state(long) == "paused"
    finally:
        other.close()
    tried = client.get(f"api/runs/{second}/try").json()
    answer = client.post(f"api/runs/{second}/predict", json={"row": tried["examples"][0]}).json()
    assert answer["answer"] == duomo.load(studio.place.runs / second).predict([tried["examples"][0]])[0]
    with zipfile.ZipFile(io.BytesIO(client.get(f"api/runs/{second}/export").content)) as archive:
        assert {"second/model.safetensors", "second/manifest.json"} <= set(archive.namelist())
    assert client.post("api/compare", json={"a": second, "b": second}).json()["metrics"]
    kept = client.delete(f"api/runs/{second}").json()["kept"]
    assert second not in [run["name"] for run in client.get("api/runs").json()["runs"]]
    assert client.post("api/undo", json={"kept": kept}).json()["name"] == second
    assert client.post(f"api/runs/{second}/rename", json={"name": "better"}).json()["name"] == "better"
    assert client.get("api/runs/better/card").json()["command"] == "duomo show runs/better"


def test_a_log_that_cannot_be_written_does_not_end_the_queue(studio: Studio) -> None:
    (studio.place.jobs / "a.jsonl").mkdir()
    studio.jobs.queue("a", ["list", "tasks"])
    time.sleep(2 * POLL_SECONDS)
    assert studio.jobs.state("a") == "queued"
    (studio.place.jobs / "a.jsonl").rmdir()
    until(lambda: studio.jobs.job("a")["pid"], 5)


def test_folders_that_may_not_be_read_hold_no_weights() -> None:
    nobody = 65534 if not os.geteuid() else os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        place = Place(Path(folder))
        (place.root / "closed").mkdir(mode=0o700 if nobody == 65534 else 0)
        (place.root / "open.gguf").touch()
        before = os.geteuid()
        os.seteuid(nobody)
        try:
            assert place.weights() == ["open.gguf"]
        finally:
            os.seteuid(before)


def serving(words: list[str]) -> list[psutil.Process]:
    """Living processes of this test's `duomo serve`."""
    found = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in found if one.cmdline()[2:4] == ["duomo.cli", "serve"] and one.cmdline()[4] in words]


def test_a_server_on_its_way_ends_with_the_studio(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for no server to answer, and leaves none behind; its run stays where it is meanwhile."""
    monkeypatch.setattr("duomo.studio.served._ready", lambda port: False)
    (studio.place.runs / "one").mkdir()

    def ask() -> None:
        with pytest.raises(ResourceError, match="did not start"):
            studio.served.serve("one")

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: serving(["runs/one"]) and studio.served.at_work("one"), 20)
    assert not studio.served.listed()
    with pytest.raises(ConfigError, match="at work"):
        studio.idle("one")
    studio.served.close()
    asking.join(20)
    assert not asking.is_alive() and not serving(["runs/one"]) and not list(studio.place.served.iterdir())
    with pytest.raises(ResourceError, match="being closed"):
        studio.served.serve("one")


def test_servers_of_a_killed_studio_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the next one in the folder, which ends them when it closes, and lists them once they answer; not those of a studio that lives."""
    place = Place(tmp_path)
    left, slow, other = (subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(3))
    us, gone = [os.getpid(), psutil.Process().create_time()], [2**22 - 1, 0.0]
    for process, run, whose in ((left, "left", gone), (slow, "slow", gone), (other, "left", us)):
        born = psutil.Process(process.pid).create_time()
        found = {"pid": process.pid, "born": born, "port": 8123 if process is left else 8124, "studio": whose}
        old = process is slow  # as studios wrote it that had one server for a run
        (place.served / f"{run if old else process.pid}.json").write_text(json.dumps(found if old else found | {"run": run}))
    (place.served / "gone.json").write_text(json.dumps({"run": "gone", "pid": gone[0], "born": 0.0, "port": 1, "studio": gone}))
    (place.served / "torn.json").write_text("{")
    monkeypatch.setattr("duomo.studio.served._ready", lambda port: port == 8123)
    served = Served(place)
    assert {name: one["address"] for name, one in served.listed().items()} == {"left": "http://127.0.0.1:8123"}
    assert served.at_work("slow")  # and is not started a second time
    children = {process.pid: process for process in (left, slow)}
    with monkeypatch.context() as within:  # it ends by itself between being found and being ended
        ended = lambda process: (children[process.pid].kill(), children[process.pid].wait(), process.kill())  # noqa: E731
        within.setattr(psutil.Process, "terminate", ended)
        served.close()
    assert left.wait(5) is not None and slow.wait(5) is not None and other.poll() is None
    assert [path.name for path in place.served.iterdir()] == [f"{other.pid}.json"]
    other.kill()
    other.wait()


def test_what_cannot_be_trained_says_why(client: TestClient, studio: Studio) -> None:
    name = train(client, studio, {"data": {"target": ["nothing"]}})
    found = until(lambda: (run := client.get("api/runs").json()["runs"][0])["state"] == "failed" and run)
    assert "nothing" in found["problem"]
    assert not found["begun"]
    again = client.post(f"api/runs/{name}/resume").json()["command"]  # there is nothing to go on from
    assert again.startswith("duomo train ") and client.get(f"api/runs/{name}").json()["state"] in ("queued", "running")
    until(lambda: client.get(f"api/runs/{name}").json()["state"] == "failed")
    assert client.post(f"api/runs/{name}/stop").json()["kept"] == ""
    assert client.get("api/runs").json()["runs"] == []
    assert client.get(f"api/runs/{name}").status_code == 422


def unfinished(studio: Studio, name: str) -> Path:
    """A run that has begun, with the recipe that it follows."""
    path = studio.place.runs / name
    path.mkdir()
    (path / "run.json").write_text('{"task": "classify"}')
    (path / "recipe.toml").write_text(f'[data]\nsource = "{studio.place.data}/table.csv"\n')
    return path


def test_a_run_that_was_killed_is_not_said_to_be_paused(client: TestClient, studio: Studio) -> None:
    """Whoever paused it knows; what ended by itself says so, and that something may be lost."""
    job = {"words": ["train", "data/table.csv"], "language": "en", "at": 1.0, "pid": 2**22 - 1, "born": 0.0}
    said = {}
    for name, done, last in (
        ("paused", True, ""),
        ("interrupted", False, '{"error": "Interrupted"}'),
        ("killed", False, ""),
        ("terminal", None, ""),
    ):
        unfinished(studio, name)
        if done is not None:
            (studio.place.jobs / f"{name}.json").write_text(json.dumps(job | {"name": name, "done": done}))
            (studio.place.jobs / f"{name}.jsonl").write_text('{"event": "start"}\n' + last)
        found = client.get(f"api/runs/{name}").json()
        assert found["state"] == "paused"
        said[name] = found["problem"]
    assert said["paused"] == said["interrupted"] == ""
    assert said["killed"].startswith("It was ended from outside") and said["terminal"].startswith("It stopped before")
    runs = {run["name"]: run for run in client.get("api/runs").json()["runs"]}
    assert runs["killed"]["problem"] == said["killed"] and "problem" not in runs["paused"]
    assert {run["source"] for run in runs.values()} == {"data/table.csv"}


def test_a_run_that_is_paused_before_it_has_begun_can_go_on(studio: Studio, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off the queue, or while its data are being read: nothing has failed, and it begins anew."""
    monkeypatch.setattr(studio.jobs, "_next", lambda: None)
    studio.jobs.queue("one", ["train", "data/one.csv"])
    client.post("api/runs/one/pause")
    (studio.place.jobs / "one.jsonl").write_text('{"event": "start"}\n{"error": "Interrupted", "message": "Interrupted."}\n')
    assert [client.get("api/runs/one").json()["state"], *(run["state"] for run in client.get("api/runs").json()["runs"])] == ["paused"] * 2
    assert "problem" not in client.get("api/runs").json()["runs"][0]
    assert client.post("api/runs/one/resume").json()["command"] == "duomo train data/one.csv" and studio.jobs.state("one") == "queued"


def test_a_run_of_a_terminal_is_left_to_it(client: TestClient, studio: Studio) -> None:
    """Its folder is not taken from under a process that the studio has not started, whoever started the run once."""
    path = unfinished(studio, "theirs")
    job = {"name": "theirs", "words": ["train", "data/table.csv"], "language": "en", "at": 1.0, "pid": 2**22 - 1, "born": 0.0, "done": True}
    (studio.place.jobs / "theirs.json").write_text(json.dumps(job))
    with (path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert client.get("api/runs/theirs").json()["state"] == "running"
        for verb in ("stop", "pause"):
            assert "in a terminal" in client.post(f"api/runs/theirs/{verb}").json()["error"]["message"]
        assert client.delete("api/runs/theirs").status_code == 422 and path.is_dir()
    assert client.get("api/runs/theirs").json()["state"] == "paused"


def test_what_comes_back_from_the_trash_is_what_it_was(client: TestClient, studio: Studio) -> None:
    unfinished(studio, "one")
    job = {"name": "one", "words": ["train", "data/a.csv"], "language": "en", "at": 1.0, "pid": 2**22 - 1, "born": 0.0, "done": True}
    (studio.place.jobs / "one.json").write_text(json.dumps(job))
    (studio.place.jobs / "one.jsonl").write_text('{"event": "message", "text": "Split."}\n')
    before = client.get("api/runs/one").json()
    kept = client.delete("api/runs/one").json()["kept"]
    assert not studio.jobs.names() and client.get("api/runs").json()["runs"] == []
    unfinished(studio, "one")  # another one of that name meanwhile
    back = client.post("api/undo", json={"kept": kept}).json()["name"]
    after = client.get(f"api/runs/{back}").json()
    assert back == "one-2" and after["messages"] == ["Split."]
    assert {**after, "name": "one"} == before


def test_a_sentence_that_names_a_flag_can_be_clicked() -> None:
    """Names with spaces and names that begin alike; what is no column here has no button."""
    columns = {"age": "number", "age group": "id", "visit date": "date", "名字": "text"}
    said = {
        'It is not learned from; --kind "age group"=category makes it an input.': [("kind", "age group", "category")],
        "Leave it out if it is only known afterwards: --ignore age": [("ignore", "age", "")],
        "--ignore 名字 去掉它。": [("ignore", "名字", "")],
        'Split by time: --time "visit date"': [("time", "visit date", "")],
        'Join them: --join "age group","visit date"': [("join", "age group", "visit date")],
        "20 different whole numbers; --task regress tells how much.": [("task", "regress", "")],
        "Split by the folders that the files lie in; --split random divides them anew.": [("split", "random", "")],
        "A target must be named. Say which with --target.": [],
        "Leave it out: --ignore weight, or set --kind age=none, or --join age, alone.": [],
        "First --ignore age then --group 名字": [("ignore", "age", ""), ("group", "名字", "")],
    }
    for sentence, wanted in said.items():
        found = look.acts(sentence, columns, find.task_names())
        assert [(one["setting"], one["value"], one["more"]) for one in found] == wanted, sentence
        assert all(one["now"] == columns.get(one["value"], "") for one in found)


def test_what_is_wrong_can_be_settled_by_clicks(client: TestClient, studio: Studio) -> None:
    """Each act, set as the page sets it, is taken; the encoding of a file that does not tell it can be chosen."""
    rows = [f"P{n // 4};2023-{1 + n % 12:02}-{1 + n % 28:02};;x;{n % 9};{'病情很好' if n % 3 else '病情不好'}" for n in range(200)]
    (studio.place.data / "visits.csv").write_bytes("\n".join(["病人;visit date;empty;const;n;结果", *rows]).encode("gb18030"))
    found = client.post("api/look", json={"source": "data/visits.csv"}).json()
    assert found["encodings"][:2] == ["utf-8", "gb18030"]
    acts = [(one["setting"], one["value"]) for finding in found["findings"] for one in finding["acts"]]
    assert {("ignore", "empty"), ("ignore", "const"), ("time", "visit date")} <= set(acts)
    settings = {"data": {"ignore": ["empty", "const"], "time": "visit date"}}
    settled = client.post("api/look", json={"source": "data/visits.csv", "settings": settings}).json()
    assert "proposal" in settled and not settled["proposal"].get("problem")
    counted = client.post("api/look", json={"source": "data/visits.csv", "settings": {"data": {"target": ["n"]}}}).json()
    assert [(one["setting"], one["value"]) for one in counted["proposal_acts"]] == [("task", "regress")]


def test_numbers_stand_where_they_belong_in_names(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for name in ("v1.2", "a.tar.gz"):
        (place.runs / name).mkdir()
    assert free_name(place.runs, "v1.2").name == "v1.2-2"
    assert [path.name for path in itertools.islice(numbered(place.data, "a.tar.gz", file=True), 3)] == [
        "a.tar.gz",
        "a-2.tar.gz",
        "a-3.tar.gz",
    ]


def test_a_folder_that_is_dropped_again_stays_the_one_it_is(client: TestClient, studio: Studio) -> None:
    sources = []
    for upload, second in (("u", b"two"), ("v", b"two"), ("w", b"other"), ("x", b"other"), ("y", None)):
        for name, content in (("pets v1.2/cats/1.png", b"one"), ("pets v1.2/cats/2.png", second)):
            if content is not None:
                client.put(f"api/upload/{upload}", params={"path": name}, content=content)
        sources.append(client.post(f"api/upload/{upload}").json()["source"])
    first, second, third = (f"data/pets v1.2{number}" for number in ("", "-2", "-3"))
    assert sources == [first, first, second, second, third]
    assert not list(studio.place.incoming.iterdir())


def test_folders_that_are_deleted_under_it_are_made_again(client: TestClient, studio: Studio) -> None:
    """Its own, `runs` and `data`; the folder that it works in is said to be gone."""
    for folder in (studio.place.jobs.parent, studio.place.runs, studio.place.data):
        shutil.rmtree(folder)
    assert client.put("api/upload/u", params={"path": "a.csv"}, content=b"a,b\n1,2\n").status_code == 200
    assert client.post("api/upload/u").json()["source"] == "data/a.csv" and client.get("api/runs").json()["runs"] == []
    assert client.post("api/train", json={"source": "data/a.csv"}).status_code == 200
    studio.jobs.close()
    shutil.rmtree(studio.place.root)
    answer = client.get("api/runs")
    assert answer.status_code == 422 and "there is none at" in answer.json()["error"]["message"]
    studio.place.root.mkdir()


def test_the_name_of_a_run_that_waits_is_taken(client: TestClient, studio: Studio) -> None:
    """Neither a new name nor an undone deletion puts another run in its place, which would never be trained then."""
    studio.jobs.close()  # nothing begins
    (studio.place.runs / "one").mkdir()
    studio.jobs.queue("two", ["train", "data/two.csv"])
    assert "taken" in client.post("api/runs/one/rename", json={"name": "two"}).json()["error"]["message"]
    kept = client.delete("api/runs/one").json()["kept"]
    studio.jobs.queue("one", ["train", "data/one.csv"])
    assert client.post("api/undo", json={"kept": kept}).json()["name"] == "one-2"
    assert [studio.jobs.job(name)["words"][1] for name in ("one", "two")] == ["data/one.csv", "data/two.csv"]


def test_an_upload_that_breaks_off_leaves_nothing(client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the disk is full nor where the page is left: what would never become whole takes up no room."""
    assert client.put("api/upload/one", params={"path": "f/a.csv"}, content=b"x").status_code == 200
    with monkeypatch.context() as within:
        within.setattr("duomo.studio.place.SPARE_BYTES", 2**60)
        assert "no room" in client.put("api/upload/one", params={"path": "f/b.csv"}, content=b"x").json()["error"]["message"]
    assert not list(studio.place.incoming.iterdir())

    async def left() -> AsyncIterator[bytes]:
        yield b"x"
        raise ClientDisconnect

    assert "broke off" in client.put("api/upload/one", params={"path": "f/c.csv"}, content=b"x").json()["error"]["message"]
    assert "broke off" in client.post("api/upload/one").json()["error"]["message"]

    async def both() -> list[BaseException | None]:
        """The first file is still on its way when the page leaves the second."""
        gone = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"x"
            await gone.wait()

        whole = asyncio.create_task(studio.place.receive("two", "f/a.csv", slow()))
        await asyncio.sleep(0)
        found = await asyncio.gather(studio.place.receive("two", "f/b.csv", left()), return_exceptions=True)
        gone.set()
        return [*found, *await asyncio.gather(whole, return_exceptions=True)]

    assert [type(one) for one in asyncio.run(both())] == [ClientDisconnect, DataError]
    assert not list(studio.place.incoming.iterdir())
    assert client.app._app.exception_handlers[ClientDisconnect]  # which is no fault of the studio's: nothing is printed
