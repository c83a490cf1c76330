"""Annotated pictures as tools export them: CreateML, VIA, Label Studio, CVAT, dlib, and tables with a box a row."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from duomo import plan
from duomo.core import kinds
from duomo.core.errors import DataError
from duomo.core.kinds import boxes
from duomo.core.kinds.boxes import Box
from duomo.core.recipe import DataConfig
from duomo.data import sources

WIDTH, HEIGHT = 40, 30
CAT, DOG = Box("cat", 4, 3, 20, 27), Box("dog", 10, 12, 30, 21)
WANTED = {"a.jpg": [CAT, DOG], "b.jpg": [DOG], "c.jpg": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(WANTED):
        pixels = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def read(source: Path) -> tuple[dict[str, list[Box]], str]:
    table = sources.read(source)
    assert plan.choose(kinds.infer(table, {}), DataConfig())[0].task == "detect", table.names
    return dict(zip(table.column("image").to_pylist(), boxes.parse(table.column("boxes")), strict=True)), " ".join(table.problems)


def createml(name: str, things: list[Box]) -> dict[str, Any]:
    told = []
    for box in things:
        x, y, width, height = (box.left + box.right) / 2, (box.top + box.bottom) / 2, box.right - box.left, box.bottom - box.top
        told.append({"label": box.label, "coordinates": {"x": x, "y": y, "width": width, "height": height}})
    return {"image": name, "annotations": told}


def test_label_studio_s_table(folder: Path) -> None:
    """A row for each picture, what was drawn as JSON in a cell; nothing, or a list of nothing, where nothing was."""
    rows = [["image", "id", "label", "annotator"]]
    for number, (name, things) in enumerate(WANTED.items()):
        drawn = [{"x": 100 * box.left / WIDTH, "y": 100 * box.top / HEIGHT, "width": 100 * (box.right - box.left) / WIDTH,
                  "height": 100 * (box.bottom - box.top) / HEIGHT, "rotation": 0, "rectanglelabels": [box.label], "original_width": WIDTH,
                  "original_height": HEIGHT} for box in things]  # fmt: skip
        rows.append([f"/data/upload/1/{name}", str(number), json.dumps(drawn) if drawn else "", "1"])
    with (folder / "project-1.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    for source in (folder, folder / "project-1.csv"):
        found, _ = read(source)
        assert {name: [box._replace(**{side: round(getattr(box, side), 3) for side in ("left", "top", "right", "bottom")}) for box in own]
                for name, own in found.items()} == WANTED  # fmt: skip


def test_createml(folder: Path) -> None:
    told = [createml(name, things) for name, things in WANTED.items()]
    told[1]["annotations"] += [
        {"label": "cat", "coordinates": {"x": "far"}},
        {"label": "", "coordinates": told[0]["annotations"][0]["coordinates"]},
    ]
    (folder / "_annotations.createml.json").write_text(json.dumps([*told, createml("no.jpg", [CAT]), {"image": "c.jpg", "annotations": 3}]))
    found, said = read(folder)
    assert found == WANTED
    for part in (
        "class is not named",
        "outline or mask is broken; the first: _annotations",
        "is not there; the first: no.jpg",
        "no list of boxes",
    ):
        assert part in said, (part, said)


def via(things: list[Box], version: int) -> Any:
    shapes = [
        {"name": "rect", "x": box.left, "y": box.top, "width": box.right - box.left, "height": box.bottom - box.top} for box in things
    ]
    ticked = [{"kind": {box.label: True} if version == 2 else box.label, "note": ""} for box in things]
    found = [{"shape_attributes": shape, "region_attributes": told} for shape, told in zip(shapes, ticked, strict=True)]
    return {str(place): one for place, one in enumerate(found)} if version == 1 else found


@pytest.mark.parametrize("version", [1, 2])
def test_via(folder: Path, version: int) -> None:
    told = {
        f"{name}123": {"filename": name, "size": 123, "regions": via(things, version), "file_attributes": {}}
        for name, things in WANTED.items()
    }
    regions = told["c.jpg123"]["regions"] = []
    points = {"name": "polygon", "all_points_x": [1, 5, 3], "all_points_y": [2, 2, 9]}
    for shape in (points, {"name": "circle", "cx": 10, "cy": 10, "r": 5}, {"name": "ellipse", "cx": 10, "cy": 10, "rx": 5, "ry": 4},
                  {"name": "polyline", "all_points_x": [1, 5], "all_points_y": [2, 2]}, {"name": "rect", "x": 1}):  # fmt: skip
        regions.append({"shape_attributes": shape, "region_attributes": {"kind": "sea"}})
    (folder / "via.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": told} if version == 2 else told))
    found, said = read(folder)
    assert found == WANTED | {"c.jpg": [Box("sea", 1, 2, 5, 9), Box("sea", 5, 5, 15, 15), Box("sea", 5, 6, 15, 14)]}
    assert "a polyline surrounds nothing" in said and "outline or mask is broken" in said


def test_a_project_of_via_3(folder: Path) -> None:
    files = {str(place): {"fid": str(place), "fname": name, "type": 2, "loc": 1, "src": ""} for place, name in enumerate(WANTED)}
    files["9"] = {"fid": "9", "fname": "film.mp4", "type": 4, "loc": 1, "src": ""}
    attribute = {"1": {"aname": "note", "type": 1}, "2": {"aname": "Class", "type": 4, "options": {"0": "cat", "1": "dog"}}}
    marks = [
        (place, [2, box.left, box.top, box.right - box.left, box.bottom - box.top], "01"[box.label == "dog"])
        for place, things in enumerate(WANTED.values())
        for box in things
    ]
    marks += [
        (2, [7, 1, 2, 5, 2, 3, 9], "0"),
        (2, [3, 10, 10, 5], "1"),
        (2, [6, 1, 1, 2, 2], "1"),
        (2, [2, 1], "1"),
        (9, [2, 1, 1, 2, 2], "1"),
    ]
    told = [{"vid": str(place), "flg": 0, "z": [], "xy": shape, "av": {"1": "", "2": label}} for place, shape, label in marks]
    project = {"project": {}, "config": {}, "attribute": attribute, "file": files, "metadata": dict(enumerate(told)),
               "view": {key: {"fid_list": [key]} for key in files}}  # fmt: skip
    (folder / "via_project.json").write_text(json.dumps(project))
    found, said = read(folder)
    assert found == WANTED | {"c.jpg": [Box("cat", 1, 2, 5, 9), Box("dog", 5, 5, 15, 15)]}
    for part in (
        "a polyline surrounds nothing",
        "outline or mask is broken",
        "films was passed over: export it as pictures; the first: film.mp4",
    ):
        assert part in said


def test_via_without_any_class_names_things_alike(folder: Path) -> None:
    shapes = [{"shape_attributes": one["shape_attributes"], "region_attributes": {}} for one in via([CAT], 2)]
    (folder / "via.json").write_text(json.dumps({"a": {"filename": "a.jpg", "size": 1, "regions": shapes}}))
    found, said = read(folder)
    assert (
        found == {"a.jpg": [CAT._replace(label="object")]}
        and "nothing names is called object" in said
        and "no annotation; the first: b" in said
    )


def test_csv_of_via(folder: Path) -> None:
    lines = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for name, things in WANTED.items():
        cells = [(json.dumps(one["shape_attributes"]), json.dumps(one["region_attributes"])) for one in via(things, 2)] or [("{}", "{}")]
        for place, pair in enumerate(cells):
            told = ",".join('"' + cell.replace('"', '""') + '"' for cell in pair)
            lines.append(f'{name},123,"{{}}",{len(things)},{place},{told}')
    (folder / "via.csv").write_text("\n".join([*lines, 'b.jpg,123,"{}",1,0,"{""name"": ""rect""}","{""kind"": {""cat"": true}}"']) + "\n")
    for source in (folder, folder / "via.csv"):
        found, said = read(source)
        assert found == WANTED and "outline or mask is broken" in said


def label_studio(name: str, things: list[Box], short: bool) -> dict[str, Any]:
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    sides = [(box.left / WIDTH, box.top / HEIGHT, (box.right - box.left) / WIDTH, (box.bottom - box.top) / HEIGHT) for box in things]
    values = [
        dict(zip(("x", "y", "width", "height"), (100 * side for side in four), strict=True))
        | {"rotation": 0, "rectanglelabels": [box.label]}
        for box, four in zip(things, sides, strict=True)
    ]
    place = f"/data/upload/7/0a1b2c3d-{name}"
    if short:
        return {"image": place, "id": 1, "label": [one | size for one in values], "annotator": 1}
    drawn = [{"id": "x", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": one, **size} for one in values]
    return {"id": 1, "annotations": [{"was_cancelled": True, "result": []}, {"result": drawn}], "data": {"image": place}, "predictions": []}


@pytest.mark.parametrize("short", [False, True])
def test_label_studio(folder: Path, short: bool) -> None:
    told = [label_studio(name, things, short) for name, things in WANTED.items()]
    if not short:
        told[0]["data"]["image"] = "/data/local-files/?d=pictures/a.jpg"
        turned = {"x": 50, "y": 50, "width": 25, "height": 20, "rotation": 90, "rectanglelabels": ["cat"]}  # 10 × 6 pixels from (20, 15)
        outline = {"points": [[10, 10], [50, 10], [30, 60]], "polygonlabels": ["sea"]}
        size = {"original_width": WIDTH, "original_height": HEIGHT}
        told[1]["annotations"][1]["result"] += [
            {"value": value, **size} for value in (turned, outline, {"x": 3, "y": 3, "keypointlabels": ["k"]})
        ]
    (folder / "project-7-at-2026.json").write_text(json.dumps(told))
    found, said = read(folder)
    wanted = WANTED | ({} if short else {"b.jpg": [DOG, Box("cat", 14, 15, 20, 25), Box("sea", 4, 3, 20, 18)]})
    near = [(one, other) for name in wanted for one, other in zip(found[name], wanted[name], strict=True)]
    assert all(one.label == other.label and np.allclose(one[1:5], other[1:5], atol=0.05) for one, other in near), found
    assert short or "a keypoint surrounds nothing" in said


def test_brush_of_label_studio(folder: Path) -> None:
    def brush(mask: np.ndarray, repeats: bool) -> list[int]:
        """Every byte four times as in RGBA, in pieces of a repeated byte, or one after the other."""
        flat = np.repeat(mask.astype(np.uint8) * 255, 4).tolist()
        bits = f"{len(flat):032b}{7:05b}" + "".join(f"{width:04b}" for width in (2, 3, 7, 15))
        while flat:
            count = next((place for place, byte in enumerate(flat) if byte != flat[0]), len(flat)) if repeats else min(len(flat), 16)
            listed = f"{flat[0]:08b}" if repeats else "".join(f"{byte:08b}" for byte in flat[:count])
            bits += f"{int(repeats)}{3:02b}{count - 1:016b}{listed}"
            flat = flat[count:]
        bits += "0" * (-len(bits) % 8)
        return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]

    masks = []
    for box in (CAT, DOG):
        masks.append(np.zeros((HEIGHT, WIDTH), bool))
        masks[-1][int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = True
    size, packed = {"original_width": WIDTH, "original_height": HEIGHT}, [brush(masks[0], True), brush(masks[1], False)]
    values = [{"format": "rle", "rle": one, "brushlabels": [label]} for one, label in zip(packed, ("cat", "dog"), strict=True)]
    broken = [
        {"format": "rle", "rle": rle, "brushlabels": ["cat"]}
        for rle in (packed[0][:-9], [255] * 40, [], [700], brush(masks[0] & False, True))
    ]
    told = [{"data": {"image": name}, "annotations": [{"result": [{"value": value, **size} for value in drawn]}]}
            for name, drawn in (("a.jpg", values), ("b.jpg", [values[1], *broken]))]  # fmt: skip
    (folder / "project.json").write_text(json.dumps(told))
    found, said = read(folder)
    assert found == {"a.jpg": [CAT, DOG], "b.jpg": [DOG]} and "5 × a box was left out because its outline or mask is broken" in said


def test_cvat_of_a_film(folder: Path) -> None:
    for place in (0, 2, 4, 5, 7):
        (folder / f"frame_{place:06d}.png").write_bytes((folder / "a.jpg").read_bytes())
    for name in WANTED:
        (folder / name).unlink()

    def box(frame: int, left: float, outside: int = 0) -> str:
        return f'<box frame="{frame}" outside="{outside}" xtl="{left}" ytl="2" xbr="{left + 4}" ybr="9" keyframe="1"/>'

    outline = '<polygon frame="2" points="1,2;5,2;3,9" outside="0"/><polygon frame="5" points="1,2;5,2;3,9" outside="1"/>'
    size = f"<meta><task><original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size></task></meta>"
    tracks = f'<track id="0" label="cat">{box(0, 10)}{box(4, 18)}{box(7, 18, 1)}</track><track id="1" label="dog">{outline}</track>'
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{size}{tracks}</annotations>")
    found, said = read(folder)
    wanted = {0: [Box("cat", 10, 2, 14, 9)], 2: [Box("cat", 14, 2, 18, 9), Box("dog", 1, 2, 5, 9)]}
    wanted |= {4: [Box("cat", 18, 2, 22, 9), Box("dog", 1, 2, 5, 9)], 5: [Box("cat", 18, 2, 22, 9)], 7: []}
    assert found == {f"frame_{place:06d}.png": things for place, things in wanted.items()} and not said


@pytest.mark.parametrize("places", [("label_2", "image_2"), ("labels", "images"), (".", ".")])
def test_kitti(folder: Path, places: tuple[str, str]) -> None:
    lines = {name: [f"{box.label} 0.00 0 -1.58 {box.left} {box.top}.00 {box.right} {box.bottom} 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"
                    for box in things] for name, things in WANTED.items()}  # fmt: skip
    lines["b.jpg"].append("DontCare -1 -1 -10 3.89 1.71 9.61 9.13 -1 -1 -1 -1000 -1000 -1000 -10")
    for part in ("training", "testing"):
        (folder / part / places[1]).mkdir(parents=True)
        for name in WANTED:
            (folder / part / places[1] / name).write_bytes((folder / name).read_bytes())
            if part == "training":
                (folder / part / places[0]).mkdir(exist_ok=True)
                (folder / part / places[0] / f"{name[0]}.txt").write_text("\n".join(lines[name]))
    for name in WANTED:
        (folder / name).unlink()
    found, said = read(folder)
    assert {Path(name).name: things for name, things in found.items()} == WANTED
    assert "DontCare was left out" in said and "3 × a picture was left out because it has no annotation; the first: testing" in said


def test_cvat(folder: Path) -> None:
    body, about = "", f'width="{WIDTH}" height="{HEIGHT}"'
    for name, part in zip(WANTED, ("train", "Train", "Test"), strict=True):
        inside = "".join(
            f'<box label="{box.label}" occluded="0" xtl="{box.left}" ytl="{box.top}" xbr="{box.right}" ybr="{box.bottom}">'
            '<attribute name="x">1</attribute></box>'
            for box in WANTED[name]
        )
        body += f'<image id="0" name="{name}" subset="{part}" {about}>{inside}</image>'
    more = (
        '<polygon label="cat" points="1.00,2.00;5.00,2.00;3.00,9.00"/><ellipse label="dog" cx="10" cy="10" rx="5" ry="4"/>'
        '<mask label="dog" rle="1" left="2" top="3" width="4" height="5"/><points label="dog" points="1,1"/><box label="dog" xtl="1"/>'
    )
    sheet = folder / "annotations.xml"
    sheet.write_text(f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task/></meta>{body}</annotations>')
    assert read(folder)[0] == read(sheet)[0] == WANTED
    assert set(sources.read(folder).column("split").to_pylist()) == {"train", "test"}
    sheet.write_text(sheet.read_text().replace("</image></annotations>", f"{more}</image></annotations>"))
    found, said = read(folder)
    assert found["c.jpg"] == [Box("cat", 1, 2, 5, 9), Box("dog", 5, 6, 15, 14), Box("dog", 2, 3, 6, 8)]
    assert "a points surrounds nothing" in said and "mask is broken" in said


def test_dlib(folder: Path) -> None:
    body = ""
    for name, things in WANTED.items():
        sides = [f"top='{box.top}' left='{box.left}' width='{box.right - box.left}' height='{box.bottom - box.top}'" for box in things]
        inside = [f"<box {one}><label>{box.label}</label></box>" for box, one in zip(things, sides, strict=True)]
        body += f"<image file='{name}'>{''.join(inside)}</image>"
    (folder / "training.xml").write_text(f"<?xml version='1.0'?><dataset><name>x</name><images>{body}</images></dataset>")
    assert read(folder)[0] == WANTED


def rows(form: str) -> str:
    header, lines = {"tensorflow": "filename,width,height,class,xmin,ymin,xmax,ymax", "kaggle": "image_id,width,height,bbox,category_name",
                     "openimages": "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf", "retinanet": "",
                     "extents": "image,label,x,y,w,h"}[form], []  # fmt: skip
    for name, things in WANTED.items():
        for label, left, top, right, bottom in (box[:5] for box in things):
            shares = (left / WIDTH, right / WIDTH, top / HEIGHT, bottom / HEIGHT)
            lines.append({"tensorflow": f"{name},{WIDTH},{HEIGHT},{label},{left},{top},{right},{bottom}",
                          "kaggle": f'{name[0]},{WIDTH},{HEIGHT},"[{left}, {top}, {right - left}, {bottom - top}]",{label}',
                          "openimages": f"{name[0]},xclick,/m/{label},1," + ",".join(map(str, shares)) + f",0,{int(label == 'dog')}",
                          "retinanet": f"{name},{left},{top},{right},{bottom},{label}",
                          "extents": f"{name},{label},{left},{top},{right - left},{bottom - top}"}[form])  # fmt: skip
        if not things and form in ("retinanet", "extents"):
            lines.insert(0, f"{name},,,,,")
    return "\n".join([header, *lines][not header :]) + "\n"


@pytest.mark.parametrize("form", ["tensorflow", "kaggle", "openimages", "retinanet", "extents"])
def test_a_table_with_a_box_a_row(folder: Path, form: str) -> None:
    (folder / "annotations.csv").write_text(rows(form))
    (folder / "classes.csv").write_text("cat,0\ndog,1\n")
    (folder / "class-descriptions-boxable.csv").write_text("/m/cat,cat\n/m/dog,dog\n")
    for source in (folder, folder / "annotations.csv"):
        found, _ = read(source)
        wanted = {name: things for name, things in WANTED.items() if things or form in ("retinanet", "extents")}
        if form == "openimages":
            wanted = {name: [box._replace(crowd=box.label == "dog") for box in things] for name, things in wanted.items()}
        assert {
            name: [box[:1] + tuple(round(side, 3) for side in box[1:5]) + box[5:] for box in things] for name, things in found.items()
        } == wanted


def test_an_annotation_alone_finds_the_pictures_beside_it(folder: Path) -> None:
    coco = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [4, 3, 16, 24]}]}
    (folder / "one.json").write_text(json.dumps(coco | {"categories": [{"id": 1, "name": "cat"}]}))
    (folder / "other.json").write_text(json.dumps([createml(name, things) for name, things in WANTED.items()]))
    assert read(folder / "one.json")[0] == {"a.jpg": [CAT]} and read(folder / "other.json")[0] == WANTED
    for name in WANTED:
        (folder / name).unlink()
    with pytest.raises(DataError, match=r"beside their pictures; .* holds other.json"):
        sources.read(folder / "other.json")


def test_two_lists_of_boxes_are_parts_or_ask_which_is_learned(folder: Path) -> None:
    header, *lines = rows("tensorflow").splitlines()
    for part, name in (("train", "a"), ("test", "b")):
        (folder / f"{part}_labels.csv").write_text("\n".join([header, *(line for line in lines if line.startswith(name))]) + "\n")
    table = sources.read(folder)
    assert dict(zip(table.column("image").to_pylist(), table.column("split").to_pylist(), strict=True)) == {
        "a.jpg": "train",
        "b.jpg": "test",
    }
    assert read(folder)[0] == {name: WANTED[name] for name in ("a.jpg", "b.jpg")}
    (folder / "test_labels_2nd.csv").write_text(rows("tensorflow"))
    with pytest.raises(DataError, match=r"Train on .*/train_labels.csv, and give --test .*/test_labels.csv"):
        sources.read(folder)


def test_boxes_are_counted_once_where_two_forms_say_them(folder: Path) -> None:
    for name, things in WANTED.items():
        lines = [f"{int(box.label == 'dog')} {(box.left + box.right) / 2 / WIDTH} {(box.top + box.bottom) / 2 / HEIGHT} "
                 f"{(box.right - box.left) / WIDTH} {(box.bottom - box.top) / HEIGHT}" for box in things]  # fmt: skip
        (folder / f"{name[0]}.txt").write_text("\n".join(lines))
    (folder / "classes.txt").write_text("cat\ndog\n")
    (folder / "coco.json").write_text(json.dumps(coco(WANTED)))
    assert read(folder)[0] == WANTED
    moved = {name: [box._replace(left=box.left + 0.004) for box in things] for name, things in WANTED.items()}
    (folder / "merged.json").write_text(json.dumps(coco(moved)))  # the same once more, rounded otherwise
    assert read(folder)[0] == WANTED
    (folder / "merged.json").unlink()
    (folder / "coco.json").write_text(json.dumps(coco({name: things * 2 for name, things in WANTED.items()})))
    found, said = read(folder)
    assert found == WANTED and "3 × a box is told twice and counts once" in said


def coco(things: dict[str, list[Box]]) -> dict[str, Any]:
    told = [{"id": 7 * number + place, "image_id": number, "category_id": 1 + (box.label == "dog"), "iscrowd": 0,
             "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top]}
            for number, found in enumerate(things.values()) for place, box in enumerate(found)]  # fmt: skip
    return {"images": [{"id": number, "file_name": name} for number, name in enumerate(things)], "annotations": told,
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}  # fmt: skip


@pytest.mark.parametrize("shares", [False, True])
def test_a_centre_where_left_and_top_were_said(folder: Path, shares: bool) -> None:
    random = np.random.default_rng(1)
    wanted: dict[str, list[Box]] = {name: [] for name in WANTED}
    lines = ["image,label,x,y,w,h"]
    for place in range(30):
        width, height = random.integers(4, 20), random.integers(4, 15)
        left, top = random.integers(0, WIDTH - width + 1), random.integers(0, HEIGHT - height + 1)
        name = list(WANTED)[place % 3]
        wanted[name].append(Box("cat", left, top, left + width, top + height))
        across, down = (WIDTH, HEIGHT) if shares else (1, 1)
        lines.append(f"{name},cat,{(left + width / 2) / across},{(top + height / 2) / down},{width / across},{height / down}")
    (folder / "boxes.csv").write_text("\n".join(lines))
    found, said = read(folder)
    rounded = {name: [Box(box.label, *(round(side, 3) for side in box[1:5])) for box in things] for name, things in found.items()}
    assert rounded == wanted and "told by their centre" in said


def test_what_only_looks_like_boxes_stays_a_table(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file,x,y,width,height\n" + "".join(f"{name},1,2,40,30\n" for name in WANTED))
    assert "boxes" not in sources.read(folder).names
    (folder / "metadata.csv").write_text("file,left,top,right,bottom\n" + "".join(f"{name},far,2,near,30\n" for name in WANTED))
    assert "boxes" not in sources.read(folder).names
    (folder / "metadata.csv").write_text("file,label\n" + "".join(f"{name},cat\n" for name in WANTED))
    (folder / "notes.json").write_text('[{"image": "a.jpg", "annotations": []}, {"data": {"image": 3}}]')
    assert sources.read(folder).names == ["image", "label", "file"]
