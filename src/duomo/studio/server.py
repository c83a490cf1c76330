"""Listening on this machine alone, at an address that holds a random token."""

import secrets
import socket
import webbrowser
from contextlib import suppress
from pathlib import Path

import uvicorn

from duomo.core.errors import ConfigError
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.serve.server import listening
from duomo.studio.app import Studio, create
from duomo.studio.guard import Guard

HOST, PORT = "127.0.0.1", 8600


def run(folder: Path | str, port: int, *, browser: bool, reporter: Reporter) -> None:
    """Until stopped; ConfigError where the folder is none or the port is taken. A port of 0: 8600, or a free one."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ConfigError("The studio works in a folder; there is none at {path}.", path=root)
    studio, token = Studio(root), secrets.token_urlsafe(24)
    config = uvicorn.Config(Guard(create(studio), token), log_level="warning", server_header=False, timeout_graceful_shutdown=3)
    try:
        door = _listen(port)
        address = f"http://{HOST}:{door.getsockname()[1]}/{token}/"
        reporter.say(tr("The studio is open at {address}  (stop with Ctrl-C; what trains goes on)", address=address))
        if browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[door])
    finally:
        studio.close()


def _listen(port: int) -> socket.socket:
    if not port:
        with suppress(ConfigError):
            return listening(HOST, PORT)
    return listening(HOST, port)
