"""A step is a pure function of its number: what it draws at random follows from (seed, step)."""

import torch


def mix(seed: int, step: int) -> int:
    """63 well-mixed bits of (seed, step) (SplitMix64, doi:10.1145/2714064.2660195)."""
    value = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03 + 0x2545F4914F6CDD1D) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (value ^ (value >> 31)) >> 1


def seed_step(seed: int, step: int, device: str) -> None:
    """What the model draws in this step (dropout) follows from the step's number."""
    torch.default_generator.manual_seed(mix(seed, step))
    if device != "cpu":
        torch.cuda.manual_seed_all(mix(seed, step))
