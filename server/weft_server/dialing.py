"""Dialing another relay: a websocket connection as the transport of a link.

The twin of the client's; the two packages do not import each other. Must never know: frames'
meaning, stores.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedOK,
    InvalidStatus,
    WebSocketException,
)

from weft_engine.errors import LinkRefused
from weft_engine.limits import FRAME_BYTES_MAX
from weft_engine.sync.binding import close_code, close_reason, why_unreachable
from weft_engine.sync.faults import LinkLost

_OPENING_S: Final = 10.0
_CLOSING_S: Final = 2.0
_REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class DialledTransport:
    """A connection that this side opened. Whole frames, binary only. `closing_code` overrides what
    a bye would close with."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.closing_code: int | None = None

    async def send(self, frame: bytes) -> None:
        try:
            await self._connection.send(frame)
        except ConnectionClosed as error:
            raise LinkLost(f"the relay is gone: {error}") from error

    async def receive(self) -> bytes | None:
        try:
            data = await self._connection.recv()
        except ConnectionClosedOK:
            return None
        except ConnectionClosed as error:
            raise LinkLost(f"the relay is gone: {error}") from error
        if isinstance(data, str):
            raise LinkLost("the relay sent text: it is no relay, or a much newer one")
        return data

    async def close(self, code: str, reason: str) -> None:
        wanted = close_code(code) if self.closing_code is None else self.closing_code
        await self._connection.close(wanted, close_reason(reason))


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
        )
    except InvalidStatus as error:
        status = error.response.status_code
        said = error.response.body.decode(errors="replace").strip()
        if status in _REFUSALS:
            raise LinkRefused(
                f"{url} refused the link: {said or HTTPStatus(status).phrase}",
                hint="check the address and the token",
            ) from error
        raise LinkLost(f"{url} answered with status {status}: {said}") from error
    except OSError as error:
        raise LinkLost(f"{url} can't be reached: {why_unreachable(error)}") from error
    except WebSocketException as error:
        raise LinkLost(f"{url} does not speak the websocket protocol: {error}") from error
    try:
        yield DialledTransport(connection)
    finally:
        await connection.close()
