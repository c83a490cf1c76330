"""One server over several runs, with real worker processes and a real socket, for all tests of this folder."""

from collections.abc import Iterator

import httpx
import pytest
from tests.serve.harness import Server

SERVED = ("clinic", "digits", "poems")


@pytest.fixture(scope="session")
def server(runs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folders = [runs(name).path for name in SERVED]
    made = Server(folders, log=tmp_path_factory.mktemp("server") / "log")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        yield made
