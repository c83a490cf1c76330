"""A connection that is bounded in time and size before a request is whole: heads, trailers, and what lies between requests."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from duomo.serve.limits import HEAD_SECONDS, LAST_SECONDS, LONGEST_MUTE

TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Patient(HttpToolsProtocol):
    """A connection that begins a head, the first or a later one, and does not end it in time is closed; so is one that sends much without
    a head or a body coming of it (an endless header, trailer or chunk extension)."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._between, self._mute = True, 0
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def data_received(self, data: bytes) -> None:
        self._mute += len(data)
        super().data_received(data)
        if self._mute > LONGEST_MUTE and not self.transport.is_closing():
            self.transport.write(TOO_LONG)
            self.transport.close()
        elif self._between and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def on_headers_complete(self) -> None:
        self._between, self._mute = False, 0
        self._rest()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._mute = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._between, self._mute = True, 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server is about to end. What a client sends at this very moment is answered still; the answer says that it is the last."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LAST_SECONDS, self._leave)

    def _leave(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()

    def _rest(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:  # an answer is on its way still, which was asked before
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        elif not self.transport.is_closing():
            self.transport.close()
