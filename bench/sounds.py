"""Sounds by class beside MFCC with scikit-learn: python bench/sounds.py FOLDER [--sets drums,languages] [--seeds 1,2,3]

FOLDER holds these Debian packages, unpacked with dpkg-deb -x: hydrogen-drumkits and lmms-common (drums: six kinds by the word in the file's
name), sonic-pi-samples (samples: eight kinds by the name's first part), ktuberling-data (languages: six, a word spoken a clip), and
timgm6mb-soundfont (instruments: eight, the raw recordings). At most 60 clips a class; 40 % of each are the test, divided anew for each
seed. `duomo.train` does the rest with its defaults. The peers get its training and validation rows: mean and deviation of 20 MFCC
(librosa at 16 kHz), standardised, then logistic regression with C by cross-validation, or an SVM with a Gaussian kernel.
Prints accuracies on the test and the CPU seconds of duomo's training.
"""

import re
import shutil
import struct
import tempfile
import warnings
from pathlib import Path

import librosa
import numpy as np
import soundfile
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from common import command_line, trained

MOST, RATE, SHORTEST = 60, 16_000, 0.03
DRUMS = {
    "hihat": r"hi.?hat|hh|hat",
    "snare": r"snare|^sn",
    "kick": r"kick|bass.?drum|^bd",
    "tom": r"tom",
    "crash": r"crash",
    "ride": r"ride",
}
SAMPLES = ("ambi", "bass", "bd", "drum", "elec", "loop", "tabla", "perc")
LANGUAGES = ("ca", "da", "fr", "lt", "ru", "uk")
INSTRUMENTS = {"piano": "piano|grand", "guitar": "guitar|gtr", "bass": "bass", "violin": "violin|strings|viola|cello",
               "brass": "trumpet|trombone|horn|tuba|brass", "reed": "sax|clarinet|oboe|bassoon", "flute": "flute|picc|recorder",
               "voice": "choir|ooh|ahh|voice"}  # fmt: skip


def found(root: Path, name: str, at: Path) -> list[tuple[Path, str]]:
    """The recordings of a set and their classes."""
    sounds = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".wav", ".flac", ".ogg"))
    if name == "drums":
        kits = [path for path in sounds if {"hydrogen", "drums"} & set(path.parts) or "sonic-pi" in path.parts]
        told = [(path, [kind for kind, word in DRUMS.items() if re.search(word, path.stem.lower().split("__")[-1])]) for path in kits]
        return [(path, kinds[0]) for path, kinds in told if len(kinds) == 1]
    if name == "samples":
        return [(path, kind) for path in sounds if "sonic-pi" in path.parts and (kind := path.stem.split("_")[0]) in SAMPLES]
    if name == "languages":
        return [(path, path.parent.name) for path in sounds if path.parent.name in LANGUAGES and "ktuberling" in path.parts]
    return instruments(next(root.rglob("TimGM6mb.sf2")).read_bytes(), at)


def instruments(bank: bytes, at: Path) -> list[tuple[Path, str]]:
    """The recordings in a sound font: chunk `smpl` holds 16-bit samples, a record of 46 bytes in `shdr` says where one begins and ends."""
    place, heads = bank.index(b"smpl") + 8, bank.index(b"shdr")
    samples, cut = bank[place:], []
    for head in range(heads + 8, heads + 8 + struct.unpack("<I", bank[heads + 4 : heads + 8])[0], 46):
        called = bank[head : head + 20].split(b"\0")[0].decode("latin1").lower()
        start, stop, _, _, rate = struct.unpack("<5I", bank[head + 20 : head + 40])
        kind = next((kind for kind, word in INSTRUMENTS.items() if re.search(word, called)), "")
        if kind and rate and stop - start > rate * SHORTEST:
            path = at / f"{head}.wav"
            soundfile.write(path, np.frombuffer(samples[2 * start : 2 * stop], np.int16), rate)
            cut.append((path, kind))
    return cut


def opens(path: Path) -> bool:
    try:
        return float(soundfile.info(path).duration) > SHORTEST
    except soundfile.LibsndfileError:
        return False


def divided(rows: list[tuple[Path, str]], seed: int, at: Path) -> None:
    """Copies into at/train/CLASS and at/test/CLASS."""
    random = np.random.default_rng(seed)
    for kind in sorted({kind for _, kind in rows}):
        own = [path for path, one in rows if one == kind]
        own = [own[place] for place in random.permutation(len(own))[:MOST]]
        for place, path in enumerate(own):
            folder = at / ("test" if place < 0.4 * len(own) else "train") / kind
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / f"{place}{path.suffix.lower()}")


def mfcc(path: Path) -> np.ndarray:
    wave, _ = librosa.load(path, sr=RATE)
    found = librosa.feature.mfcc(y=np.pad(wave, (0, max(0, 2048 - len(wave)))), sr=RATE, n_mfcc=20)
    return np.concatenate([found.mean(1), found.std(1)])


def peers(at: Path) -> dict[str, float]:
    parts = {part: sorted(path for path in (at / part).rglob("*.*")) for part in ("train", "test")}
    x, y = (
        {part: np.array([take(path) for path in paths]) for part, paths in parts.items()} for take in (mfcc, lambda path: path.parent.name)
    )
    models = {"MFCC regression": LogisticRegressionCV(Cs=np.logspace(-3, 2, 6), max_iter=2000), "MFCC SVM": SVC(C=10)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = {name: make_pipeline(StandardScaler(), model).fit(x["train"], y["train"]) for name, model in models.items()}
    return {name: float(model.score(x["test"], y["test"])) for name, model in fitted.items()}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default="drums,samples,languages,instruments")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--model", default="")
    arguments = parser.parse_args()
    for name in arguments.sets.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                at = Path(folder)
                divided([pair for pair in found(arguments.folder, name, at) if opens(pair[0])], seed, at / "x")
                settings = {"data": {"test": str(at / "x/test")}, "train": {"seed": seed}} | (
                    {"model": {"name": arguments.model}} if arguments.model else {}
                )
                judged = trained(at / "x/train", settings)
                own = {one["name"]: one["metrics"]["accuracy"]["value"] for one in judged.results}
                told = " ".join(f"| {peer} {value:.3f}" for peer, value in (own | peers(at / "x")).items())
                tested, outcome = judged.card["test"]["rows"], judged.card["verdict"]["outcome"]
                print(f"{name:11} seed {seed} {tested:4} tested, {judged.cpu:4.0f} CPU s {told} | {outcome}", flush=True)


if __name__ == "__main__":
    main()
