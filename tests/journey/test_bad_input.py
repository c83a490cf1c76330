"""Every kind of bad input: one clear sentence, a documented exit code, nothing lost."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from duomo import cli
from duomo.core.files import write_atomically

TINY = ("--set", "train.steps=4", "--model", "mlp", "--size", "small", "--exact")
Rows = list[list[str]]
Clinic = tuple[list[str], Rows]
Command = Callable[..., Any]
Write = Callable[[Path, list[str], Rows], Path]


def replaced(clinic: Clinic, column: str, cell: str, every: int = 1) -> Rows:
    place = clinic[0].index(column)
    return [[*row[:place], cell, *row[place + 1 :]] if number % every == 0 else row for number, row in enumerate(clinic[1])]


def test_sources_that_hold_nothing(command: Command, table: Path) -> None:
    Path("empty.csv").write_text("")
    Path("nothing").mkdir()
    Path("odd").mkdir()
    Path("odd/a.bin").write_bytes(b"x")
    cases = {"clnic.csv": "Did you mean 'clinic.csv'", "empty.csv": "is empty", "nothing": "is empty", "odd": "other kinds"}
    for name, words in cases.items():
        for verb in ("train", "inspect"):
            said = command(verb, name)
            assert (said.code, words in said.err) == (3, True), said
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("words", "code", "answer"),
    [
        (("train", "clinic.csv", "--target", "diagnosi"), 3, "Did you mean 'diagnosis'"),
        (("train", "clinic.csv", "--taget", "x"), 2, "Did you mean '--target'"),
        (("train", "clinic.csv", "--lang", "zh"), 2, "Did you mean '--languages'"),
        (("trian", "clinic.csv"), 2, "Did you mean 'train'"),
        (("list", "modles"), 2, "Did you mean 'models'"),
        (("sample", "clinc"), 3, "Did you mean 'clinic'"),
        (("train", "clinic.csv", "--task", "clasify"), 2, "Did you mean 'classify'"),
        (("train", "clinic.csv", "--model", "mpl"), 2, "Did you mean 'mlp'"),
        (("train", "clinic.csv", "--model", "mlp", "--size", "smal"), 2, "Did you mean 'small'"),
        (("train", "clinic.csv", "--set", "train.epoch=3"), 2, "Did you mean 'epochs'"),
        (("train", "clinic.csv", "--set", "trian.epochs=3"), 2, "Did you mean 'train'"),
        (("train", "clinic.csv", "--set", "train.epochs"), 2, "name=value"),
        (("train", "clinic.csv", "--set", "task.class_weights=balancd"), 2, "Did you mean 'balanced'"),
        (("train", "clinic.csv", "--optimizer", "adamm"), 2, "Did you mean 'adam"),
        (("train", "clinic.csv", "--batch-size", "-3"), 2, "at least 0; received '-3'"),
        (("train", "clinic.csv", "--test-share", "1.5"), 2, "from 0 to 1"),
        (("train", "clinic.csv", "--set", "train.steps=inf"), 2, "at least 0; received inf"),
        (("train", "clinic.csv", "--epochs", "inf"), 2, "at least 0; received 'inf'"),
        (("train", "clinic.csv", "--device", "cdua"), 2, "'cdua'"),
        (("train", "clinic.csv", "--kind", "diagnosis=texxt"), 2, "Did you mean 'text'"),
        (("train", "clinic.csv", "--kind", "diagnosi=text"), 2, "Did you mean 'diagnosis'"),
        (("train", "clinic.csv", "--group", "diagnosi"), 3, "Did you mean 'diagnosis'"),
        (("train", "clinic.csv", "--time", "diagnosis"), 3, "dates"),
        (("train", "clinic.csv", "--test", "tset.csv"), 3, "no file or folder 'tset.csv'"),
        (("train", "clinic.csv", "--model", "cnn"), 2, "Models that fit"),
        (("train", "clinic.csv", "--out", "clinic.csv"), 2, "folder that can be written"),
        (("show", "runs/nothing"), 4, "has none"),
        (("predict", "runs/nothing", "clinic.csv"), 4, "has none"),
        (("train",), 2, "needs data"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else "",
)
def test_mistakes_in_words(command: Command, table: Path, words: tuple[str, ...], code: int, answer: str) -> None:
    said = command(*words)
    assert said.code == code, said
    assert answer in said.err
    assert "Traceback" not in said.err
    assert not list(Path().glob("runs/*/run.json"))


def test_all_mistakes_of_a_recipe_are_told_at_once(command: Command, table: Path) -> None:
    Path("recipe.toml").write_text('[train]\nepoch = 3\nbatch_size = "many"\noptimizer = "adm"\n[modell]\nname = "mlp"\n')
    said = command("train", "clinic.csv", "--recipe", "recipe.toml")
    assert said.code == 2
    for words in ("'train.epoch'", "train.batch_size must be", "train.optimizer must be", "'modell'"):
        assert words in said.err
    recipe = '[data]\ntask = "clasify"\n[model]\nname = "fusoin"\n[train]\nepochs = "many"\nlerning_rate = 3\n'
    Path("recipe.toml").write_text(recipe)
    said = command("train", "clinic.csv", "--recipe", "recipe.toml")
    assert said.code == 2 and "'train.lerning_rate'" in said.err and "train.epochs must be" in said.err
    assert "Did you mean 'fusion'?" in said.err and "Did you mean 'classify'?" in said.err
    Path("recipe.toml").write_text('[data]\ntask = "classify"\n[task]\nmetrc = "auc"\n[model]\nname = "mlp"\noptions = { widht = 3 }\n')
    said = command("train", "clinic.csv", "--recipe", "recipe.toml")
    assert said.code == 2 and "'task.metrc'" in said.err and "'model.options.widht'" in said.err
    Path("recipe.toml").write_text("[train\n")
    said = command("train", "clinic.csv", "--recipe", "recipe.toml")
    assert (said.code, "line 1" in said.err) == (2, True)


def test_targets_that_cannot_be_learned(command: Command, tmp_path: Path, clinic: Clinic, write: Write) -> None:
    write(tmp_path / "one.csv", clinic[0], replaced(clinic, "diagnosis", "benign"))
    said = command("train", "one.csv", "--target", "diagnosis")
    assert (said.code, "at least two classes" in said.err) == (3, True)
    write(tmp_path / "none.csv", clinic[0], replaced(clinic, "diagnosis", ""))
    said = command("train", "none.csv", "--target", "diagnosis")
    assert (said.code, "empty in all rows" in said.err) == (3, True)
    write(tmp_path / "two.csv", clinic[0], clinic[1][:2])
    said = command("train", "two.csv", "--target", "diagnosis")
    assert (said.code, "at least 5 rows" in said.err) == (3, True)
    assert not list(tmp_path.glob("runs/*"))


def test_a_table_with_gaps_is_learned_from(command: Command, tmp_path: Path, clinic: Clinic, write: Write) -> None:
    """Missing targets, a column without a value: what is left out is said, the rest goes on."""
    head, rows = clinic
    gaps = [[*row, "NA"] for row in replaced(clinic, "diagnosis", "nan", every=9)]
    write(tmp_path / "gaps.csv", [*head, "void"], gaps)
    said = command("train", "gaps.csv", "--target", "diagnosis", *TINY)
    assert said.code == 0, said.err
    assert "12 of 100 rows have no 'diagnosis'" in said.err
    assert "left out: void" in said.err
    assert command("predict", "runs/gaps", write(tmp_path / "new.csv", head, rows[:2])).code == 0


def test_a_flag_with_several_values_may_be_said_several_times(command: Command, table: Path, clinic: Clinic) -> None:
    one, other, left = [name for name in clinic[0] if name != "diagnosis"][:3]
    several = command("inspect", "clinic.csv", "--json", "--task", "regress", "--target", one, "--target", other, "--ignore", left)
    assert json.loads(several.out)["proposal"]["target"] == [one, other]
    commas = command("inspect", "clinic.csv", "--json", "--task", "regress", "--target", f"{one},{other}", "--ignore", left)
    assert json.loads(commas.out)["proposal"] == json.loads(several.out)["proposal"]


def test_ten_rows(command: Command, tmp_path: Path, clinic: Clinic, write: Write) -> None:
    head, rows = clinic
    place = head.index("diagnosis")
    ten = [row for row in rows if row[place] == "benign"][:5] + [row for row in rows if row[place] == "malignant"][:5]
    write(tmp_path / "ten.csv", head, ten)
    said = command("train", "ten.csv", "--target", "diagnosis", *TINY)
    assert said.code == 0, said.err
    assert "rows: read every figure through its interval" in said.err


def test_text_shorter_than_the_context(command: Command) -> None:
    Path("short.txt").write_text("To be or not to be.\n")
    said = command("train", "short.txt")
    assert (said.code, "longer text" in said.err) == (3, True)


def test_encodings(command: Command) -> None:
    lines = [f"{'很好的书，我喜欢' if n % 2 else '太差了，浪费钱'}{n},{'正' if n % 2 else '负'}" for n in range(60)]
    text = "text,label\n" + "\n".join(lines) + "\n"
    Path("gbk.csv").write_bytes(text.encode("gb18030"))
    said = command("train", "gbk.csv", "--encoding", "utf-8")
    assert (said.code, "are not utf-8: lines 2, 3" in said.err) == (3, True)
    said = command("train", "gbk.csv", "--encoding", "utf-9")
    assert (said.code, "Did you mean 'utf-8'" in said.err) == (3, True)
    said = command("inspect", "gbk.csv", "-o", "page.html")
    assert (said.code, "gb18030" in said.err) == (0, True)
    assert "很好的书" in Path("page.html").read_text(encoding="utf-8") or said.out == ""


def pictures(source: Path, folder: Path) -> list[Path]:
    """Thirty digits of two classes; the third of each is truncated, empty or no picture."""
    for label in "01":
        (folder / label).mkdir(parents=True)
        for file in sorted((source / label).iterdir())[:15]:
            shutil.copy(file, folder / label)
    files = sorted(folder.rglob("*.png"))
    files[2].write_bytes(files[2].read_bytes()[:60])
    files[16].write_bytes(b"")
    files[20].write_bytes(b"no picture")
    return files


def test_broken_pictures_are_named_and_left_out(command: Command, runs) -> None:
    files = pictures(runs.source("digits"), Path("photos"))
    said = command("train", "photos", "--set", "train.steps=3", "--exact")
    assert said.code == 0, said.err
    assert "3 of 30 rows" in said.err
    for file in (files[2], files[16], files[20]):
        assert f"{file.relative_to('photos').as_posix()}: " in said.err
    problems = json.loads(Path("runs/photos/scorecard.json").read_text())
    assert files[2].name in json.dumps(problems)
    said = command("predict", "runs/photos", "photos", "-o", "out.csv")
    assert said.code == 0
    lines = Path("out.csv").read_text().splitlines()
    assert len(lines) == 31
    assert [line.endswith(",,") for line in lines[1:]].count(True) == 3
    assert command("evaluate", "runs/photos", "photos").code == 0
    assert len(command("predict", "runs/photos", files[0]).out.splitlines()) == 2
    assert command("predict", "runs/photos", files[2]).code == 3
    assert command("train", files[0]).code == 3


def test_unreadable_sounds_are_named_and_left_out(command: Command, runs) -> None:
    source = runs.source("words")
    lines = (source / "metadata.csv").read_text(encoding="utf-8").splitlines()[:25]
    files = sorted(source.glob("*.ogg"))
    names = [next(file.name for file in files if file.name in line) for line in lines[1:]]
    Path("clips").mkdir()
    for name in names:
        shutil.copy(source / name, "clips")
    Path("clips/metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("clips", names[1]).write_bytes(b"junk")
    Path("clips", names[3]).unlink()
    said = command("train", "clips", "--task", "transcribe", "--set", "train.steps=2", "--set", "train.batch_size=4", "--exact")
    assert said.code == 0, said.err
    assert "1 file that the metadata names is missing" in said.err
    assert f"{names[1]}: " in said.err


def test_files_to_predict(command: Command, runs, clinic: Clinic, tmp_path: Path, write: Write) -> None:
    run, (head, rows) = runs("clinic").path, clinic
    place = head.index("diagnosis")
    bare = [[cell for number, cell in enumerate(row) if number != place] for row in rows[:3]]
    names = [name for name in head if name != "diagnosis"]
    straight = command("predict", run, write(tmp_path / "straight.csv", names, bare)).out.splitlines()
    back = write(tmp_path / "back.csv", [*names[::-1], "extra"], [[*row[::-1], "x"] for row in bare])
    turned = command("predict", run, back).out.splitlines()
    Path("answered.csv").write_text(
        "".join(f"{line}{end}\n" for line, end in zip(straight, (",prediction_2", *[",kept"] * 3), strict=True))
    )
    head_again, *again = command("predict", run, "answered.csv").out.splitlines()  # what stands there is not written over
    assert head_again.split(",")[-3:] == ["prediction_2", "prediction_3", "confidence_2"] and all(",kept," in line for line in again)
    assert [line.split(",")[-2:] for line in turned] == [line.split(",")[-2:] for line in straight]
    said = command("predict", run, write(tmp_path / "less.csv", names[2:], [row[2:] for row in bare]))
    assert (said.code, f"missing: {names[0]}, {names[1]}" in said.err) == (3, True)
    said = command("predict", run, write(tmp_path / "odd.csv", names, [bare[0], ["never seen"] * len(names)]))
    assert (said.code, f"1 cell of '{names[0]}' is no number" in said.err, "'never seen' in row 2" in said.err) == (0, True, True)
    said = command("predict", run, write(tmp_path / "none.csv", names, []))
    assert (said.code, "none below its header" in said.err) == (3, True)
    said = command("evaluate", run, tmp_path / "straight.csv")
    assert (said.code, "no column 'diagnosis'" in said.err) == (3, True)
    said = command("evaluate", run, write(tmp_path / "third.csv", head, [*rows[:3], [*rows[3][:place], "unknown", *rows[3][place + 1 :]]]))
    assert (said.code, "1 of 4 rows has a class that was not learned, such as 'unknown'" in said.err) == (0, True), said
    for row, words in (("{", "JSON object"), ("[3]", "JSON object"), ("{}", "rows and columns"), ('{"mean_radius": 3}', "missing")):
        said = command("predict", run, "--row", row)
        assert (said.code, words in said.err) == (3, True), said
    assert command("predict", run).code == 2
    assert command("predict", run, back, "--text", "x").code == 2
    assert command("predict", run, "--text", "x").code == 2
    for out, words in (("x.xlsx", ".csv, .jsonl, .parquet"), (".", "written as")):
        said = command("predict", run, back, "-o", out)
        assert (said.code, words in said.err) == (2, True), said
    whole = back.read_bytes()
    said = command("predict", run, back, "-o", "./back.csv")
    assert (said.code, "a file of their own" in said.err, back.read_bytes() == whole) == (2, True, True)
    Path("folder.csv").mkdir()
    assert command("predict", run, back, "-o", "folder.csv").code == 2
    assert command("predict", run, back, "-o", "made/x.csv").code == 0 and Path("made/x.csv").is_file()
    said = command("predict", run, back, "-o", "straight.csv/x.csv")
    assert (said.code, "straight.csv is not" in said.err) == (5, True), said
    assert not list(tmp_path.glob(".*.part"))


def test_closed_streams(runs, clinic: Clinic, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """`>&-` leaves a process without stdout: what is asked for is done all the same."""
    new = write(tmp_path / "new.csv", *clinic)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert cli.main(["predict", str(runs("clinic").path), str(new)]) == 0
    assert cli.main(["predict", str(tmp_path), str(new)]) == 4


def test_a_flipped_byte_is_refused(command: Command, runs, clinic: Clinic, tmp_path: Path, write: Write) -> None:
    shutil.copytree(runs("clinic").path, "run")
    new = write(tmp_path / "new.csv", *clinic)
    for name in ("model.safetensors", "task.json", "run.json", "recipe.toml", "scorecard.json", "golden.json", "manifest.json"):
        path = Path("run", name)
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        path.write_bytes(bytes(flipped))
        said = command("predict", "run", new)
        assert said.code == 4, (name, said)
        assert command("show", "run").code == 4
        path.write_bytes(whole)
    for text in ("", "[]", "{", '{"sha256": {}}'):
        whole_manifest = Path("run/manifest.json").read_text()
        Path("run/manifest.json").write_text(text)
        assert command("predict", "run", new).code == 4, text
        Path("run/manifest.json").write_text(whole_manifest)
    Path("run/task.json").unlink()
    assert command("predict", "run", new).code == 4
    assert command("list", "runs", "--folder", ".").code == 0


def test_out_is_a_folder_of_its_own(command: Command, table: Path) -> None:
    assert command("train", "clinic.csv", "--out", "mine", *TINY).code == 0
    before = sorted(path.stat().st_mtime_ns for path in Path("mine").rglob("*"))
    said = command("train", "clinic.csv", "--out", "mine", *TINY)
    assert (said.code, "resume mine" in said.err) == (2, True)
    assert sorted(path.stat().st_mtime_ns for path in Path("mine").rglob("*")) == before
    Path("letters").mkdir()
    Path("letters/precious.txt").write_text("dear")
    said = command("train", "clinic.csv", "--out", "letters", *TINY)
    assert (said.code, "precious.txt" in said.err) == (2, True)
    assert os.listdir("letters") == ["precious.txt"]


def test_a_test_that_was_learned_from_is_warned_of(command: Command, table: Path, clinic: Clinic, tmp_path: Path, write: Write) -> None:
    write(tmp_path / "test.csv", clinic[0], clinic[1][:20])
    said = command("train", "clinic.csv", "--test", "test.csv", *TINY)
    assert (said.code, "Warning: 20 of the 20 test rows" in said.err) == (0, True), said.err


def test_argparse_speaks_chinese_too(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "zh")
    wrong = command("trian", "x.csv")
    assert wrong.code == 2 and "无效的选择" in wrong.err and "是不是想写 'train'" in wrong.err and "invalid" not in wrong.err
    flag = command("train", "x.csv", "--modle", "cnn")
    assert flag.code == 2 and "无法识别的参数：--modle" in flag.err and "'--model'" in flag.err
    helped = command("train", "--help").out
    assert "显示此帮助并退出" in helped and "show this help" not in helped and "usage:" not in helped


@pytest.mark.parametrize(
    ("words", "code", "answer"),
    [
        (("train", "clinic.csv", "--targt", "x"), 2, "Try `duomo train --help`"),
        (("train", "clinic.csv", "more.csv"), 2, "Try `duomo train --help`"),
        (("train", "clinic.csv", "--set", "epochs=3"), 2, "Did you mean 'train.epochs'?"),
        (("train", "clinic.csv", "--kind", "age"), 2, "Example: age=number"),
        (("train", "clinic.csv", "--source", "mean_area"), 2, "--source is for translate"),
        (("train", "clinic.csv", "--out", ""), 2, "; . holds other files"),
        (("train", "bytes.csv"), 3, "must hold text"),
        (("train", "letter.docx"), 3, "letter.docx is not: File is not a zip file. Save it again"),
        (("train", "letter.pages"), 3, "received letter.pages. Rename"),
        (("train", "mine"), 3, "duomo resume mine"),
        (("inspect",), 2, "duomo inspect reviews.csv"),
        (("inspect", "clinic.csv", "-o", "mine"), 5, "mine is not: Is a directory"),
        (("serve", "mine", "--port", "x"), 2, "invalid int value: 'x'. Try"),
        (("list", "runs", "--folder", "nowhere"), 0, "no runs in nowhere"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else "",
)
def test_what_newcomers_mistake(command: Command, table: Path, words: tuple[str, ...], code: int, answer: str) -> None:
    Path("bytes.csv").write_bytes(bytes(range(256)) * 9)
    for name in ("letter.docx", "letter.pages"):
        Path(name).write_bytes(b"PK\x03\x04")
    Path("mine").mkdir()
    for name in ("run.json", "recipe.toml"):
        Path("mine", name).write_text("{}")
    said = command(*words)
    assert (said.code, answer in said.err) == (code, True), said


def test_who_may_read_is_for_the_umask_to_say(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "a", b"x")
        os.umask(0o022)
        write_atomically(tmp_path / "b", b"x")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "b")] == [0o600, 0o644]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as raised:
        write_atomically(tmp_path / "folder", b"x")
    assert raised.value.filename == str(tmp_path / "folder") and sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "folder"]


def test_a_sample_elsewhere_is_named_where_it_lies(command: Command) -> None:
    assert "Next: duomo train 'my data/clinic.csv' --target" in command("sample", "clinic", "--out", "my data").out


def test_what_the_machine_says_is_chinese_too(command: Command, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOMO_LANG", "zh")
    assert "已经存在" in command("train", "clinic.csv", "--out", "clinic.csv").err
    shown = command("inspect", "clinic.csv").err
    assert "任务：" in shown and "。 " not in shown, shown


@pytest.mark.parametrize("module", ["argparse", "duomo.core.parser"])
def test_ctrl_c_before_anything_has_begun(module: str) -> None:
    """While the program still loads: no traceback, the exit code of an interrupted command."""
    code = f"""
import signal, sys
class Pressed:
    def find_spec(self, name, *_):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Pressed())
sys.argv = ["duomo", "list", "tasks"]
from duomo import _command
sys.exit(_command())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
