"""Predict over HTTP: answers equal predict, requests share a pass, bad input gets one sentence with an id."""

import base64
import csv
import gzip
import json
import threading
from pathlib import Path

import httpx
import pandas as pd
import pytest

import duomo
from duomo.core.errors import DataError, ResourceError
from duomo.serve import limits
from duomo.serve.batching import BatchHandler, Question, Reply, asked_of, encoded
from duomo.serve.json_body import read_json
from duomo.serve.rows import checked, rows_of_parts, table_of
from duomo.serve.schema import document


def rows_of(path: Path, target: str, count: int) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))[:count]
    return [{name: value for name, value in row.items() if name != target} for row in found]


def test_answers_equal_predict_alone_and_together(client: httpx.Client, runs) -> None:
    rows = rows_of(runs.source("clinic"), "diagnosis", 60)
    expected = runs("clinic").predict(runs.source("clinic"))[:60]
    together = client.post("/v1/predict/clinic", json={"rows": rows}).json()["answers"]
    alone = [client.post("/v1/predict/clinic", json={"rows": [row]}).json()["answers"][0] for row in rows[:12]]
    assert together == expected
    assert alone == expected[:12]


def test_many_clients_at_once_get_their_own_answers(client: httpx.Client, runs) -> None:
    rows = rows_of(runs.source("clinic"), "diagnosis", 40)
    expected = runs("clinic").predict(runs.source("clinic"))[:40]
    found: dict[int, object] = {}

    def ask(number: int) -> None:
        found[number] = client.post("/v1/predict/clinic", json={"rows": [rows[number]]}).json()["answers"][0]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(rows))] == expected


def test_numbers_may_be_numbers(client: httpx.Client, runs) -> None:
    row = rows_of(runs.source("clinic"), "diagnosis", 1)[0]
    as_text = client.post("/v1/predict/clinic", json={"rows": [row]}).json()
    as_numbers = client.post("/v1/predict/clinic", json={"rows": [{name: float(value) for name, value in row.items()}]}).json()
    assert as_text == as_numbers


def test_pictures_by_upload_and_by_row(client: httpx.Client, runs) -> None:
    picture = next((runs.source("digits") / "7").glob("*.png"))
    upload = client.post("/v1/predict/digits", files=[("files", ("seven.png", picture.read_bytes(), "image/png"))])
    by_name = client.post("/v1/predict/digits", files=[("image", ("seven.png", picture.read_bytes(), "image/png"))])
    row = {"image": {"base64": base64.b64encode(picture.read_bytes()).decode()}}
    by_row = client.post("/v1/predict/digits", json={"rows": [row]})
    path = client.post("/v1/predict/digits", json={"rows": [{"image": str(picture)}]})
    expected = runs("digits").predict([{"image": picture.read_bytes()}])
    assert runs("digits").predict([str(picture)]) == runs("digits").predict([picture]) == expected
    assert upload.json()["answers"] == by_name.json()["answers"] == by_row.json()["answers"] == expected
    assert path.status_code == 422, "a path of the server's files must not be read"


def test_a_row_of_a_table_by_upload(client: httpx.Client, runs) -> None:
    row = rows_of(runs.source("clinic"), "diagnosis", 1)[0]
    found = client.post("/v1/predict/clinic", files={name: (None, value) for name, value in row.items()})
    assert found.json()["answers"] == runs("clinic").predict([row])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"rows": []}, "1 to"),
        ({"rows": [{"mean_radiu": 1}]}, "Did you mean 'mean_radius'"),
        ({"rows": [{"mean_radius": 1}]}, "missing"),
        ({"rows": [{"mean_radius": {"a": 1}}]}, "mean_radius"),
        ({"rows": [3]}, "JSON object"),
        ({"row": [{}]}, "Did you mean 'rows'"),
        ({"rows": [{}], "extra": 1}, "extra"),
        ([], "rows"),
        ({"rows": [{}] * (limits.MOST_ROWS + 1)}, "1,000"),
    ],
)
def test_bad_requests_get_one_sentence_with_an_id(client: httpx.Client, body: object, says: str) -> None:
    answer = client.post("/v1/predict/clinic", json=body)
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert says in error["message"]
    assert error["id"] == answer.headers["x-request-id"] and len(error["id"]) == 12


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"rows": [{"mean_radius": ' + b"9" * 400 + b"}]}",
     b'{"rows": [{"mean_radius": "\\ud800"}]}',
     b'{"rows": [{"mean_radius": ' + b"9" * 5000 + b"}]}", b'{"rows": ' + b'[{"a": ' * 70 + b"1" + b"}]" * 70 + b"}"],
    ids=["empty", "open", "utf16", "deep", "huge", "surrogate", "digits", "nested"],
)  # fmt: skip
def test_broken_json_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/predict/clinic", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text


def test_the_wrong_kind_of_body(client: httpx.Client, runs) -> None:
    picture = next((runs.source("digits") / "7").glob("*.png")).read_bytes()
    assert client.post("/v1/predict/clinic", content=picture, headers={"content-type": "image/png"}).status_code == 415
    text = client.post("/v1/predict/clinic", content=b"{}", headers={"content-type": "text/plain"})
    assert text.status_code == 415 and "multipart/form-data" in text.json()["error"]["message"]
    for kind in ("application/json", "multipart/form-data; boundary=x"):
        squeezed = client.post(
            "/v1/predict/clinic", content=gzip.compress(b"{}"), headers={"content-type": kind, "content-encoding": "gzip"}
        )
        assert squeezed.status_code == 415 and "uncompressed" in squeezed.json()["error"]["message"]
    plain = {"content-type": "application/json", "content-encoding": "identity"}
    assert client.post("/v1/predict/clinic", content=b"{}", headers=plain).status_code == 422
    refused = client.post("/v1/predict/clinic", files=[("files", ("a.png", picture, "image/png"))])
    assert refused.status_code == 422 and "one picture or sound" in refused.json()["error"]["message"]
    assert client.post("/v1/predict/digits", files=[("files", ("a.png", b"no picture", "image/png"))]).status_code == 422


def test_an_unknown_run_names_the_nearest(client: httpx.Client) -> None:
    answer = client.post("/v1/predict/clinik", json={"rows": [{}]})
    assert answer.status_code == 404
    assert "'clinic'" in answer.json()["error"]["message"]
    assert client.post("/v1/predict", json={"rows": [{}]}).status_code == 404, "several runs are served"


def test_a_row_that_is_not_a_number_changes_no_neighbour(client: httpx.Client, runs) -> None:
    rows = rows_of(runs.source("clinic"), "diagnosis", 8)
    rows[3] = dict.fromkeys(rows[3], "NaN")
    found = client.post("/v1/predict/clinic", json={"rows": rows}).json()["answers"]
    expected = runs("clinic").predict(runs.source("clinic"))[:8]
    assert [one for number, one in enumerate(found) if number != 3] == [one for number, one in enumerate(expected) if number != 3]


def test_a_prompt_that_does_not_fit_is_told_by_predict_and_by_the_server(client: httpx.Client, runs) -> None:
    run = runs("poems")
    long, short = "春 眠 " * run.task.context, "春"
    with pytest.raises(DataError, match="longer"):
        run.predict([short, long])
    answer = client.post("/v1/predict/poems", json={"rows": [short, long]})
    assert answer.status_code == 422 and "row 1 is longer" in answer.json()["error"]["message"]
    assert len(run.predict([short])) == 1


def test_described(client: httpx.Client) -> None:
    found = {one["run"]: one for one in client.get("/v1/runs").json()["runs"]}
    assert found["clinic"]["task"] == "classify"
    assert found["clinic"]["columns"]["mean_radius"] == "number"
    assert client.get("/health").json()["status"] == "ok"
    paths = client.get("/openapi.json").json()["paths"]
    row = paths["/v1/predict/clinic"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["rows"]["items"]
    assert "number" in row["properties"]["mean_radius"]["type"]
    assert "multipart/form-data" in paths["/v1/predict/digits"]["post"]["requestBody"]["content"]


def test_pages_come_from_here_alone(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/page.js", "/page.css", "/docs.js"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text.replace("http://www.w3.org", "")
        assert "https://" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]


# -- without a socket
def test_a_bad_row_does_not_hurt_its_neighbours(runs) -> None:
    """Requests that share a pass: one cannot be answered, the others are."""
    run = runs("clinic")
    columns = dict.fromkeys(run.facts["features"], "number")
    good, bad = (checked([dict.fromkeys(columns, cell)], columns) for cell in ("1.5", "one and a half"))
    assert good.forms == bad.forms, "they are asked together"
    replies = dict(BatchHandler(run).answer([(Question(number, "predict"), rows) for number, rows in enumerate((good, bad, good))]))
    assert [replies[number].status for number in range(3)] == [200, 422, 200]
    assert replies[0].body == replies[2].body


def test_text_and_numbers_share_a_pass(runs) -> None:
    run = runs("clinic")
    names = run.facts["features"]
    usual = rows_of(runs.source("clinic"), "diagnosis", 2)
    cells = ({name: float(value) for name, value in usual[0].items()}, usual[0], usual[1])
    asked = [checked([row], dict.fromkeys(names, "number")) for row in cells]
    replies = dict(BatchHandler(run).answer([(Question(number, "predict"), rows) for number, rows in enumerate(asked)]))
    assert replies[0].body == replies[1].body != replies[2].body


def test_what_is_not_finite_becomes_null() -> None:
    assert json.loads(encoded({"a": [float("nan"), 1.5], "b": {"c": float("inf")}})) == {"a": [None, 1.5], "b": {"c": None}}


def test_bounds_at_their_edge() -> None:
    columns = {"a": "text"}
    assert len(table_of([{"a": "x"}] * limits.MOST_ROWS, columns)) == limits.MOST_ROWS
    assert len(checked(["x"] * limits.MOST_INPUTS, columns, limits.MOST_INPUTS)) == limits.MOST_INPUTS
    assert len(table_of([{"a": "x" * limits.LONGEST_TEXT}], columns)) == 1
    for rows, kinds in (
        ([{"a": "x" * (limits.LONGEST_TEXT + 1)}], columns),
        ([{"a": "x"}] * (limits.MOST_ROWS + 1), columns),
        ([{"a": [0] * (limits.MOST_VALUES + 1)}], {"a": "series"}),
        ([{"a": 10**400}], {"a": "number"}),
    ):
        with pytest.raises(DataError):
            table_of(rows, kinds)
    assert len(table_of([{"a": [0] * limits.MOST_VALUES}], {"a": "series"})) == 1
    assert len(read_json(b"[" + b"[]," * (limits.MOST_LISTS - 2) + b"1]"))
    with pytest.raises(DataError):
        read_json(b"[" + b"[]," * limits.MOST_LISTS + b"1]")
    levels = limits.DEEPEST
    assert read_json(b"[" * levels + b"]" * levels)
    with pytest.raises(DataError):
        read_json(b"[" * (levels + 1) + b"]" * (levels + 1))


def test_parts_make_rows() -> None:
    assert rows_of_parts([("files", True, b"1"), ("files", True, b"2")], {"image": "image"}) == [{"image": b"1"}, {"image": b"2"}]
    assert rows_of_parts([("image", True, b"1"), ("age", False, b"4")], {"image": "image", "age": "number"}) == [
        {"image": b"1", "age": "4"}
    ]
    empty = rows_of_parts(
        [("image", False, b""), ("age", False, b""), ("text", True, b"")], {"image": "image", "age": "number", "text": "text"}
    )
    assert empty == [{"image": None, "age": None, "text": None}], "what a form leaves empty is unknown"
    kinds = {"image": "image", "motion": "series"}  # a form has no lists: a series is written as JSON, and what is none is told of later
    series = table_of(rows_of_parts([("image", True, b"1"), ("motion", False, b"[[1, 2.5]]")], kinds), kinds)
    assert series.column("motion").to_pylist() == [[[1, 2.5]]]
    with pytest.raises(DataError, match="takes a list of numbers"):
        table_of(rows_of_parts([("image", True, b"1"), ("motion", False, b"[[1,")], kinds), kinds)
    for parts in ([("a", False, b"1"), ("a", False, b"2")], [("files", True, b"1"), ("age", False, b"4")]):
        with pytest.raises(DataError):
            rows_of_parts(parts, {"image": "image", "age": "number"})


@pytest.mark.parametrize("cell", ["1e999", "-Infinity", "9" * 400])
def test_infinite_numbers_are_refused_and_unknown_ones_are_not(cell: str) -> None:
    rows = read_json(f'[{{"a": {cell}}}, {{"a": NaN}}, {{"a": 1.5}}]'.encode())
    with pytest.raises(DataError, match="takes numbers below"):
        table_of(rows, {"a": "number"})
    assert table_of(rows[1:], {"a": "number"}).column("a").to_pylist() == [None, 1.5]


def test_files_under_any_name() -> None:
    """For a run that reads one picture or sound and nothing else; elsewhere a file may stand for a text."""
    assert rows_of_parts([("file", True, b"1"), ("image", True, b"2")], {"image": "image"}) == [{"image": b"1"}, {"image": b"2"}]
    assert rows_of_parts([("text", True, "naïve".encode())], {"text": "text"}) == [{"text": "naïve"}]
    with pytest.raises(DataError, match="a text in UTF-8"):
        rows_of_parts([("text", True, b"\xff\xfe")], {"text": "text"})
    columns, photo = (
        {"image": "image", "age": "number"},
        rows_of_parts([("photo", True, b"\xff\xd8"), ("age", False, b"4")], {"age": "number"}),
    )
    with pytest.raises(DataError, match="unknown field 'photo'"):
        table_of(photo, columns)


def test_base64_as_browsers_and_shells_write_it() -> None:
    packed = base64.encodebytes(bytes(range(200))).decode()
    for told in (packed, "data:image/png;base64," + packed.replace("\n", "")):
        assert table_of([{"image": {"base64": told}}], {"image": "image"}).column("image").to_pylist() == [bytes(range(200))]
    with pytest.raises(DataError, match="a file in base64"):
        table_of([{"image": {"base64": "data:image/png,abc"}}], {"image": "image"})


def test_rows_of_a_request_count_from_0_for_pictures_too(client: httpx.Client, runs) -> None:
    picture = next((runs.source("digits") / "7").glob("*.png")).read_bytes()
    files = [("files", ("a.png", content)) for content in (picture, b"no picture", picture)]
    assert "row 1 (" in client.post("/v1/predict/digits", files=files).json()["error"]["message"]


@pytest.fixture(scope="module")
def club(tmp_path_factory: pytest.TempPathFactory):
    """A run that learned from nested records, and the records."""
    records = [
        {"id": f"m-{row:04}", "user": {"age": 20 + row * 7 % 50, "home": {"city": "ABC"[row % 3]}}, "tags": ["new", "vip"][: row % 3],
         "steps": [row / 7, row % 5, 1.1], "joined": f"{1 + row % 28}/{1 + row % 12}/2023", "share": f"{row * 3 % 100}%",
         "left": row % 3 == 1} | ({"plan": "gold"} if row % 4 else {})
        for row in range(90)
    ]  # fmt: skip
    settings = {"data": {"target": ("left",)}, "train": {"epochs": 1.0}, "model": {"name": "linear"}}
    return duomo.train(records, settings, out=tmp_path_factory.mktemp("club") / "run"), records


def asked(run, rows: list[object]) -> object:
    """The answers of a handler, or its message."""
    handler = BatchHandler(run)
    question = Question(0, "predict", json.dumps({"rows": rows}).encode())
    found = asked_of(handler, question)
    reply = found if isinstance(found, Reply) else dict(handler.answer([(question, found)]))[0]
    return json.loads(reply.body)["answers"] if reply.status == 200 else reply.facts["message"]


@pytest.mark.parametrize(
    ("cell", "like"),
    [({"joined": "9/27/2023"}, " (3/4/2020 is the third of April)"), ({"joined": "never"}, "is not a date"), ({"share": "50"}, "as in 50%"),
     ({"share": 50}, "as in 50%"), ({"share": 0.5}, "as in 50%")],
)  # fmt: skip
def test_a_date_or_a_share_that_is_written_otherwise_is_told(club, tmp_path: Path, cell: dict[str, object], like: str) -> None:
    """By `predict` of rows and by the server as an error, of a file in a sentence."""
    run, records = club
    row = records[3] | cell
    with pytest.raises(DataError) as refused:
        run.predict([row])
    for said in (str(refused.value), asked(run, [row])):
        assert like in said and f"of {next(iter(cell))!r} in row 0" in said
    (tmp_path / "rows.jsonl").write_text(json.dumps(records[2]) + "\n" + json.dumps(row))
    told = run.predictor.counted(run.table(tmp_path / "rows.jsonl"))
    assert len(told) == 1 and "in row 2." in told[0]
    missing = run.predict([records[2], row | dict.fromkeys(cell)])
    assert run.predict(tmp_path / "rows.jsonl") == missing != run.predict(records[2:4])


def test_values_none_of_which_was_learned_are_told(club) -> None:
    """Of a file in a sentence, of a frame in a warning; so are dates written otherwise, which count as missing."""
    run, records = club
    name, state = next(iter(run.predictor.known.items()))
    rows = [row | {name: f"{place} other"} for place, row in enumerate(records[:9])]
    told = run.predictor.counted(run.table(rows))
    assert len(told) == 1 and f"No cell of {name!r}" in told[0] and "'0 other' in row 1" in told[0]
    assert not run.predictor.counted(run.table([*rows, records[0] | {name: state["values"][0]}]))
    with pytest.warns(UserWarning, match="No cell of"):
        run.predict(rows)
    with pytest.warns(UserWarning, match="count as missing"):
        run.predict(pd.DataFrame(records[:9]).assign(joined="9/27/2023"))


def test_records_are_answered_as_they_were_learned_from(club) -> None:
    """Objects within objects, lists, an id and the target: what `predict` takes, the server takes."""
    run, records = club
    assert asked(run, records[:20]) == run.predict(records[:20])
    for row in (
        *records[:6],
        records[0] | {"steps": []},
        records[0] | {"steps": "[1, 2.5]"},
        records[0] | {"user": {**records[0]["user"], "age": True}},
    ):
        assert asked(run, [row]) == run.predict([row])
    flat = {name: cell for name, cell in records[4].items() if name != "user"} | {"user.age": 48, "user.home.city": "B"}
    assert asked(run, [flat]) == run.predict([records[4]])
    assert asked(run, [records[4] | {"user": json.dumps(records[4]["user"])}]) == run.predict([records[4]])  # as a cell of a table has it
    young = {**records[4], "user": {"age": 3}}
    assert asked(run, [young]) == run.predict([young]) != run.predict([records[4]])
    assert len(str(asked(run, [records[0] | {"user": {**records[0]["user"], "age": "3 " * 9000}}]))) < 1000  # of a long cell the beginning
    for wrong, said in (({"user": {"age": 3, "town": "A"}}, "'user.town'"), ({"ids": 3}, "'ids'"), ({"user": "x"}, "'user'"),
                        ({"user": None}, "missing: user.age, user.home.city")):  # fmt: skip
        assert said in asked(run, [records[0] | wrong])
    with pytest.raises(DataError, match="at most"):
        table_of([{"a": ["x" * limits.LONGEST_TEXT]}], {"a": "text"})
    schema = document({"club": BatchHandler(run).facts()})["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    flat_row, nested_row = schema["properties"]["rows"]["items"]["anyOf"]
    assert flat_row["properties"]["id"] == {} and "user.home.city" in flat_row["required"] and "id" not in flat_row["required"]
    assert nested_row["properties"]["user"]["properties"]["home"]["required"] == ["city"]
    assert "joined" in flat_row["required"] and "plan" not in (*flat_row["required"], *nested_row["required"])


def test_what_some_records_lacked_need_not_be_there(club, tmp_path: Path) -> None:
    """A field that is left out where nothing is known: of one row, of a file, by the server; any other must be there."""
    run, records = club
    bare = {name: cell for name, cell in records[1].items() if name != "plan"}
    assert run.facts["optional"] == ["plan"]
    assert asked(run, [bare]) == run.predict([bare]) == run.predict([records[1] | {"plan": None}])
    (tmp_path / "rows.jsonl").write_text(json.dumps(bare))
    table = run.table(tmp_path / "rows.jsonl")
    assert any("No row has plan" in said for said in table.problems) and run.predict(tmp_path / "rows.jsonl") == run.predict([bare])
    for row, says in (({"plan": "gold"}, "joined"), ({**bare, "plans": "gold"}, "Did you mean 'plan")):
        with pytest.raises(DataError, match=says):
            run.predict([row])
        assert says in asked(run, [row])
    assert "missing: " in asked(run, [{}])


FULL = [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB."), MemoryError(), RuntimeError("CUDA error: no kernel image"),
        RuntimeError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!")]  # fmt: skip


@pytest.mark.parametrize("error", FULL)
def test_a_device_that_fails_is_no_damaged_run(runs, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Neither where a run is opened nor where it answers; a client is told that there is no room."""

    def full(*_: object) -> None:
        raise error

    run = runs("clinic")
    row = dict.fromkeys(run.facts["features"], "15")
    with monkeypatch.context() as patch:
        patch.setattr("duomo.core.device.Execution.apply", full)
        with pytest.raises(ResourceError, match="--device cpu"):
            duomo.load(run.path)
    run = duomo.load(run.path)
    monkeypatch.setattr(run.predictor, "model", full)
    with pytest.raises(ResourceError, match="--device cpu"):
        run.predict([row])
    question = Question(0, "predict", json.dumps({"rows": [row]}).encode())
    handler = BatchHandler(run)
    rows = asked_of(handler, question)
    assert not isinstance(rows, Reply) and dict(handler.answer([(question, rows)]))[0].status == 503
