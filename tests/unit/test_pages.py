"""Pages and documents are read as their text; what is none, or too much, is refused."""

import zipfile

import pytest

from duomo.core.errors import DataError
from duomo.data import sources
from duomo.data.formats.pages import LARGEST, plain

PAGE = """<!DOCTYPE html><html><head><meta charset="{charset}"><title>价目 &amp; 说明</title><style>p {{ color: red }}</style>
<script>if (1 < 2) alert("no")</script></head><body><h1>第一章</h1><p>这里有 <b>粗体</b>和<br>换行。
<ul><li>一<li>二</ul><pre>a
  b</pre><!-- nothing --></body></html>"""
READ = "价目 & 说明\n第一章\n这里有 粗体和\n换行。\n一\n二\na\n  b\n"
WORD = (
    '<?xml version="1.0"?><w:document xmlns:w="w"><w:body>{body}</w:body></w:document>',
    "<w:p><w:r><w:t>One </w:t></w:r><w:r><w:t>line</w:t><w:tab/><w:t>here.</w:t><w:delText>gone</w:delText></w:r></w:p>",
)
OPEN = '<office xmlns:text="t"><text:h>Head</text:h><text:p>One <text:span>line</text:span><text:s/>here.</text:p>not told</office>'


def packed(path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), body)


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_a_page(tmp_path, charset) -> None:
    (tmp_path / "page.html").write_text(PAGE.format(charset=charset), encoding=charset)
    assert plain(tmp_path / "page.html", tmp_path / "cache").read_text(encoding="utf-8") == READ
    table = sources.read(tmp_path / "page.html", cache=tmp_path / "cache")
    assert "".join(table.column("text").to_pylist()) == READ and table.name == "page" and table.root == tmp_path
    assert "without markup" in table.problems[0]


def test_documents(tmp_path) -> None:
    packed(tmp_path / "a.docx", word__document_xml=WORD[0].format(body=WORD[1] * 2), word__styles_xml="<w:t>no</w:t>")
    packed(tmp_path / "b.odt", content_xml=OPEN)
    packed(tmp_path / "c.epub", one_xhtml="<p>First</p>", two_html="<p>Second</p>", style_css="p {}")
    told = {name: plain(tmp_path / name, tmp_path / "cache").read_text(encoding="utf-8") for name in ("a.docx", "b.odt", "c.epub")}
    assert told == {"a.docx": "One line here.\nOne line here.\n", "b.odt": "Head\nOne line here.\n", "c.epub": "First\n\n\nSecond\n"}
    assert sources.read(tmp_path / "a.docx", cache=tmp_path / "cache").column("text")[0].as_py().startswith("One line here.")


def test_a_folder_of_both(tmp_path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    packed(folder / "a.docx", word__document_xml=WORD[0].format(body=WORD[1]))
    (folder / "b.html").write_text("<p>Page</p>")
    (folder / "c.md").write_text("# Notes\n")
    (folder / "d.pdf").write_bytes(b"%PDF-1.7\n")
    table = sources.read(folder, cache=tmp_path / "cache")
    assert table.column("file").to_pylist() == ["a.docx", "b.html", "c.md"] and table.column("text").to_pylist()[1] == "Page\n"
    assert any("d.pdf" in problem and "pdftotext" in problem for problem in table.problems)
    for name in ("a.docx", "b.html", "c.md"):
        (folder / name).unlink()
    for path in (folder, folder / "d.pdf"):
        with pytest.raises(DataError, match="pdftotext"):
            sources.read(path, cache=tmp_path / "cache")


def test_damaged_and_hostile_documents(tmp_path) -> None:
    (tmp_path / "a.docx").write_bytes(b"PK\3\4 no zip")
    packed(tmp_path / "b.docx", word__other_xml="<w/>")
    packed(tmp_path / "c.docx", word__document_xml="<w:p><w:t>cut")
    packed(tmp_path / "d.docx", word__document_xml='<!DOCTYPE x [<!ENTITY a "aaaa">]><w><t>&a;</t></w>')
    with zipfile.ZipFile(tmp_path / "e.odt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("content.xml", b" " * (LARGEST + 1))
    for name in ("a.docx", "b.docx", "c.docx", "d.docx", "e.odt"):
        with pytest.raises(DataError):
            plain(tmp_path / name, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.txt"))
