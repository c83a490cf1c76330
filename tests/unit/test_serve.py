"""The server: answers equal predict, requests share a pass, bad input gets one sentence, strangers are refused."""

import base64
import csv
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from duomo.core.errors import DataError
from duomo.core.table import Table
from duomo.serve.app import LARGEST_BODY, create
from duomo.serve.batcher import Batcher, Busy
from duomo.serve.rows import MOST_ROWS

LOCAL = {"host": "127.0.0.1:8000"}


@pytest.fixture(scope="module")
def client(runs) -> Iterator[TestClient]:
    with TestClient(create(runs("clinic")), headers=LOCAL, raise_server_exceptions=False) as made:
        yield made


def rows_of(path: Path, target: str, count: int) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))[:count]
    return [{name: value for name, value in row.items() if name != target} for row in found]


def test_answers_equal_predict_alone_and_together(client: TestClient, runs) -> None:
    rows = rows_of(runs.source("clinic"), "diagnosis", 60)
    expected = runs("clinic").predict(runs.source("clinic"))[:60]
    together = client.post("/v1/predict", json={"rows": rows}).json()["answers"]
    alone = [client.post("/v1/predict", json={"rows": [row]}).json()["answers"][0] for row in rows[:12]]
    assert together == expected
    assert alone == expected[:12]


def test_numbers_may_be_numbers(client: TestClient, runs) -> None:
    row = rows_of(runs.source("clinic"), "diagnosis", 1)[0]
    as_text = client.post("/v1/predict", json={"rows": [row]}).json()
    as_numbers = client.post("/v1/predict", json={"rows": [{name: float(value) for name, value in row.items()}]}).json()
    assert as_text == as_numbers


def test_many_clients_at_once_get_their_own_answers(client: TestClient, runs) -> None:
    rows = rows_of(runs.source("clinic"), "diagnosis", 40)
    expected = runs("clinic").predict(runs.source("clinic"))[:40]
    found: dict[int, object] = {}

    def ask(number: int) -> None:
        found[number] = client.post("/v1/predict", json={"rows": [rows[number]]}).json()["answers"][0]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(rows))] == expected


def test_pictures_by_upload_and_by_row(runs) -> None:
    picture = next((runs.source("digits") / "7").glob("*.png"))
    run = runs("digits")
    with TestClient(create(run), headers=LOCAL) as client:
        upload = client.post("/v1/predict/files", files=[("files", ("seven.png", picture.read_bytes(), "image/png"))])
        row = {"image": {"base64": base64.b64encode(picture.read_bytes()).decode()}}
        by_row = client.post("/v1/predict", json={"rows": [row]})
        path = client.post("/v1/predict", json={"rows": [{"image": str(picture)}]})
    expected = run.predict([{"image": picture.read_bytes()}])
    assert upload.json()["answers"] == by_row.json()["answers"] == expected
    assert path.status_code == 422, "a path of the server's files must not be read"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"rows": []}, "1 to"),
        ({"rows": [{"mean_radiu": 1}]}, "mean_radius"),
        ({"rows": [{"mean_radius": 1}]}, "missing"),
        ({"rows": [{"mean_radius": {"a": 1}}]}, "mean_radius"),
        ({"rows": [3]}, "body"),
        ({"row": [{}]}, "rows"),
        ({"rows": [{}] * (MOST_ROWS + 1)}, str(MOST_ROWS)),
    ],
)
def test_bad_requests_get_one_sentence_with_an_id(client: TestClient, body: object, says: str) -> None:
    answer = client.post("/v1/predict", json=body)
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert says in error["message"]
    assert len(error["id"]) == 12


def test_a_bad_row_does_not_hurt_its_neighbours(runs) -> None:
    """Two requests that wait together: one cannot be read, the other is answered."""
    run = runs("clinic")
    columns = run.facts["features"]
    good = Table(pa.table({name: pa.array(["1.5"], pa.large_string()) for name in columns}), run.facts["kinds"])
    bad = Table(pa.table({"nothing": pa.array(["1"])}), run.facts["kinds"])
    batcher = Batcher(run)
    futures = [batcher.submit(table) for table in (good, bad, good)]
    assert futures[0].result(30) == futures[2].result(30)
    with pytest.raises(DataError):
        futures[1].result(30)
    batcher.close()


def test_a_full_queue_says_busy() -> None:
    class Slow:
        def __init__(self) -> None:
            self.go = threading.Event()

        def answers(self, table: Table) -> dict[str, list[int]]:
            self.go.wait(30)
            return {"prediction": [0] * len(table)}

    slow = Slow()
    batcher = Batcher(slow)
    table = Table(pa.table({"x": ["1"]}))
    with pytest.raises(Busy):
        for _ in range(2000):
            batcher.submit(table)
    slow.go.set()
    batcher.close()


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}])
def test_strangers_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/health", headers=headers).status_code in (403, 421)
    assert client.post("/v1/predict", json={"rows": []}, headers=headers).status_code in (403, 421)


def test_too_large_a_body_is_refused_unread(client: TestClient) -> None:
    answer = client.post("/v1/predict", content=b"x", headers={"content-length": str(LARGEST_BODY + 1)})
    assert answer.status_code == 413


def test_pages_come_from_here_alone(client: TestClient) -> None:
    for path in ("/", "/docs", "/page.js", "/page.css", "/docs.js"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text.replace("http://www.w3.org", "")
        assert "https://" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert client.get("/openapi.json").json()["paths"]["/v1/predict"]


def test_described(client: TestClient) -> None:
    found = client.get("/v1/run").json()
    assert found["task"] == "classify"
    assert found["columns"]["mean_radius"] == "number"
    assert client.get("/health").json()["status"] == "ok"
