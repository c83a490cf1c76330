"""What programs say in several languages, as the tools of translators keep it: a file a language, or a file of pairs some of which are no
translations yet."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from duomo.core import kinds
from duomo.core.recipe import DataConfig
from duomo.core.table import Table
from duomo.data import sources
from duomo.plan import choose

SAID = {"app_name": ("Notes", "笔记"), "open": ("Open the file", "打开文件"), "close": ("Close it", "关闭"), "ok": ("OK", "OK"),
        "lost": ("It isn't there:\n%1$s", "它不在那里：\n%1$s"), "save": ("Save as…", "另存为…"), "quit": ("Quit?", "退出？")}  # fmt: skip
MORE = {"later": "Not translated yet"}


def put(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def pairs(table: Table) -> set[tuple[str, str]]:
    assert choose(kinds.infer(table, {}), DataConfig())[0].task == "translate" and len(table.names) == 2
    return set(zip(*(table.column(name).to_pylist() for name in table.names), strict=True))


def android(place: int) -> str:
    texts = {key: said[place] for key, said in SAID.items()} | (MORE if not place else {})
    escaped = {key: text.replace("\n", "\\n").replace("'", "\\'") for key, text in texts.items()}
    lines = [f'<string name="{key}">{text}</string>' for key, text in escaped.items()]
    return f"<?xml version='1.0' encoding='utf-8'?>\n<resources>\n<color name='red'>#f00</color>{''.join(lines)}</resources>"


def properties(place: int) -> str:
    texts = {key: said[place] for key, said in SAID.items()} | (MORE if not place else {})
    lines = [f"{key} = {text}".replace("\n", "\\n").encode("ascii", "backslashreplace").decode() for key, text in texts.items()]
    return "# messages\n! of it\n" + "\n".join(line.replace("later = Not", "later = \\\n    Not") for line in lines)


def apple(place: int) -> bytes:
    lines = [f'/* {key} */\n"{key}" = "{said[place]}";'.replace("\n%1", "\\n%1") for key, said in SAID.items()]
    return "\n".join(lines).encode("utf-16")


def nested(place: int) -> str:
    return json.dumps({"menu": {key: said[place] for key, said in SAID.items()}, "@menu": {"description": 1}, "n": {"list": "x"}})


FORMS = {
    "android": {"values/strings.xml": android(0), "values-zh-rCN/strings.xml": android(1), "values-night/colors.xml": "<resources/>"},
    "json": {"en.json": nested(0), "zh-CN.json": nested(1)},
    "folders": {"locales/en/common.json": nested(0), "locales/zh/common.json": nested(1)},
    "properties": {"messages.properties": properties(0), "messages_zh_CN.properties": properties(1)},
    "apple": {"en.lproj/Localizable.strings": apple(0), "zh-Hans.lproj/Localizable.strings": apple(1)},
    "arb": {"app_en.arb": nested(0), "app_zh.arb": nested(1)},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_a_language(tmp_path: Path, form: str) -> None:
    """What is the same in both is not translated, and is no pair; nor is what one of them lacks."""
    table = sources.read(put(tmp_path / "app", FORMS[form]))
    assert pairs(table) == {said for key, said in SAID.items() if key != "ok"}
    assert "several languages" in " ".join(table.problems) and "not translated" in " ".join(table.problems)


@pytest.mark.parametrize(("form", "odd"), [("properties", "<<<<<<<"), ("apple", "oops"), ("json", ', "count": 3')])
def test_one_odd_entry_costs_no_language(tmp_path: Path, form: str, odd: str) -> None:
    """It is left out, and named."""
    files = dict(FORMS[form])
    last = [*files][-1]
    text = files[last].decode("utf-16") if isinstance(files[last], bytes) else str(files[last])
    text = text[:-1] + odd + "}" if form == "json" else f"{text}\n{odd}\n"
    table = sources.read(put(tmp_path / "app", files | {last: text.encode("utf-16") if form == "apple" else text}))
    assert pairs(table) == {said for key, said in SAID.items() if key != "ok"}
    assert f"1 entry of {last} is no message and was left out" in " ".join(table.problems)


def test_other_files_called_after_languages(tmp_path: Path) -> None:
    """Records and tables are read as before."""
    rows = [{"text": f"It rained on day {n}.", "label": "ab"[n % 2]} for n in range(30)]
    files = {"en.json": json.dumps(rows), "readme.txt": "About."}
    assert len(sources.read(put(tmp_path, files))) == 30


QT = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="zh_CN"><context><name>Main</name>
<message><location filename="main.cpp" line="3"/><source>Open the file</source><translation>打开文件</translation></message>
<message><source>Close</source><translation type="unfinished"></translation></message>
<message><source>Save &amp;as</source><translation type="unfinished">Save &amp;as</translation></message>
<message><source>Old</source><translation type="vanished">旧</translation></message>
<message numerus="yes"><source>%n files</source><translation><numerusform>%n 个文件</numerusform></translation></message>
</context></TS>"""


def test_translations_that_are_not_done(tmp_path: Path) -> None:
    """Qt marks them by a type, XLIFF by a state: often their target is the source once more."""
    put(tmp_path, {"app_zh.ts": QT})
    table = sources.read(tmp_path / "app_zh.ts")
    told = dict(zip(table.column("source").to_pylist(), table.column("target").to_pylist(), strict=True))
    expected = {"Open the file": "打开文件", "Close": None, "Save &as": None, "Old": None, "%n files": "%n 个文件"}
    assert told == expected and "2 translations" in " ".join(table.problems)
    units = [
        ("translated", "Open", "Ouvrir"),
        ("needs-translation", "Close", "Close"),
        ("new", "Save", "Save"),
        ("needs-review", "A", "Un"),
    ]
    one = "".join(f"<trans-unit id='{b}'><source>{b}</source><target state='{a}'>{c}</target></trans-unit>" for a, b, c in units)
    two = "".join(f"<unit><segment state='{a.replace('new', 'initial')}'><source>{b}</source><target>{c}</target></segment></unit>"
                  for a, b, c in units)  # fmt: skip
    for version, body in (("1.2", f"<file><body>{one}</body></file>"), ("2.0", f"<file>{two}</file>")):
        put(tmp_path, {f"{version}.xlf": f'<xliff version="{version}">{body}</xliff>'})
        assert sources.read(tmp_path / f"{version}.xlf").column("target").to_pylist() == ["Ouvrir", None, None, "Un"]


def test_signs_in_halves(tmp_path: Path) -> None:
    """As native2ascii writes emoji; half of one alone is no sign."""
    more = {
        "messages.properties": "\nsmile=\\uD83D\\uDE00 Hello\nhalf=\\uD83D Hi\n",
        "messages_zh_CN.properties": "\nsmile=\\uD83D\\uDE00 \\u4f60\nhalf=\\uD83D\n",
    }
    table = sources.read(put(tmp_path, {name: str(text) + more[name] for name, text in FORMS["properties"].items()}))
    found = set(zip(*(table.column(name).to_pylist() for name in table.names), strict=True))
    assert ("😀 Hello", "😀 你") in found and ("\ufffd Hi", "\ufffd") in found


def test_records_of_countries_and_of_languages_are_rows(tmp_path: Path) -> None:
    """Their names are codes of languages too, but all hold the same few keys."""
    for number, code in enumerate(("de", "fr", "it", "es", "pt", "nl", "pl", "cs")):
        told = {
            "name": code.upper(),
            "capital": f"c {code}",
            "bird": f"b {code}",
            "flower": f"f {code}",
            "size": ("big", "small")[number % 2],
        }
        (tmp_path / f"{code}.json").write_text(json.dumps(told))
    assert len(table := sources.read(tmp_path)) == 8 and "size" in table.names


def test_a_mark_that_all_translations_have_says_nothing(tmp_path: Path) -> None:
    units = [f'<unit id="{n}"><segment state="initial"><source>Hi {n}</source><target>你好 {n}</target></segment></unit>' for n in range(9)]
    left = '<unit id="a"><segment state="initial"><source>Bye</source><target>Bye</target></segment></unit>'
    text = '<?xml version="1.0"?><xliff version="2.0" srcLang="en" trgLang="zh"><file id="f">{}</file></xliff>'
    (tmp_path / "a.xlf").write_text(text.format("".join([*units, left])))
    table = sources.read(tmp_path / "a.xlf")
    assert table.column("target").to_pylist() == [*(f"你好 {n}" for n in range(9)), None] and not table.problems
    (tmp_path / "a.xlf").write_text(text.format("".join([*units, left.replace("initial", "final")])))
    table = sources.read(tmp_path / "a.xlf")
    assert table.column("target").to_pylist() == [*[None] * 9, "Bye"] and "9 translations are marked" in table.problems[0]


def subtitles(language: str, shift: float = 0.0) -> str:
    """Forty times what one language says in two cues and the other in one, and a title in one of them."""
    cues = list[str]()
    for n in range(40):
        oh = n % 5
        two = [(0.0, 2.0, f"Where {'oh ' * oh}is {n}?"), (2.0, 3.5, "<i>Here.</i>")]
        for begin, end, text in two if language == "en" else [(0.2, 3.4, f"{'哦' * oh}{n}在哪？在这。")]:
            times = [
                f"00:{int(t) // 60:02}:{int(t) % 60:02},{round(t % 1 * 1000):03}" for t in (4 * n + shift + begin, 4 * n + shift + end)
            ]
            cues.append(f"{len(cues) + 1}\n{times[0]} --> {times[1]}\n{text}\n")
    return "\n".join(cues) + ("\n99\n00:59:00,000 --> 00:59:01,000\nThe end\n" if language == "en" else "")


def test_subtitles_shown_together_are_translations(tmp_path: Path) -> None:
    put(tmp_path, {f"show{n}.{language}.srt": subtitles(language) for n in (1, 2) for language in ("en", "zh")})
    table = kinds.infer(sources.read(tmp_path), {})
    assert table.names == ["en", "zh", "file"] and len(table) == 80 and choose(table, DataConfig())[0].task == "translate"
    assert table.data.slice(1, 1).to_pylist() == [{"en": "Where oh is 1? Here.", "zh": "哦1在哪？在这。", "file": "show1"}]
    assert "2 cues of one language alone" in " ".join(table.problems)


def test_subtitles_out_of_step_are_texts(tmp_path: Path) -> None:
    """Those of another version of the film."""
    put(tmp_path, {"show.en.srt": subtitles("en"), "show.zh.srt": subtitles("zh", 1800)})
    table = sources.read(tmp_path)
    assert "text" in table.names and "not shown at the same times" in " ".join(table.problems)


def test_apple_files_with_bare_keys_and_remarks_behind_entries(tmp_path: Path) -> None:
    for language in ("en", "zh"):
        (tmp_path / f"{language}.lproj").mkdir()
        lines = [f'Key{n} = "said {n} in {language}";' if n % 2 else f'"key {n}" = "said {n} in {language}"; // see {n}' for n in range(20)]
        (tmp_path / f"{language}.lproj" / "InfoPlist.strings").write_text("\n".join([*lines, '// Old = "left out";']))
    table = sources.read(tmp_path)
    assert table.names == ["en", "zh"] and table.data.num_rows == 20 and not any("left out" in one for one in table.problems)
