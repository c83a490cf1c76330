"""How idle OpenMP threads wait; to be settled before torch is imported, because its OpenMP reads it once.

Spinning threads answer fastest on a quiet machine. Where another process wants the same cores they burn the time that it
and they need: two spinning threads were measured 37 times slower than one, and passive ones less than twice.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path

SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
BUSY = 0.5
"""Runnable processes besides this one, from which the machine counts as busy."""


def others() -> float:
    """How many other processes want a core now; 0 where the system does not say."""
    try:
        running = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].split("/")[0]) - 1
        recent = os.getloadavg()[0]
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
    return max(float(running), recent)


def wait_passively_if_busy(environment: MutableMapping[str, str]) -> bool:
    """Set passive waiting in `environment` (os.environ) where the machine is busy; what a person set stays. True where it was set."""
    if "OMP_WAIT_POLICY" in environment or "KMP_BLOCKTIME" in environment or others() < BUSY:
        return False
    environment.update(SETTINGS)
    return True
