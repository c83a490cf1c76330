"""What whoever made the data kept together stays together: folds, slices of one recording, lesions, pieces that names count."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from duomo import plan
from duomo.core.reporter import Silent
from duomo.data import sources

RATE = 4000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path / "cache"))


def sound(path: Path, seconds: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(hash(path.name) % 2**32).normal(0, 0.1, int(seconds * RATE)), RATE)


def urban(root: Path, *, known: bool) -> Path:
    """As UrbanSound8K has it: a recording's slices in one fold, some recordings of several classes, the times of what is not there."""
    rows = []
    for number in range(40):
        for piece in range(3):
            kind = (number + (piece == 2 and number % 20 == 3)) % 3
            name, fold = f"{1000 + number}-{kind}-0-{piece}.wav", 1 + number % 10
            sound(root / "audio" / f"fold{fold}" / name)
            rows.append((name, 1000 + number, 7.5 * piece, 7.5 * piece + 0.1, 1 + piece % 2, fold, kind, ("dog", "drill", "siren")[kind]))
    names = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    table = pd.DataFrame(rows, columns=names).drop(columns=[] if known else ["fsID"])
    (root / "metadata").mkdir()
    table.to_csv(root / "metadata" / "UrbanSound8K.csv", index=False)
    return root


def test_slices_of_a_recording(tmp_path: Path) -> None:
    made = plan.make(urban(tmp_path / "known", known=True), {}, Silent())
    data = made.recipe.data
    assert (data.target, data.split, data.group) == (("class",), "group", "fsID") and {"fold", "fsID"} <= {*data.ignore}
    assert {made.train.kinds[name] for name in ("start", "end", "classID")} == {"id"}
    learned, judged = ({*part.column("fsID").to_pylist()} for part in (made.train, made.test))
    assert learned and judged and not learned & judged
    assert plan.make(urban(tmp_path / "unknown", known=False), {}, Silent()).recipe.data.group == "fold"


def test_folds_of_a_table(tmp_path: Path) -> None:
    """They are no input, and what none of them divides is kept together; folds that were drawn divide everything."""
    random = np.random.default_rng(0)
    plot = np.arange(200) // 4
    table = pd.DataFrame({"plot": plot * 37 % 1000, "wet": random.normal(size=200), "kfold": plot % 5, "yield": random.normal(size=200)})
    table.to_csv(tmp_path / "a.csv", index=False)
    data = plan.make(tmp_path / "a.csv", {"data": {"target": ["yield"]}}, Silent()).recipe.data
    assert data.group == "plot" and "kfold" in data.ignore
    table.assign(kfold=random.integers(0, 5, 200)).to_csv(tmp_path / "b.csv", index=False)
    data = plan.make(tmp_path / "b.csv", {"data": {"target": ["yield"]}}, told := Silent()).recipe.data
    assert not data.group and "kfold" in data.ignore
    assert "--kind kfold=number makes it an input" in " ".join(told.said)
    data = plan.make(tmp_path / "b.csv", {"data": {"target": ["yield"], "kind": {"kfold": "number"}}}, told := Silent()).recipe.data
    assert "kfold" not in data.ignore and "kfold" not in " ".join(told.said)


def test_pieces_that_names_count(tmp_path: Path) -> None:
    """As GTZAN has them: ten rows of features of each song; a song a row is numbered within its class, which is no thing."""
    random = np.random.default_rng(0)
    songs = [(genre, f"{genre}.{number:05}") for genre in ("blues", "disco", "jazz") for number in range(12)]
    rows = [(f"{song}.{piece}.wav", *random.normal(size=3), genre) for genre, song in songs for piece in range(10)]
    columns = ["filename", "chroma", "rms", "tempo", "label"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "features_3_sec.csv", index=False)
    data = plan.make(tmp_path / "features_3_sec.csv", {}, Silent()).recipe.data
    assert (data.target, data.group) == (("label",), "source")
    pd.DataFrame([(f"{song}.wav", *random.normal(size=3), genre) for genre, song in songs], columns=columns).to_csv(
        tmp_path / "features_30_sec.csv", index=False
    )
    assert "source" not in sources.read(tmp_path / "features_30_sec.csv").names


@pytest.mark.parametrize("who", [False, True])
def test_pictures_of_a_patient(tmp_path: Path, who: bool) -> None:
    """As CheXpert has them: the paths of the list name the patient. Who it is may be what is to be told."""
    rows = []
    for number in range(60):
        path = tmp_path / f"patient{number // 3:05}" / f"study{number % 3}" / "view1_frontal.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(path)
        rows.append((str(path.relative_to(tmp_path)), f"nr {number // 3}" if who else ("mass", "none")[number // 3 % 2]))
    pd.DataFrame(rows, columns=["Path", "label"]).to_csv(tmp_path / "train.csv", index=False)
    if who:
        assert "group" not in sources.read(tmp_path).names
        return
    made = plan.make(tmp_path, {}, Silent())
    learned, judged = ({*part.column("group").to_pylist()} for part in (made.train, made.test))
    assert made.recipe.data.group == "group" and learned and judged and not learned & judged


@pytest.mark.parametrize("place", ["Img/img{c:03}-{k:03}.png", "s{c}_{k}.png"])
def test_numbers_of_classes_in_names_cut_nothing(tmp_path: Path, place: str) -> None:
    """Chars74K, the faces of AT&T: the first number is the class itself; apart it would leave the test classes that nobody learned."""
    rows = [(place.format(c=c, k=k), f"letter {c}") for c in range(1, 31) for k in range(1, 21)]
    (tmp_path / "english.csv").write_text("image,label\n" + "\n".join(map(",".join, rows)))
    table = sources.read(tmp_path / "english.csv")
    assert table.names == ["image", "label"] and not table.problems
    for told, together in ((range(1, 31), False), ([20 + c % 28 for c in range(30)], True), ([f"{20 + c},5" for c in range(30)], True)):
        rows = [(place.format(c=c, k=k), str(told[c - 1])) for c in range(1, 31) for k in range(1, 21)]  # the number, an age
        pd.DataFrame(rows, columns=["image", "told"]).to_csv(tmp_path / "numbers.csv", index=False)
        assert ("source" in sources.read(tmp_path / "numbers.csv").names) == together


def test_pictures_of_subjects_below_a_folder_called_after_all_of_them(tmp_path: Path) -> None:
    rows = [(f"subjects/subject_{number // 6:02}/{number}.png", "ab"[number % 2]) for number in range(60)]
    for name, _ in rows:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    pd.DataFrame(rows, columns=["file", "label"]).to_csv(tmp_path / "labels.csv", index=False)
    assert {*sources.read(tmp_path).column("group").to_pylist()} == {f"subject_{number:02}" for number in range(10)}
