"""DICOM and NIfTI: greys as a viewer shows them, headers as columns without names, volumes kept together, bombs and codecs refused."""

import gzip
import json

import numpy as np
import pytest
from PIL import Image

import duomo
from duomo.core import kinds, scans
from duomo.core.errors import DataError
from duomo.core.kinds import image
from duomo.data import leaks, sources, targets

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUOMO_CACHE", str(tmp_path / "cache"))


def dicom(path, pixels, **tags):
    """A secondary capture of 16 bits, of one patient, as other software writes it."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", pydicom.uid.generate_uid()
    data = pydicom.dataset.Dataset()
    data.file_meta, frames = meta, pixels.shape[0] if pixels.ndim == 3 else 1
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = *pixels.shape[-2:], 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation, data.NumberOfFrames = 15, 0, frames
    data.PatientName, data.PatientBirthDate, data.PatientID = "Curie^Marie", "18671107", "007"
    data.PatientAge, data.PatientSex, data.Modality, data.PixelSpacing = "066Y", "F", "CT", [0.5, 0.5]
    data.PixelData = pixels.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def test_greys_follow_slope_window_and_inversion(tmp_path):
    pixels = np.array([[0, 1000], [1040, 4000]])
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    shown = scans.read(dicom(tmp_path / "a.dcm", pixels, **tags)).slices[0]
    hounsfield = pixels - 1024.0
    expected = np.clip((hounsfield - (40 - 0.5)) / (400 - 1) + 0.5, 0, 1) * 255
    assert np.abs(shown - expected).max() <= 0.51
    inverted = scans.read(dicom(tmp_path / "b.dcm", pixels, PhotometricInterpretation="MONOCHROME1", **tags)).slices[0]
    assert (inverted == 255 - shown).all()
    bytes_alone = (tmp_path / "a.dcm").read_bytes()
    state = {"size": [1, 2, 2], "fit": "exact", "fill": 0, "white": 255}
    assert (image.decode(bytes_alone, state)[0] == shown).all()  # what is uploaded to a server


def test_headers_become_columns_without_names(tmp_path):
    for number in range(3):
        dicom(tmp_path / "scans" / "sick" / f"1.2.{number}", np.arange(16).reshape(4, 4), PatientID=f"p{number % 2}")
    dicom(tmp_path / "scans" / "well" / "film", np.random.default_rng(0).integers(0, 999, (5, 4, 4)), PatientAge="006M", NumberOfFrames=5)
    table = kinds.infer(sources.read(tmp_path / "scans"), {})
    rows = table.data.to_pylist()
    assert table.kinds["sex"] == "category" and table.kinds["patient"] == "id"
    assert len(rows) == 8 and {row["label"] for row in rows} == {"sick", "well"} and rows[0]["age"] == 66 and rows[-1]["age"] == 0.5
    assert [row["slice"] for row in rows[3:]] == [0, 1, 2, 3, 4] and rows[0]["pixel_mm"] == 0.5 and rows[0]["modality"] == "CT"
    assert rows[0]["patient"] == rows[2]["patient"] != rows[1]["patient"]
    assert "Curie" not in json.dumps(rows) and "1867" not in json.dumps(rows) and "digest" in " ".join(table.problems)


def test_frames_are_shown_by_what_is_told_of_each(tmp_path):
    """Enhanced DICOM: slope, window, place and spacing stand in groups of all frames, or of each."""

    def group(**items):
        made = pydicom.dataset.Dataset()
        for name, tags in items.items():
            inner = pydicom.dataset.Dataset()
            for tag, value in tags.items():
                setattr(inner, tag, value)
            setattr(made, f"{name}Sequence", [inner])
        return made

    pixels = np.tile(np.array([[0, 100], [200, 300]]), (3, 1, 1))
    window = {"WindowCenter": 300, "WindowWidth": 600}
    slopes = (1, 2, 0.5)
    scale = [{"RescaleSlope": slope, "RescaleIntercept": 0} for slope in slopes]
    place = [{"ImagePositionPatient": [0, 0, 7 * slope]} for slope in slopes]
    each = [group(PixelValueTransformation=one, PlanePosition=other) for one, other in zip(scale, place, strict=True)]
    shared = [group(FrameVOILUT=window, PixelMeasures={"PixelSpacing": [0.7, 0.7], "SliceThickness": 4})]
    both = {"SharedFunctionalGroupsSequence": shared, "PerFrameFunctionalGroupsSequence": each}
    path = dicom(tmp_path / "a.dcm", pixels, **both)
    del (bare := pydicom.dcmread(path)).PixelSpacing
    bare.save_as(path)
    scan = scans.read(path)
    for slope, shown in zip(slopes, scan.slices, strict=True):
        assert np.abs(shown - np.clip((slope * pixels[0] - 299.5) / 599 + 0.5, 0, 1) * 255).max() <= 0.51
    assert scan.positions == [7, 14, 3.5] and scan.facts["pixel_mm"] == 0.7 and scan.facts["thickness"] == 4
    bare.SharedFunctionalGroupsSequence = shared = [group(PixelMeasures={"PixelSpacing": [0.7, 0.7]})]
    bare.save_as(path)
    most = [int(one.max()) for one in scans.read(path).slices]  # without a window black and white are the same for all
    assert most[1] == 255 and abs(most[0] - 128) < 3 and abs(most[2] - 64) < 3
    (table := pydicom.dataset.Dataset()).LUTDescriptor = [512, 0, 16]
    table.add_new("LUTData", "OW", (np.arange(512) * 128).astype("<u2").tobytes())
    bare.VOILUTSequence, bare.ImagePositionPatient, bare.SpacingBetweenSlices = [table], [0, 0, 5], 2
    bare.PerFrameFunctionalGroupsSequence = [group() for _ in slopes]
    bare.save_as(path)
    scan = scans.read(path)  # what a table of the whole file shows, from the only place that it tells on
    assert scan.positions == [5, 7, 9] and np.abs(scan.slices[2] - pixels[0] * 128 / 65535 * 255).max() < 2


def test_volumes_become_slices_from_foot_to_head(tmp_path):
    volume = np.zeros((6, 7, 5), np.int16)
    for z in range(1, 5):
        volume[:3, :, z] = 10 * z  # the left half of the array is the patient's left here
    (tmp_path / "brains").mkdir()
    for name in ("one.nii.gz", "two.nii"):
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([-2.0, 1, 3, 1])), tmp_path / "brains" / name)
    table = sources.read(tmp_path / "brains")
    rows = table.data.to_pylist()
    assert [row["slice"] for row in rows] == [1, 2, 3, 4] * 2 and rows[1]["slice_mm"] - rows[0]["slice_mm"] == 3
    assert {row["patient"] for row in rows} == {"one.nii.gz", "two.nii"} and "2 slices that show nothing" in " ".join(table.problems)
    (last,) = scans.read(tmp_path / "brains" / "two.nii").slices[-1:]
    assert last.shape == (7, 6) and (last[:, :3].max() > 0) != (last[:, 3:].max() > 0)


def test_nobody_lies_on_both_sides(tmp_path):
    random = np.random.default_rng(0)
    for number in range(12):
        for visit in ("ses-1_T1w", "ses-2_T1w", "mask"):
            path = tmp_path / "brains" / ("sick", "well")[number % 2] / f"sub-{number:02d}_{visit}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            volume = random.integers(0, 900, (6, 6, 2)) if visit != "mask" else np.eye(6)[..., None].repeat(2, 2)
            nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), np.eye(4)), path)
    table = kinds.infer(sources.read(tmp_path / "brains"), {})
    assert len(set(table.column("patient").to_pylist())) == 12 and len(table) == 48 and "12 scans mark regions" in " ".join(table.problems)
    for number in range(20):  # one name for all, as after anonymising, and hardly any has two
        tags = {"PatientID": "ANON", "StudyInstanceUID": f"1.2.{number % 18}", "Manufacturer": ("A", "B")[number % 3 > 0]}
        dicom(tmp_path / "scans" / f"{number}.dcm", random.integers(0, 900, (4, 4)), **tags)
    table = kinds.infer(sources.read(tmp_path / "scans"), {})
    assert leaks.group_columns(table, "maker") == [("patient", 18)] and targets.guess_target(table)[0] == ""
    (tmp_path / "scans" / "labels.csv").write_text("file,finding\n" + "".join(f"{n}.dcm,{'yn'[n % 2]}\n" for n in range(20)))
    for source in (tmp_path / "scans", tmp_path / "scans" / "labels.csv"):
        table = kinds.infer(sources.read(source), {})
        assert targets.guess_target(table)[0] == "finding" and leaks.group_columns(table, "finding") == [("patient", 18)]


def test_lists_speak_of_patients_and_studies(tmp_path):
    random, root = np.random.default_rng(0), tmp_path / "cd"
    for number in range(12):
        tags = {"PatientID": f"{900 + number}", "StudyInstanceUID": f"1.2.{number}"}
        dicom(root / f"PAT{number:05d}" / "ST000001" / "IM000000", random.integers(0, 900, (4, 4)), **tags)
    Image.new("RGB", (8, 8)).save(root / "viewer.png")  # what lies on a disc beside the scans
    for name, key in (("PatientID", "{}"), ("study", "1.2.{}")):
        start = 900 if name == "PatientID" else 0
        (root / "list.csv").write_text(f"{name},finding\n" + "".join(f"{key.format(start + n)},{'yn'[n % 2]}\n" for n in range(12)))
        table = kinds.infer(sources.read(root), {})
        assert len(table) == 12 and targets.guess_target(table)[0] == "finding" and table.kinds[name] == "id"
    (root / "list.csv").unlink()
    for number in range(12):  # a list beside each patient's own
        (root / f"PAT{number:05d}" / "labels.csv").write_text("image,grade\nST000001/a.png,1\nST000001/b.png,2\n")
        for name in "ab":
            Image.new("L", (8, 8)).save(root / f"PAT{number:05d}" / "ST000001" / f"{name}.png")
    assert len(sources.read(root)) == 24 and "grade" in sources.read(root).names


def test_bombs_are_refused_before_they_unfold(tmp_path):
    huge = dicom(tmp_path / "huge.dcm", np.zeros((4, 4)), Rows=60000, Columns=60000)
    short = dicom(tmp_path / "short.dcm", np.zeros((4, 4)), Rows=400)
    header = nibabel.Nifti1Header()
    header.set_data_shape((32767, 32767, 3)), header.set_data_dtype(np.float64)
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(2**22)))
    header.set_data_shape((200, 200, 50))
    (tmp_path / "cut.nii").write_bytes(header.binaryblock + bytes(4096))
    deflated = dicom(tmp_path / "deflated.dcm", np.zeros((4, 4)))
    deflated.write_bytes(deflated.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"))
    for path, why in ((huge, "promises"), (short, "cut off"), (tmp_path / "bomb.nii.gz", "promises"), (tmp_path / "cut.nii", "cut off"),
                      (deflated, "deflated")):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            scans.read(path)
    (tmp_path / "noise.dcm").write_bytes(np.random.default_rng(0).bytes(5000))
    for source in (tmp_path / "noise.dcm", bytes(400), b"\x1f\x8b" + bytes(100)):
        with pytest.raises(ValueError):
            scans.read(source)


def test_what_cannot_be_read_is_counted_and_the_rest_is_learnt(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for number in range(24):
        pixels = random.integers(0, 500, (16, 16)) + (number % 2) * np.kron(np.eye(2), np.full((8, 8), 1500)).astype(int)
        dicom(tmp_path / "scans" / ("even", "odd")[number % 2] / f"{number}.dcm", pixels, PatientID=f"p{number // 2}")
    for name, syntax in (("lossless", "1.2.840.10008.1.2.4.80"), ("other", "1.2.840.10008.1.2.4.80")):
        path = dicom(tmp_path / "scans" / "odd" / f"{name}.dcm", np.zeros((4, 4)))
        data = pydicom.dcmread(path)
        data.PixelData, data.file_meta.TransferSyntaxUID = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7"]), syntax
        data["PixelData"].VR = "OB"
        data.save_as(path)
    run = duomo.train(str(tmp_path / "scans"), {"train": {"epochs": 1}, "data": {"ignore": ["file"]}}, out=str(tmp_path / "run"))
    facts = run.scorecard["facts"]
    assert "patient" in facts["split"] and "2 scans are left out" in " ".join(facts["problems"])
    assert len(run.predict(str(tmp_path / "scans" / "even" / "0.dcm"))) == 1
    bare = dicom(tmp_path / "bare.dcm", np.zeros((16, 16)), PatientAge="", PatientSex="", PixelSpacing=None)
    assert {"age", "sex", "pixel_mm"} <= set(run.facts["features"]) and len(run.predict(str(bare))) == 1
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(DataError, match="medical"):
        sources.read(tmp_path / "scans")


def test_whatever_the_readers_raise_for_damaged_files_is_told(tmp_path):
    """Bytes cut off, changed, taken out and put in; also what the readers raise that is no error of Python's (a long trial found three)."""
    random = np.random.default_rng(3)
    dicom(tmp_path / "a.dcm", np.arange(600, dtype=np.uint16).reshape(20, 30))
    nibabel.save(nibabel.Nifti1Image(random.normal(size=(6, 7, 4)).astype(np.float32), np.eye(4)), tmp_path / "b.nii.gz")
    whole = [(tmp_path / "a.dcm").read_bytes(), (tmp_path / "b.nii.gz").read_bytes(), gzip.decompress((tmp_path / "b.nii.gz").read_bytes())]
    reasons = set()
    for turn in range(600):
        body = bytearray(whole[turn % 3])
        place = int(random.integers(0 if turn % 3 == 1 else 132, min(len(body), 1600)))
        if turn % 4 == 0:
            del body[place:]
        elif turn % 4 == 1:
            body[place : place + 4] = random.bytes(4)
        elif turn % 4 == 2:
            del body[place : place + int(random.integers(1, 9))]
        else:
            body[place:place] = random.bytes(3)
        try:
            scans.read(bytes(body))
        except ValueError as error:
            reasons.add(str(error))
    assert len(reasons) > 10
    with pytest.raises(ValueError, match="damaged"):
        scans.read(gzip.compress(whole[2][:300]))  # nibabel: WrapStructError


def test_volumes_whose_values_lie_in_another_file(tmp_path):
    """Analyze, as OASIS has it, with a preview beside each; NIfTI in two files; what of several volumes is read."""
    random, root = np.random.default_rng(0), tmp_path / "oasis"
    for number in range(12):
        place = root / f"OAS1_{number:04d}_MR1" / f"OAS1_{number:04d}_MR1_mpr.img"
        place.parent.mkdir(parents=True)
        volume = random.integers(0, 900, (6, 7, 3)).astype(np.int16)
        nibabel.save(nibabel.AnalyzeImage(volume, None), place)
        Image.new("L", (8, 8)).save(place.with_suffix(".gif"))
    (root / "list.csv").write_text("ID,CDR\n" + "".join(f"OAS1_{number:04d}_MR1,{number % 2 / 2}\n" for number in range(12)))
    table = kinds.infer(sources.read(root), {})
    assert len(table) == 36 and len(set(table.column("image").to_pylist())) == 36 and table.column("CDR").to_pylist()[2:4] == ["0.0", "0.5"]
    scan = scans.read(place.with_suffix(".hdr"))
    assert np.corrcoef(scan.slices[1].ravel(), volume[:, :, 1].T[::-1].ravel().astype(float))[0, 1] > 0.9
    assert len(sources.read(place.with_suffix(".hdr"))) == 3
    nibabel.save(nibabel.Nifti1Pair(volume, np.eye(4)), tmp_path / "pair.img")
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "one.nii")
    assert (scans.read(tmp_path / "pair.hdr").slices == scans.read(tmp_path / "one.nii").slices).all()
    (tmp_path / "pair.img").write_bytes(bytes(20))
    with pytest.raises(ValueError, match="cut off"):
        scans.read(tmp_path / "pair.hdr")
    (tmp_path / "pair.img").unlink()
    with pytest.raises(ValueError, match=r"ends in \.img"):
        scans.read(tmp_path / "pair.hdr")
    for number in range(6):
        place = tmp_path / "bold" / "ab"[number % 2] / f"sub-{number}_bold.nii.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(random.integers(0, 900, (6, 7, 3, 4)).astype(np.int16), np.eye(4)), place)
    table = sources.read(tmp_path / "bold")
    assert len(table) == 18 and "6 scans hold several volumes" in " ".join(table.problems) and "volumes" not in table.names


@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
def test_colours_are_told_as_they_are_looked_at(tmp_path, kind):
    """As ultrasound and photos of skin and eye have them: brightness and two differences of colour, or red, green and blue."""
    rgb_HW3 = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [200, 150, 90]]], np.uint8)
    stored = pydicom.pixels.convert_color_space(rgb_HW3, "RGB", kind) if kind != "RGB" else rgb_HW3
    path = dicom(tmp_path / "a.dcm", np.zeros((2, 2)), PhotometricInterpretation=kind, SamplesPerPixel=3, PlanarConfiguration=0,
                 BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=stored.tobytes())  # fmt: skip
    for source in (path, path.read_bytes()):
        assert np.abs(scans.read(source).slices[0].astype(int) - rgb_HW3).max() <= 2
