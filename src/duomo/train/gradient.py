"""Forward and backward pass of one step: the mean loss, and its gradients on the weights.

Three ways to the same gradients: the whole batch at once; micro-batches one after the other (`train.accumulate`); or the parts of
`Execution.parts` side by side, one thread each. Small models leave a second core idle, for their products are too small to be
shared; halves of the batch are not. The parts' gradients are added in order, so that nothing depends on which was ready first.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final

import torch
from torch import Tensor, nn

from duomo.core.contract import Task
from duomo.core.device import Execution
from duomo.core.tensors import Batch
from duomo.train.prefetch import in_float32, size, split

Sums = tuple[Tensor, Tensor, tuple[Tensor | None, ...]]
"""Sum of the losses, how many were summed, gradients of the sum."""


@final
class Gradient:
    """Call it with a batch on the device; the gradients are then in the weights' `grad`."""

    def __init__(self, task: Task, runner: nn.Module, weights: list[nn.Parameter], execution: Execution, accumulate: int = 1):
        self.task, self.runner, self.weights, self.execution, self.accumulate = task, runner, weights, execution, accumulate
        others = execution.parts - 1 if accumulate <= 1 else 0
        self.pool = ThreadPoolExecutor(others, initializer=torch.set_num_threads, initargs=(1,)) if others > 0 else None

    def __call__(self, batch: Batch, check: Callable[[], None] = lambda: None) -> Tensor:
        """Mean loss of the step (detached float32 scalar), however the batch was cut; `check` is called between micro-batches."""
        if self.pool is not None and size(batch) >= self.execution.parts:
            return self._side_by_side(self.pool, split(batch, self.execution.parts))
        if self.accumulate > 1:
            return self._in_turn(split(batch, self.accumulate), check)
        total, count = self._loss(batch)
        loss = total / count.clamp(min=1e-8)
        loss.backward()
        return loss.detach().float()

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def _loss(self, batch: Batch, cached: bool = True) -> tuple[Tensor, Tensor]:
        """`cached`: casts of weights are kept until the pass is over."""
        with torch.autocast(self.execution.device, torch.bfloat16, self.execution.precision == "bf16", cache_enabled=cached):
            output = self.runner(batch)
        total, count = self.task.loss(in_float32(output), batch)
        return total, torch.as_tensor(count)

    def _in_turn(self, parts: list[Batch], check: Callable[[], None]) -> Tensor:
        sums, counts = [], []
        for part in parts:
            check()
            total, count = self._loss(part)
            total.backward()
            sums.append(total.detach())
            counts.append(count.detach())
        whole = torch.stack(counts).sum().clamp(min=1e-8)
        torch._foreach_div_([weight.grad for weight in self.weights if weight.grad is not None], float(whole))
        return (torch.stack(sums).sum() / whole).float()

    def _side_by_side(self, pool: ThreadPoolExecutor, parts: list[Batch]) -> Tensor:
        waiting = [pool.submit(self._part, part) for part in parts[1:]]
        found = [self._part(parts[0]), *(one.result() for one in waiting)]
        whole = torch.stack([count for _, count, _ in found]).sum().clamp(min=1e-8)
        added = map(_added, zip(*(grads for _, _, grads in found), strict=True))
        learned = [(weight, grad) for weight, grad in zip(self.weights, added, strict=True) if grad is not None]
        for (weight, _), grad in zip(learned, torch._foreach_div([grad for _, grad in learned], float(whole)), strict=True):
            weight.grad = grad
        return (torch.stack([total for total, _, _ in found]).sum() / whole).float()

    def _part(self, batch: Batch) -> Sums:
        # casts are not shared: the cache of autocast belongs to all threads and is emptied by whichever is ready first
        total, count = self._loss(batch, cached=False)
        grads: Any = torch.autograd.grad(total, self.weights, allow_unused=True)
        return total.detach(), count.detach(), grads


def _added(grads: tuple[Tensor | None, ...]) -> Tensor | None:
    """Their sum, from the first to the last, in memory of its own: weights that are added to one another have one gradient for both."""
    found = [grad for grad in grads if grad is not None]
    return sum(found[1:], start=found[0]) if found else None
