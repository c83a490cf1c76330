"""What the C libraries below torch do with this process: threads that wait, and memory that was freed.

On a busy machine OpenMP threads must sleep while they wait. Two spinning threads beside another busy process were 37 times
slower than one; sleeping ones lose 16–25 % on a quiet machine. The runtime reads its policy once, when it is loaded, so the
choice is made from the load at the start.
"""

import ctypes
import os
import sys
from contextlib import suppress

BUSY = 0.6
"""Processes waiting to run, for each processor, above which the machine counts as busy (the last minute's average)."""


def settle() -> None:
    """Choose the wait policy unless the user has chosen one."""
    if "OMP_WAIT_POLICY" in os.environ or not busy():
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("KMP_BLOCKTIME", "0")


def busy() -> bool:
    try:
        return os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)
    except OSError:
        return False


def release() -> None:
    """End the idle OpenMP threads of the calling thread, which has handed its work to another.

    Each thread that computes has helpers of its own. As soon as there are more of them than processors, GNU's runtime lets all of them
    sleep between products instead of spinning for a moment, and a product that takes 0.1 ms waits as long again for its helper to wake.
    """
    try:
        ctypes.CDLL(None).omp_pause_resource_all(1)
    except AttributeError:
        return  # another runtime


def keep() -> None:
    """Ask the allocator to hold on to freed blocks of up to 1 GB: new ones are zeroed page by page by the kernel, which costs three
    quarters of the time of a batch of large pictures and a sixth of a Transformer's step. `data.spill.trim` still gives back.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # musl has no mallopt
            library = ctypes.CDLL(None)
            for setting, size in ((-3, 2**30), (-1, 2**31 - 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
                library.mallopt(setting, size)
