"""`duomo explore`: groups, doubles and odd ones of real pictures, by features of weights or of a run."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from duomo import cli
from duomo.core.contract import Field, Head
from duomo.exploring import grouped
from duomo.models import mobilenet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    digits = load_digits()
    for label in (0, 1):
        (tmp_path / "photos" / f"<i>{label}").mkdir(parents=True)
        for number, picture in enumerate(digits.images[digits.target == label][:20]):
            image = Image.fromarray((picture * 15).astype(np.uint8)).resize((40, 40)).convert("RGB")
            image.save(tmp_path / "photos" / f"<i>{label}" / f"{number}.png")
    double = Image.open(tmp_path / "photos" / "<i>0" / "3.png")
    double.save(tmp_path / "photos" / "<i>0" / "again.png")
    (tmp_path / "photos" / "<i>1" / "broken.png").write_bytes(b"\x89PNG nothing")
    torch.manual_seed(0)
    model = mobilenet.Model(mobilenet.Config(stem="large"), {"x": Field("pixels", (3, 224, 224))}, Head(5))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "mobilenet.safetensors")
    return tmp_path


def test_a_page_and_its_figures(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    command = ["explore", "photos", "--from", "mobilenet.safetensors", "--picture-size", "32"]
    assert cli.main(command) == 0
    told = json.loads(Path("photos.explore.json").read_text(encoding="utf-8"))
    assert len(told["rows"]) == 41 and told["features"] == 1280 and "broken.png" in capsys.readouterr().err
    files = [row["file"] for row in told["rows"]]
    doubles = [{Path(files[row]).name for row in pair["rows"]} for pair in told["near_duplicates"]]
    assert {"3.png", "again.png"} in doubles and told["near_duplicates"][0]["similarity"] > 0.999
    page = Path("photos.explore.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<i>0" not in page and page.count("data:image/") > 41
    assert sum(group["count"] for group in told["groups"]) == 41 and 0 <= told["mutual_information"] <= 1
    assert cli.main(["explore", "photos", "--from", "nothing.pth"]) == 2
    monkeypatch.setenv("DUOMO_DEVICE", "")  # as it was again behind this
    assert cli.main([*command, "--device", "tpu"]) == 2 and "cpu, cuda or cuda:N" in capsys.readouterr().err


def test_pictures_are_explored_without_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    assert cli.main(["explore", "photos"]) == 0 and "as a glance at edges and colours sees them" in capsys.readouterr().err
    told = json.loads(Path("photos.explore.json").read_text(encoding="utf-8"))
    pair = told["near_duplicates"][0]
    assert {Path(told["rows"][row]["file"]).name for row in pair["rows"]} == {"3.png", "again.png"} and pair["similarity"] > 0.999
    assert told["mutual_information"] > 0.4  # zeros and ones


def test_doubles_alone_are_one_group_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = grouped(np.repeat(np.eye(2, 5, dtype=np.float32), (5, 1), axis=0))
        alone = grouped(np.ones((6, 5), np.float32))
    assert sorted(found.group_N.tolist()) in ([0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1])
    assert set(alone.group_N.tolist()) == {0} and alone.silhouette == 0 and len(alone.pairs) == 15


def test_groups_that_are_there_are_found() -> None:
    random = np.random.default_rng(0)
    middles = np.eye(16)[:3]
    features = np.concatenate([middle + 0.05 * random.normal(size=(30, 16)) for middle in middles]).astype(np.float32)
    features[17] = -1
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = grouped(features)
    assert found.silhouette > 0.6 and found.strange_N.argmax() == 17
    assert all(len(set(np.delete(found.group_N, 17)[start : start + 29])) == 1 for start in (0, 29, 59))
