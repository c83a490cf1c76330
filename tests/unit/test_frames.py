"""Data in memory as people have it: columns called by numbers, one row as a dict, a sparse matrix, (X, y) of unlike lengths."""

import collections
import os
import pickle
import re
import signal
import types
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from PIL import Image

import duomo
from duomo.core import kinds
from duomo.core.errors import ConfigError, DataError, RunError
from duomo.core.run import RunFolder
from duomo.data.sources import read
from duomo.pipeline import _claimed

LINEAR = {"train": {"epochs": 1.0}, "model": {"name": "linear"}}


def test_a_frame_whose_columns_are_called_by_numbers_and_one_row_as_a_dict(tmp_path) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)))
    frame[13] = np.where(frame[0] > 0, "yes", "no")
    run = duomo.train(frame, LINEAR, target=13, out=tmp_path / "run")
    assert run.recipe.data.target == ("13",) and run.facts["features"] == ["0", "1"]
    row = {"0": 1.5, "1": -0.25}
    assert run.predict(row) == run.predict([row]) == run.predict({name: [cell] for name, cell in row.items()})
    with pytest.raises(DataError, match="must be there; missing: 1"):
        run.predict({"0": 1.5})


def test_rows_and_target_of_unlike_lengths_are_told() -> None:
    x = np.zeros((30, 2))
    for y in (np.zeros(29), np.zeros((29, 1)), pd.Series(np.zeros(29))):
        with pytest.raises(DataError, match="30 rows and 29 values"):
            read((x, y))
    assert read((x, np.zeros((30, 1)))).names == ["x0", "x1", "y"]


def test_arrays_of_other_machines_and_of_long_or_complex_numbers() -> None:
    for kind in (">f4", ">i8", np.longdouble):
        found = read(np.arange(6).reshape(3, 2).astype(kind)).data
        assert found.to_pydict() == {"x0": [0, 2, 4], "x1": [1, 3, 5]}
    assert read(np.array([[1 + 2j], [3j]])).data.column("x0").to_pylist() == ["(1+2j)", "3j"]


def test_lists_of_lists_as_pandas_keeps_them() -> None:
    """A Parquet column of series, read by pandas, is an array of arrays in each row; rows of it read as the lists do."""
    lists = [[[1.0, 2.0], [3.0, 4.5]], [[5.0, 6.0]]]
    rows = pd.DataFrame({"s": [np.array([np.array(step) for step in cell] + [None], object)[:-1] for cell in lists]}).to_dict("records")
    assert rows[0]["s"].dtype == object and read(rows).column("s").to_pylist() == lists


def test_lists_of_numbers_beyond_64_bits() -> None:
    assert read({"a": [[1, 2**64], [3]]}).data.column("a").to_pylist() == [f"[1, {2**64}]", "[3]"]
    large = [np.array([1, 2**63], np.uint64), np.array([True, False])]
    assert read({"a": large}).data.column("a").to_pylist() == [[1.0, 2.0**63], [1.0, 0.0]]


def test_a_sparse_matrix_is_told_from_a_tuple() -> None:
    x = scipy.sparse.csr_matrix(np.eye(30))
    for source in (x, (x, np.zeros(30)), scipy.sparse.coo_array(x)):
        with pytest.raises(DataError, match=r"sparse one of shape \(30, 30\)"):
            read(source)


def test_a_target_beside_columns_of_its_names() -> None:
    x = pd.DataFrame(np.zeros((4, 4)), columns=["y", "target", "label", "outcome"])
    assert read((x, np.arange(4))).names[-1] == "y1"


def kinds_of(source) -> dict[str, str]:
    return dict(kinds.infer(read(source), {}).kinds)


def test_pictures_in_memory_are_pictures() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 9, 8, 3), np.uint8)
    drawn = [Image.fromarray(one) for one in pixels]
    sources = (
        pixels, pixels[..., 0], pixels.transpose(0, 3, 1, 2), torch.from_numpy(pixels), {"image": list(pixels)}, {"image": drawn},
        [{"image": one} for one in drawn], pd.DataFrame({"image": drawn}), pd.DataFrame({"image": list(pixels)}),
    )  # fmt: skip
    assert [kinds_of(source) for source in sources] == [{"image": "image"}] * len(sources)
    assert kinds_of((pixels, np.arange(20) % 2)) == {"image": "image", "y": "number"}
    assert kinds_of(pixels - 128.5) == kinds_of(pixels[:, :3, :3]) == {"x0": "series"}
    assert read([{"image": None}, {"image": drawn[0].convert("CMYK")}]).column("image").null_count == 1


def test_rows_and_target_in_lists_and_tensors() -> None:
    x, y = np.random.default_rng(0).normal(size=(30, 2)), [0, 1] * 15
    tensors = torch.tensor(x), torch.tensor(y)
    for source in ((x, y), [x, y], (x.tolist(), y), tensors, (pd.DataFrame(x), y), (pl.DataFrame(x), np.array(y))):
        table = read(source)
        assert len(table) == 30 and table.names[-1] == "y" and table.column("y").to_pylist() == y
    assert len(read([[1, 2], [3, 4]])) == len(read(([1, 2], [3, 4]))) == 2  # rows


def test_what_pandas_holds_of_its_own() -> None:
    numbers = pd.Series(np.arange(40.0))
    assert read(pd.DataFrame({"a": pd.cut(numbers, 4)})).column("a")[0].as_py() == "(-0.039, 9.75]"
    assert kinds_of(pd.DataFrame({"a": pd.period_range("2020-01", periods=40, freq="M")})) == {"a": "date"}
    assert read(pd.DataFrame({"a": pd.Series([2**70, 5], dtype=object)})).column("a").to_pylist() == [str(2**70), "5"]
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 1, 2]})
    assert read(frame.groupby("b").agg(["mean", "count"])).names == ["b", "a.mean", "a.count"]
    dated = frame.set_index(pd.date_range("2024-01-01", periods=3))
    assert read(dated).names == ["index", "a", "b"] and read(dated.rename_axis("day")).names == ["day", "a", "b"]
    assert read(frame.sample(frac=1, random_state=0)).names == ["a", "b"]
    rows = [{"a": 1, "b": pd.NA}, {"a": None, "b": 2}, {"a": pd.NaT, "b": 3}]
    assert read(rows).data.to_pydict() == {"a": [1, None, None], "b": [None, 2, 3]}


def test_an_index_that_pandas_wrote_to_parquet_is_called_as_in_csv(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(40.0), "b": list("uv") * 20}).sample(frac=1, random_state=0)
    frame.to_parquet(tmp_path / "a.parquet")
    assert kinds_of(tmp_path / "a.parquet") == {"a": "number", "b": "category", "index": "id"}


def test_masks_names_bytes_and_other_libraries() -> None:
    masked = np.ma.array([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    assert read(masked).data.to_pydict() == {"x0": [1, 3], "x1": [None, 4]}
    assert read(np.matrix([[1.0, 2.0]])).data.to_pydict() == {"x0": [1.0], "x1": [2.0]}
    row = collections.namedtuple("row", "age name")
    rows = [row(1, "u"), row(2, "v")]
    told = {"age": [1, 2], "name": ["u", "v"]}
    assert read(rows).data.to_pydict() == read(one._asdict() for one in rows).data.to_pydict() == told
    assert read(read(rows).data.to_reader()).data.to_pydict() == told
    assert read([{None: 1, 2: "x"}]).names == ["None", "2"]
    assert read({"a": [b"low", b"high"]}).column("a").to_pylist() == ["low", "high"]
    assert read({"a": [b"low", b"\0\1"]}).column("a").to_pylist() == [b"low", b"\0\1"]
    assert read(pl.DataFrame({"a": pl.Series([1, 2], dtype=pl.Int128)})).column("a").to_pylist() == [1, 2]
    with pytest.raises(DataError, match="must be a list of cells"):
        read({"r1": {"a": 1}})


def test_tags_of_words_have_their_names() -> None:
    tags = datasets.Sequence(datasets.ClassLabel(names=["O", "PER"]))
    features = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "tags": tags})
    found = read(datasets.Dataset.from_dict({"tokens": [["Ann", "sings"]], "tags": [[1, 0]]}, features=features))
    assert found.column("tags").to_pylist() == ['["PER", "O"]']
    with pytest.raises(DataError, match=r"list\(data.take"):
        read(datasets.Dataset.from_dict({"a": [1]}).to_iterable_dataset())


def test_answers_of_joined_rows_are_known_by_what_joined_them(tmp_path: Path) -> None:
    number = np.repeat(np.arange(40), 8)
    long = pd.DataFrame({"pid": number, "t": np.tile(np.arange(8), 40), "v": np.random.default_rng(0).normal(size=320) + number % 2})
    settings = {"train": {"steps": 2}, "model": {"name": "rnn", "size": "small"}, "data": {"join": ["pid", "t"]}}
    run = duomo.train(long.assign(y=np.where(number % 2, "odd", "even")), settings, target="y", out=tmp_path / "run")
    answers = run.predict(long[::-1])
    assert answers.index.name == "pid" and sorted(answers.index) == list(range(40))
    assert run.predict(pl.from_pandas(long))["pid"].to_list() == list(range(40))
    assert len(run.predict(pl.from_pandas(long).lazy()).collect()) == 40


def test_a_run_shows_itself_and_wrong_words_are_told(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a<b": np.arange(60.0), "y": list("uv") * 30})
    run = duomo.train(frame, LINEAR, target="y", out=tmp_path / "run")
    assert re.fullmatch(r"<duomo\.Run .*run: classify, accuracy [\d.]+ \[.*\], \d+ test rows>", repr(run))
    assert pickle.loads(pickle.dumps(run)).predict(frame[:3]).equals(run.predict(frame[:3]))  # noqa: S301
    assert "<table>" in run._repr_html_() and "scorecard.html" in run._repr_html_()
    for wrong in ({"settings": "train.epochs=1", "target": "y"}, {"target": frame.y}):
        with pytest.raises(ConfigError, match=r"Give a dict|name of a column"):
            duomo.train(frame, **wrong)
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    with pytest.raises(DataError, match=r"a link to nowhere\.csv"):
        read(tmp_path / "link.csv")
    with pytest.raises(RuntimeError) as raised:
        duomo.train(frame, {"train": {"steps": 1}}, target="y", model=torch.nn.Sequential(Numbers()), out=tmp_path / "own")
    assert "inputs: numbers (2, 1)" in raised.value.__notes__[0]


class Numbers(torch.nn.Module):
    """A module that expects another number of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(7, 2)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layer(batch["numbers"])


def test_ctrl_c_waits_until_what_is_loaded_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(name: str) -> types.ModuleType:
        os.kill(os.getpid(), signal.SIGINT)
        loaded.append(name)
        return types.ModuleType(name)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(duomo.importlib, "import_module", load)
            duomo._loaded("torch")
        assert loaded == ["torch"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_runs_that_begin_at_once_take_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = iter([False, True, False])  # it was free when it was asked first
    monkeypatch.setattr(RunFolder, "busy", lambda folder: next(seen))
    with RunFolder("runs/data").lock():
        with _claimed(pd.DataFrame({"a": [1]}), None) as folder:
            assert folder.path.name == "data-2"
        with pytest.raises(RunError, match="in use"), _claimed(pd.DataFrame({"a": [1]}), "runs/data"):
            pass
