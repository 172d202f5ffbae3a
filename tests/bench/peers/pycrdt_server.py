"""pycrdt-websocket as its documentation starts it under uvicorn: no store, so nothing is kept.

Runs in the peers' own venv: ``python pycrdt_server.py PORT``. uvloop, the fastest of uvicorn's
websocket servers and no compression, as our relay has it.
"""

import sys

import uvicorn
import uvloop
from pycrdt.websocket import ASGIServer, WebsocketServer


async def main(port: int) -> None:
    async with WebsocketServer() as websockets:
        config = uvicorn.Config(
            ASGIServer(websockets),
            host="127.0.0.1",
            port=port,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            lifespan="off",
            log_level="error",
        )
        await uvicorn.Server(config).serve()


uvloop.run(main(int(sys.argv[1])))
