"""`duomo serve`: listens, drains on SIGTERM, and says what it does."""

import asyncio
import gc
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
from asyncio import CancelledError
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import uvicorn
import uvloop

from duomo.core.errors import ConfigError, RunError
from duomo.core.messages import tr
from duomo.core.reporter import Reporter
from duomo.serve.app import LOCAL, Application
from duomo.serve.keys import Keys
from duomo.serve.limits import GRACE_SECONDS, KEEP_SECONDS, LINGER_SECONDS
from duomo.serve.metrics import log
from duomo.serve.pool import Lost, Pool
from duomo.serve.protocol import TimedProtocol

BIND_FAULTS = (OSError, UnicodeError)
SEVERAL = 2
"""Processes from which on it is said that they start."""


@dataclass(frozen=True)
class Options:
    """How to listen."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    token_file: str | None = None
    names: tuple[str, ...] = ()
    """Further names that the server answers to."""
    tls_cert: str | None = None
    tls_key: str | None = None
    quiet: bool = False
    prepare: bool = False
    """Find each run's fastest engine first."""


LARGE = 40_000_000
"""Bytes of weights from which an engine is worth its measuring."""
FLAGS = ("host", "port", "workers", "token_file", "tls_cert", "tls_key", "quiet", "prepare")


class _Server(uvicorn.Server):
    """On SIGTERM or Ctrl-C: /readyz says no at once, answers go on for a moment, then what was accepted ends in order."""

    def __init__(self, config: uvicorn.Config, application: Application, quiet: bool):
        super().__init__(config)
        self._application, self._quiet = application, quiet

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        guard = self._application.guard
        if guard.draining:
            self.should_exit, self.force_exit = True, sig == signal.SIGINT
            return
        guard.draining = True
        if not self._quiet:
            log("drain", seconds=LINGER_SECONDS)
        asyncio.get_running_loop().call_later(LINGER_SECONDS if sig == signal.SIGTERM else 0.0, self._leave)

    def _leave(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closing a listening socket resets the connections that the kernel has made and nobody has taken: those are answered as well."""
        waiting = [connection for door in sockets or () for connection in _taken(door)]
        tls, take = self.config.ssl, asyncio.get_running_loop().connect_accepted_socket
        most = LINGER_SECONDS if tls else None
        # who has gone meanwhile, or does not speak TLS, must not keep the others from their answers
        await asyncio.gather(
            *(take(self._protocol, connection, ssl=tls, ssl_handshake_timeout=most) for connection in waiting), return_exceptions=True
        )
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        return TimedProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _taken(door: socket.socket) -> list[socket.socket]:
    """The connections that wait at a listening socket, which takes no more from here on."""
    found = []
    with suppress(OSError):  # as soon as nobody waits
        while True:
            found.append(door.accept()[0])
    with suppress(OSError):
        door.shutdown(socket.SHUT_RDWR)
    return found


def listening(host: str, port: int) -> socket.socket:
    """A bound socket; ConfigError where the address cannot be had."""
    if not 0 <= port < 2**16:
        raise ConfigError("A port is a number from 0 to 65535; received {port}.", port=port)
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. asyncio would set it but for a socket that does not name its protocol: 40 ms an answer.
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        door.bind((host.strip("[]"), port))
    except BIND_FAULTS as error:
        door.close()
        raise ConfigError("The address {host}:{port} cannot be listened on: {reason}. Choose another with --port or --host.",
                          host=host, port=port, reason=getattr(error, "strerror", None) or str(error)) from None  # fmt: skip
    return door


def bare(host: str) -> str:
    """A host as requests name it, however a person writes it: no scheme, port and path, an IPv6 address in brackets."""
    host = (host.partition("://")[2] or host).partition("/")[0]
    if host.count(":") > 1 and not host.startswith("["):
        return f"[{host}]"
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def named(paths: Sequence[str]) -> dict[str, Path]:
    """Run name -> folder; ConfigError where two folders have one name."""
    found: dict[str, Path] = {}
    for text in paths:
        path = Path(os.path.abspath(text))  # `.` and `..` have names too; a link keeps its own
        if path.name in found:
            raise ConfigError("Runs that are served together need different names; {name!r} comes twice. Rename a folder.", name=path.name)
        found[path.name] = path
    return found


def _unprepared(path: Path) -> bool:
    """Whether a run is large and no engine was looked for yet."""
    weights, found = path / "model.safetensors", (path / "engine.json", path.with_name(f"{path.name}.engine"))
    return weights.is_file() and weights.stat().st_size > LARGE and not any(place.exists() for place in found)


def _leave(sig: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + sig)


def _prepare(paths: Iterable[Path]) -> None:
    """In a process of its own, which ends with this one: the one that listens holds no model."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        for path in paths:
            subprocess.run([sys.executable, "-m", "duomo.prepared", str(path)], check=False)
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(paths: Sequence[str], options: Options, reporter: Reporter) -> None:
    """Listen until stopped; ConfigError where the address is taken, RunError where a run cannot be served."""
    runs, keys = named(paths), Keys.read(options.token_file)
    for path in runs.values():
        if not (path / "manifest.json").is_file():
            raise RunError("A run can be served once its training has finished; {path} holds no finished run.", path=path)
    if options.tls_key and not options.tls_cert:
        raise ConfigError("A key of TLS needs its certificate: give --tls-cert too.")
    if not 1 <= options.workers <= 64:
        raise ConfigError("Each run is served by 1 to 64 workers; received {workers}.", workers=options.workers)

    def event(what: str, reason: str = "", **facts: Any) -> None:
        application.metrics.add("worker_events_total", event=what, **facts)
        log(what, **facts, **({"reason": reason} if reason else {}))

    if strange := keys.strange(runs):
        reporter.say(
            tr("Tokens are for runs that are not served here: {names}. A run goes by the name of its folder.", names=", ".join(strange))
        )
    pool = Pool(runs, options.workers, event)
    hosts = (*LOCAL, *map(bare, (options.host, *options.names)))
    application = Application(pool, keys, hosts, quiet=options.quiet)
    config = uvicorn.Config(
        application, host=options.host, port=options.port, log_config=None, server_header=False, access_log=False, http=TimedProtocol,
        loop="none", ws="none", lifespan="on", timeout_graceful_shutdown=int(GRACE_SECONDS), timeout_keep_alive=KEEP_SECONDS,
        ssl_certfile=options.tls_cert, ssl_keyfile=options.tls_key,
    )  # fmt: skip
    _locked(config, options)
    door = listening(options.host, options.port)
    if options.prepare:  # which takes minutes: what may be wrong with the rest is told before
        _prepare(runs.values())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(config, door, application, options, reporter, len(keys)))


async def _started(pool: Pool) -> None:
    """Every run is loaded; on SIGTERM before that its workers end too."""
    starting, loop = asyncio.ensure_future(pool.start()), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, starting.cancel)
    try:
        await starting
    except Lost:
        raise RunError("The worker of a run ended while it started. Is there memory enough for it?") from None
    except CancelledError:
        _leave(signal.SIGTERM, None)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _unlocked(options: Options) -> None:
    """ConfigError where the key of TLS wants a password that nobody is there to type: OpenSSL would wait for it without end."""

    def password() -> str:
        raise ConfigError("The key of TLS is encrypted, and there is no terminal to type its password at. Decrypt it, and keep the file to "
                          "yourself: openssl pkey -in {path} -out FILE", path=options.tls_key or options.tls_cert)  # fmt: skip

    if options.tls_cert and not (sys.stdin and sys.stdin.isatty()):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_cert, options.tls_key, password)


def _locked(config: uvicorn.Config, options: Options) -> None:
    """Load what TLS needs; ConfigError where it cannot be."""
    try:
        _unlocked(options)
        config.load()
    except OSError as error:
        if options.tls_cert and not options.tls_key:
            raise ConfigError("A certificate of TLS needs its key: give --tls-key too, or a --tls-cert that holds both.") from None
        raise ConfigError("The certificate and key of TLS must be readable PEM files; they are not ({reason}).",
                          reason=error.strerror or error) from None  # fmt: skip


async def _run(
    config: uvicorn.Config, door: socket.socket, application: Application, options: Options, reporter: Reporter, keys: int
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    if (count := len(application.pool.places) * options.workers) >= SEVERAL:  # each loads torch: on a busy machine that takes its time
        reporter.say(tr("Starting {count} processes that answer …", count=count))
    await _started(application.pool)
    if bare(options.host) not in LOCAL and not keys:
        reporter.say(tr("Anyone who reaches this address may ask: there is no --token-file."))
    scheme = "https" if options.tls_cert else "http"
    reporter.say(tr("Serving {run} on {address}  (stop with Ctrl-C)", run=", ".join(application.pool.places),
                    address=f"{scheme}://{bare(options.host)}:{door.getsockname()[1]}"))  # fmt: skip
    for name, place in application.pool.places.items():
        if _unprepared(place.path):
            reporter.say(
                tr(
                    "{run} is large: --prepare finds its fastest engine on this machine, by measurement; that may be many times faster.",
                    run=name,
                )
            )
    gc.freeze()  # what is loaded stays: it is looked through neither at work nor, which takes a while, at the end
    await _Server(config, application, options.quiet).serve(sockets=[door])
