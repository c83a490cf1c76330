"""Data in memory as people have it: columns called by numbers, one row as a dict, a sparse matrix, (X, y) of unlike lengths."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import duomo
from duomo.core.errors import DataError
from duomo.data.sources import read

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
