"""How a running mesh is spoken with: a line of JSON asks, a line answers, over a loopback port.

The port and a secret stand in a file that only the user can read, so who may read that file may
command the mesh, and nobody else on this machine. Must never know: what is asked for.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from weft_engine.errors import CallerError, MachineError, NotFound, WeftError
from weft_engine.limits import MIB
from weft_server.local_mesh.plan import MeshFolder
from weft_server.local_mesh.proxy import HOST

_LINE_BYTES_MAX: Final = MIB
_SECRET_BYTES: Final = 16
_ASKING_S: Final = 5.0
_ANSWER_S: Final = 90.0
"""Longer than a region may take to start."""

Command = Mapping[str, Any]
Answer = dict[str, Any]


@asynccontextmanager
async def listening(
    path: Path, obey: Callable[[Command], Awaitable[Answer]]
) -> AsyncIterator[None]:
    """Let `obey` answer commands; `path` says how to reach it, as long as this lasts. What it
    raises of our errors is the answer, too."""
    secret = secrets.token_hex(_SECRET_BYTES)
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        talks.add(task)
        try:
            asked = await _read(reader, secret)
            if asked is not None:
                answer = await _answer(obey, asked)
                # Who hung up before has no use for it.
                with suppress(ConnectionError):
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        finally:
            talks.discard(task)
            writer.close()

    server = await asyncio.start_server(talk, HOST, 0, limit=_LINE_BYTES_MAX)
    _write(path, port=server.sockets[0].getsockname()[1], secret=secret)
    try:
        yield
    finally:
        _remove(path)
        server.close()
        # Who asked for the end is told that it has come.
        if talks:
            await asyncio.wait(talks, timeout=_ANSWER_S)


def _write(path: Path, *, port: int, secret: str) -> None:
    # Never seen half written.
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump({"pid": os.getpid(), "port": port, "secret": secret}, file)
    new.replace(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def ask(folder: MeshFolder, command: Command) -> Answer:
    """What the mesh answers that is up in `folder`. Its error, as ours; NotFound if none is up."""
    path = folder.control
    not_up = NotFound(
        f"no mesh is up in {folder.path}",
        hint=f"weft mesh up --detach --folder {folder.path} starts one; or name another --folder",
    )
    try:
        where = json.loads(path.read_bytes()[:_LINE_BYTES_MAX])
        address = (HOST, int(where["port"]))
        line = json.dumps({**command, "secret": where["secret"]}).encode() + b"\n"
    except (FileNotFoundError, NotADirectoryError):
        raise not_up from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MachineError(
            f"{path} can't be read: {error}",
            hint="only the user who started the mesh may command it",
        ) from error
    try:
        with socket.create_connection(address, timeout=_ANSWER_S) as connection:
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                answer = answers.readline(_LINE_BYTES_MAX)
    except ConnectionError:
        # A mesh that was killed leaves its file.
        raise not_up from None
    except OSError as error:
        raise MachineError(
            f"the mesh in {folder.path} does not answer: {error}",
            hint="end its process, and start again",
        ) from error
    if not answer:
        raise not_up
    said: Answer = json.loads(answer)
    if "error" in said:
        raise CallerError(said["error"], hint=said["hint"])
    return said


async def _read(reader: asyncio.StreamReader, secret: str) -> Command | None:
    """The command of somebody who knows the secret; None from anybody else, from who hangs up, and
    from who is too slow."""
    try:
        async with asyncio.timeout(_ASKING_S):
            line = await reader.readline()
        asked = json.loads(line)
    except (TimeoutError, ConnectionError, ValueError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    given = str(asked.pop("secret", "")).encode(errors="replace")
    return asked if hmac.compare_digest(given, secret.encode()) else None


async def _answer(obey: Callable[[Command], Awaitable[Answer]], asked: Command) -> Answer:
    try:
        return await obey(asked)
    except WeftError as error:
        return {"error": error.message, "hint": error.hint}
