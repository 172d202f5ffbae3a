"""Dialing a relay: a websocket connection as the transport of a link.

The library is imported with the first connection, so that `import weft` stays quick. Must never
know: frames' meaning, stores.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from weft_engine.errors import LinkRefused
from weft_engine.limits import FRAME_BYTES_MAX
from weft_engine.sync.binding import (
    close_code,
    close_reason,
    why_no_websocket,
    why_refused,
    why_unreachable,
)
from weft_engine.sync.driving.link import Transport
from weft_engine.sync.faults import LinkLost

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_OPENING_S: Final = 10.0
_CLOSING_S: Final = 2.0
_REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class WebSocketTransport:
    """A client's connection. Whole frames, binary only."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, frame: bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(frame)
        except ConnectionClosed as error:
            raise LinkLost(f"the relay is gone: {error}") from error

    async def receive(self) -> bytes | None:
        from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

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
        await self._connection.close(close_code(code), close_reason(reason))


@asynccontextmanager
async def dial(url: str, token: str | None) -> AsyncIterator[Transport]:
    """A connection to the links' address `url` (`sync_url`). LinkRefused if the relay does not
    accept the token, LinkLost if there is no relay to be reached now."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, WebSocketException

    try:
        connection = await connect(
            url,
            additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
            # Compression costs 34-90 KB a link, and records hardly shrink.
            compression=None,
            max_size=FRAME_BYTES_MAX,
            # The session has heartbeats of its own.
            ping_interval=None,
            open_timeout=_OPENING_S,
            close_timeout=_CLOSING_S,
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
    try:
        yield WebSocketTransport(connection)
    finally:
        await connection.close()
