"""Things seen in a rendered world, on maps never seen: python bench/doom.py FOLDER [--epochs 5] [--side 256] [--seed 0] [--scratch]

FOLDER holds mobilenet/ (the trunk's weights; unused with --scratch) as scripts/fetch_data.py writes it. The frames are rendered once by
ViZDoom to FOLDER/doom, on the 32 maps of Freedoom 2, which its wheel holds: every fourth map is the test, four others are for
validation, twenty to learn from. Somebody is put down beside a thing that was drawn, looks roughly at it, walks on a little, and what is
seen is written with the boxes of its visible pixels, as COCO JSON: first among monsters that have not noticed anything, then among
monsters that have. Seven classes, merged from the engine's own categories. What is narrower than six pixels, or of which fewer than
forty are seen, counts as a crowd: neither found nor missed.

Printed: the scorecard's figures on the test maps with intervals, the baselines beside them, and CPU minutes.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import duomo
from common import command_line
from duomo.terminal import TerminalReporter

CLASSES = {"Monster": "monster", "Health": "health", "Armor": "armor", "Ammo": "arms", "Weapon": "arms", "Hazard": "barrel",
           "Vegetation": "tree", "LightSource": "lamp"}  # fmt: skip
"""The engine's category of a thing -> class; things of other categories (the dead, keys, pillars, blood) are ground."""
NAMES = list(dict.fromkeys(CLASSES.values()))
MAPS = range(1, 33)
FRAMES = {"train": 150, "valid": 60, "test": 100}
"""Of each map."""
NARROW, FEW = 6, 40
EMPTY = 0.1
"""Share of the views without a thing that are kept."""


def part_of(number: int) -> str:
    return "test" if number % 4 == 0 else "valid" if number % 8 == 2 else "train"


class World:
    """Freedoom 2 as somebody sees it who cannot be hurt; everything follows from the map's number and the seed."""

    def __init__(self, seed: int):
        import vizdoom

        game = self.game = vizdoom.DoomGame()
        game.set_doom_game_path(str(Path(vizdoom.__file__).with_name("freedoom2.wad")))
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_320X256)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_mode(vizdoom.Mode.PLAYER)
        for switch in (game.set_labels_buffer_enabled, game.set_objects_info_enabled):
            switch(True)
        for switch in (game.set_window_visible, game.set_sound_enabled, game.set_render_hud, game.set_render_weapon,
                       game.set_render_messages, game.set_render_screen_flashes):  # fmt: skip
            switch(False)
        game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA, vizdoom.Button.MOVE_FORWARD])
        place = vizdoom.GameVariable
        game.set_available_game_variables([place.POSITION_X, place.POSITION_Y, place.ANGLE])
        game.set_episode_timeout(0)
        game.set_doom_skill(4)
        game.add_game_args("+sv_cheats 1 +cl_showsecretmessage 0")
        game.init()
        self.seed = seed

    def views(self, number: int, count: int) -> Iterator[tuple[np.ndarray, list[dict[str, Any]]]]:
        """(256, 320, 3) uint8 and its annotations (category_id, bbox, area, iscrowd), `count` times."""
        random = np.random.default_rng([self.seed, number])
        self.game.set_seed(1 + self.seed * len(MAPS) + number)
        self.game.set_doom_map(f"map{number:02}")
        made = 0
        self._begin()
        for noticed in (False, True):
            if noticed:
                self.game.send_game_command("notarget")
            while made < (count if noticed else count // 2):
                state = self._stand(random)
                if state is None:
                    continue
                found = list(_annotations(state))
                if any(not one["iscrowd"] for one in found) or random.random() < EMPTY:
                    made += 1
                    yield state.screen_buffer.copy(), found

    def _begin(self) -> None:
        self.game.new_episode()
        for command in ("god", "notarget"):
            self.game.send_game_command(command)

    def _stand(self, random: np.random.Generator) -> Any:
        """The state after a look and a few steps beside a thing; None where nobody can stand there, or the map came to its end."""
        before = self.game.get_state()
        if self.game.is_episode_finished() or before is None:
            self._begin()
            return None
        things = [thing for thing in before.objects if thing.name not in ("DoomPlayer", "TeleportFog")]
        thing = things[random.integers(len(things))]
        far, way = random.uniform(70, 260), random.uniform(0, 2 * np.pi)
        wanted = np.array([thing.position_x + far * np.cos(way), thing.position_y + far * np.sin(way)])
        self.game.send_game_command(f"warp {wanted[0]:.0f} {wanted[1]:.0f}")
        self.game.make_action([0, 0], 2)
        if (after := self.game.get_state()) is None:
            return None
        x, y, angle = after.game_variables
        if np.abs(wanted - (x, y)).sum() > 40:
            return None
        towards = np.degrees(np.arctan2(thing.position_y - y, thing.position_x - x)) + random.normal(0, 20)
        self.game.make_action([(angle - towards + 180) % 360 - 180, 0], 1)
        if not self.game.is_episode_finished():
            self.game.make_action([0, random.random() < 0.5], int(random.integers(1, 12)))
        return self.game.get_state()


def _annotations(state: Any) -> Iterator[dict[str, Any]]:
    for label in state.labels:
        if label.object_category in CLASSES and label.object_name != "DoomPlayer":
            seen = int((state.labels_buffer == label.value).sum())
            yield {
                "category_id": NAMES.index(CLASSES[label.object_category]) + 1, "area": seen,
                "bbox": [label.x, label.y, label.width, label.height],
                "iscrowd": int(min(label.width, label.height) < NARROW or seen < FEW),
            }  # fmt: skip


def made(folder: Path, seed: int) -> Path:
    """The frames, rendered once: place/{train,valid,test}/ with pictures and annotations.json."""
    place = folder.resolve() / "doom" / str(seed)
    if (place / "done").exists():
        return place
    started = time.perf_counter()
    place.mkdir(parents=True, exist_ok=True)
    told: dict[str, dict[str, list]] = {part: {"images": [], "annotations": []} for part in FRAMES}
    with contextlib.chdir(place):  # the engine leaves its settings where it runs
        world = World(seed)
        for number in MAPS:
            part = part_of(number)
            images, annotations = told[part].values()
            (place / part).mkdir(exist_ok=True)
            for view, (pixels, found) in enumerate(world.views(number, FRAMES[part])):
                name = f"map{number:02}_{view:03}.jpg"
                Image.fromarray(pixels).save(place / part / name, quality=92)
                images.append({"id": len(images), "file_name": name, "width": pixels.shape[1], "height": pixels.shape[0]})
                annotations += [{"id": len(annotations) + i, "image_id": len(images) - 1, **one} for i, one in enumerate(found)]
        world.game.close()
    for part, parts in told.items():
        categories = [{"id": place + 1, "name": name} for place, name in enumerate(NAMES)]
        (place / part / "annotations.json").write_text(json.dumps({**parts, "categories": categories}), encoding="utf-8")
        counts = Counter(NAMES[one["category_id"] - 1] for one in parts["annotations"] if not one["iscrowd"])
        print(f"{part}: {len(parts['images'])} frames, " + ", ".join(f"{counts[name]} {name}" for name in NAMES))
    print(f"rendered in {time.perf_counter() - started:.0f} s")
    (place / "done").touch()
    return place


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--side", type=int, default=256, help="pixels that the detector sees")
    parser.add_argument("--scratch", action="store_true", help="a small trunk from nothing in place of ImageNet's MobileNetV2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-doom"))
    arguments = parser.parse_args()
    place = made(arguments.folder, arguments.seed)
    settings: dict[str, Any] = {
        "data": {"task": "detect", "valid": str(place / "valid"), "test": str(place / "test")},
        "train": {"epochs": arguments.epochs, "seed": arguments.seed, "patience": 0},
        "encode": {"picture_size": arguments.side},
    }
    if not arguments.scratch:
        settings["adapt"] = {"start": str(arguments.folder / "mobilenet" / "mobilenet_v2.pth")}
    spent = time.process_time()
    run = duomo.train(place / "train", settings, out=arguments.out, reporter=TerminalReporter())
    print(f"\ntrained and judged in {(time.process_time() - spent) / 60:.1f} CPU min")
    results = run.scorecard["results"]
    print(f"{'metric':14}" + "".join(f"{result['name']:>28}" for result in results))
    for metric in results[0]["metrics"]:
        cells = [result["metrics"][metric] for result in results]
        print(f"{metric:14}" + "".join(f"{cell['value']:>9.3f} [{cell['low']:.3f}, {cell['high']:.3f}]".rjust(28) for cell in cells))


if __name__ == "__main__":
    main()
