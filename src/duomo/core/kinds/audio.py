"""Sounds: one channel at one sample rate, int16, cut to a longest length.

Legend: N rows, S samples.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar, NamedTuple, final

import numpy as np
import soundfile
import soxr
from soundfile import SoundFileError

from duomo.core.contract import Field
from duomo.core.errors import DataError
from duomo.core.kinds import media
from duomo.core.kinds.base import Block, Cells, Kind
from duomo.core.kinds.cells import sample
from duomo.core.messages import tr
from duomo.core.recipe import EncodeConfig
from duomo.core.stderr import hushed

OPEN_FAULTS = (soundfile.LibsndfileError, TypeError)
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".snd", ".caf", ".w64", ".sph")
UNREAD = (".m4a", ".m4b", ".aac", ".wma", ".amr", ".3ga", ".weba", ".mka", ".ape", ".wv", ".ac3", ".ra")
"""Sounds all the same, so that none is passed over in silence; nothing here decodes them."""
CODECS = {
    "MP4": re.compile(rb"....ftyp", re.DOTALL),
    "WMA": re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    "Matroska": re.compile(rb"\x1a\x45\xdf\xa3"),
    "AAC": re.compile(rb"ADIF|\xff[\xf0\xf1\xf8\xf9]"),
    "AMR": re.compile(rb"#!AMR"),
    "Monkey's Audio": re.compile(rb"MAC "),
    "WavPack": re.compile(rb"wvpk"),
    "AC-3": re.compile(rb"\x0b\x77"),
}
"""How files begin whose sound is packed by other codecs."""
LONGEST = 30.0
"""Seconds kept when nobody says otherwise."""
CHANNELS, SLOWEST, FASTEST = 32, 1000, 768_000
"""What a header may promise: channels, and samples a second from SLOWEST to FASTEST."""
SILENT = 33
"""Of 32,767: what no sample of a piece exceeds is silence (−60 dB)."""
CANCELLED = 0.01
"""Of the power of the loudest channel, what the mean of all must have."""
SAMPLES = 200_000_000
"""Most values (samples x channels) that one file is decoded to."""
MOST_UNTOLD = 1 << 29
"""Bytes of samples at most that are read where their length is not told."""
WHOLE, UNKNOWN, MOST_CHUNKS = 0.9, 0x7F000000, 1000
"""Share of its promised bytes that a WAV file must have; lengths from which on none is known; parts of such a file that are looked at."""


class Look(NamedTuple):
    """What the header of a sound says."""

    frames: int
    rate: int
    channels: int


@final
class Sound(Kind):
    """A sound file."""

    name: ClassVar[str] = "audio"
    form: ClassVar[str | None] = "waveform"

    def recognise(self, name: str, cells: Cells) -> str | None:
        return media.recognise(cells, (*SUFFIXES, *UNREAD), magic)

    def fit(self, cells: Cells, config: EncodeConfig) -> dict[str, Any]:
        """State: `rate` in Hz and `longest` samples kept."""
        some = Cells(sample(cells.data, 20_000), cells.root)
        looks = [item for item in media.decode_all(media.sources(some), look) if isinstance(item, Look)]
        if not looks:
            raise DataError("At least one sound must be readable; none of {rows} is. Look at the files.", rows=len(cells.data))
        seconds = config.longest_sound or min(LONGEST, max(item.frames / item.rate for item in looks))
        return {"rate": config.sample_rate, "longest": max(1, int(np.ceil(seconds * config.sample_rate)))}

    def field(self, state: Mapping[str, Any]) -> Field:
        return Field("waveform", (int(state["longest"]),), facts={"rate": int(state["rate"])})

    def encode(self, cells: Cells, state: Mapping[str, Any]) -> Block:
        decoded = media.decode_all(media.sources(cells), lambda source: decode(source, state["rate"], state["longest"]))
        rows = media.whole(cells, decoded)
        return Block(np.concatenate([np.zeros(0, np.int16), *rows]), np.array([len(row) for row in rows], np.int64))

    def check(self, cells: Cells) -> media.Broken:
        """Sounds that cannot be decoded, with name and reason."""
        return media.broken(cells, trial)


def magic(head: bytes) -> bool:
    """Whether a file begins as a sound does."""
    waves = head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"
    frame = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return waves or frame or head.startswith((b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"caff", b"riff", b"NIST_1A"))


def packed(source: media.Source) -> str:
    """What a sound that nothing here decodes is packed as, told by its first bytes; empty for any other file."""
    head = media.head(source, 16)
    return next((name for name, start in CODECS.items() if start.match(head)), "")


def unread(codec: str) -> str:
    """Why a sound is not read, and what to do about it."""
    return tr("sound in {codec} is not decoded here; make it WAV, FLAC, Ogg, Opus or MP3, for example: ffmpeg -i IN OUT.wav", codec=codec)


def _open(source: media.Source) -> soundfile.SoundFile:
    try:
        found = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except OPEN_FAULTS as error:  # TypeError: a name in .raw, which tells no rate
        codec = packed(source)
        raise ValueError(unread(codec) if codec else tr("it is no sound that can be read")) from error
    if not found.frames and (told := _told(source)):
        found.close()
        found = soundfile.SoundFile(io.BytesIO(told))
    if not (0 < found.channels <= CHANNELS and SLOWEST <= found.samplerate <= FASTEST):
        found.close()
        raise ValueError(tr("its header promises {channels} channels at {rate} Hz", channels=found.channels, rate=found.samplerate))
    return found


def look(source: media.Source) -> Look:
    """Length, rate and channels of a sound."""
    with hushed(), _open(source) as sound:
        return Look(max(0, sound.frames), sound.samplerate, sound.channels)


def _read(sound: soundfile.SoundFile, frames: int) -> np.ndarray:
    """At most `frames` frames as float32 (S, channels), in pieces, so that memory follows what is there and not what is promised."""
    left = max(1, min(frames, SAMPLES // sound.channels))
    pieces: list[np.ndarray] = []
    try:
        while left > 0:
            piece = sound.read(min(left, 1 << 18), dtype="float32", always_2d=True)
            if not len(piece):
                break
            pieces.append(piece)
            left -= len(piece)
    except SoundFileError as error:
        raise ValueError(tr("the sound is truncated or damaged")) from error
    if not pieces:
        raise ValueError(tr("the sound is truncated or damaged"))
    return np.concatenate(pieces)


def decode(source: media.Source, rate: int, longest: int) -> np.ndarray:
    """One sound as int16 (S,), S <= longest; ValueError with the reason when it cannot be read.

    What is kept is cut before resampling, with a margin for the filter.
    """
    with hushed(), _open(source) as sound:
        own = sound.samplerate
        wave = _read(sound, int(np.ceil(longest / rate * own)) + own // 10)
    mono = _mono(wave)
    mono = soxr.resample(mono, own, rate) if own != rate else mono
    mono = mono[:longest]
    if not len(mono):
        raise ValueError(tr("the sound is shorter than one sample"))
    return (np.clip(mono, -1, 1) * 32767).round().astype(np.int16)


def _mono(wave_SC: np.ndarray) -> np.ndarray:
    """One channel (S,): the mean of all, or the loudest where they cancel one another out, as when one is wired the wrong way round."""
    wave_SC = np.nan_to_num(wave_SC, posinf=1.0, neginf=-1.0)
    if wave_SC.shape[1] == 1:
        return wave_SC[:, 0]
    mean_S, power_C = wave_SC.mean(axis=1), np.square(wave_SC).sum(axis=0)
    lost = np.square(mean_S).sum() < CANCELLED * power_C.max()
    return wave_SC[:, int(power_C.argmax())] if lost else mean_S


def pieces(source: media.Source, rate: int, longest: int) -> Iterator[tuple[float, np.ndarray]]:
    """A whole sound of any length as int16 pieces of at most `longest` samples, cut where it is quietest, each with the second at which it
    begins; silent pieces are left out.

    It is read as it is cut: memory does not grow with its length.
    """
    kept, begin = np.zeros(0, np.int16), 0
    for block in _blocks(source, rate):
        kept = np.concatenate([kept, block])
        while len(kept) > longest:
            place = max(1, _quietest(kept[:longest], rate))
            if np.abs(kept[:place].astype(np.int32)).max(initial=0) > SILENT:
                yield begin / rate, kept[:place]
            kept, begin = kept[place:], begin + place
    if np.abs(kept.astype(np.int32)).max(initial=0) > SILENT:
        yield begin / rate, kept


def between(source: media.Source, spans: Sequence[tuple[float, float]]) -> Iterator[bytes]:
    """What lies between two moments (seconds), of each of the spans, as a WAV file of one channel at the sound's own rate."""
    with hushed(), _open(source) as sound:
        for begin, end in spans:
            sound.seek(min(round(begin * sound.samplerate), max(0, sound.frames - 1)))
            wave = _mono(_read(sound, round((end - begin) * sound.samplerate)))
            yield wav((np.clip(wave, -1, 1) * 32767).round().astype(np.int16), sound.samplerate)


def _blocks(source: media.Source, rate: int) -> Iterator[np.ndarray]:
    """One channel at that rate, int16, a few seconds at a time; what follows on damage is left out."""
    with hushed(), _open(source) as sound:
        stream = soxr.ResampleStream(sound.samplerate, rate, 1) if sound.samplerate != rate else None
        last = False
        while not last:
            try:
                piece = sound.read(1 << 18, dtype="float32", always_2d=True)
            except SoundFileError:
                return
            last = not len(piece)
            mono = _mono(piece)
            mono = stream.resample_chunk(mono, last=last) if stream else mono
            yield (np.clip(mono, -1, 1) * 32767).round().astype(np.int16)


def _quietest(wave_S: np.ndarray, rate: int) -> int:
    """Where to cut: the middle of the quietest tenth of a second in the later two thirds."""
    width = min(max(1, rate // 10), max(1, len(wave_S) // 4))
    power = np.concatenate([[0.0], np.cumsum(np.square(wave_S.astype(np.float64)))])
    first = len(wave_S) // 3
    energy = power[first + width :] - power[first:-width]
    lowest = np.flatnonzero(energy <= energy.min() + 1.0)
    return first + int(lowest[-1]) + width // 2 if len(lowest) else len(wave_S)


def wav(wave_S: np.ndarray, rate: int) -> bytes:
    """Samples as the bytes of a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, wave_S, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _is_cut(source: media.Source) -> bool:
    """Whether a WAV file ends long before its header says: libsndfile takes what is there for all. What is written in place of a length
    that is not known yet, as into a pipe, promises nothing."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        length = _samples(file)
        return length < UNKNOWN and size - file.tell() < WHOLE * length


def _samples(file: BinaryIO) -> int:
    """Bytes of samples that a WAV file promises, which is read up to these; 0 of any other file."""
    file.seek(0)
    head = file.read(12)
    for _ in range(MOST_CHUNKS if head[:4] == b"RIFF" and head[8:] == b"WAVE" else 0):
        chunk = file.read(8)
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            return length
        file.seek(length + length % 2, io.SEEK_CUR)
    return 0


def _told(source: media.Source) -> bytes:
    """A WAV file whose writer left the length of its samples at 0, as into a pipe, with that told; empty for any other, and where nothing,
    or another part of the file, stands behind."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        if _samples(file):
            return b""
        start, rest = file.tell(), file.read(MOST_UNTOLD)
        if not rest or (rest[:4].isalnum() and int.from_bytes(rest[4:8], "little") <= len(rest)):
            return b""
        file.seek(0)
        return file.read(start - 4) + len(rest).to_bytes(4, "little") + rest


def trial(source: media.Source) -> bool:
    """Decode as much as would be kept at most, and let it go; a WAV file shorter than its header says is damaged."""
    with hushed(), _open(source) as sound:
        promised = sound.frames
        found = len(_read(sound, int(4 * LONGEST * sound.samplerate)))
        if found < min(promised, int(4 * LONGEST * sound.samplerate)) or _is_cut(source):
            raise ValueError(tr("the sound is truncated or damaged"))
    return True


KIND = Sound()
