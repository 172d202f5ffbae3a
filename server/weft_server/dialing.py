"""Dialing another relay: a websocket connection as the transport of a link.

The twin of the client's; the two packages do not import each other. Must never know: frames'
meaning, stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.frames import CloseCode

from weft_engine.errors import LinkRefused
from weft_engine.limits import FRAME_BYTES_MAX, KIB
from weft_engine.sync.binding import (
    close_code,
    close_reason,
    why_no_websocket,
    why_refused,
    why_unreachable,
)
from weft_engine.sync.driving.transport import Ready
from weft_engine.sync.faults import LinkLost
from weft_server.dialled_connection import DialledConnection
from weft_server.hearing import TEXT_CODE, Hearing

_OPENING_S: Final = 10.0
_CLOSING_S: Final = 2.0
_CONGESTED_BYTES: Final = 64 * KIB
_REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class DialledTransport(Hearing):
    """A connection that this side opened: a `DirectTransport` of links. `closing_code` overrides
    what a bye would close with. A larger message than a frame closes it with 1009, a text
    with 1003."""

    def __init__(self, connection: DialledConnection) -> None:
        super().__init__(connection)
        self._connection = connection
        self.closing_code: int | None = None
        connection.take_over(self)

    @property
    def is_congested(self) -> bool:
        """More is buffered than _CONGESTED_BYTES."""
        return self._connection.is_congested

    def write(self, head: bytes, body: bytes = b"") -> None:
        """One binary message of these two. What is written to a connection that has closed goes
        nowhere."""
        self._connection.write(head + body)

    def ready(self, head: bytes, body: bytes) -> Ready:
        """What `write` does with these, for later in this turn of the event loop."""
        return self._connection.write, head + body

    async def send(self, frame: bytes) -> None:
        """Write a message, and wait until there is room for more."""
        if not self._connection.is_open:
            raise LinkLost("the relay is gone")
        self._connection.write(frame)
        await self._connection.drain()

    def text_received(self) -> None:
        self.closing_code = TEXT_CODE
        self.connection_ended("the relay sent text: it is no relay, or a much newer one")

    async def close(self, code: str, reason: str) -> None:
        wanted = close_code(code) if self.closing_code is None else self.closing_code
        await self.close_with(wanted, close_reason(reason))

    async def close_with(self, code: int, reason: str = "") -> None:
        """With a websocket close code; harmless when repeated."""
        self.stop_hearing()
        try:
            async with asyncio.timeout(_CLOSING_S):
                await self._connection.close(code, reason)
        except TimeoutError:
            # It does not read: what waits for it is of no use any more.
            self._connection.transport.abort()


@asynccontextmanager
async def dial(
    url: str, token: str | None, *, opening_s: float = _OPENING_S
) -> AsyncIterator[DialledTransport]:
    """A connection to the links' address `url` (`sync_url`). LinkRefused if the relay does not
    accept the token, LinkLost if there is no relay to be reached now, or none answers
    in `opening_s`."""
    try:
        connection = await connect(
            url,
            additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
            compression=None,
            max_size=FRAME_BYTES_MAX,
            ping_interval=None,
            open_timeout=opening_s,
            close_timeout=_CLOSING_S,
            write_limit=_CONGESTED_BYTES,
            create_connection=DialledConnection,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        kind = error.response.headers.get("Content-Type", "")
        said = why_refused(error.response.reason_phrase, kind, error.response.body)
        if status in _REFUSALS:
            raise LinkRefused(
                f"{url} refused the link: {said}",
                hint="check the address and the token",
            ) from error
        raise LinkLost(f"{url} answered with status {status}: {said}") from error
    except OSError as error:
        raise LinkLost(f"{url} can't be reached: {why_unreachable(error)}") from error
    except WebSocketException as error:
        raise LinkLost(f"{url} {why_no_websocket(error)}") from error
    assert isinstance(connection, DialledConnection), "it was made here"
    transport = DialledTransport(connection)
    try:
        yield transport
    finally:
        await transport.close_with(CloseCode.NORMAL_CLOSURE)
