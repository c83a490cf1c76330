"""What goes into a training, and what comes out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from duomo.core.contract import Stream, Task
from duomo.core.device import Execution
from duomo.core.recipe import TrainConfig
from duomo.core.tensors import Batch


@dataclass
class Job:
    """Everything that one training needs."""

    task: Task
    model: nn.Module
    """Initialised, on the device."""
    stream: Stream
    """Finished batches on the CPU."""
    valid: Callable[[], Iterator[Batch]] | None
    """Validation batches in order, finished, on the CPU."""
    config: TrainConfig
    """Resolved: steps, epochs or minutes; batch_size, learning_rate and weight_decay are set."""
    execution: Execution
    folder: Path
    """The run folder."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Name of a weight -> share of the learning rate; 1 for those not named."""
    fresh: Callable[[], None] | None = None
    """Puts the weights that training starts from into the model again, for a resume that finds no checkpoint."""
    facts: dict[str, Any] = field(default_factory=dict)
    """planned_seconds (float): what the preflight said. samples (callable: () -> {name: text}): texts of the model for TensorBoard.
    knows (bool): the model knows its work before the first step, and is judged then too. first (callable: (loss and metrics) -> None): told
    what was judged then."""


@dataclass(frozen=True)
class Outcome:
    """How training went; the model holds the kept weights."""

    steps: int
    best_step: int
    best: float | None
    """Best value on validation of what chooses (task.chosen_by or task.metric); None without validation."""
    history: list[dict[str, Any]]
    """One entry for each evaluation: step, loss and the task's metrics."""
    seconds: float
    rate: float
    """Rows a second, evaluations and checkpoints not counted."""
    interrupted: int
    """How often training was taken up again."""
    spikes: list[dict[str, float]]
    planned_seconds: float | None
    memory_bytes: int
    """Peak of the process (CPU) or of the allocator (CUDA)."""
    disk_bytes: int
