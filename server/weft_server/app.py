"""The relay's routes over HTTP and websockets. Must never know: what is said on a link."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from weft_engine.errors import LinkRefused
from weft_engine.sync.binding import SYNC_PATH
from weft_server.relay import Relay
from weft_server.transport import AcceptedTransport

_BEARER: Final = "bearer "


def relay_app(relay: Relay) -> Starlette:
    """`/v1/sync`, `/health/live` (the process answers) and `/health/ready` (it can commit)."""

    async def sync(websocket: WebSocket) -> None:
        if not relay.has_room:
            refusal = _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the relay has no room for a link")
            await websocket.send_denial_response(refusal)
            return
        token = _bearer_token(websocket.headers.get("authorization", ""))
        try:
            permission = relay.admit(token)
        except LinkRefused as error:
            await websocket.send_denial_response(_refusal(HTTPStatus.UNAUTHORIZED, str(error)))
            return
        if not permission.may_read:
            refusal = _refusal(HTTPStatus.FORBIDDEN, "a link needs a token with the right to read")
            await websocket.send_denial_response(refusal)
            return
        await websocket.accept()
        transport = AcceptedTransport(websocket)
        transport.keep(relay.serve(transport, permission))

    async def live(_: Request) -> JSONResponse:
        return JSONResponse({"status": "live", "region": relay.region})

    async def ready(_: Request) -> JSONResponse:
        if await relay.is_ready():
            return JSONResponse({"status": "ready", "region": relay.region, "links": relay.links})
        return JSONResponse({"status": "not ready"}, HTTPStatus.SERVICE_UNAVAILABLE)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            WebSocketRoute(SYNC_PATH, sync),
        ]
    )


def _bearer_token(header: str) -> str | None:
    if not header.lower().startswith(_BEARER):
        return None
    return header[len(_BEARER) :].strip() or None


def _refusal(status: HTTPStatus, reason: str) -> PlainTextResponse:
    headers = {"www-authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
    return PlainTextResponse(reason, status, headers=headers)
