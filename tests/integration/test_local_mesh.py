"""`weft mesh up`, `cut`, `heal`, `kill`, `start`, `status`, `down`: real processes, real words."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import weft as client
from tests.command_line import WEFT, weft
from weft_server.cli import main
from weft_server.local_mesh.agreement import Holding, holding

DEADLINE_S = 30.0
PATIENCE_S = 90.0


def is_gone(pid: int) -> bool:
    """Whether no such process runs: one that has ended and was not asked after yet counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """As everywhere, with more patience: several processes share what the machine has."""
    began_s = time.monotonic()
    while not await holds():
        assert time.monotonic() - began_s < PATIENCE_S, f"not in {PATIENCE_S} s"
        await asyncio.sleep(0.05)


class Mesh:
    """The mesh in a folder: commanded as a user does, and its stores read beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def do(self, *words: str) -> Any:
        run = weft("mesh", *words, "--folder", self.folder, "--json")
        assert run.code == 0, run.err
        return run.json()

    def fails(self, *words: str) -> str:
        run = weft("mesh", *words, "--folder", self.folder)
        assert run.code == 1, run.out
        assert "Traceback" not in run.err
        return run.err

    def states(self) -> dict[str, str]:
        return {region["name"]: region["state"] for region in self.do("status")["regions"]}

    async def holds(self, region: str) -> Holding:
        return await holding(self.folder / region / "store" / "relay.db")

    async def until_equal(self, regions: Sequence[str], records: int) -> None:
        async def are_equal() -> bool:
            held = [await self.holds(region) for region in regions]
            return len(set(held)) == 1 and held[0].records == records

        await until(are_equal)

    async def write(self, url: str, *contexts: str) -> None:
        """A message in each of them, by a device at `url`: one record each."""
        async with client.open(self.folder / f"{contexts[0]}.db") as store:
            for context in contexts:
                await store.context(context).append("hello")
            store.connect(url)
            await store.synced(timeout=DEADLINE_S)


async def until_gone(pid: int) -> None:
    async def is_so() -> bool:
        return is_gone(pid)

    await until(is_so)


@contextmanager
def in_the_foreground(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    command = [*WEFT, "mesh", "up", "--folder", str(folder), "--json", *words]
    mesh = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert mesh.stdout is not None
    try:
        line = mesh.stdout.readline()
        assert line, mesh.communicate(timeout=DEADLINE_S)[1]
        yield mesh, json.loads(line)
    finally:
        if mesh.poll() is None:
            mesh.send_signal(signal.SIGTERM)
        mesh.communicate(timeout=DEADLINE_S)


async def test_a_mesh_from_up_to_down(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path / "mesh")
    names = ("eu", "us", "ap")
    up = mesh.do("up", "--detach", "--names", "eu,us,ap", "--topology", "line", "--delay-ms", "5")
    pids = [up["pid"], *(region["pid"] for region in up["regions"])]
    try:
        urls = {region["name"]: region["url"] for region in up["regions"]}
        assert "is up in" in mesh.fails("up")
        await mesh.write(urls["eu"], "from-eu")
        await mesh.write(urls["ap"], "from-ap")
        await mesh.until_equal(names, 2)

        assert mesh.do("cut", "us", "ap")["cut"] == ["us->ap", "ap->us"]
        await mesh.write(urls["eu"], "eu-apart", "eu-again")
        await mesh.write(urls["ap"], "ap-apart")
        await mesh.until_equal(("eu", "us"), 4)
        assert (await mesh.holds("ap")).records == 3
        shown = weft("mesh", "status", "--folder", mesh.folder).out
        assert "not all regions hold the same" in shown
        assert " cut " in shown
        assert "region eu" in weft("mesh", "status", "--url", urls["eu"]).out
        assert mesh.do("heal")["healed"] == ["us-ap"]
        await mesh.until_equal(names, 5)

        killed = mesh.do("kill", "us")["pid"]
        assert is_gone(killed)
        assert mesh.states() == {"eu": "up", "us": "killed", "ap": "up"}
        await mesh.write(urls["eu"], "eu-alone")
        pids.append(mesh.do("start", "us")["pid"])
        assert "up already" in mesh.fails("start", "us")
        await mesh.until_equal(names, 6)
    finally:
        down = weft("mesh", "down", "--folder", mesh.folder)
    assert down.code == 0, down.err
    # The regions have ended when it is said so; who says it ends right afterwards.
    assert all(map(is_gone, pids[1:]))
    await until_gone(pids[0])
    assert weft("verify", "--store", mesh.folder / "us" / "store" / "relay.db").code == 0
    assert weft("mesh", "down", "--remove", "--folder", mesh.folder).code == 0
    # What others put there stays.
    assert (mesh.folder / "from-eu.db").exists()
    assert not (mesh.folder / "us").exists()


async def test_regions_end_with_a_mesh_that_is_killed_and_go_on_with_the_next(
    tmp_path: Path,
) -> None:
    mesh = Mesh(tmp_path / "mesh")
    with in_the_foreground(mesh.folder, "--regions", "1") as (process, said):
        region = said["regions"][0]
        await mesh.write(region["url"], "one")
        process.kill()
        await until_gone(region["pid"])
    assert "no mesh is up" in mesh.fails("status")
    with in_the_foreground(mesh.folder) as (process, again):
        assert [one["name"] for one in again["regions"]] == ["r1"]
        assert again["regions"][0]["url"] == region["url"]
        await mesh.until_equal(["r1"], 1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    assert is_gone(again["regions"][0]["pid"])
    assert "Traceback" not in errors


def test_a_region_that_ends_by_itself_is_told_of(tmp_path: Path) -> None:
    with in_the_foreground(tmp_path / "mesh", "--regions", "1") as (process, said):
        os.kill(said["regions"][0]["pid"], signal.SIGKILL)
        assert process.stderr is not None
        assert "r1 ended by itself" in process.stderr.readline()
        assert Mesh(tmp_path / "mesh").states() == {"r1": "ended"}


def test_what_can_not_be_is_said_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mesh"

    def fails(*words: str, folder: Path = folder, code: int = 1) -> str:
        assert main(["mesh", *words, "--folder", str(folder)]) == code
        said = capsys.readouterr()
        assert "hint: " in said.err
        return said.err

    for words, said in (
        (("status",), "no mesh is up"),
        (("heal",), "no mesh is up"),
        (("down",), "no mesh is up"),
        (("down", "--remove"), "no mesh is up"),
        (("up", "--regions", "0"), "can't have 0 regions"),
        (("up", "--names", "eu,EU"), "no region name"),
        (("up", "--delay-ms", "-1"), "delay of -1 ms"),
        (("up", "--loss", "2"), "loss of 2"),
        (("up", "--port", "65535"), "no port"),
        (("cut", "r1", "--one-way"), "needs two sides"),
    ):
        assert said in fails(*words)
    assert not folder.exists()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        errors = fails("up", "--regions", "1", "--port", str(port))
        assert f"the port {port} of the region r1" in errors
        errors = fails("up", "--detach", "--regions", "1", "--port", str(port))
        assert f"the port {port} of the region r1" in errors
        assert "hint: end the program that listens there" in errors
        assert not (folder / "r1").exists()
    (tmp_path / "file").write_text("")
    assert "is no folder" in fails("up", folder=tmp_path / "file")
    broken = tmp_path / "broken"
    (broken / ".mesh").mkdir(parents=True)
    (broken / ".mesh" / "plan.json").write_text('{"format": 1, "regions": ["../up"]}')
    assert "is not the plan of a mesh" in fails("up", folder=broken)
    with pytest.raises(SystemExit):
        main(["mesh", "up", "--topology", "tree"])
