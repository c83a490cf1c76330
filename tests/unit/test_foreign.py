"""Files of other programs: each is refused with a line that converts it; tar archives, ORC, parts of JSON and lists of classes are read."""

import io
import json
import pickle
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.orc
import pytest
import soundfile
from PIL import Image
from scipy.io import savemat

from duomo import plan
from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.recipe import DataConfig
from duomo.data import sources
from duomo.data.formats.foreign import FOREIGN

FRAME = pd.DataFrame({"size": [1.5, 2.5, 3.5, 9.0], "town": ["Paris", "北京", "Köln", "Paris"]})
MADE = {
    "it's.dta": lambda path: FRAME.to_stata(path, version=118, write_index=False),
    "a.mat": lambda path: savemat(path, {"x": FRAME[["size"]].to_numpy(), "y": np.arange(4)[:, None] % 2}),
    "a.avro": lambda path: polars.DataFrame(FRAME.to_dict("list")).write_avro(path),
    "my frame.pkl": lambda path: FRAME.to_pickle(path),
}


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        sources.read(path)
    return str(caught.value)


@pytest.mark.parametrize("name", MADE)
def test_the_line_converts(tmp_path, name) -> None:
    MADE[name](tmp_path / name)
    code = shlex.split(refusal(tmp_path / name).partition("python -c ")[2])[0]
    before = set(tmp_path.iterdir())
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    (made,) = set(tmp_path.iterdir()) - before
    assert len(sources.read(made)) == 4


def test_nothing_is_unpickled(tmp_path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "sprung",)

    for ending in (".pkl", ".joblib", ".h5", ".mat", ".rds"):
        (tmp_path / f"a{ending}").write_bytes(pickle.dumps(Trap()))
        refusal(tmp_path / f"a{ending}")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_foreign_ending_has_its_line(tmp_path, monkeypatch, language) -> None:
    monkeypatch.setenv("DUOMO_LANG", language)
    for ending in sorted(FOREIGN):
        (tmp_path / f"a{ending}").write_bytes(b"MATLAB 7.3")
        said = refusal(tmp_path / f"a{ending}")
        assert f"a{ending}" in said and ("python -c " in said or "Rscript" in said or "7z" in said or "mdb-export" in said)
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "a.sav").write_bytes(b"$FL2")
    assert "pyreadstat" in refusal(folder)


def test_orc(tmp_path) -> None:
    pyarrow.orc.write_table(pa.Table.from_pandas(FRAME), tmp_path / "a.orc")
    assert sources.read(tmp_path / "a.orc").column("town").to_pylist() == FRAME["town"].to_list()
    (tmp_path / "b.orc").write_bytes((tmp_path / "a.orc").read_bytes()[:-9])
    assert "must be whole" in refusal(tmp_path / "b.orc")


def tarred(path: Path, members: dict[str, bytes], mode: str = "w", form: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_tar(tmp_path, form, ending) -> None:
    packing = "w" if ending == ".tar" else "w:gz" if "gz" in ending else f"w:{ending[5:]}"
    deep = "x" * 60 + "/" + "y" * 60
    texts = {f"./moods/{mood}/{deep}{place}.txt": f"{mood} 第 {place}".encode() for mood in ("glad", "sad") for place in range(3)}
    table = sources.read(tarred(tmp_path / f"moods{ending}", texts, packing, form), cache=tmp_path / "cache")
    assert len(table) == 6 and set(table.column("label").to_pylist()) == {"glad", "sad"} and table.name == "moods"
    assert "glad 第 1" in table.column("text").to_pylist()


def test_hostile_tar(tmp_path) -> None:
    for name in ("../out.csv", "/out.csv", "a/../../out.csv"):
        assert "leads outside" in refusal(tarred(tmp_path / "a.tar", {name: b"a,b\n1,2\n"}))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "l.tar", "w") as archive:
            link = tarfile.TarInfo("link")
            link.type, link.linkname = kind, "/etc/passwd"
            archive.addfile(link)
        assert "link or a device" in refusal(tmp_path / "l.tar")
    assert "two members" in refusal(tarred(tmp_path / "t.tar", {"a": b"1", "a/b": b"2"}))
    whole = tarred(tmp_path / "w.tar", {"a.csv": b"a,b\n" * 500}).read_bytes()
    (tmp_path / "w.tar").write_bytes(whole[:1500])
    assert "cut off" in refusal(tmp_path / "w.tar")
    (tmp_path / "w.tar").write_bytes(b"A" + whole[1:])
    assert "damaged" in refusal(tmp_path / "w.tar")
    assert not (tmp_path.parent / "out.csv").exists()


def test_a_graph_in_json_has_parts(tmp_path) -> None:
    path = tmp_path / "graph.json"
    nodes, links = [{"id": place, "group": place % 3} for place in range(9)], [{"source": 0, "target": 1}] * 12
    path.write_text(json.dumps({"nodes": nodes, "links": links}))
    assert "nodes (9), links (12)" in refusal(path) and "graph.json::NAME" in refusal(path)
    assert len(sources.read(f"{path}::links")) == 12 and list(sources.read(f"{path}::nodes").names) == ["id", "group"]
    with pytest.raises(DataError, match="Did you mean 'links'"):
        sources.read(f"{path}::link")


@pytest.mark.parametrize(("ending", "divided"), [(".txt", " "), (".csv", ","), (".txt", "\t")])
@pytest.mark.parametrize("media", ["png", "wav"])
def test_a_flat_folder_with_a_list_of_classes(tmp_path, media, ending, divided) -> None:
    said = {f"clip{place:02}.{media}": ("dog", "cat", "牛")[place % 3] for place in range(30)}
    for name in said:
        if media == "png":
            Image.new("RGB", (8, 8)).save(tmp_path / name)
        else:
            soundfile.write(tmp_path / name, np.zeros(800), 8000)
    (tmp_path / f"list{ending}").write_text("".join(f"{name}{divided}{label}\n" for name, label in said.items()), encoding="utf-8")
    table = kinds.infer(sources.read(tmp_path), {})
    assert table.column("label").to_pylist() == [*said.values()] and table.kinds["label"] == "category"
    assert plan.choose(table, DataConfig())[0].task == "classify"


def test_what_is_said_only_once_is_no_class(tmp_path) -> None:
    for place in range(12):
        soundfile.write(tmp_path / f"clip{place}.wav", np.zeros(800), 8000)
    (tmp_path / "list.txt").write_text("".join(f"clip{place}.wav word{place}\n" for place in range(12)))
    assert "text" in sources.read(tmp_path).names
