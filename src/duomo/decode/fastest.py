"""Which engine writes fastest here without writing something else: measured, not guessed.

`agreement` is the gate: at how many places of greedy answers the next token is the one that the model itself would write, given the same
beginning. A place is judged by itself, so that one near tie does not condemn all that follows.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from duomo.core.errors import ConfigError, RunError
from duomo.core.messages import tr
from duomo.decode.engine import Engines
from duomo.decode.sampling import Sampling

UNFIT = (ConfigError, RunError)
TRIAL = Sampling(temperature=0, new_tokens=24)
LEAST = 0.95


@dataclass(frozen=True)
class Figure:
    """What was found of one engine."""

    rate: float
    """Tokens a second, of one answer alone."""
    together: float
    """Tokens a second, of several answers side by side."""
    agreement: float
    note: str = ""
    """Why it cannot be taken."""


def tokens_of(engine: Engines, prompt: Sequence[int], sampling: Sampling = TRIAL) -> list[int]:
    """The tokens of an answer."""
    return [piece.token for piece in engine.submit(prompt, replace(sampling, logprobs=-1)) if piece.token >= 0]


def agreement(answers: Sequence[Sequence[int]], engine: Engines, prompts: Sequence[Sequence[int]]) -> float:
    """Share of the tokens of these answers that the engine writes as well behind the same beginning."""
    same = whole = 0
    one = replace(TRIAL, new_tokens=1)
    for prompt, answer in zip(prompts, answers, strict=True):
        for place, token in enumerate(answer):
            same += tokens_of(engine, [*prompt, *answer[:place]], one)[:1] == [token]
            whole += 1
    return same / max(1, whole)


def rate(engine: Engines, prompts: Sequence[Sequence[int]], tokens: int) -> float:
    """Tokens a second of answers written side by side, from the moment when all prompts were read."""
    asked = replace(TRIAL, new_tokens=tokens)
    streams = [engine.submit(prompt, asked) for prompt in prompts]
    for stream in streams:
        stream.get()
    start, before = time.perf_counter(), sum(stream.written_tokens for stream in streams)
    for stream in streams:
        stream.text()
    return (sum(stream.written_tokens for stream in streams) - before) / max(1e-6, time.perf_counter() - start)


def fastest(
    makers: Mapping[str, Callable[[], Engines]], prompts: Sequence[Sequence[int]], *, company: int = 1
) -> tuple[str, dict[str, Figure]]:
    """The engine that writes most tokens a second among those that agree with the first, and all figures.

    `company`: how many answers are written side by side where it is used; above 1 that rate counts as much as that of one alone. An
    engine that cannot be made here is left out, with the reason beside its name.
    """
    figures: dict[str, Figure] = {}
    answers: list[list[int]] = []
    for name, make in makers.items():
        try:
            engine = make()
        except UNFIT as error:
            figures[name] = Figure(0.0, 0.0, 0.0, str(error))
            continue
        try:
            answers = answers or [tokens_of(engine, prompt) for prompt in prompts]
            agreed = agreement(answers, engine, prompts) if figures else 1.0
            alone = max(rate(engine, prompts[:1], TRIAL.new_tokens) for _ in range(2))
            several = [prompts[number % len(prompts)] for number in range(company)]
            together = max(rate(engine, several, TRIAL.new_tokens) for _ in range(2)) if company > 1 else alone
        finally:
            engine.close()
        figures[name] = Figure(alone, together, agreed, "" if agreed >= LEAST else tr("other answers than the model's own"))
    return max(figures, key=lambda name: (not figures[name].note, figures[name].rate * figures[name].together)), figures
