"""Speaking with a running mesh: who knows the secret is obeyed, and nobody else disturbs it."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from weft_engine.errors import CallerError, NotFound
from weft_server.local_mesh.control import ask, listening
from weft_server.local_mesh.plan import MeshFolder


def folder_in(path: Path) -> MeshFolder:
    folder = MeshFolder(path)
    folder.control.parent.mkdir()
    return folder


async def asked(folder: MeshFolder, **command: object) -> dict[str, Any]:
    return await asyncio.to_thread(ask, folder, command)


async def obey(command: Any) -> dict[str, Any]:
    if command["do"] == "fail":
        raise CallerError("that can't be", hint="ask for something else")
    return {"did": command["do"]}


async def test_a_command_is_answered_and_an_error_is_raised_again(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    async with listening(folder.control, obey):
        assert await asked(folder, do="this") == {"did": "this"}
        with pytest.raises(CallerError, match="that can't be") as info:
            await asked(folder, do="fail")
        assert info.value.hint == "ask for something else"
        assert stat.S_IMODE(folder.control.stat().st_mode) == 0o600
    with pytest.raises(NotFound, match="no mesh is up"):
        await asked(folder, do="this")


async def test_who_does_not_know_the_secret_is_not_obeyed(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    done: list[object] = []

    async def note(command: Any) -> dict[str, Any]:
        done.append(command)
        return {}

    async with listening(folder.control, note):
        said = json.loads(folder.control.read_text())
        for line in (
            b'{"do": "down"}\n',
            b'{"do": "down", "secret": "x"}\n',
            b'{"do": "down", "secret": null}\n',
            b"[1]\n",
            b"GET / HTTP/1.1\r\n",
            b"\xff\n",
            b"[" * 100_000 + b"\n",
            b"",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", said["port"])
            writer.write(line)
            writer.write_eof()
            async with asyncio.timeout(20):
                assert await reader.read() == b""
            writer.close()
        assert not done
        assert await asked(folder, do="this") == {}
        assert done == [{"do": "this"}]


async def test_a_file_that_a_killed_mesh_left_means_that_none_is_up(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    async with listening(folder.control, obey):
        left = folder.control.read_text()
    folder.control.write_text(left)
    with pytest.raises(NotFound, match="no mesh is up"):
        await asked(folder, do="this")
