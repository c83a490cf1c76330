"""A connection that is bounded in time and size: heads, trailers, what lies between requests, and answers that nobody fetches."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from duomo.serve.limits import ANSWER_SECONDS, HEAD_SECONDS, LAST_SECONDS, LONGEST_MUTE

TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class TimedProtocol(HttpToolsProtocol):
    """A connection that begins a head, the first or a later one, and does not end it in time is closed; so is one that sends much without
    a head or a body coming of it (an endless header, trailer or chunk extension)."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._heading, self._idle, self._mute = True, False, 0
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        self._read_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        self._mute += len(data)
        self._heading = self._heading or (self._idle and not data.strip())  # lines before a head are its beginning
        super().data_received(data)
        if self._mute > LONGEST_MUTE and not self.transport.is_closing():
            self.transport.write(TOO_LONG)
            self.transport.close()
        elif self._heading and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def on_message_begin(self) -> None:
        self._heading, self._idle = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._heading, self._mute = False, 0
        self._rest()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._mute = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._idle, self._mute = True, 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._fetched()

    def _wait_for_reader(self, before: float = float("inf")) -> None:
        """Who has fetched nothing of an answer in the time that one may take gets no more of it, and holds no place."""
        if (left := self.transport.get_write_buffer_size()) < before:
            self._read_timer = self.loop.call_later(ANSWER_SECONDS, self._wait_for_reader, left)
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        self._fetched()
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

    def _fetched(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:  # an answer is on its way still, which was asked before
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        elif not self.transport.is_closing():
            self.transport.close()
