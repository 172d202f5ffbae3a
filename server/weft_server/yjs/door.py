"""The address `/yjs/{context}`: who may come in, and how one who may not learns it.

A browser does not see why an upgrade failed. So everybody is let in, and who may not stay is told
so and closed out with a code from 4400 to 4499: it need not come again. Must never know: what is
said behind the door.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.websockets import WebSocket

from weft_engine.errors import InvalidName
from weft_engine.names import ContextName, context_name
from weft_engine.sync.binding import UNAUTHORISED, close_reason
from weft_server.door.bearing import token_of
from weft_server.door.guests import Guest, TurnedAway
from weft_server.relay import Relay
from weft_server.transport import AcceptedTransport
from weft_server.yjs import wire
from weft_server.yjs.connection import FORBIDDEN, REFUSED, TRY_AGAIN
from weft_server.yjs.framing import frame

YJS_PATH: Final = "/yjs/"


async def serve_yjs(relay: Relay, websocket: WebSocket) -> None:
    """Let a Yjs client in, which is spoken with until its connection ends; or not."""
    token, subprotocol = token_of(
        websocket.headers, websocket.query_params, websocket.scope["subprotocols"]
    )
    await websocket.accept(subprotocol=subprotocol)
    transport = AcceptedTransport(websocket, message_bytes_max=relay.limits.yjs_message_bytes)
    address = None if websocket.client is None else websocket.client.host

    async def turn_away(code: int, reason: str) -> None:
        relay.guests.tell_refusal(reason, address)
        transport.send_prebuilt(frame(wire.denied(reason)))
        await transport.close_with(code, close_reason(reason))

    try:
        name = name_in(websocket.scope["raw_path"])
    except InvalidName as error:
        await turn_away(REFUSED, error.message)
        return
    if relay.is_closing:
        await turn_away(TRY_AGAIN, "the relay is going away")
        return
    try:
        guest = relay.guests.enter(token, address)
    except TurnedAway as error:
        is_token = error.status is HTTPStatus.UNAUTHORIZED
        await turn_away(UNAUTHORISED if is_token else TRY_AGAIN, error.message)
        return
    may = guest.permission
    if may.may_read and may.interest.covers(name):
        transport.keep(_serve(relay, transport, guest, name))
        return
    relay.guests.leave(guest)
    await turn_away(FORBIDDEN, f"the token does not give the right to read {name!r}")


async def _serve(
    relay: Relay, transport: AcceptedTransport, guest: Guest, name: ContextName
) -> None:
    try:
        await relay.serve_yjs(transport, guest, name)
    finally:
        relay.guests.leave(guest)


def name_in(raw_path: bytes) -> ContextName:
    """The context that an address names, behind any path of a proxy. InvalidName."""
    encoded = raw_path.partition(YJS_PATH.encode())[2]
    try:
        return context_name(unquote_to_bytes(encoded).decode())
    except UnicodeDecodeError:
        raise InvalidName(
            "the address names no context: it is no UTF-8", hint="encode the name as encodeURI does"
        ) from None
