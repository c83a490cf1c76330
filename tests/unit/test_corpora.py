"""Well-known corpora in the forms in which they are handed on."""

import gzip
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import soundfile
from PIL import Image

from duomo.core import kinds
from duomo.core.errors import ConfigError, DataError
from duomo.core.recipe import DataConfig
from duomo.core.table import Table
from duomo.data import audit, longform, sources
from duomo.plan import choose
from duomo.tasks.tag.task import Config, Main


def put(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, held in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(held if isinstance(held, bytes) else held.encode())
    return root


def plan(table: Table) -> tuple[str, tuple[str, ...], str]:
    known = kinds.infer(table, {})
    data = choose(known, DataConfig())[0]
    return data.task, data.target, audit.propose(known, data.target[0] if data.target else "")[0].how


def spoken(root: Path, said: Mapping[str, str]) -> Table:
    for name, text in said.items():
        put(root, {f"{name}.txt": text + "\n"})
        soundfile.write(root / f"{name}.wav", np.zeros(800), 8000)
    return sources.read(root)


SAID = ["please call stella", "ask her to bring these", "things with her", "from the store"]


def test_speakers_of_vctk_and_folders_that_are_no_speakers(tmp_path: Path) -> None:
    table = spoken(tmp_path / "vctk", {f"p{n}/p{n}_{place}": text for n in range(5) for place, text in enumerate(SAID)})
    assert table.column("speaker").to_pylist() == [f"p{n}" for n in range(5) for _ in SAID] and plan(table) == (
        "transcribe",
        ("text",),
        "group",
    )
    words = {f"{word}/{n}": word for word in ("yes", "no", "up", "down", "stop") for n in range(5)}
    table = spoken(tmp_path / "commands", words)
    assert "speaker" not in table.names and plan(table)[:2] == ("classify", ("label",))
    tongues = {f"{name}/{place}": f"{name} {text}" for name, text in (("en", "the and of"), ("de", "der und von"), ("fr", "le et de"),
               ("es", "el y la"), ("it", "il con del")) for place in range(4)}  # fmt: skip
    assert "speaker" not in spoken(tmp_path / "tongues", tongues).names


def test_parts_of_librispeech(tmp_path: Path) -> None:
    """Seven outer folders are parts of the data, not speakers."""
    parts = ("train-clean-100", "train-clean-360", "dev-clean", "dev-other", "test-clean", "test-other", "train-other-500")
    for number, part in enumerate(parts):
        for speaker in (f"{number}1", f"{number}2"):
            for place in range(2):
                put(tmp_path, {f"{part}/{speaker}/7/7.trans.txt": "".join(f"{speaker}-7-{n} {SAID[n]}\n" for n in range(2))})
                soundfile.write(tmp_path / part / speaker / "7" / f"{speaker}-7-{place}.flac", np.zeros(800), 8000)
    table = sources.read(tmp_path)
    assert table.column("speaker")[0].as_py() == "21" and plan(table) == ("transcribe", ("text",), "folders")


def test_texts_with_tags_line_by_line(tmp_path: Path) -> None:
    """ATIS, as its folders have it; two files of Chinese characters; `sentence ||| tags`."""
    lines = [(f"fly from boston{n} to denver{n} please", f"O O B-from O B-to{' O'}", "flight" if n % 3 else "fare") for n in range(40)]
    names, parts = ("seq.in", "seq.out", "label"), {"train": slice(24), "dev": slice(24, 32), "test": slice(32, 40)}
    files = {
        f"{part}/{name}": "\n".join(line[place] for line in lines[rows]) + "\n"
        for part, rows in parts.items()
        for place, name in enumerate(names)
    }
    table = sources.read(put(tmp_path / "atis", files | {"intent_label.txt": "flight\nfare\n"}))
    assert table.names == ["tokens", "tags", "label", "split"] and plan(table) == ("tag", ("tags",), "folders") and len(table) == 40
    chars = [("李 红 在 北 京 " + str(n), "B-PER I-PER O B-LOC I-LOC O") for n in range(30)]
    files = {"source.txt": "\n".join(one for one, _ in chars), "target.txt": "\n".join(two for _, two in chars)}
    assert plan(sources.read(put(tmp_path / "zh", files)))[:2] == ("tag", ("tags",))
    put(tmp_path, {"bars.txt": "".join(f"{text} ||| {tags}\n" for text, tags, _ in lines)})
    assert plan(sources.read(tmp_path / "bars.txt"))[:2] == ("tag", ("tags",))
    put(tmp_path, {"pairs.txt": "".join(f"the word {n} is new ||| das Wort {n} ist neu\n" for n in range(40))})
    assert sources.read(tmp_path / "pairs.txt").names == ["source", "target"]


def test_trees(tmp_path: Path) -> None:
    trees = "".join(f"({n % 5} (2 It) ({n % 5} (2 's) ({n % 5} (2 -LRB-) (3 good{n}))))\n" for n in range(30))
    table = sources.read(put(tmp_path / "sst", {"train.txt": trees, "dev.txt": trees, "test.txt": trees}))
    assert table.column("text")[0].as_py() == "It 's ( good0" and plan(table) == ("classify", ("label",), "folders") and len(table) == 90
    bank = "".join(f"( (S (NP-SBJ (PRP He) (-NONE- *))\n     (VP (VBZ sleeps{n}))\n     (. .)))\n" for n in range(30))
    table = sources.read(put(tmp_path, {"wsj.txt": bank}) / "wsj.txt")
    assert table.data.slice(1, 1).to_pylist() == [{"tokens": '["He", "sleeps1", "."]', "tags": '["PRP", "VBZ", "."]'}] and len(table) == 30
    lisp = "".join(f"(defun f{n} (x y) (+ x y))\n" for n in range(30))
    assert sources.read(put(tmp_path, {"lisp.txt": lisp}) / "lisp.txt").names == ["text", "part"]


@pytest.mark.parametrize("form", ["<per>{}</per>", '<ENAMEX TYPE="per">{}</ENAMEX>', "{{{{per:{}}}}}", "[{}](per)", "[@{}#per*]"])
def test_entities_within_texts(tmp_path: Path, form: str) -> None:
    lines = [f"Then {form.format(f'Li {n}')} went." if n % 2 else f"{n} is < {n + 1}." for n in range(60)]
    table = sources.read(put(tmp_path, {"a.txt": "\n".join(lines)}) / "a.txt")
    assert table.data.slice(1, 1).to_pylist() == [{"text": "Then Li 1 went.", "entities": '[[5, 9, "per"]]'}] and plan(table)[0] == "tag"


@pytest.mark.parametrize(
    "line", ["See <b>this</b> and that.", "<title>All of it {n}</title>", "Go to [the page](http://a.b/c) {n}.", "if (a[i](x)) {{b}}"]
)
def test_marks_that_are_no_entities(tmp_path: Path, line: str) -> None:
    table = sources.read(put(tmp_path, {"a.txt": "\n".join(line.replace("{n}", str(n)) for n in range(60))}) / "a.txt")
    assert table.names == ["text", "part"]


def test_places_behind_titles_and_abstracts(tmp_path: Path) -> None:
    lines = "{n}|t|Aspirin {n}.\n{n}|a|It helps against headache.\n{n}\t0\t7\tAspirin\tChemical\tD1\n{n}\t{a}\t{b}\theadache\tDisease\tD2\n"
    lines += "{n}\t0\t3\tWrong\tDisease\t-1\n{n}\tCID\tD1\tD2\n\n"
    for name in ("a.txt", "b.PubTator"):
        (tmp_path / name).write_text(
            "".join(lines.format(n=n, a=27 + len(str(n)), b=35 + len(str(n))) for n in range(1, 40)) + "99\t0\t7\tAspirin\tChemical\tD1\n",
            "utf-8",
        )
        table = kinds.infer(sources.read(tmp_path / name), {})
        assert table.column("text")[9].as_py() == "Aspirin 10. It helps against headache." and len(table) == 39
        assert json.loads(table.column("entities")[9].as_py()) == [[0, 7, "Chemical"], [29, 37, "Disease"]]
        assert choose(table, DataConfig())[0].task == "tag" and "40 spans were left out" in table.problems[1]
        assert "39 lines of relations" in table.problems[2]  # and a place in no text makes no row


def test_aspects(tmp_path: Path) -> None:
    rows = "".join(f"The $T$ was number {n} .\n{'soup of the day' if n % 2 else 'bill'}\n{n % 3 - 1}\n" for n in range(30))
    table = sources.read(put(tmp_path, {"a.txt": rows}) / "a.txt")
    assert table.data.slice(1, 1).to_pylist() == [{"text": "The soup of the day was number 1 .", "aspect": "soup of the day", "label": "0"}]
    assert plan(table)[:2] == ("classify", ("label",))


def test_spans_that_count_tokens(tmp_path: Path) -> None:
    """GLiNER names the last token, SpERT that behind it; of BERT-MRC each row asks for one label."""
    rows = [{"tokenized_text": ["Li", f"Hong{n}", "is", "in", "Rome"], "ner": [[0, 1, "person"], [4, 4, "city"]]} for n in range(20)]
    spans = [{"type": "person", "start": 0, "end": 2}, {"type": "city", "start": 4, "end": 5}]
    other = [{"tokens": row["tokenized_text"], "entities": spans} for row in rows]
    asked = [{"context": f"Li Hong{n} is in Rome", "entity_label": label, "query": "Find it.", "start_position": [a], "end_position": [b]}
             for n in range(20) for label, a, b in (("person", 0, 1), ("city", 4, 4))]  # fmt: skip
    for made in (rows, other, asked):
        table = sources.read(put(tmp_path, {"a.json": json.dumps(made)}) / "a.json")
        assert plan(table)[0] == "tag" and len(table) == 20
        known = kinds.infer(table, {})
        data = choose(known, DataConfig())[0]
        task = Main(Config(target=data.target))
        task.fit(known)
        assert task.read(known).tags[0] == ["B-person", "I-person", "O", "O", "B-city"] and not task.usable(known)[1]


def test_questions_on_texts(tmp_path: Path) -> None:
    qas = [{"id": "1", "question": "Who?", "answers": [{"text": "Li", "answer_start": 0}]}, {"id": "2", "question": "Why?", "answers": []}]
    held = {"version": "2.0", "data": [{"title": "A", "paragraphs": [{"context": f"Li is {n}.", "qas": qas}]} for n in range(10)]}
    table = sources.read(put(tmp_path, {"squad.json": json.dumps(held)}) / "squad.json")
    assert plan(table)[0] == "chat" and table.data.slice(0, 1).to_pylist() == [{"instruction": "Who?", "input": "Li is 0.", "output": "Li"}]
    assert "10 questions have no answer" in " ".join(table.problems)


def test_answers_of_label_studio_line_by_line(tmp_path: Path) -> None:
    rows = [{"id": n, "data": {"text": f"It is {n}."}, "annotations": [{"result": [{"from_name": "mood", "type": "choices", "value":
             {"choices": ["ab"[n % 2]]}}]}]} for n in range(20)]  # fmt: skip
    table = sources.read(put(tmp_path, {"a.jsonl": "\n".join(map(json.dumps, rows))}) / "a.jsonl")
    assert table.data.slice(1, 1).to_pylist() == [{"text": "It is 1.", "mood": "b"}]


def test_what_datasets_saved(tmp_path: Path) -> None:
    """Names of classes stand in the metadata of the files."""
    features = {"label": {"names": ["no", "yes"], "_type": "ClassLabel"},
                "ner_tags": {"feature": {"names": ["O", "B-PER"], "_type": "ClassLabel"}, "_type": "Sequence"}}  # fmt: skip
    data = pa.table({"text": [f"It is {n}." for n in range(20)], "label": [n % 2 for n in range(19)] + [-1], "ner_tags": [[0, 1, 0]] * 20})
    data = data.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for part in ("train", "test"):
        put(tmp_path / "saved", {f"{part}/dataset_info.json": '{"builder_name": "a", "features": {}}', "dataset_dict.json": "{}",
                                 f"{part}/state.json": '{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}'})  # fmt: skip
        with pa.ipc.new_stream(tmp_path / "saved" / part / "data-00000-of-00001.arrow", data.schema) as sink:
            sink.write_table(data)
    pyarrow.parquet.write_table(data, tmp_path / "a.parquet")
    put(tmp_path / "one", {"state.json": "{}", "dataset_info.json": "{}", "cache-ab12.arrow": "x"})
    pyarrow.feather.write_feather(data, tmp_path / "one" / "data-00000-of-00001.arrow")
    for source in ("saved", "a.parquet", "one"):
        table = sources.read(tmp_path / source)
        assert table.column("label").to_pylist()[:20] == ["no", "yes"] * 9 + ["no", None]
        assert table.column("ner_tags")[0].as_py() == '["O", "B-PER", "O"]' and len(table) == (40 if source == "saved" else 20)


def test_names_of_columns_in_other_letters(tmp_path: Path) -> None:
    for name, head in (("Train", "Text,Label"), ("Test", "text,label")):
        put(tmp_path / "two", {f"{name}.csv": head + "\n" + "".join(f"It is {n},{n % 2}\n" for n in range(20))})
    assert sources.read(tmp_path / "two").names == ["Text", "Label", "split"]


def test_arrays_of_pictures(tmp_path: Path) -> None:
    """MNIST as it was first given away, as Keras keeps it, as folders of arrays; CIFAR's files of bytes."""
    pixels, labels = np.arange(40 * 81, dtype=np.uint32).reshape(40, 9, 9).astype(np.uint8), np.arange(40, dtype=np.uint8) % 2
    for name, rows in (("train", slice(30)), ("t10k", slice(30, 40))):
        for what, array in (("images-idx3", pixels[rows]), ("labels-idx1", labels[rows])):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            put(tmp_path / "mnist", {f"{name}-{what}-ubyte.gz": gzip.compress(head + array.tobytes())})
    parts = {"x_train": pixels[:30], "y_train": labels[:30], "x_test": pixels[30:], "y_test": labels[30:]}
    np.savez(tmp_path / "mnist.npz", **parts)
    (tmp_path / "npy").mkdir()
    for name, array in parts.items():
        np.save(tmp_path / "npy" / f"{name}.npy", array)
    tiny = np.concatenate([labels[:, None], np.zeros((40, 3072), np.uint8)], 1)
    batches = {"data_batch_1.bin": tiny[:20], "data_batch_2.bin": tiny[20:], "test_batch.bin": tiny}
    put(tmp_path / "cifar", {name: array.tobytes() for name, array in batches.items()} | {"batches.meta.txt": b"cat\ndog\n"})
    for name in ("mnist", "mnist.npz", "npy", "cifar"):
        table = kinds.infer(sources.read(tmp_path / name), {})
        assert table.kinds["image"] == "image" and plan(table)[0::2] == ("classify", "folders"), name
        assert table.column("split").to_pylist().count("test") == (40 if name == "cifar" else 10)
        assert name != "cifar" or table.column("label")[1].as_py() == "dog"
    for number in range(12):
        (tmp_path / "steps" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "steps" / "ab"[number % 2] / f"{number}.npy", np.zeros((5 + number, 3)))
    table = kinds.infer(sources.read(tmp_path / "steps"), {})
    assert table.kinds["series"] == "series" and plan(table)[:2] == ("classify", ("label",))


def test_what_lies_beside_each_picture(tmp_path: Path) -> None:
    """As webdataset packs it."""
    for number in range(20):
        put(
            tmp_path,
            {f"a/{number:04}.cls": str(number % 2), f"b/{number:04}.json": json.dumps({"caption": f"It is {number}.", "age": number})},
        )
        for folder in "ab":
            Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / folder / f"{number:04}.png")
    assert sources.read(tmp_path / "a").names == ["image", "label", "file"] and sources.read(tmp_path / "b").names == [
        "image",
        "caption",
        "age",
        "file",
    ]


def test_sparse_tables(tmp_path: Path) -> None:
    rows = "".join(f"{'+1' if n % 2 else '-1'} 1:{n / 7:.3f} 3:{n}\n" for n in range(30))
    for name in ("a.txt", "heart_scale", "a.libsvm"):
        table = sources.read(put(tmp_path, {name: rows}) / name)
        assert table.names == ["x1", "x2", "x3", "label"] and table.column("x3")[5].as_py() == 5 and table.column("x2")[0].as_py() == 0
    clock = put(tmp_path, {"clock.txt": "".join(f"{n} {n % 24}:{n + 10}\n" for n in range(30))}) / "clock.txt"
    assert sources.read(clock).names == ["c0", "c1"]
    fewer = put(tmp_path, {"test.libsvm": "+1 1:5\n-1 1:6\n"}) / "test.libsvm"  # as a9a.t has 122 of 123
    known = dict.fromkeys(("x1", "x2", "x3"), "number")
    table = longform.again(sources.read(fewer), (), known)
    assert {"x2", "x3"} <= {*table.names} and table.column("x3").to_pylist() == [0, 0]
    assert longform.again(sources.read({"x1": [1, 2]}), (), known).names == ["x1"]  # of any other table nobody knows
    nominal = "@relation r\n@attribute n numeric\n@attribute c {neg, 'po s'}\n@data\n{0 3}\n{0 4, 1 'po s'}\n"
    assert sources.read(put(tmp_path, {"a.arff": nominal}) / "a.arff").column("c").to_pylist() == ["neg", "po s"]


def test_records_whose_form_is_not_told(tmp_path: Path) -> None:
    record = struct.pack("<QI", 20, 0) + b"\n" + b"x" * 19 + b"1234"
    for name, held in (
        ("a.tfrecord", record),
        ("train-00000-of-00002", record * 3),
        ("data.mdb", b"\0" * 16 + b"\xde\xc0\xef\xbe" + b"\0" * 99),
    ):
        with pytest.raises(DataError, match=r"only their maker knows.*folder of its class"):
            sources.read(put(tmp_path / name.partition(".")[0], {name: held}))
    with pytest.raises(DataError, match="A pickle can run any code"):
        sources.read(put(tmp_path / "cifar", {"data_batch_1": b"\x80\x02}q\x01(U" + bytes(range(256))}))
    with pytest.raises(DataError, match="Archives are not opened within a folder"):
        sources.read(put(tmp_path / "tars", {"0.tar": b"x" * 600, "1.tar": b"x" * 600}))


def test_parts_with_longer_names(tmp_path: Path) -> None:
    """As Kaggle hands on cats and dogs."""
    for number in range(40):
        place = tmp_path / ("test_set/test_set" if number % 4 == 0 else "training_set/training_set") / ("cats", "dogs")[number // 2 % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (number, 0, 0)).save(place / f"{number}.png")
    table = sources.read(tmp_path)
    assert set(table.column("label").to_pylist()) == {"cats", "dogs"} and plan(table) == ("classify", ("label",), "folders")


SENTENCES = ["The plot was thin.", "We liked the songs, all of them.", "It ends well, and so do they."]


def test_reviews_of_imdb(tmp_path: Path) -> None:
    """With files about the data beside the folders of classes, and one without classes to learn from."""
    files = {f"{part}/{kind}/{n}_7.txt": f"{SENTENCES[n % 3]} {n} {kind == 'pos'}" for part in ("train", "test") for kind in ("pos", "neg")
             for n in range(20)} | {f"train/unsup/{n}_0.txt": SENTENCES[n % 3] * 2 for n in range(40)}  # fmt: skip
    about = {f"{part}/urls_pos.txt": "http://a.b/c\n" * 9 for part in ("train", "test")} | {
        "imdbEr.txt": "0.04\n0.2\n",
        "README": "Reviews.",
    }
    table = sources.read(put(tmp_path, files | about))
    assert len(table) == 80 and set(table.column("label").to_pylist()) == {"pos", "neg"}
    assert plan(table) == ("classify", ("label",), "folders")
    assert "40 files are left out" in " ".join(table.problems) and "train/unsup" in " ".join(table.problems)


def test_lists_in_folders_apart(tmp_path: Path) -> None:
    """As ESC-50 and UrbanSound8K have them; numbers that stand for the classes are not learned from."""
    for number in range(20):
        put(tmp_path, {f"audio/fold{number % 5}/{number}.wav": b""})
        soundfile.write(tmp_path / f"audio/fold{number % 5}/{number}.wav", np.zeros(800), 8000)
    rows = "".join(f"{n}.wav,{n % 5},{n % 2},{['dog', 'rain'][n % 2]}\n" for n in range(20))
    table = kinds.infer(sources.read(put(tmp_path, {"meta/list.csv": "filename,fold,target,category\n" + rows})), {})
    assert plan(table)[:2] == ("classify", ("category",)) and table.kinds["target"] == "id"
    assert "target = category" in " ".join(table.problems)


def test_texts_beside_pictures(tmp_path: Path) -> None:
    """A list of attributes as CelebA has it, lists of the parts, and folders of a test without classes."""
    for number in range(30):
        for place in ("celeba/img_align", f"parts/{'ab'[number % 2]}", f"tiny/train/{'ab'[number % 2]}", "tiny/test/images"):
            path = tmp_path / place / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (number * 8, 0, 0)).save(path)
    marks = "".join(f"{n}.jpg  {1 - n % 2 * 2}  {1 if n % 3 else -1}\n" for n in range(30))
    table = sources.read(put(tmp_path / "celeba", {"list_attr.txt": "30\nBald Young\n" + marks}))
    assert plan(table)[:2] == ("classify", ("Bald", "Young")) and table.column("Bald").to_pylist()[:2] == ["1", "0"]
    lists = {
        "testing_list.txt": "".join(f"{'ab'[n % 2]}/{n}.jpg\n" for n in range(6)),
        "validation_list.txt": "a/6.jpg\nb/7\n",
        "about.txt": "a/1 b\n",
    }
    table = sources.read(put(tmp_path / "parts", lists))
    assert plan(table)[2] == "folders" and table.column("split").to_pylist().count("test") == 6
    table = sources.read(tmp_path / "tiny")
    assert len(table) == 30 and set(table.column("label").to_pylist()) == {"a", "b"} and "test/images" in " ".join(table.problems)
    with pytest.raises(ConfigError, match="something to be learned"):
        choose(kinds.infer(sources.read(put(tmp_path / "celeba", {"list_attr.txt": "None."})), {}), DataConfig())


def test_tables_whose_names_do_not_say_so(tmp_path: Path) -> None:
    """SMS, Anki's pairs, MovieLens, lists of tags in `train`, the matrices of HAR."""
    sms = "".join(f"{['ham', 'spam'][n % 3 == 0]}\t{SENTENCES[n % 3]} {n}\n" for n in range(60))
    assert plan(sources.read(put(tmp_path / "sms", {"SMSCollection": sms, "readme": "About it.", "more.txt": "Thanks."})))[:2] == (
        "classify",
        ("c0",),
    )
    for mark in ("::", "_!_", " +++$+++ "):
        rows = "".join(mark.join((f"u{n % 7}", str(n % 5), f"它很好{n}")) + "\n" for n in range(40))
        assert sources.read(put(tmp_path, {"a.txt": rows}) / "a.txt").data.slice(1, 1).to_pylist() == [
            {"c0": "u1", "c1": "1", "c2": "它很好1"}
        ]
    code = "".join(f"std::vector v{n};\nint a = {n};\n" for n in range(40))
    assert sources.read(put(tmp_path, {"b.txt": code}) / "b.txt").names == ["text", "part"]
    two = {"ratings.dat": "".join(f"{n}::{n % 5}\n" for n in range(40)), "users.dat": "".join(f"{n}::F\n" for n in range(40))}
    with pytest.raises(DataError, match=r"Give one of these files"):
        sources.read(put(tmp_path / "ml", two))
    tags = "".join(f"en:Li{n}\tB-PER\nen:went\tO\n\n" for n in range(30))
    assert plan(sources.read(put(tmp_path / "ann", {"train": tags, "test": tags}))) == ("tag", ("tags",), "folders")
    har = {f"{part}/{name}_{part}.txt": "".join(line(n) for n in range(30)) for part in ("train", "test") for name, line in
           (("X", lambda n: f"  {n / 7:.4e} -{n}.5\n"), ("y", lambda n: f"{n % 3}\n"), ("subject", lambda n: f"{n // 5}\n"),
            ("Signals/acc", lambda n: f" {n} 0.5 0.25\n"))}  # fmt: skip
    table = sources.read(put(tmp_path / "har", har | {"README.txt": SENTENCES[0] * 40, "labels.txt": "0 WALK\n1 SIT\n2 LIE\n"}))
    assert table.names == ["X0", "X1", "subject", "y", "split"] and plan(table) == ("classify", ("y",), "folders") and len(table) == 60


def test_samples_before_the_words_of_timit(tmp_path: Path) -> None:
    table = spoken(tmp_path, {f"TRAIN/DR1/F{n}/SX{n}": f"0 4679{n} {SAID[n % 4]}" for n in range(4)})
    assert table.column("text").to_pylist() == SAID


def test_folders_beside_the_parts(tmp_path: Path) -> None:
    """As Intel's scenes have them (seg_pred, to be answered), and with a folder around the parts as MVTec has."""
    for number in range(40):
        kind, part = ("sea", "hill")[number % 2], ("train", "test")[number % 4 == 3]
        names = [
            f"intel/seg_{part}/seg_{part}/{kind}",
            "intel/seg_pred/seg_pred",
            f"mvtec/bottle/{part}/{kind}",
            f"mvtec/bottle/truth/{kind}",
        ]
        for name in names:
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (number * 6, 0, 0)).save(tmp_path / name / f"{number}.png")
    for name, left in (("intel", "seg_pred/seg_pred"), ("mvtec", "bottle/truth")):
        table = sources.read(tmp_path / name)
        assert len(table) == 40 and set(table.column("label").to_pylist()) == {"sea", "hill"} and left in " ".join(table.problems)
        assert plan(table) == ("classify", ("label",), "folders")


def test_texts_with_their_class_behind_a_mark(tmp_path: Path) -> None:
    rows = "".join(f"{SENTENCES[n % 3]} {n};{['joy', 'anger'][n % 2]}\n" for n in range(60))
    table = sources.read(put(tmp_path, {"train.txt": rows, "val.txt": rows, "test.txt": rows}))
    assert table.names == ["c0", "c1", "split"] and plan(table) == ("classify", ("c1",), "folders")


def test_choices_are_no_boxes() -> None:
    cells = [[{"label": "A", "text": "yes"}, {"label": "B", "text": "no"}]] * 9
    assert (
        kinds.infer(sources.read([{"stem": f"It is {n}?", "choices": cell} for n, cell in enumerate(cells)]), {}).kinds["choices"]
        != "boxes"
    )
