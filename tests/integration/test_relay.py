"""The relay as a process: health, its end, bad peers, tokens; over real sockets on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import weft
from tests.command_line import Run, record_set
from tests.command_line import weft as run_weft
from tests.linked import Store as Writer
from tests.linked import stores
from tests.running_relay import RunningRelay, running_relay, until
from tests.stores import open_replica
from weft_engine.limits import FORMAT_VERSION, FRAME_BYTES_MAX
from weft_engine.records.envelope import Record
from weft_engine.records.identity import SignatureItem
from weft_engine.sync.framing.frames import decode_frame, encode
from weft_engine.sync.framing.messages import (
    Bye,
    Contexts,
    Fragment,
    Hello,
    Records,
    Resume,
    Window,
)
from weft_engine.sync.interest import EVERYTHING
from weft_server.door.permission import ANYTHING
from weft_server.door.token_keys import make_key_file, read_keys
from weft_server.door.tokens import mint
from weft_server.relay import READY_FREE_BYTES, Relay


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    """An insecure relay that the tests of this file share; each uses contexts of its own."""
    with running_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "token.key"
    make_key_file(path)
    return path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[RunningRelay]:
    """A relay that asks for tokens."""
    with running_relay(tmp_path_factory.mktemp("guarded"), key=key_file) as found:
        yield found


def token(key_file: Path, *prefixes: str, rights: str = "read write", good_s: int = 60) -> str:
    now_s = int(time.time())
    return mint(
        read_keys(key_file),
        prefixes=prefixes or [""],
        rights=rights.split(),
        expires_s=good_s,
        now_s=now_s,
    )


@asynccontextmanager
async def raw(
    relay: RunningRelay,
    sock: socket.socket | None = None,
    *,
    bearer: str | None = None,
    greet: bool = True,
) -> AsyncIterator[ClientConnection]:
    """A bare websocket, with the hello of a peer that wants everything sent on it."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    async with connect(
        f"{relay.url}/v1/sync",
        compression=None,
        additional_headers=headers,
        max_queue=1,
        sock=sock,
    ) as peer:
        if greet:
            hello = Hello(
                FORMAT_VERSION,
                os.urandom(16),
                os.urandom(8),
                None,
                int(time.time() * 1000),
                EVERYTHING,
                Window(64, 1 << 26),
            )
            await peer.send(encode(hello))
        yield peer


async def last_words(peer: ClientConnection) -> tuple[Bye | None, int]:
    """The bye, if one comes, and the code that the connection closes with."""
    bye = None
    async with asyncio.timeout(10):
        async for frame in frames(peer):
            message = decode_frame(frame)
            bye = message if isinstance(message, Bye) else bye
    assert peer.close_code is not None
    return bye, peer.close_code


async def frames(peer: ClientConnection) -> AsyncIterator[bytes]:
    """What comes until the connection closes, however that is."""
    with suppress(ConnectionClosed):
        while True:
            frame = await peer.recv()
            assert isinstance(frame, bytes)
            yield frame


def test_it_tells_whether_it_lives_and_is_ready(relay: RunningRelay) -> None:
    assert relay.get("/health/live") == (200, {"status": "live", "region": "test"})
    status, said = relay.get("/health/ready")
    assert (status, said["status"]) == (200, "ready")


async def test_it_is_not_ready_when_its_disk_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = shutil.disk_usage(tmp_path)
    async with open_replica(tmp_path / "relay.db") as replica:
        relay = Relay(replica, region="eu", doorkeeper=lambda *_: ANYTHING)
        for free, why in ((READY_FREE_BYTES, None), (READY_FREE_BYTES - 1, "bytes left")):
            left = disk._replace(free=free)
            monkeypatch.setattr(shutil, "disk_usage", lambda _, left=left: left)
            said = await relay.why_not_ready()
            assert said is None if why is None else why in (said or "")
        monkeypatch.undo()
        await relay.close()
        assert "going away" in (await relay.why_not_ready() or "")


# ---- its beginning ------------------------------------------------------------------------------


def serve(data: Path, listen: str, region: str = "eu") -> Run:
    """`weft serve` where it is expected not to start."""
    words = ("--listen", listen, "--region", region, "--insecure")
    return run_weft("serve", "--data", data, *words)


def test_a_port_in_use_is_named(relay: RunningRelay, tmp_path: Path) -> None:
    run = serve(tmp_path, relay.address)
    assert run.code == 1
    assert relay.address in run.err
    assert "another port" in run.err
    assert relay.get("/health/live")[0] == 200


def test_a_second_relay_on_one_store_is_refused(relay: RunningRelay) -> None:
    run = serve(relay.store.parent, "127.0.0.1:0")
    assert run.code == 1
    assert "being written by process" in run.err


def test_an_insecure_relay_stays_on_loopback(tmp_path: Path) -> None:
    run = serve(tmp_path / "data", "0.0.0.0:0")
    assert run.code == 1
    assert "--token-key" in run.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("listen", "region", "complaint"),
    [
        ("nowhere", "eu", "no address"),
        ("127.0.0.1:70000", "eu", "no address"),
        ("127.0.0.1:0", "Europe West", "no region name"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_said(
    tmp_path: Path, listen: str, region: str, complaint: str
) -> None:
    run = serve(tmp_path, listen, region)
    assert run.code == 1
    assert complaint in run.err


@pytest.mark.parametrize("package", ["uvicorn", "starlette"])
def test_without_the_extra_it_says_what_to_install(tmp_path: Path, package: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None; from weft_server.cli import main;"
        f" sys.exit(main(['serve', '--data', {str(tmp_path)!r}, '--listen', '127.0.0.1:0',"
        " '--region', 'eu', '--insecure']))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)
    assert run.returncode == 1
    assert b"pip install '.[server]'" in run.stderr
    assert b"Traceback" not in run.stderr


# ---- its end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, wanted: signal.Signals) -> None:
    async def run() -> None:
        with running_relay(tmp_path / "relay") as relay:
            async with weft.open(tmp_path / "a.db") as store, raw(relay) as peer:
                link = store.connect(relay.url)
                await store.context("end/one").append("kept")
                await link.synced(timeout=10)
                began_s = time.monotonic()
                relay.signal(wanted)
                bye, code = await last_words(peer)
                assert (bye is not None and bye.code, code) == ("closed", 1001)
                code, errors = await asyncio.to_thread(relay.wait)
                assert code == 0, errors
                assert time.monotonic() - began_s < 20
                assert "Traceback" not in errors
                assert link.status == "connecting"
                ours = {info.name: info.fingerprint async for info in store.contexts()}
            async with weft.open(relay.store, readonly=True) as kept:
                assert {info.name: info.fingerprint async for info in kept.contexts()} == ours

    asyncio.run(run())


def unsent_bytes(ours: socket.socket) -> int:
    """What the system still holds of what the other end of this loopback connection sent."""
    near, far = (f":{name[1]:04X}" for name in (ours.getsockname(), ours.getpeername()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if local.endswith(far) and remote.endswith(near):
            return int(queues.partition(":")[0], 16)
    return 0


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks into Linux's socket table")
def test_who_does_not_read_its_goodbye_is_not_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        with running_relay(tmp_path / "relay") as relay:
            async with weft.open(tmp_path / "a.db") as store:
                for number in range(14):
                    await store.context(f"much/{number}").append("a lot to send " * 35_000)
                await store.connect(relay.url).synced(timeout=30)
            host, port = relay.address.split(":")
            narrow = socket.socket()
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            narrow.connect((host, int(port)))
            async with raw(relay, narrow) as peer:
                await peer.send(encode(Resume(None)))
                await peer.send(encode(Contexts((), last=True)))
                async for frame in frames(peer):
                    if isinstance(decode_frame(frame), (Records, Fragment)):
                        break
                # From here on it reads nothing, and most is still to come.
                looks: list[int] = []

                async def relay_is_stuck() -> bool:
                    looks.append(unsent_bytes(narrow))
                    return looks[-1] > 0 and looks[-20:] == [looks[-1]] * 20

                await until(relay_is_stuck, what="the relay can send no more")
                began_s = time.monotonic()
                relay.signal()
                code, errors = await asyncio.to_thread(relay.wait)
                assert code == 0, errors
                assert time.monotonic() - began_s < 10
                peer.transport.abort()

    asyncio.run(run())


# ---- bad peers ----------------------------------------------------------------------------------


async def forged(writer: Writer, kind: str) -> Records:
    """A message with one record that is not sound, in the way that `kind` says."""
    records = await writer.write(f"forged/{kind}", "never said")
    record: Record = records[0]
    item: SignatureItem = writer.key.sign(record.hash)
    payload = record.payload
    if kind == "payload":
        payload = payload[:-2] + b"!" + payload[-1:]
    elif kind == "signature":
        item = SignatureItem(item.public_key, item.tip, bytes(byte ^ 1 for byte in item.signature))
    return Records(1, None, ((record.envelope_bytes, payload),), (item,))


@pytest.mark.parametrize(
    ("kind", "bye_code", "close_code", "reason"),
    [
        ("random", "malformed", 1007, ""),
        ("payload", "record", 1008, "its payload is not the one its envelope names"),
        ("signature", "record", 1008, "signature"),
        ("early", "malformed", 1007, "before the hello"),
    ],
)
def test_a_bad_frame_ends_its_link_and_nothing_else(
    relay: RunningRelay, tmp_path: Path, kind: str, bye_code: str, close_code: int, reason: str
) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "good.db") as store, stores(1) as (writer,):
            await store.context(f"good/{kind}").append("before")
            link = store.connect(relay.url, prefixes=["good/"])
            await link.synced(timeout=10)
            before = record_set(relay.store)
            if kind == "random":
                # Not an array to begin with: some arrays would be frames of a later version.
                frame = b"\x01\xff" + os.urandom(200)
            else:
                frame = encode(await forged(writer, kind))
            async with raw(relay, greet=kind != "early") as peer:
                await peer.send(frame)
                bye, code = await last_words(peer)
            assert bye is not None
            assert (bye.code, code) == (bye_code, close_code)
            assert reason in bye.reason
            assert record_set(relay.store) == before
            # The others go on as if nothing had been.
            assert link.status in ("comparing", "live")
            assert link.error is None
            await store.context(f"good/{kind}").append("after")
            await link.synced(timeout=10)
            assert len(record_set(relay.store)) == len(before) + 1
        assert run_weft("verify", "--store", relay.store).code == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sent", "close_code"), [("text", 1003), (b"\x01" + bytes(FRAME_BYTES_MAX), 1009)]
)
def test_what_is_no_frame_at_all_closes_the_connection(
    relay: RunningRelay, sent: str | bytes, close_code: int
) -> None:
    async def run() -> None:
        async with raw(relay) as peer:
            await peer.send(sent)
            _, code = await last_words(peer)
            assert code == close_code
        assert relay.get("/health/ready")[0] == 200

    asyncio.run(run())


# ---- tokens -------------------------------------------------------------------------------------


async def refusal(store: weft.Store, relay: RunningRelay, bearer: str | None) -> str:
    """Why the relay does not take this token; nothing is tried again then."""
    link = store.connect(relay.url, token=bearer)
    with pytest.raises(weft.LinkRefused) as caught:
        await link.synced(timeout=10)
    assert link.status == "refused"
    await link.aclose()
    return str(caught.value)


def test_a_token_that_does_not_do_is_refused_with_the_reason(
    guarded: RunningRelay, key_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.key"
    make_key_file(other)

    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as store:
            assert "asks for a token" in await refusal(store, guarded, None)
            assert "another key" in await refusal(store, guarded, token(other))
            assert "malformed" in await refusal(store, guarded, "not.a.token")
            assert "expired" in await refusal(store, guarded, token(key_file, good_s=-5))
            assert "right to read" in await refusal(
                store, guarded, token(key_file, rights="append")
            )
            with_prefix = token(key_file, "elsewhere/")
            link = store.connect(guarded.url, token=with_prefix, prefixes=["here/"])
            with pytest.raises(weft.LinkRefused, match="covers none"):
                await link.synced(timeout=10)

    asyncio.run(run())


def test_a_token_s_prefixes_limit_what_a_link_carries(
    guarded: RunningRelay, key_file: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as one, weft.open(tmp_path / "b.db") as two:
            for name in ("acme/chat", "acme2/chat", "other/chat"):
                await one.context(name).append(f"of {name}")
            limited = one.connect(guarded.url, token=token(key_file, "acme/"))
            await limited.synced(timeout=10)
            link = two.connect(guarded.url, token=token(key_file))
            await link.synced(timeout=10, received=True)
            assert [info.name async for info in two.contexts()] == ["acme/chat"]

    asyncio.run(run())


def test_without_the_right_to_append_a_link_reads_and_no_more(
    guarded: RunningRelay, key_file: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        reader = token(key_file, "rights/", rights="read")
        async with weft.open(tmp_path / "a.db") as one, weft.open(tmp_path / "b.db") as two:
            await one.context("rights/chat").append("from who may")
            link = one.connect(guarded.url, token=token(key_file, "rights/"))
            await link.synced(timeout=10)
            reading = two.connect(guarded.url, token=reader)
            await reading.synced(timeout=10, received=True)
            assert [info.name async for info in two.contexts()] == ["rights/chat"]
            before = record_set(guarded.store)
            await two.context("rights/chat").append("from who may not")
            with pytest.raises(weft.LinkRefused, match="needs a token that may append"):
                await reading.synced(timeout=10)
            assert reading.status == "refused"
            assert record_set(guarded.store) == before
            assert link.status == "live"

    asyncio.run(run())


def test_a_token_that_expires_ends_its_link(guarded: RunningRelay, key_file: Path) -> None:
    async def run() -> None:
        async with raw(guarded, bearer=token(key_file, good_s=2)) as peer:
            bye, code = await last_words(peer)
        assert bye is not None
        assert (bye.code, bye.reason, code) == ("denied", "the token has expired", 4401)

    asyncio.run(run())


def test_who_links_is_let_go_of_when_it_is_gone(relay: RunningRelay, tmp_path: Path) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as store:
            links = [store.connect(relay.url, contexts=[f"gone/{n}"]) for n in range(5)]
            for link in links:
                await link.synced(timeout=10)
            assert relay.get("/health/ready")[1]["links"] == 5

        async def none_left() -> bool:
            return relay.get("/health/ready")[1]["links"] == 0

        await until(none_left, what="the relay forgets links that ended")

    asyncio.run(run())
