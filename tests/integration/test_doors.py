"""The relay's door as a process: who gets in, how many, how slowly, and for how long."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

import weft
from tests.command_line import record_set
from tests.command_line import weft as run_weft
from tests.integration.test_relay import last_words, raw
from tests.linked import stores
from tests.running_relay import DEADLINE_S, RunningRelay, running_relay, until
from tests.yjs_client import yjs_client
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Contexts, Records, Resume

SECRET_OF_UPGRADES = "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A secret key file; its public side is beside it."""
    path = tmp_path_factory.mktemp("keys") / "token.key"
    assert run_weft("keys", "new", path).code == 0
    return path


def public(keys: Path) -> Path:
    return keys.with_name(keys.name + ".pub")


def minted(keys: Path, *words: str) -> tuple[str, str]:
    """A token and its id."""
    told = run_weft("token", "--key", keys, *words, "--json").json()
    return told["token"], told["id"]


def limited(*limits: str) -> Sequence[str]:
    return [word for limit in limits for word in ("--limit", limit)]


@contextmanager
def connected(relay: RunningRelay) -> Iterator[socket.socket]:
    host, port = relay.address.split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as found:
        yield found


def answer_on(connection: socket.socket) -> bytes:
    """Everything until the other end has closed."""
    found = b""
    with suppress(ConnectionResetError):
        while some := connection.recv(65536):
            found += some
    return found


def upgrade(*more: str, path: str = "/v1/sync") -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: relay",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {SECRET_OF_UPGRADES}",
        *more,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


# ---- before the request is complete -------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    """A relay that waits for nobody."""
    more = limited("unauthenticated_s=1", "unauthenticated_bytes=12 KiB", "hello_s=1")
    with running_relay(tmp_path_factory.mktemp("hasty"), more=more) as found:
        yield found


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"G",
        b"GET /v1/sync HT",
        upgrade()[:-2],
        b"GET /health/live HTTP/1.1\r\nHost: r\r\n",
        b"POST /health/live HTTP/1.1\r\nHost: r\r\nContent-Length: 1000\r\n\r\nabc",
    ],
)
def test_who_does_not_finish_its_request_is_cut_off(hasty: RunningRelay, said: bytes) -> None:
    with connected(hasty) as one:
        one.sendall(said)
        told = answer_on(one)
        if not said.startswith(b"POST"):
            assert told.startswith(b"HTTP/1.1 408 ")
            assert b"limit unauthenticated_s" in told
    assert hasty.get("/health/ready")[0] == 200


def test_a_second_request_is_timed_as_the_first(hasty: RunningRelay) -> None:
    with connected(hasty) as one:
        one.sendall(b"GET /health/live HTTP/1.1\r\nHost: r\r\n\r\n")
        assert one.recv(65536).startswith(b"HTTP/1.1 200 ")
        one.sendall(b"GET /health")
        assert b"HTTP/1.1 408 " in answer_on(one)


def test_byte_by_byte_is_no_way_to_stay(hasty: RunningRelay) -> None:
    with connected(hasty) as one:
        one.settimeout(0.05)
        told = b""
        for byte in upgrade("X-Slow: " + "a" * 2000):
            try:
                one.send(bytes([byte]))
                told = one.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            break
        else:
            pytest.fail("it was let in")
        one.settimeout(DEADLINE_S)
        assert b"408" in told + answer_on(one)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (upgrade("X-Long: " + "a" * 9_000), "a line of the head"),
        (upgrade(path="/v1/sync?token=" + "a" * 9_000), "a line of the head"),
        (upgrade(*[f"X-{n}: {'a' * 1_000}" for n in range(20)]), "limit unauthenticated_bytes"),
        (b"GET /" + b"a" * 100_000, "limit unauthenticated_bytes"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000, "limit unauthenticated_bytes"),
    ],
)
def test_a_head_that_is_too_large_is_not_read(hasty: RunningRelay, head: bytes, why: str) -> None:
    with connected(hasty) as one:
        with suppress(OSError):  # It may be closed before all is said.
            one.sendall(head)
        told = answer_on(one)
        assert told.startswith(b"HTTP/1.1 431 ")
        assert why.encode() in told


def test_a_head_within_the_limits_is_read_whole(hasty: RunningRelay) -> None:
    with connected(hasty) as one:
        one.sendall(upgrade(*[f"X-{n}: {'a' * 1_000}" for n in range(10)]))
        assert one.recv(65536).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("said", [b"\x00" * 1000, b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n"])
def test_what_is_no_request_is_answered_and_closed(hasty: RunningRelay, said: bytes) -> None:
    with connected(hasty) as one:
        one.sendall(said)
        assert answer_on(one).startswith(b"HTTP/1.1 400 ")


def test_who_says_no_hello_is_cut_off(hasty: RunningRelay) -> None:
    async def run() -> None:
        async with raw(hasty, greet=False) as peer:
            bye, code = await last_words(peer)
        assert bye is not None
        assert (bye.code, code) == ("limit", 1008)
        assert "limit hello_s" in bye.reason

    asyncio.run(run())


def test_a_crowd_that_says_nothing_keeps_nobody_out(tmp_path: Path) -> None:
    more = limited("unauthenticated=20", "unauthenticated_s=2")
    with running_relay(tmp_path / "relay", more=more) as relay, ExitStack() as crowd:
        for _ in range(20):
            crowd.enter_context(connected(relay))
        with connected(relay) as late:
            told = answer_on(late)
            assert told.startswith(b"HTTP/1.1 503 ")
            assert b"limit unauthenticated" in told
            assert b"retry-after" in told

        async def run() -> None:
            async with weft.open(tmp_path / "a.db") as store:
                await store.context("a/b").append("patient")
                link = store.connect(relay.url)
                await link.synced(timeout=DEADLINE_S)

        asyncio.run(run())


# ---- how many -----------------------------------------------------------------------------------


@asynccontextmanager
async def many(relay: RunningRelay, count: int, bearer: str | None = None) -> AsyncIterator[None]:
    """So many links."""
    async with AsyncExitStack() as held:
        for _ in range(count):
            peer = await held.enter_async_context(raw(relay, bearer=bearer))
            # They read nothing, so they would wait long for the other end's goodbye.
            held.callback(peer.transport.abort)
        yield


async def status_of(relay: RunningRelay, bearer: str | None = None) -> tuple[int, str]:
    """What an attempt to open a link is answered."""
    try:
        async with raw(relay, bearer=bearer) as peer:
            peer.transport.abort()
            return 101, ""
    except InvalidStatus as error:
        response = error.response
        if response.status_code in (429, 503):
            assert response.headers["retry-after"] == "5"
        return response.status_code, response.body.decode()


@pytest.mark.parametrize(
    ("limit", "status"), [("address_links", 429), ("links", 503), ("token_links", 429)]
)
def test_one_link_too_many_is_told_so_and_may_come_again(
    tmp_path: Path, keys: Path, limit: str, status: int
) -> None:
    async def run(relay: RunningRelay) -> None:
        token, _ = minted(keys)
        async with many(relay, 3, token):
            told, why = await status_of(relay, token)
            assert told == status
            assert f"limit {limit}, 3" in why
            if limit == "token_links":
                assert (await status_of(relay, minted(keys)[0]))[0] == 101

        async def is_let_in() -> bool:
            return (await status_of(relay, token))[0] == 101

        await until(is_let_in, what="there is room again")

    with running_relay(tmp_path / "relay", key=public(keys), more=limited(f"{limit}=3")) as relay:
        asyncio.run(run(relay))


def test_a_proxy_names_for_whom_it_speaks(tmp_path: Path) -> None:
    more = [*limited("address_links=2"), "--proxy", "127.0.0.1"]

    def asks(relay: RunningRelay, held: ExitStack, address: str) -> bytes:
        one = held.enter_context(connected(relay))
        one.sendall(upgrade(f"X-Forwarded-For: {address}"))
        return one.recv(65536).split(b"\r\n")[0]

    with running_relay(tmp_path / "relay", more=more) as relay, ExitStack() as held:
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"):
            assert b" 101 " in asks(relay, held, address)
        assert b" 429 " in asks(relay, held, "192.0.2.1")
        assert b" 429 " in asks(relay, held, "2001:db8::3"), "the same network"
        assert b" 101 " in asks(relay, held, "2001:db8:0:1::3")


def test_nobody_else_is_believed_to_be_a_proxy(tmp_path: Path) -> None:
    with (
        running_relay(tmp_path / "relay", more=limited("address_links=1")) as relay,
        connected(relay) as one,
    ):
        one.sendall(upgrade("X-Forwarded-For: 192.0.2.1"))
        assert b" 101 " in one.recv(65536)
        with connected(relay) as other:
            assert b" 429 " in answer_on(other)


def test_a_proxy_that_nobody_named_is_told_of_once(tmp_path: Path) -> None:
    """Behind it all clients are one address, which nobody notices until they are too many."""
    with running_relay(tmp_path / "relay", more=["--proxy", "10.0.0.7"]) as relay:
        for address in ("192.0.2.1", "192.0.2.2"):
            with connected(relay) as one:
                one.sendall(upgrade(f"X-Forwarded-For: {address}"))
                assert b" 101 " in one.recv(65536)
        relay.signal()
        _, said = relay.wait()
    assert said.count("X-Forwarded-For") == 1
    assert "from 127.0.0.1 is not believed" in said
    assert "--proxy 127.0.0.1" in said


def test_a_proxy_is_known_on_a_socket_of_both_families(tmp_path: Path) -> None:
    """There the system writes 127.0.0.1 as ::ffff:127.0.0.1."""
    door = [*limited("address_links=1"), "--listen", "[::ffff:127.0.0.1]:0"]
    for written in ("127.0.0.1", "::ffff:127.0.0.1"):
        with ExitStack() as held:
            folder = tmp_path / written.replace(":", "-")
            relay = held.enter_context(running_relay(folder, more=[*door, "--proxy", written]))
            port = int(relay.url.rpartition(":")[2])
            for address in ("192.0.2.1", "192.0.2.2"):
                made = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
                one = held.enter_context(made)
                one.sendall(upgrade(f"X-Forwarded-For: {address}"))
                assert b" 101 " in one.recv(65536)


@pytest.fixture(scope="module")
def open_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    """A relay that asks nobody for a token."""
    with running_relay(tmp_path_factory.mktemp("open")) as found:
        yield found


@pytest.mark.parametrize(
    ("origin", "is_taken"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://localhost:5173", True),
        ("https://chat.localhost", True),
        ("http://[::1]:8000", True),
        ("https://evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://localhost@evil.example", False),
        ("http://192.0.2.1:8000", False),
        ("http://[broken", False),
        ("file://", False),
        ("null", False),
        ("", False),
    ],
)
def test_where_no_token_is_asked_for_a_page_of_elsewhere_is_turned_away(
    open_relay: RunningRelay, origin: str, is_taken: bool
) -> None:
    """A browser connects to this machine for whatever page it shows."""
    for path in ("/v1/sync", "/yjs/acme/chat"):
        with connected(open_relay) as one:
            one.sendall(upgrade(f"Origin: {origin}", path=path))
            answer = one.recv(65536)
        assert (b" 101 " if is_taken else b" 403 ") in answer.split(b"\r\n")[0]
        assert is_taken or b"web page of elsewhere" in answer


def test_with_tokens_or_by_force_any_page_is_taken(tmp_path: Path, keys: Path) -> None:
    token, _ = minted(keys)
    for name, key, more in (("forced", None, ["--force"]), ("asking", public(keys), [])):
        with running_relay(tmp_path / name, key=key, more=more) as relay, connected(relay) as one:
            lines = ["Origin: https://app.example", f"Authorization: Bearer {token}"]
            one.sendall(upgrade(*lines))
            assert b" 101 " in one.recv(65536)


# ---- how much -----------------------------------------------------------------------------------


async def end_of(link: weft.Link) -> str:
    with pytest.raises(weft.LinkRefused) as caught:
        await link.synced(timeout=DEADLINE_S)
    return str(caught.value)


def test_what_is_too_large_is_refused_by_name(tmp_path: Path) -> None:
    async def run(relay: RunningRelay) -> None:
        async with weft.open(tmp_path / "a.db") as store:
            await store.context("big/record").append("a" * 60_000)
            why = await end_of(store.connect(relay.url, prefixes=["big/"]))
            assert "context 'big/record'" in why
            assert "limit record_bytes, 50000" in why
            for _ in range(5):
                await store.context("full/context").append("a" * 40_000)
            why = await end_of(store.connect(relay.url, prefixes=["full/"]))
            assert "context 'full/context'" in why
            assert "limit context_bytes" in why
            for number in range(11):
                await store.context(f"many/{number}").append("one")
            link = store.connect(relay.url, prefixes=["many/"])

            async def is_told() -> bool:
                return link.error is not None and "contexts were listed" in str(link.error)

            await until(is_told, what="there are too many contexts")
            await link.aclose()
            async with yjs_client(relay.url, "big/note") as client:
                await client.synced()
                await client.edit("n", 0, "a" * 60_000)
                await client.until(lambda: client.close is not None, "it is told so")
                assert client.close is not None
                assert "limit record_bytes, 50000" in client.close[1]
            # All else goes on.
            await store.context("good/context").append("small")
            await store.connect(relay.url, prefixes=["good/"]).synced(timeout=DEADLINE_S)

    more = limited("record_bytes=50000", "context_bytes=150 kB", "link_contexts=10")
    with running_relay(tmp_path / "relay", more=more) as relay:
        asyncio.run(run(relay))


def test_too_many_contexts_by_name_are_told_so(tmp_path: Path) -> None:
    async def run(relay: RunningRelay) -> None:
        async with weft.open(tmp_path / "a.db") as store:
            link = store.connect(relay.url, contexts=[f"c/{n}" for n in range(11)])

            async def is_told() -> bool:
                return link.error is not None and "link_contexts is 10" in str(link.error)

            await until(is_told, what="there are too many contexts")

    with running_relay(tmp_path / "relay", more=limited("link_contexts=10")) as relay:
        asyncio.run(run(relay))


def test_contexts_that_come_later_count_too(tmp_path: Path) -> None:
    """Those that are made on an open link, and those that a subscription adds."""

    async def run(relay: RunningRelay) -> None:
        async with weft.open(tmp_path / "a.db") as store, weft.open(tmp_path / "b.db") as reader:
            for number in range(6):
                await store.context(f"a/{number}").append("one")
                await store.context(f"b/{number}").append("one")
            a, b = (store.connect(relay.url, prefixes=[prefix]) for prefix in ("a/", "b/"))
            await a.synced(timeout=DEADLINE_S)
            await b.synced(timeout=DEADLINE_S)
            both = reader.connect(relay.url, prefixes=["a/"])
            await both.synced(received=True, timeout=DEADLINE_S)
            both.subscribe(prefixes=["b/"])

            async def is_told(link: weft.Link) -> bool:
                return link.error is not None and "link_contexts is 10" in str(link.error)

            await until(partial(is_told, both), what="a subscription to too many contexts")
            assert a.error is b.error is None
            for number in range(6, 11):
                await store.context(f"a/{number}").append("one")
            await until(partial(is_told, a), what="one context too many is made")
            assert b.error is None

    with running_relay(tmp_path / "relay", more=limited("link_contexts=10")) as relay:
        asyncio.run(run(relay))


def test_who_brings_too_much_at_once_waits_and_loses_nothing(tmp_path: Path, keys: Path) -> None:
    """The peer's window fills up while the relay lets its records wait; the link lives."""

    async def run(relay: RunningRelay) -> None:
        async with weft.open(tmp_path / "a.db") as store, weft.open(tmp_path / "b.db") as quiet:
            for number in range(60):
                await store.context("fast/one").append(f"event {number}")
            began_s = time.monotonic()
            link = store.connect(relay.url, token=minted(keys)[0])
            await link.synced(timeout=60)
            # Never sooner than the rate allows; how much later is the machine's affair.
            assert time.monotonic() - began_s >= (60 - 30) / 20 - 0.1
            assert link.error is None
            # Another token is not kept waiting.
            await quiet.context("quiet/one").append("one")
            await quiet.connect(relay.url, token=minted(keys)[0]).synced(timeout=DEADLINE_S)
            assert len(record_set(relay.store)) == 61

    more = limited("token_records_per_s=20", "token_records_burst=30")
    with running_relay(tmp_path / "relay", key=public(keys), more=more) as relay:
        asyncio.run(run(relay))


def test_a_record_of_another_context_than_the_token_s_is_refused(
    tmp_path: Path, keys: Path
) -> None:
    """It is not asked for, and does not come in if it is sent all the same."""

    async def run(relay: RunningRelay) -> None:
        token, _ = minted(keys, "--context", "mine/")
        async with stores(1) as (writer,), raw(relay, bearer=token) as peer:
            (mine,) = await writer.write("mine/chat", "in")
            (other,) = await writer.write("other/chat", "out")
            await peer.send(encode(Resume(None)))
            await peer.send(encode(Contexts((), last=True)))
            for serial, record in enumerate((mine, other), 1):
                pair = (record.envelope_bytes, record.payload)
                item = writer.key.sign(record.hash)
                await peer.send(encode(Records(serial, None, (pair,), (item,))))
            bye, code = await last_words(peer)
            assert bye is not None
            assert (bye.code, code) == ("record", 1008)
            assert f"record {other.hash.hex()[:16]} of context 'other/chat'" in bye.reason

            async def is_in() -> bool:
                return record_set(relay.store) == {mine.hash}

            await until(is_in, what="what the token allows is stored, and nothing else")

    with running_relay(tmp_path / "relay", key=public(keys)) as relay:
        asyncio.run(run(relay))


# ---- for how long -------------------------------------------------------------------------------


def test_a_revoked_token_ends_its_links_and_no_others(tmp_path: Path, keys: Path) -> None:
    async def run(relay: RunningRelay) -> None:
        (bad, bad_id), (good, _) = minted(keys), minted(keys)
        async with raw(relay, bearer=good) as other, raw(relay, bearer=bad) as peer:
            kept = asyncio.create_task(last_words(other))
            waiting = asyncio.create_task(last_words(peer))
            began_s = time.monotonic()
            told = await asyncio.to_thread(
                run_weft, "token", "revoke", bad, "--data", relay.store.parent, "--json"
            )
            assert told.json() == {
                "id": bad_id,
                "file": str(relay.store.parent / "revoked-tokens"),
                "changed": True,
            }
            bye, code = await waiting
            assert time.monotonic() - began_s < 5
            assert bye is not None
            assert (bye.code, code) == ("denied", 4401)
            assert f"revoked ({bad_id})" in bye.reason
            status, why = await status_of(relay, bad)
            assert status == 401
            assert bad_id in why
            assert (await status_of(relay, good))[0] == 101
            assert not kept.done()
            kept.cancel()

    with running_relay(tmp_path / "relay", key=public(keys)) as relay:
        asyncio.run(run(relay))


def test_a_retired_key_ends_the_links_of_its_tokens(tmp_path: Path) -> None:
    keys = tmp_path / "token.key"
    run_weft("keys", "new", keys, "--id", "old")
    before, _ = minted(keys)

    async def run(relay: RunningRelay) -> None:
        async with raw(relay, bearer=before) as peer:
            waiting = asyncio.create_task(last_words(peer))
            rotated = await asyncio.to_thread(run_weft, "keys", "rotate", keys, "--id", "new")
            assert rotated.code == 0
            after, _ = await asyncio.to_thread(minted, keys)

            async def is_taken() -> bool:
                return (await status_of(relay, after))[0] == 101

            await until(is_taken, what="the relay knows the new key")
            assert (await status_of(relay, before))[0] == 101
            # A file that is no key file changes nothing.
            kept = await asyncio.to_thread(public(keys).read_bytes)
            await asyncio.to_thread(public(keys).write_bytes, b"{")
            await asyncio.sleep(1.5)  # longer than it looks away
            assert (await status_of(relay, before))[0] == 101
            await asyncio.to_thread(public(keys).write_bytes, kept)
            await asyncio.to_thread(run_weft, "keys", "retire", keys, "old")
            bye, code = await waiting
            assert bye is not None
            assert (bye.code, code) == ("denied", 4401)
            assert "another key (old)" in bye.reason
            assert (await status_of(relay, after))[0] == 101

    with running_relay(tmp_path / "relay", key=public(keys)) as relay:
        asyncio.run(run(relay))
        os.rename(public(keys), tmp_path / "elsewhere")
        relay.signal()
        code, errors = relay.wait()
        assert code == 0
        assert "stay as they were" in errors
        assert "Traceback" not in errors


# ---- where it listens ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "[::]", "::", "[::ffff:0.0.0.0]", pytest.param(None, id="a name")]
)
def test_nobody_else_reaches_an_insecure_relay(tmp_path: Path, host: str | None) -> None:
    if host is None:
        host = name_beyond_loopback()
        if host is None:
            pytest.skip("this machine has no name but for its loopback addresses")
    words = ("--data", tmp_path / "data", "--listen", f"{host}:0", "--region", "eu", "--insecure")
    if ":" in host and not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    run = run_weft("serve", *words)
    assert run.code == 1
    if "can't be listened on" not in run.err:
        assert "would let everybody" in run.err
        assert "--force" in run.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.2", "[::1]", "localhost", "[::ffff:127.0.0.1]"]
)
def test_an_insecure_relay_is_for_this_machine(tmp_path: Path, host: str) -> None:
    try:
        relay = RunningRelay(tmp_path / "relay", listen=f"{host}:0")
    except AssertionError as error:
        if "can't be listened on" in str(error):
            pytest.skip(f"{host} can't be listened on here")
        raise
    relay.end()


def name_beyond_loopback() -> str | None:
    name = socket.gethostname()
    try:
        address = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return None
    return None if str(address).startswith("127.") or address == "::1" else name


# ---- what its operator sees ---------------------------------------------------------------------


async def test_refusals_are_logged_once_with_their_reason_and_no_token(
    keys: Path, tmp_path: Path
) -> None:
    good, token_id = minted(keys, "--context", "acme/")
    other, _ = minted(keys, "--append")
    with running_relay(tmp_path, key=public(keys)) as relay:
        for _ in range(20):
            for bearer in ("nonsense", other):
                with pytest.raises(InvalidStatus):
                    async with raw(relay, bearer=bearer):
                        pass
            with connected(relay) as connection:
                connection.sendall(b"\x16\x03\x01 hello TLS\r\n\r\n")
                answer_on(connection)
        for path in ("/v1/sync", "/elsewhere"):
            with connected(relay) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode())
                status = connection.recv(100).split()[1]
            assert status == (b"426" if path == "/v1/sync" else b"404")
        with connected(relay) as connection:
            connection.sendall(upgrade(path="/elsewhere"))
            assert connection.recv(100).split()[1] == b"404"
        async with raw(relay, bearer=good) as peer:
            run_weft("token", "revoke", token_id, "--data", tmp_path)
            bye, code = await last_words(peer)
        assert (bye is not None, code) == (True, 4401)
        relay.signal()
        ended, said = relay.wait()
    assert ended == 0
    lines = said.splitlines()
    assert (
        sum("a link is refused: the token is refused: it is malformed" in it for it in lines) == 1
    )
    assert sum("the right to read" in line for line in lines) == 1
    assert sum("Invalid HTTP request" in line for line in lines) == 1
    assert sum("a link is ended, denied: the token is refused" in line for line in lines) == 1
    assert any("the relay stops" in line for line in lines)
    assert "has stopped" in lines[-1]
    assert len(lines) == 6, said
    assert not any(bearer in said for bearer in (good, other, "Traceback"))
