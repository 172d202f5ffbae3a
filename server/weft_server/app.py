"""The relay's routes over HTTP and websockets. Must never know: what is said on a link."""

from __future__ import annotations

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from weft_engine.sync.binding import SYNC_PATH
from weft_server.door.bearing import bearer
from weft_server.door.doorstep import AGAIN_S
from weft_server.door.guests import Guest, TurnedAway
from weft_server.mesh.asking import MESH_PATH
from weft_server.mesh.status import status
from weft_server.relay import Relay
from weft_server.transport import AcceptedTransport
from weft_server.yjs.door import YJS_PATH, serve_yjs


def relay_app(relay: Relay) -> Starlette:
    """`/v1/sync`, `/yjs/{context}`, `/v1/mesh` (how its links with other regions are),
    `/health/live` (the process answers) and `/health/ready` (it can commit)."""

    async def sync(websocket: WebSocket) -> None:
        try:
            guest = enter(relay, websocket, bearer(websocket.headers.get("authorization", "")))
        except TurnedAway as error:
            relay.guests.tell_refusal(error.message, _address(websocket))
            await websocket.send_denial_response(refusal(error))
            return
        try:
            await websocket.accept()
            transport = AcceptedTransport(websocket)
        except BaseException:
            relay.guests.leave(guest)
            raise
        transport.keep(serve(transport, guest))

    async def serve(transport: AcceptedTransport, guest: Guest) -> None:
        try:
            await relay.serve(transport, guest.permission, guest=guest)
        finally:
            relay.guests.leave(guest)

    async def yjs(websocket: WebSocket) -> None:
        await serve_yjs(relay, websocket)

    async def nowhere(websocket: WebSocket) -> None:
        # A websocket that is closed before it is accepted gets 403, as if a token were missing.
        await websocket.send_denial_response(
            PlainTextResponse(
                f"there is nothing at this path (links are at {SYNC_PATH}, Yjs clients at"
                f" {YJS_PATH}<context>)",
                HTTPStatus.NOT_FOUND,
            )
        )

    async def not_upgraded(_: Request) -> PlainTextResponse:
        return PlainTextResponse(
            "links are websockets (connect to this address with ws:// or wss://)",
            HTTPStatus.UPGRADE_REQUIRED,
            headers={"upgrade": "websocket"},
        )

    async def live(_: Request) -> JSONResponse:
        return JSONResponse({"status": "live", "region": relay.region})

    async def ready(_: Request) -> JSONResponse:
        why = await relay.why_not_ready()
        if why is None:
            return JSONResponse({"status": "ready", "region": relay.region, "links": relay.links})
        return JSONResponse({"status": "not ready", "why": why}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def mesh(request: Request) -> Response:
        token = bearer(request.headers.get("authorization", ""))
        try:
            guest = relay.guests.enter(token, _address(request))
        except TurnedAway as error:
            return refusal(error)
        try:
            if not guest.permission.may_erase:
                raise TurnedAway(
                    HTTPStatus.FORBIDDEN,
                    "how the mesh is, is told to tokens with the right admin or peer",
                    hint="ask for a token with one of them",
                )
            return JSONResponse(await status(relay.mesh, links=relay.links))
        except TurnedAway as error:
            return refusal(error)
        finally:
            relay.guests.leave(guest)

    return Starlette(
        routes=[
            Route(MESH_PATH, mesh),
            Route("/health/live", live),
            Route("/health/ready", ready),
            WebSocketRoute(SYNC_PATH, sync),
            WebSocketRoute(YJS_PATH + "{context:path}", yjs),
            WebSocketRoute("/{path:path}", nowhere),
            Route(SYNC_PATH, not_upgraded),
            Route(YJS_PATH + "{context:path}", not_upgraded),
        ]
    )


def enter(relay: Relay, websocket: WebSocket, token: str | None) -> Guest:
    """Let a connection in that is not accepted yet; whoever calls this lets it `leave`. TurnedAway
    if its token does not allow it to read, or if there is no room."""
    if relay.is_closing:
        raise TurnedAway(
            HTTPStatus.SERVICE_UNAVAILABLE, "the relay is going away", hint="try again"
        )
    guest = relay.guests.enter(token, _address(websocket))
    if not guest.permission.may_read:
        relay.guests.leave(guest)
        raise TurnedAway(
            HTTPStatus.FORBIDDEN,
            "a link needs a token with the right to read",
            hint="ask for a token with the right read",
        )
    return guest


def _address(connection: HTTPConnection) -> str | None:
    return None if connection.client is None else connection.client.host


def refusal(error: TurnedAway) -> PlainTextResponse:
    """The answer before the upgrade: why, as plain text, and when to try again."""
    headers: dict[str, str] = {}
    if error.status is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    elif error.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["retry-after"] = str(AGAIN_S)
    return PlainTextResponse(str(error), error.status, headers=headers)
