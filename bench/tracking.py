"""Do things of a film keep their numbers? python bench/tracking.py [--seeds 5] [--run RUN --data FOLDER]

Things move on their own ways, cross, hide one another, come and go; where they are is known exactly. Without --run their true boxes are
spoilt as a detector would (shaken by 4 % of their size, one in eight missed, half hidden ones unsure, one false box in three frames)
and given to our tracker, and beside it to matching by overlap alone, frame to frame, of the sure boxes. With --run the film is
composed of FOLDER/cutouts/test on FOLDER/grounds/test and goes through `duomo predict RUN film.avi -o boxed.avi`.

IDF1 (Ristani et al. 2016, arXiv:1609.01775) is the share of boxes under the right number, over a film; a switch is a thing that
goes on under another number (Bernardin and Stiefelhagen 2008). A box is right from half overlap on.
"""

import csv
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

import duomo
from common import command_line
from duomo.core import films
from duomo.data.tracking import Detection, Tracker

WIDTH, HEIGHT, FRAMES, RATE = 640, 360, 300, 25.0
THINGS, SURE, SEEN = 10, 0.5, 0.3
Tracks = list[dict[int, tuple[float, ...]]]
"""For each frame: number -> box."""


def ways(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (frames, things, 4), later things in front, and how much of each is seen (frames, things); 0 before and after its time."""
    size = random.uniform(36, 110, (THINGS, 2)) * [1.0, 0.9]
    start, speed = random.uniform([0, 0], [WIDTH, HEIGHT], (THINGS, 2)), random.uniform(-3.5, 3.5, (THINGS, 2))
    swing, phase = random.uniform(0, 25, (THINGS, 2)), random.uniform(0, 6, (THINGS, 2))
    begin, end = random.integers(0, FRAMES // 3, THINGS), random.integers(2 * FRAMES // 3, FRAMES, THINGS)
    boxes, seen = np.zeros((FRAMES, THINGS, 4)), np.zeros((FRAMES, THINGS))
    for frame in range(FRAMES):
        way = start + speed * frame + swing * np.sin(frame / 18 + phase)
        room = np.array([WIDTH, HEIGHT]) - size / 2
        centre = np.abs((way - size / 2) % (2 * (room - size / 2)) - (room - size / 2)) + size / 2  # reflected at the borders
        boxes[frame] = np.concatenate([centre - size / 2, centre + size / 2], 1)
        cover = np.zeros((HEIGHT, WIDTH), np.int8)
        for thing in range(THINGS):
            if begin[thing] <= frame < end[thing]:
                left, top, right, bottom = boxes[frame, thing].round().astype(int)
                cover[max(0, top) : bottom, max(0, left) : right] = thing + 1
        area = (boxes[frame, :, 2:] - boxes[frame, :, :2]).prod(1)
        seen[frame] = np.array([(cover == thing + 1).sum() for thing in range(THINGS)]) / area
    return boxes, seen


def truth(boxes: np.ndarray, seen: np.ndarray) -> Tracks:
    return [{thing: tuple(boxes[frame, thing]) for thing in np.flatnonzero(seen[frame] >= SEEN).tolist()} for frame in range(len(boxes))]


def spoilt(boxes: np.ndarray, seen: np.ndarray, random: np.random.Generator) -> Iterator[list[Detection]]:
    """What a detector would make of it."""
    for frame in range(len(boxes)):
        found = []
        for thing in np.flatnonzero(seen[frame] >= 0.15):
            if random.random() < 0.12:
                continue
            size = boxes[frame, thing, 2:] - boxes[frame, thing, :2]
            box = boxes[frame, thing] + random.normal(0, 0.04, 4) * np.tile(size, 2)
            score = float(np.clip(0.25 + 0.65 * seen[frame, thing] + random.normal(0, 0.1), 0.05, 0.99))
            found.append(Detection("thing", score, tuple(box)))
        if random.random() < 0.33:
            corner, side = random.uniform([0, 0], [WIDTH - 60, HEIGHT - 60]), random.uniform(20, 60, 2)
            found.append(Detection("thing", float(random.uniform(0.2, 0.7)), (*corner, *(corner + side))))
        yield found


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    low, high = np.maximum(one[:, None, :2], other[None, :, :2]), np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (one, other)]
    found: np.ndarray = shared / np.maximum(area[0][:, None] + area[1][None] - shared, 1e-9)
    return found


def by_overlap(frames: Sequence[list[Detection]]) -> Tracks:
    """The simple rival: a sure box takes the number of the last frame's box that it overlaps most, or a new one."""
    last: dict[int, tuple[float, ...]] = {}
    count, told = 0, []
    for found in frames:
        boxes = [one.box for one in found if one.score >= SURE]
        now: dict[int, tuple[float, ...]] = {}
        if boxes and last:
            fit = overlap(np.array(boxes), np.array(list(last.values())))
            for row, column in zip(*linear_sum_assignment(-fit), strict=True):
                if fit[row, column] >= 0.2:
                    now[list(last)[column]] = boxes[row]
        for box in boxes:
            if box not in now.values():
                count += 1
                now[count] = box
        told.append(now)
        last = now
    return told


def judged(true: Tracks, told: Tracks) -> tuple[float, int, int]:
    """IDF1, switches, numbers given."""
    together: dict[tuple[int, int], int] = defaultdict(int)
    before: dict[int, int] = {}
    switches = 0
    for real, found in zip(true, told, strict=True):
        if not real or not found:
            continue
        fit = overlap(np.array(list(real.values())), np.array(list(found.values())))
        names, numbers = list(real), list(found)
        for row, column in zip(*np.nonzero(fit >= 0.5), strict=True):
            together[names[row], numbers[column]] += 1
        keeps = np.array([[0.5 * (before.get(name) == number) for number in numbers] for name in names])
        cost = np.where(fit >= 0.5, -(fit + keeps), 10.0)
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            if fit[row, column] >= 0.5:
                switches += names[row] in before and before[names[row]] != numbers[column]
                before[names[row]] = numbers[column]
    names, numbers = sorted({name for name, _ in together}), sorted({number for _, number in together})
    table = np.array([[together[name, number] for number in numbers] for name in names]) if names else np.zeros((1, 1))
    right = table[linear_sum_assignment(-table)].sum()
    whole = sum(map(len, true)) + sum(map(len, told))
    return float(2 * right / max(1, whole)), switches, len({number for frame in told for number in frame})


def film(path: Path, data: Path, boxes: np.ndarray, seen: np.ndarray, random: np.random.Generator) -> None:
    """The things as cut-outs on a background, at their boxes."""
    cuts = sorted((data / "cutouts" / "test").rglob("*.png"))
    grounds = sorted((data / "grounds" / "test").glob("*.png"))
    ground = Image.open(grounds[int(random.integers(len(grounds)))]).convert("RGB").resize((WIDTH, HEIGHT))
    things = []
    for place in random.permutation(len(cuts))[:THINGS]:
        picture = Image.open(cuts[place]).convert("RGBA")
        things.append(picture.crop(picture.getchannel("A").getbbox()))
    cv2 = films.library()
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), RATE, (WIDTH, HEIGHT))
    for frame in range(FRAMES):
        scene = ground.copy()
        for thing in np.flatnonzero(seen[frame] > 0):
            left, top, right, bottom = boxes[frame, thing].round().astype(int).tolist()
            one = things[thing].resize((right - left, bottom - top))
            scene.paste(one.convert("RGB"), (left, top), one.getchannel("A"))
        writer.write(np.asarray(scene)[:, :, ::-1])
    writer.release()


def listed(path: Path) -> Tracks:
    told: Tracks = [{} for _ in range(FRAMES)]
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            told[int(row["frame"])][int(row["track"])] = tuple(float(row[side]) for side in ("left", "top", "right", "bottom"))
    return told


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--run", help="a run of the task detect")
    parser.add_argument("--data", type=Path, help="with --run: the folder that holds cutouts/ and grounds/")
    arguments = parser.parse_args()
    print(f"{'film':6}{'tracked by':24}{'IDF1':>8}{'switches':>10}{'numbers':>9}   of {THINGS} things")
    for seed in range(arguments.seeds):
        random = np.random.default_rng(seed)
        boxes, seen = ways(random)
        true = truth(boxes, seen)
        if arguments.run:
            with tempfile.TemporaryDirectory() as place:
                film(Path(place, "film.avi"), arguments.data, boxes, seen, random)
                duomo.load(arguments.run).predict_file(Path(place, "film.avi"), str(Path(place, "boxed.avi")))
                rivals = {"duomo predict": listed(Path(place, "boxed.csv"))}
        else:
            frames, tracker = list(spoilt(boxes, seen, random)), Tracker(SURE, RATE)
            ours = [{one.track: one.box for one in tracker.update(found)} for found in frames]
            rivals = {"duomo": ours, "overlap alone": by_overlap(frames)}
        for name, told in rivals.items():
            share, switches, numbers = judged(true, told)
            print(f"{seed:<6}{name:24}{share:8.3f}{switches:10}{numbers:9}")


if __name__ == "__main__":
    main()
