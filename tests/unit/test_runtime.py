"""What the C libraries below torch do with this process."""

import resource
import sys

import pytest
import torch
from torch import nn

from duomo.core import device
from duomo.core.device import Execution, answering


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of Linux")
def test_freed_memory_is_kept_once_an_execution_is_settled() -> None:
    Execution().settle()

    def step() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        kept = [torch.zeros(2**22) for _ in range(4)]  # 16 MB each: without it the system gives and zeroes their pages anew
        del kept
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    step()
    assert min(step() for _ in range(3)) < 4 * 2**24 / 4096 / 4


def test_a_finished_model_answers_by_the_quicker_products(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(3, 2)
    monkeypatch.setattr(device, "_cpu_lines", lambda: ["vendor_id\t: AuthenticAMD"])
    assert answering(model).matmul == "medium" and answering(model).precision == "float32"
    assert answering(model, exact=True).matmul == "highest"
    monkeypatch.setattr(device, "_cpu_lines", lambda: ["vendor_id\t: GenuineIntel"])
    assert answering(model) == Execution()
    assert answering(nn.Sequential(nn.Conv2d(3, 2, 1))).channels_last
    assert not answering(nn.Sequential(nn.Conv2d(3, 2, 1)), exact=True).channels_last
