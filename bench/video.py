"""Films of Atari games: python bench/video.py FOLDER [--only game|action] [--model r2plus1d] [--epochs 0] [--seed 0]

The films are played by ale-py (its wheel holds the ROMs) with random actions, sticky with probability 0.25, and written once to
FOLDER/atari as MP4 and AVI files, as OpenCV writes them. Every test episode has a seed of its own: none of it is in training.

game    which of 20 games is it: 8 episodes of each to learn from, 6 to be tested on, 4 seconds each
action  which way does the player go (left, right, not at all) in six games: films of half a second in which one action is held, where
        the three lead to different pictures; five are cut from each episode and stay together in the split. Beside it the same
        model on single frames (any of eight from each film, and the mean of its answers for all eight)

Printed: the scorecard's metrics with intervals (of whole films, and of clips), the baselines, and the CPU minutes of training.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import duomo
from common import command_line
from duomo.terminal import TerminalReporter

GAMES = (
    *("alien", "amidar", "assault", "asterix", "atlantis", "bank_heist", "beam_rider", "berzerk", "bowling", "boxing", "breakout"),
    *("carnival", "centipede", "chopper_command", "crazy_climber", "demon_attack", "enduro", "freeway", "frostbite", "ms_pacman"),
)
"""Of the first eighty games in alphabetical order."""
SIDEWAYS = ("assault", "carnival", "demon_attack", "galaxian", "phoenix", "air_raid")
"""Games in which a figure goes left and right while the rest moves by itself."""
WIDTH, HEIGHT = 84, 84
TRAIN, TEST = 8, 6
LONG, SHORT = 60, 16
"""Frames of a film."""
EPISODES, CUTS = (24, 10), 5
"""Episodes of each game to learn from and to test on; films cut from each."""
BARS = {"game": 0.95, "action": 0.10}


class Console:
    """A game that is played from a seed; a frame is the brighter of two, since sprites flicker."""

    def __init__(self, game: str, seed: int):
        from ale_py import ALEInterface, LoggerMode
        from ale_py.roms import get_rom_path

        ALEInterface.setLoggerMode(LoggerMode.Error)
        self.ale = ALEInterface()
        self.ale.setInt("random_seed", seed)
        self.ale.setFloat("repeat_action_probability", 0.25)
        self.ale.loadROM(get_rom_path(game))
        self.actions = self.ale.getMinimalActionSet()
        self.random = np.random.default_rng(seed)
        self.wait(int(self.random.integers(10, 60)))

    def wander(self, frames: int) -> None:
        """Random actions, each held for a while."""
        for _ in range(0, frames, 8):
            self.wait(8, self.actions[self.random.integers(len(self.actions))])

    def wait(self, frames: int, action: Any = 0) -> None:
        for _ in range(frames):
            if self.ale.game_over():
                self.ale.reset_game()
            self.ale.act(action)

    def same(self, ways: Iterable[object]) -> bool:
        """Whether two of these actions, each held for a film's length from here, show the same: between lives nothing can be steered."""
        here, last = self.ale.cloneState(), []
        for way in ways:
            self.wait(2 * SHORT, way)
            last.append(self.ale.getScreenRGB().tobytes())
            self.ale.restoreState(here)
        return len(set(last)) < len(last)

    def frame(self, action: object, skip: int) -> np.ndarray:
        self.wait(skip - 1, action)
        before = self.ale.getScreenRGB()
        self.wait(1, action)
        return cv2.resize(np.maximum(before, self.ale.getScreenRGB()), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def write(path: Path, frames: Iterator[np.ndarray], rate: float) -> None:
    """RGB frames as a film; the ending says which kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = "mp4v" if path.suffix == ".mp4" else "MJPG"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (WIDTH, HEIGHT))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def play_games(place: Path) -> None:
    """place/train/GAME/episode_N and place/test/GAME/episode_N."""
    for number, game in enumerate(GAMES):
        for episode in range(TRAIN + TEST):
            console = Console(game, 1000 * number + episode)
            part = "train" if episode < TRAIN else "test"
            name = f"episode_{episode:02}{'.mp4' if episode % 2 else '.avi'}"
            random, actions = console.random, console.actions
            frames = (console.frame(actions[random.integers(len(actions))], 4) for _ in range(LONG))
            write(place / part / game / name, frames, 15.0)


def play_actions(place: Path) -> None:
    """place/train/ACTION/GAME_N_clip_M and the same in place/test."""
    from ale_py import Action

    for number, game in enumerate(SIDEWAYS):
        held = {"left": Action.LEFT, "right": Action.RIGHT, "stay": Action.NOOP}
        for episode in range(sum(EPISODES)):
            console = Console(game, 500_000 + 1000 * number + episode)
            console.wander(80)
            part = "train" if episode < EPISODES[0] else "test"
            for cut in range(CUTS):
                console.wander(32)
                for _ in range(50):
                    if not console.same(held.values()):
                        break
                    console.wander(32)
                label = list(held)[console.random.integers(3)]
                frames = (console.frame(held[label], 2) for _ in range(SHORT))
                write(place / part / label / f"{game}_{episode:02}_clip_{cut}.avi", frames, 30.0)


def made(folder: Path, name: str) -> Path:
    """The films, played once."""
    place = folder / "atari" / name
    if not (place / "done").exists():
        started = time.process_time()
        {"game": play_games, "action": play_actions}[name](place)
        (place / "done").touch()
        print(f"{name}: films written in {(time.process_time() - started) / 60:.1f} CPU minutes")
    return place


def judged(place: Path, out: Path, settings: dict) -> float:
    """Train, print the scorecard's figures; the accuracy of whole films."""
    started = time.process_time()
    settings = {**settings, "data": {"task": "classify", "test": str(place / "test")}}
    run = duomo.train(place / "train", settings, out=out, reporter=TerminalReporter())
    minutes = (time.process_time() - started) / 60
    results = [result for result in run.scorecard["results"] if result["metrics"]]
    print(f"\n{out.name}: {minutes:.1f} CPU minutes, reading and baselines among them")
    for result in results:
        figures = {name: result["metrics"][name] for name in ("accuracy", "clip_accuracy") if name in result["metrics"]}
        shown = "   ".join(f"{name} {cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" for name, cell in figures.items())
        print(f"  {result['name']:45}{shown}")
    return float(results[0]["metrics"]["accuracy"]["value"])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=("game", "action"))
    parser.add_argument("--model", default="", help="vtn or r2plus1d; the recipe's own when left out")
    parser.add_argument("--epochs", type=float, default=0.0)
    parser.add_argument("--without-differences", action="store_true", help="frames alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-video"))
    arguments = parser.parse_args()
    model = {"name": arguments.model, "size": "small"} if arguments.model else {}
    settings = {"train": {"seed": arguments.seed, "epochs": arguments.epochs} if arguments.epochs else {"seed": arguments.seed}}
    settings |= {"model": model, "encode": {"frame_differences": False} if arguments.without_differences else {}}
    if arguments.only != "action":
        found = judged(made(arguments.folder, "game"), arguments.out / "game", settings)
        print(f"  which game, whole films never seen: {found:.3f}   bar {BARS['game']}")
    if arguments.only != "game":
        place = made(arguments.folder, "action")
        moving = judged(place, arguments.out / "action", settings)
        alone = {"clip_frames": 1, "clips": 8, "frame_differences": False}
        still = judged(place, arguments.out / "single-frame", {**settings, "encode": alone})
        print(f"  which action: {moving:.3f} against {still:.3f} from single frames: {moving - still:+.3f}   bar +{BARS['action']}")


if __name__ == "__main__":
    main()
