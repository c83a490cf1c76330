"""Medical pictures, DICOM and NIfTI, as 8-bit slices with what is told about them; nothing that names a person is kept.

The extra `medical` (pydicom, nibabel) reads them. Sizes are compared with limits, and with the file, before anything is decoded.
Legend: Z slices, H height, W width.
"""

import gzip
import hashlib
import importlib
import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from duomo.core.errors import DataError
from duomo.core.messages import tr

DICOM, NIFTI = (".dcm", ".dicom", ".ima"), (".nii", ".nii.gz")
ENDINGS = (*DICOM, *NIFTI)
# The readers warn of every odd value; what matters is told as a reason. (Filters cannot be set around each call: decoding runs in threads.)
warnings.filterwarnings("ignore", module=r"pydicom|nibabel")
LARGEST = 2**28
"""Bytes of one scan as decoded; a header that promises more is refused."""
PAIRED = 348
"""Bytes of a header whose values lie in another file, which it says first."""
MOST_SIDE = 20_000
DICOM_FAULTS = (OSError, ValueError, RuntimeError, AttributeError, TypeError, KeyError, IndexError, StopIteration, struct.error)
NIFTI_FAULTS = (OSError, ValueError, EOFError, KeyError, zlib.error)
"""What the readers raise for damaged files, elements that lack, and codecs that are not there, beside what they call their own."""
TOLD = {
    "modality": "Modality", "sex": "PatientSex", "body_part": "BodyPartExamined", "view": "ViewPosition", "side": "Laterality",
    "maker": "Manufacturer", "thickness": "SliceThickness", "field_strength": "MagneticFieldStrength", "voltage": "KVP",
}  # fmt: skip
GROUPED = (
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelSpacing", "SliceThickness", "ImagePositionPatient", "KVP",
)  # fmt: skip
NUMBERED = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID")
NUMBERS = ("thickness", "field_strength", "voltage")
YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
DEFLATED = b"1.2.840.10008.1.2.1.99"
RAW = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""Transfer syntaxes whose pixels lie in the file as they are: too few of them show before decoding."""
MOST_REGIONS = 200
"""Different numbers of a mask, at most; a picture that was measured has more."""
LOW, HIGH = 0.5, 99.5
"""Percentiles that become black and white where no window is told."""

Source = bytes | Path


@dataclass(frozen=True)
class Scan:
    """Slices uint8 (Z, H, W) or (Z, H, W, 3), what is told of all, and of each: its position in mm."""

    slices: np.ndarray
    facts: Mapping[str, Any]
    positions: list[float | None] = field(default_factory=list)
    mask: bool = False
    """Whether it marks regions, a few whole numbers on nothing, and is no picture."""
    volumes: int = 1
    """How many there are in the file, of which the first is read."""


def is_scan(source: Source) -> bool:
    """By the ending of a path (of a header with its values elsewhere by what it holds), or by the first bytes."""
    if isinstance(source, bytes):
        return source[128:132] == b"DICM" or source[344:348] in (b"n+1\0", b"ni1\0") or source[:2] == b"\x1f\x8b"
    return source.name.lower().endswith(ENDINGS) or is_pair(source)


def is_dicom(path: Path) -> bool:
    """By content: DICOM files often have no ending."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_pair(path: Path) -> bool:
    """By content: the header of a volume whose values lie in another file; others end in .hdr too."""
    if path.suffix.lower() != ".hdr":
        return False
    try:
        with path.open("rb") as file:
            return PAIRED in (int.from_bytes(head := file.read(4), "little"), int.from_bytes(head, "big"))
    except OSError:
        return False


def voxels(path: Path) -> Path:
    """The file with a scan's values: the one beside a header that is called as it is, else itself."""
    beside = (path.with_suffix(ending) for ending in (".img", ".IMG", ".img.gz")) if is_pair(path) else ()
    return next((one for one in beside if one.is_file()), path)


def called(path: Path) -> list[str]:
    """What lists may call a file of DICOM by, the narrowest first: the picture's number, its series', study's, request's, patient's."""
    pydicom = _reader("pydicom")
    faults = _faults(pydicom)
    try:
        data = pydicom.dcmread(path, force=True, specific_tags=list(NUMBERED), stop_before_pixels=True)
        return [value for tag in NUMBERED if (value := str(data.get(tag) or "").strip())]
    except faults:
        return []


def read(source: Source) -> Scan:
    """All slices; ValueError with the reason where they cannot be had, DataError where the extra is not installed."""
    paired = isinstance(source, Path) and is_pair(source)
    nifti = source[128:132] != b"DICM" if isinstance(source, bytes) else paired or source.name.lower().endswith(NIFTI)
    module = _reader("nibabel" if nifti else "pydicom")
    faults = _faults(module)
    try:
        if isinstance(source, Path) and paired:
            return _pair(source, module)
        return _nifti(source, module) if nifti else _dicom(source, module)
    except _Refused as refused:
        raise ValueError(str(refused)) from None
    except faults as error:
        raise ValueError(tr("the scan is damaged, or packed in a way that needs another codec ({why})", why=_first(error))) from error


def _faults(module: ModuleType) -> tuple[type[BaseException], ...]:
    """With what a reader calls its own."""
    if module.__name__ == "pydicom":
        return (*DICOM_FAULTS, module.errors.BytesLengthException)
    return (*NIFTI_FAULTS, module.spatialimages.HeaderDataError, module.wrapstruct.WrapStructError)


class _Refused(ValueError):
    """With the reason in words."""


def _first(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__


def _reader(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataError('Reading medical scans needs {name}, which is not installed. Install the extra: pip install "duomo[medical]"',
                        name=name) from None  # fmt: skip


def _bounded(shape: tuple[int, ...], item: float) -> None:
    """Refuse what would not fit, from the header's promise alone."""
    size = item
    for length in shape:
        if not length > 0:
            raise _Refused(tr("its header tells of no pixels"))
        size *= length
    if size > LARGEST or max(shape[:2]) > MOST_SIDE:
        raise _Refused(tr("its header promises {size:,} MB; at most {most} are read", size=int(size / 1e6), most=LARGEST // 10**6))


# -- DICOM


def _dicom(source: Source, pydicom: ModuleType) -> Scan:
    body = source if isinstance(source, bytes) else source.read_bytes()
    if DEFLATED in body:
        raise _Refused(tr("it is deflated as a whole, and what that unpacks to cannot be bounded"))
    data = pydicom.dcmread(io.BytesIO(body), force=True)
    if not data.file_meta.get("TransferSyntaxUID"):
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    syntax = str(data.file_meta.TransferSyntaxUID)
    if "PixelData" not in data:
        raise _Refused(tr("it holds no pixels"))
    frames, channels = int(data.get("NumberOfFrames") or 1), int(data.get("SamplesPerPixel") or 1)
    shape = (int(data.Rows), int(data.Columns), frames, channels)
    item = int(data.BitsAllocated) / 8
    _bounded(shape, item)
    if syntax in RAW and len(data.PixelData) < np.prod(shape) * item * (2 / 3 if "422" in str(data.PhotometricInterpretation) else 1):
        raise _Refused(tr("it is cut off: fewer pixels than its header promises"))
    pixels = data.pixel_array
    pixels = pixels if frames > 1 else pixels[None]
    told = _frames(data, frames, pydicom)
    level = _level(pixels, told, pydicom) if pixels.ndim == 3 else (0.0, 1.0)
    # frame by frame: rescaling takes eight times the room of the pixels
    slices = np.concatenate([_shown(frame[None], own, pydicom, level) for frame, own in zip(pixels, told, strict=True)])
    return Scan(slices, _told(told[0]), _positions(told, data.get("ImagePositionPatient")), item < 1 or data.get("Modality") == "SEG")


def _frames(data: Any, frames: int, pydicom: ModuleType) -> list[Any]:
    """What is told of each frame: the file's own header, with what it says of all frames or of this one (functional groups, PS3.3 C.7.6.16)
    as if it stood there."""
    shared, each = data.get("SharedFunctionalGroupsSequence") or [], data.get("PerFrameFunctionalGroupsSequence") or []
    if not shared and not each:
        return [data] * frames
    found = []
    for frame in range(frames):
        own = pydicom.Dataset()
        own.update(data)
        own.file_meta = data.file_meta
        for groups in (*shared[:1], *each[frame : frame + 1]):
            inner = (one for group in groups if group.VR == "SQ" for item in group.value[:1] for one in item)
            own.update({one.tag: one for one in inner if one.keyword in GROUPED})
        found.append(own)
    return found


def _level(pixels: np.ndarray, told: Sequence[Any], pydicom: ModuleType) -> tuple[float, float]:
    """What becomes black and white where no window is told: the same for all frames."""
    step = max(1, pixels.size // 200_000)
    return _range(np.concatenate([pydicom.pixels.apply_modality_lut(np.ascontiguousarray(frame.ravel()[place % step :: step]), own)
                                  .astype(np.float32) for place, (frame, own) in enumerate(zip(pixels, told, strict=True))]))  # fmt: skip


def _shown(pixels: np.ndarray, data: Any, pydicom: ModuleType, level: tuple[float, float]) -> np.ndarray:
    """As a viewer shows them: rescaled, through the window (or lookup table), MONOCHROME1 inverted, palettes applied; other colours come as
    red, green and blue."""
    kind = str(data.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        pixels = pydicom.pixels.apply_color_lut(pixels, data)
    if pixels.ndim == 4:
        deep = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "ui" else float(pixels.max() or 1)
        deep = min(deep, 2.0 ** int(data.get("BitsStored") or 8) - 1) if kind != "PALETTE COLOR" else deep
        return np.clip(pixels / deep * 255 + 0.5, 0, 255).astype(np.uint8)
    values = pydicom.pixels.apply_modality_lut(pixels, data).astype(np.float32)
    found = None
    if data.get("VOILUTSequence"):
        found = pydicom.pixels.apply_voi_lut(pydicom.pixels.apply_modality_lut(pixels, data), data).astype(np.float32)
        low, high = 0.0, 2.0 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1
    elif data.get("WindowWidth") is not None and data.get("WindowCenter") is not None:
        centre, width = (float(np.atleast_1d(data.get(name))[0]) for name in ("WindowCenter", "WindowWidth"))
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2  # PS3.3 C.11.2.1.2
    else:
        low, high = level
    shown = _eight(values if found is None else found, low, high)
    return 255 - shown if kind == "MONOCHROME1" else shown


def _told(data: Any) -> dict[str, Any]:
    """What of the header may be known: no name, no date, no number; the patient by a digest."""
    facts: dict[str, Any] = {}
    for name, tag in TOLD.items():
        value = str(data.get(tag) or "").strip()
        facts[name] = (_number(value) if name in NUMBERS else value) if value else None
    age = re.fullmatch(r"(\d{1,3})([YMWD])", str(data.get("PatientAge") or "").strip())
    facts["age"] = round(int(age[1]) * YEARS[age[2]], 3) if age else None
    spacing = data.get("PixelSpacing") or data.get("ImagerPixelSpacing")
    facts["pixel_mm"] = float(spacing[0]) if spacing else None
    for name, tag in (("patient", "PatientID"), ("study", "StudyInstanceUID")):
        own = str(data.get(tag) or "").strip()
        facts[name] = hashlib.blake2b(own.encode(), digest_size=6).hexdigest() if own else None
    return facts


def _positions(told: Sequence[Any], first: Any) -> list[float | None]:
    """Of each frame along the scan: as it tells, or counted from the `first` place, which the file tells for all."""
    found = []
    for data in told:
        place = data.get("ImagePositionPatient")
        found.append(_number(str(place[2])) if place is not None and len(place) == 3 else _number(str(data.get("SliceLocation") or "")))
    value = found[0]
    if len(found) == 1 or value is None or any(own.get("ImagePositionPatient") != first for own in told):
        return found
    step = _number(str(told[0].get("SpacingBetweenSlices") or told[0].get("SliceThickness") or 0)) or 0
    return [value + frame * step for frame in range(len(found))]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


# -- NIfTI, and Analyze, from which it came


def _nifti(source: Source, nibabel: ModuleType) -> Scan:
    packed = source[:2] == b"\x1f\x8b" if isinstance(source, bytes) else source.name.lower().endswith(".gz")
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        stream: Any = gzip.GzipFile(fileobj=file) if packed else file
        head = stream.read(540)
        kind = nibabel.Nifti2Header if head[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nibabel.Nifti1Header
        size = kind.template_dtype.itemsize
        header = kind(head[:size], check=False)
        return _volume(header, stream, head, int(header["vox_offset"]) or size + 4, nibabel)


def _pair(source: Path, nibabel: ModuleType) -> Scan:
    """A header with its values in another file, as NIfTI or as Analyze has it."""
    head, values = source.read_bytes()[:PAIRED], voxels(source)
    if values == source:
        raise _Refused(tr("its values are not beside it, in a file of the same name that ends in .img"))
    kind = nibabel.Nifti1Pair if head[344:348] == b"ni1\0" else nibabel.Spm99AnalyzeImage
    header = kind.header_class(head, check=False)
    with values.open("rb") as file:
        stream: Any = gzip.GzipFile(fileobj=file) if values.suffix == ".gz" else file
        return _volume(header, stream, b"", int(header["vox_offset"]), nibabel)


def _volume(header: Any, stream: Any, before: bytes, start: int, nibabel: ModuleType) -> Scan:
    """The volume, or the first of several, whose values begin at `start` of a file of which `before` was read."""
    shape, dtype = tuple(int(length) for length in header.get_data_shape()), header.get_data_dtype()
    if len(shape) < 2 or dtype.fields or dtype.kind not in "iuf":
        raise _Refused(tr("it is no volume of plain numbers"))
    volumes = math.prod(shape[3:])
    shape = (*shape, 1)[:3] if len(shape) == 2 else shape[:3]
    _bounded(shape, dtype.itemsize)
    if not (header.template_dtype.itemsize if before else 0) <= start < LARGEST:
        raise _Refused(tr("its header tells of no pixels"))
    count = int(np.prod(shape)) * dtype.itemsize
    body = (before + stream.read(max(0, start + count - len(before))))[start : start + count]
    if len(body) < count:
        raise _Refused(tr("it is cut off: fewer pixels than its header promises"))
    slope, shift = header.get_slope_inter()
    found = _sliced(np.frombuffer(body, dtype).reshape(shape, order="F"), (float(slope or 1), float(shift or 0)),
                    header.get_best_affine(), nibabel)  # fmt: skip
    return replace(found, volumes=volumes)


def _sliced(volume: np.ndarray, scale: tuple[float, float], affine: np.ndarray, nibabel: ModuleType) -> Scan:
    """Slices from foot to head, the patient's right on the left, the nose up, as radiologists look at them."""
    turn = nibabel.orientations.io_orientation(affine)
    if not np.isnan(turn).any():
        affine = affine @ nibabel.orientations.inv_ornt_aff(turn, volume.shape)
        volume = nibabel.orientations.apply_orientation(volume, turn)
    some = np.nan_to_num(volume.ravel(order="K")[:: max(1, volume.size // 400_000)].astype(np.float32) * scale[0] + scale[1])
    (low, _), (_, high) = _range(some), _range(some[some != 0] if (some != 0).any() else some)
    slices = np.stack([_eight(np.nan_to_num(plane.astype(np.float32) * scale[0] + scale[1]), low, high)
                       for plane in volume.transpose(2, 1, 0)[:, ::-1, ::-1]])  # fmt: skip
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    positions: list[float | None] = [round(float(affine[2, 3] + z * affine[2, 2]), 3) for z in range(volume.shape[2])]
    facts = dict.fromkeys((*TOLD, "age", "patient", "study")) | {"pixel_mm": float(sides[0]), "thickness": float(sides[2])}
    return Scan(np.ascontiguousarray(slices), facts, positions, _marks(some))


def _marks(some: np.ndarray) -> bool:
    """Whether values are a few whole numbers, most of them zero: the regions of a mask."""
    return len(np.unique(some)) <= MOST_REGIONS and bool((some == np.round(some)).all()) and float((some == 0).mean()) > 0.5


def _range(values: np.ndarray) -> tuple[float, float]:
    some = values.ravel()[:: max(1, values.size // 200_000)]
    low, high = np.percentile(some, [LOW, HIGH]) if some.size else (0.0, 1.0)
    return (float(low), float(high)) if high > low else (float(values.min()), float(values.max()))


def _eight(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) * (255 / max(high - low, 1e-9)) + 0.5, 0, 255).astype(np.uint8)
