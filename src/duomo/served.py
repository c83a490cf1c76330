"""A worker process of `duomo serve`: opens one run and answers what the front passes on. Started by serve/pool.py, not by hand.

python -m duomo.served DESCRIPTOR FOLDER
"""

import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

from duomo.core.errors import DuomoError
from duomo.serve.frames import packed
from duomo.serve.generation import writes
from duomo.serve.worker import Worker
from duomo.trained import Run
from duomo.writing import COMPANY, Choice

GONE = (BrokenPipeError, ConnectionResetError)


def _attend(link: socket.socket) -> None:
    """End with the front, which asks nothing before the run is loaded: for nobody it need not be."""
    with suppress(OSError):
        if link.recv(1, socket.MSG_PEEK):
            return
    os._exit(0)


def main() -> int:
    descriptor, folder = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as link:
        threading.Thread(target=_attend, args=(link,), name="duomo-attend", daemon=True).start()
        try:
            run = Run.open(Path(folder))
            engine = Choice(run, COMPANY).served() if writes(run) else None
        except DuomoError as error:
            link.sendall(packed({"fault": str(error)}))
            return 1
        try:
            Worker(run, link, engine).work()
        except GONE:  # the front is gone
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
