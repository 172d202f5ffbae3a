"""The servers that people use instead: which versions, how each is started, what it does not do.

Must never know: how they are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.raw.client import Dialect

HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """`npm` and `overrides` are packages with exact versions; `pypi` are requirements of a venv."""

    name: str
    dialect: Dialect
    command: Callable[[Path, int], list[str]]
    """From the folder where it is installed and the port."""
    npm: tuple[tuple[str, str], ...] = ()
    overrides: tuple[tuple[str, str], ...] = ()
    pypi: tuple[str, ...] = ()
    does: str = "from memory: persists nothing, fsyncs nothing, acknowledges nothing"


def _script(path: str) -> Callable[[Path, int], list[str]]:
    return lambda folder, port: ["node", str(folder / "node_modules" / path)]


PEERS: Final = (
    Peer(
        "@y/websocket-server 0.1.5",
        Dialect.YJS,
        _script("@y/websocket-server/src/server.js"),
        npm=(("@y/websocket-server", "0.1.5"),),
        # What it asks for by range would bring protocols for another package than its yjs.
        overrides=(("@y/protocols", "1.0.6-1"), ("yjs", "14.0.0-16")),
    ),
    Peer(
        "y-websocket 2.1.0",
        Dialect.YJS,
        _script("y-websocket/bin/server.cjs"),
        npm=(("y-websocket", "2.1.0"), ("yjs", "13.6.33")),
    ),
    Peer(
        "@hocuspocus/server 3.4.4",
        Dialect.HOCUSPOCUS,
        lambda folder, port: ["node", str(HERE / "hocuspocus.mjs"), str(folder), str(port)],
        npm=(("@hocuspocus/server", "3.4.4"), ("yjs", "13.6.33")),
        does="from memory: persists nothing, fsyncs nothing, acknowledges from memory",
    ),
    Peer(
        "@hocuspocus/server 4.7.0",
        Dialect.HOCUSPOCUS,
        lambda folder, port: ["node", str(HERE / "hocuspocus.mjs"), str(folder), str(port)],
        npm=(("@hocuspocus/server", "4.7.0"), ("yjs", "13.6.33")),
        does="from memory: persists nothing, fsyncs nothing, acknowledges from memory; asks for"
        " Node 22, runs on 20",
    ),
    Peer(
        "pycrdt-websocket 0.16.5",
        Dialect.YJS,
        lambda folder, port: [
            str(folder / "venv" / "bin" / "python"),
            str(HERE / "pycrdt_server.py"),
            str(port),
        ],
        pypi=(
            "pycrdt-websocket==0.16.5",
            "pycrdt==0.14.13",
            "uvicorn==0.54.0",
            "websockets==17.4",
            "uvloop==0.23.0",
        ),
    ),
)
