"""What tools export: Label Studio's choices, XLIFF, subtitles, spans of spaCy and Prodigy; and what is refused says what to do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from duomo import cli
from duomo.core import kinds
from duomo.core.errors import ConfigError, DataError
from duomo.core.find import task_module
from duomo.core.recipe import DataConfig
from duomo.core.table import Table
from duomo.data import sources
from duomo.plan import choose

SAID = ["I love it", "Awful, never again", "It works", "The box was torn", "Wonderful little thing", "So so"]


def chosen(table: Table) -> DataConfig:
    return choose(kinds.infer(table, {}), DataConfig())[0]


def task(number: int, data: dict[str, Any], *answers: Any) -> dict[str, Any]:
    told = [{"id": 100 + place, "completed_by": place, "was_cancelled": False, "lead_time": 3.1, "created_at": "2026-01-02T03:04:05.678Z",
             "result": [{"id": "aB3", "type": "choices", "from_name": "mood", "to_name": "text", "value": {"choices": answer}}]}
            for place, answer in enumerate(answers)]  # fmt: skip
    return {"id": number, "annotations": told, "data": data, "meta": {}, "project": 1, "inner_id": number, "total_annotations": len(told),
            "created_at": "2026-01-02T03:04:05.678Z", "file_upload": "a1b2c3d4-x.csv", "predictions": [], "drafts": []}  # fmt: skip


def test_choices_of_label_studio_in_json(tmp_path: Path) -> None:
    told = [task(n, {"text": f"{SAID[n % 6]}, {n}"}, [["good"], ["bad"]][n % 2]) for n in range(30)]
    told.append(task(30, {"text": "Both of them asked"}, ["bad"], ["good"], ["good"]))
    told[3]["annotations"].insert(0, {"was_cancelled": True, "result": []})
    told.append(task(31, {"text": "Nobody was asked"}))
    (tmp_path / "project-1-at-2026-01-02.json").write_text(json.dumps(told))
    table = sources.read(tmp_path / "project-1-at-2026-01-02.json")
    assert table.names == ["text", "mood"] and table.column("mood").to_pylist() == [*["good", "bad"] * 15, "good", None]
    assert "unlike" in " ".join(table.problems)
    assert (chosen(table).task, chosen(table).target) == ("classify", ("mood",))
    told[0]["annotations"][0]["result"][0]["value"]["choices"] = ["good", "fast"]
    (tmp_path / "several.json").write_text(json.dumps(told))
    cells = sources.read(tmp_path / "several.json").column("mood").to_pylist()
    assert cells[:2] == ['["good", "fast"]', '["bad"]']


@pytest.mark.parametrize("address", ["/data/upload/1/a1b2c3d4-{name}", "/data/local-files/?d=photos/{name}", "s3://bucket/photos/{name}"])
@pytest.mark.parametrize("form", ["json", "csv"])
def test_choices_of_label_studio_about_pictures(tmp_path: Path, form: str, address: str) -> None:
    (tmp_path / "photos").mkdir()
    told, rows = [], []
    for n in range(24):
        Image.fromarray(np.full((9, 9, 3), n * 9, np.uint8)).save(tmp_path / "photos" / f"{n}.png")
        place = address.format(name=f"{n}.png")
        told.append(task(n, {"image": place}, [["day"], ["night"]][n % 2]))
        rows.append({"annotation_id": n, "annotator": 1, "choice": ["day", "night"][n % 2], "created_at": "2026-01-02T03:04:05Z", "id": n,
                     "image": place, "lead_time": 2.5 + n, "updated_at": "2026-01-02T03:04:05Z"})  # fmt: skip
    path = tmp_path / f"export.{form}"
    path.write_text(json.dumps(told) if form == "json" else pd.DataFrame(rows).to_csv(index=False))
    for source in (path, tmp_path):
        table = kinds.infer(sources.read(source), {})
        assert table.column("image").to_pylist()[:2] == ["photos/0.png", "photos/1.png"]
        target = "mood" if form == "json" else "choice"
        assert chosen(table).target == (target,) and table.inputs() == ["image", target]


def test_a_table_of_label_studio(tmp_path: Path) -> None:
    """Who answered when, and for how long, is no input; several choices stand in a cell as an object."""
    frame = pd.DataFrame({"annotation_id": range(30), "annotator": [1, 2] * 15, "created_at": "2026-01-02T03:04:05.678Z", "id": range(30),
                          "lead_time": np.linspace(2, 90, 30), "sentiment": ["Positive", "Negative", "Neutral"] * 10,
                          "text": [f"{SAID[n % 6]}, {n}" for n in range(30)], "updated_at": "2026-01-02T03:04:05.678Z"})  # fmt: skip
    frame.to_csv(tmp_path / "export.csv", index=False)
    table = kinds.infer(sources.read(tmp_path / "export.csv"), {})
    assert table.inputs() == ["sentiment", "text"] and chosen(table).target == ("sentiment",)
    frame.loc[0, "sentiment"] = json.dumps({"choices": ["Positive", "Neutral"]})
    frame.to_csv(tmp_path / "export.csv", index=False)
    assert sources.read(tmp_path / "export.csv").column("sentiment").to_pylist()[:2] == ['["Positive", "Neutral"]', '["Negative"]']


XLIFF = {
    "1.2": """<?xml version="1.0" encoding="UTF-8"?><xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">
<file source-language="en" target-language="fr" datatype="plaintext" original="a.txt"><body>
<trans-unit id="1"><source>Open <g id="1">the file</g></source><target state="final">Ouvrir <g id="1">le fichier</g></target>
<alt-trans><source>Open a file</source><target>Ouvrir un fichier</target></alt-trans><note>Menu</note></trans-unit>
<trans-unit id="2"><source>Close<ph id="1">{0}</ph></source><seg-source><mrk mtype="seg" mid="0">Close</mrk></seg-source>
<target><mrk mtype="seg" mid="0">Fermer</mrk></target></trans-unit>
<trans-unit id="3"><source>Later</source></trans-unit></body></file></xliff>""",
    "2.0": """<?xml version="1.0"?><xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en" trgLang="fr">
<file id="f"><unit id="1"><segment id="s"><source>Open <pc id="1">the file</pc></source><target>Ouvrir <pc id="1">le fichier</pc></target>
</segment></unit><unit id="2"><segment><source>Close<ph id="1"/></source><target>Fermer</target></segment></unit>
<unit id="3"><segment><source>Later</source></segment></unit></file></xliff>""",
}


@pytest.mark.parametrize(("version", "ending"), [("1.2", ".xlf"), ("1.2", ".sdlxliff"), ("2.0", ".xliff")])
def test_xliff(tmp_path: Path, version: str, ending: str) -> None:
    path = tmp_path / f"messages{ending}"
    path.write_text(XLIFF[version])
    table = sources.read(path)
    pairs = list(zip(table.column("source").to_pylist(), table.column("target").to_pylist(), strict=True))
    assert pairs == [("Open the file", "Ouvrir le fichier"), ("Close", "Fermer"), ("Later", None)]
    assert chosen(table).task == "translate"
    path.write_text('<!DOCTYPE t [<!ENTITY a "ha">]><xliff><trans-unit><source>&a;</source></trans-unit></xliff>')
    with pytest.raises(DataError, match="XLIFF file may not declare entities"):
        sources.read(path)


CUES = {
    ".srt": "1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Where were</i>\r\nyou?\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\n- 7 birds.\r\n",
    ".vtt": "WEBVTT Kind: captions\n\nNOTE made by hand\n\n00:01.000 --> 00:02.500 align:start\nWhere were\nyou?\n\n"
            "b\n00:00:03.000 --> 00:00:04.000\n<c.yellow>- 7</c> birds.\n",
    ".ass": "[Script Info]\nTitle: x\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
            "Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\i1}Where were{\\i0}\\Nyou?\n"
            "Comment: 0,0:00:02.00,0:00:02.50,Default,,0,0,0,,no\nDialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,- 7 birds.\n",
    ".lrc": "[ar:Anon]\n[ti:Birds]\n[00:01.00]Where <00:01.50>were you?\n[00:03.00][01:03.00]- 7 birds.\n",
    ".sbv": "0:00:01.000,0:00:02.500\nWhere were\nyou?\n\n0:00:03.000,0:00:04.000\n- 7 birds.\n",
}  # fmt: skip


@pytest.mark.parametrize("ending", CUES)
def test_subtitles_alone_are_their_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "films").mkdir()
    for name in ("one", "two"):
        (tmp_path / "films" / f"{name}{ending}").write_bytes(CUES[ending].encode())
    assert sources.read(tmp_path / "films" / f"one{ending}").column("text").to_pylist() == ["Where were you?\n- 7 birds."]
    table = sources.read(tmp_path / "films")
    assert table.column("text").to_pylist() == ["Where were you?\n- 7 birds."] * 2 and table.column("file").to_pylist() == [
        f"{name}{ending}" for name in ("one", "two")
    ]


SPANS = {
    "prodigy": lambda text, spans: {"text": text, "_input_hash": 1, "tokens": [{"text": text[:3], "start": 0, "end": 3, "id": 0}],
                                    "spans": [{"start": a, "end": b, "token_start": 0, "label": kind} for a, b, kind in spans],
                                    "answer": "accept"},
    "spans": lambda text, spans: {"text": text, "spans": [{"start": a, "end": b, "label": kind} for a, b, kind in spans]},
    "entities": lambda text, spans: {"text": text, "entities": [list(span) for span in spans]},
    "doccano": lambda text, spans: {"id": 1, "text": text, "label": [list(span) for span in spans], "Comments": []},
}  # fmt: skip


@pytest.mark.parametrize("form", SPANS)
def test_spans_in_json_lines(tmp_path: Path, form: str) -> None:
    rows = [
        SPANS[form](f"Ada met Bob in Paris on day {n}.", [(0, 3, "PER"), (8, 11, "PER"), (15, 20, "LOC")] if n % 3 else [])
        for n in range(30)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert chosen(sources.read(tmp_path / "train.jsonl")).task == "tag"


def test_spans_as_spacy_kept_them(tmp_path: Path) -> None:
    rows = [[f"Ada met Bob in Paris on day {n}.", {"entities": [[0, 3, "PER"], [15, 20, "LOC"]]}] for n in range(30)]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    table = sources.read(tmp_path / "train.json")
    assert chosen(table).task == "tag" and table.column("text")[3].as_py() == "Ada met Bob in Paris on day 3."


def test_what_is_refused_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.ts").write_text("@problemName a\n@timeStamps true\n@classLabel true a b\n@data\n(0,1.5),(1,2.5):a\n")
    with pytest.raises(DataError, match="--join id,time"):
        sources.read(tmp_path / "a.ts")
    for source in ("https://example.org/a.csv", "-"):
        with pytest.raises(DataError, match="Save what it holds to a file"):
            sources.read(source)
    for name in ("forecast", "time-series", "timeseries_forecasting"):
        with pytest.raises(ConfigError, match=r"--target VALUE --ahead STEPS.*guide\.md"):
            task_module(name)
    assert cli.main(["evaluate", "runs/x", "a.csv", "b.csv"]) == 2
    assert "put several files into a folder" in capsys.readouterr().err
    for words in (["evaluate", "runs/x", "a.csv", "b.csv"], ["train", "--foo"], ["evaluate", "runs/x"], ["list", "nope"]):
        assert cli.main([*words, "--json"]) == 2
        assert set(json.loads(capsys.readouterr().err)) == {"error", "message"}
