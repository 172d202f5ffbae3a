"""Those that no region may be linked with: each is told why, and so is whoever runs the relay."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.running_relay import RunningRelay, running_relay, until
from weft_engine.limits import FORMAT_VERSION
from weft_engine.sync.framing.frames import decode_frame, encode
from weft_engine.sync.framing.messages import Bye, Hello, Window
from weft_engine.sync.interest import EVERYTHING
from weft_server.door.token_keys import make_key_file, read_keys
from weft_server.door.tokens import mint
from weft_server.mesh.asking import ask


def hello(region: str | None, store: bytes | None = None) -> Hello:
    return Hello(
        FORMAT_VERSION,
        store or os.urandom(16),
        os.urandom(8),
        region,
        time.time_ns() // 1_000_000,
        EVERYTHING,
        Window(64, 1 << 20),
    )


async def bye_of(connection: Any, first: Hello) -> Bye:
    """Say hello; how the other end then says goodbye."""
    await connection.send(encode(first))
    try:
        while True:
            frame = await connection.recv()
            message = decode_frame(frame)
            if isinstance(message, Bye):
                return message
    except ConnectionClosed as error:
        raise AssertionError(f"closed without a bye: {error}") from error


@dataclass
class Fake:
    """Answers at ``/<name>/v1/sync`` with a hello of that name's, and keeps the byes it gets."""

    port: int
    hellos: dict[str, Callable[[Hello], Hello]]
    byes: dict[str, Bye]

    def url(self, name: str) -> str:
        return f"ws://127.0.0.1:{self.port}/{name}"


@asynccontextmanager
async def fake(hellos: dict[str, Callable[[Hello], Hello]]) -> AsyncIterator[Fake]:
    byes: dict[str, Bye] = {}

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        name = connection.request.path.split("/")[1]
        theirs = decode_frame(bytes(await connection.recv()))  # type: ignore[arg-type]
        assert isinstance(theirs, Hello)
        byes[name] = await bye_of(connection, hellos[name](theirs))

    async with serve(answer, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Fake(port, hellos, byes)


async def mesh_of(relay: RunningRelay, token: str | None = None) -> dict[str, Any]:
    return await asyncio.to_thread(ask, relay.url, token)


async def test_wrong_peers_are_refused_with_the_reason(tmp_path: Path) -> None:
    hellos: dict[str, Callable[[Hello], Hello]] = {
        "other": lambda theirs: hello("ap"),
        "itself": lambda theirs: hello("eu"),
        "copy": lambda theirs: hello("copy", theirs.store),
        "client": lambda theirs: hello(None),
        "newer": lambda theirs: replace(hello("newer"), format_version=FORMAT_VERSION + 1),
    }
    reasons = {
        "other": ("denied", "it was dialled as region other, and is region ap"),
        "itself": ("denied", "both ends are region eu"),
        "copy": ("denied", "the folder of one is a copy"),
        "client": ("denied", "it was dialled as region client, and is no region"),
        "newer": ("format", f"the peer has format version {FORMAT_VERSION + 1}"),
    }
    async with fake(hellos) as there:
        more = [word for name in hellos for word in ("--peer", f"{name}={there.url(name)}")]
        relay = await asyncio.to_thread(RunningRelay, tmp_path, region="eu", more=more)
        try:

            async def all_refused() -> bool:
                peers = (await mesh_of(relay))["peers"]
                return all(peer["state"] == "refused" for peer in peers)

            await until(all_refused, what="each wrong peer is refused")
            found = await mesh_of(relay)
        finally:
            await asyncio.to_thread(relay.signal)
            _, said = await asyncio.to_thread(relay.wait)
    assert [peer["name"] for peer in found["peers"]] == list(hellos)
    for peer in found["peers"]:
        code, reason = reasons[peer["name"]]
        assert reason in peer["why"]
        assert there.byes[peer["name"]].code == code
        assert reason in there.byes[peer["name"]].reason
        assert f"there is no link with region {peer['name']}: " in said
        assert reason in said
    assert {one["region"] for one in found["refused"]} == set(hellos)


@pytest.mark.parametrize(("copy", "is_renamed"), [("ap", True), ("us", False)])
async def test_of_two_regions_with_one_id_the_one_with_the_greater_name_takes_another(
    tmp_path: Path, copy: str, is_renamed: bool
) -> None:
    met: list[bytes] = []

    def as_copy(theirs: Hello) -> Hello:
        met.append(theirs.store)
        return hello(copy, theirs.store)

    async with fake({copy: as_copy}) as there:
        more = ("--peer", f"{copy}={there.url(copy)}")
        with running_relay(tmp_path, region="eu", more=more) as relay:

            async def refused() -> bool:
                found = await mesh_of(relay)
                is_refused = [one["state"] for one in found["peers"]] == ["refused"]
                return is_refused and (found["store"] != met[0].hex()) is is_renamed

            await until(refused, what="the copy is refused, and one of the two takes another id")


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "token.key"
    make_key_file(path)
    return path


def token(key_file: Path, rights: str) -> str:
    now_s = int(time.time())
    return mint(
        read_keys(key_file), prefixes=[""], rights=rights.split(), expires_s=300, now_s=now_s
    )


def accepted(relay: RunningRelay, bearer: str) -> connect:
    headers = {"Authorization": f"Bearer {bearer}"}
    return connect(f"{relay.url}/v1/sync", compression=None, additional_headers=headers)


async def test_a_region_needs_a_token_with_the_right_peer(tmp_path: Path, key_file: Path) -> None:
    """Whoever says that it is one is believed how far all regions are."""
    with running_relay(tmp_path / "eu", key=key_file, region="eu") as relay:
        poor, rich = token(key_file, "read write"), token(key_file, "read append peer")
        async with accepted(relay, poor) as connection:
            bye = await bye_of(connection, hello("us"))
        assert bye.code == "denied"
        assert "it says that it is region us, and its token lacks the right peer" in bye.reason
        async with accepted(relay, rich) as connection:
            bye = await bye_of(connection, hello("eu"))
        assert "both ends are region eu" in bye.reason
        with pytest.raises(Exception, match="admin or peer"):
            await mesh_of(relay, poor)
        found = await mesh_of(relay, rich)
        assert [(one["region"], one["place"]) for one in found["refused"]] == [
            ("us", "127.0.0.1"),
            ("eu", "127.0.0.1"),
        ]


async def test_two_stores_may_not_be_one_region_at_a_time(tmp_path: Path, key_file: Path) -> None:
    with running_relay(tmp_path / "eu", key=key_file, region="eu") as relay:
        bearer = token(key_file, "read append peer")
        first, second = hello("us"), hello("us")

        async def is_linked() -> bool:
            return any(one["state"] != "closed" for one in (await mesh_of(relay, bearer))["peers"])

        async with accepted(relay, bearer) as kept:
            await kept.send(encode(first))
            await until(is_linked, what="the first is linked")
            async with accepted(relay, bearer) as connection:
                bye = await bye_of(connection, second)
            assert bye.code == "denied"
            assert "two stores say that they are region us" in bye.reason
            assert first.store.hex() in bye.reason
            assert second.store.hex() in bye.reason
            found = await mesh_of(relay, bearer)
            assert [peer["store"] for peer in found["peers"]] == [first.store.hex()]

        async def is_gone() -> bool:
            return not await is_linked()

        await until(is_gone, what="the first has gone")
        async with accepted(relay, bearer) as connection:
            await connection.send(encode(second))
            await until(is_linked, what="the second is linked, now that the first has gone")


async def test_regions_with_tokens_link_once_the_token_is_right(
    tmp_path: Path, key_file: Path
) -> None:
    """A token without the right is refused with the reason at both ends; the file is read anew."""
    file = tmp_path / "us.token"
    file.write_text(token(key_file, "read append"))
    rich = token(key_file, "read append peer")
    with running_relay(tmp_path / "us", key=key_file, region="us") as us:
        more = ["--peer", f"us={us.url}", "--peer-token-file", f"us={file}"]
        with running_relay(tmp_path / "eu", key=key_file, region="eu", more=more) as eu:

            async def state() -> tuple[str, str]:
                (peer,) = (await mesh_of(eu, rich))["peers"]
                return peer["state"], peer["why"] or ""

            async def is_refused() -> bool:
                # Between two tries it says why; while it tries again it does not.
                how, why = await state()
                return how == "refused" and "lacks the right peer" in why

            await until(is_refused, what="a token without the right peer is refused, and why")
            (refused,) = (await mesh_of(us, rich))["refused"]
            assert refused["region"] == "eu"
        file.write_text(rich)
        with running_relay(tmp_path / "eu", key=key_file, region="eu", more=more) as eu:

            async def is_live() -> bool:
                return (await state())[0] == "live"

            await until(is_live, what="with the right token they are linked")


async def test_a_token_that_names_its_region_is_of_no_use_to_others(
    tmp_path: Path, key_file: Path
) -> None:
    """Refused with the reason at both ends, and nothing of the hello counts; a token without a name
    goes on as it was."""
    keys, now_s = read_keys(key_file), int(time.time())
    for_us = mint(
        keys,
        prefixes=[""],
        rights=["read", "append", "peer"],
        expires_s=300,
        now_s=now_s,
        region="us",
    )
    rich = token(key_file, "read append peer")
    file = tmp_path / "us.token"
    file.write_text(for_us)
    with running_relay(tmp_path / "eu", key=key_file, region="eu") as eu:
        async with accepted(eu, for_us) as connection:
            bye = await bye_of(connection, hello(None))
        assert bye.code == "denied"
        assert "its token is for region us alone, and it says that it is no region" in bye.reason
        more = ["--peer", f"eu={eu.url}", "--peer-token-file", f"eu={file}"]
        with running_relay(tmp_path / "ap", key=key_file, region="ap", more=more) as ap:

            async def is_refused() -> bool:
                return bool((await mesh_of(ap, rich))["peers"][0]["state"] == "refused")

            await until(is_refused, what="ap bears the token of us")
            why = "its token is for region us alone, and it says that it is region ap"
            assert why in (await mesh_of(ap, rich))["peers"][0]["why"]
        found = await mesh_of(eu, rich)
        assert [(one["region"], one["why"]) for one in found["refused"]][1:] == [("ap", why)]
        assert found["peers"] == found["regions"] == []
        with running_relay(tmp_path / "us", key=key_file, region="us", more=more) as us:

            async def is_live() -> bool:
                return bool((await mesh_of(us, rich))["peers"][0]["state"] == "live")

            await until(is_live, what="us bears its own")
