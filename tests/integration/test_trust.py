"""Who may say what: forgeries at a real relay, certificates, a region refilled by its clients."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

import weft
from tests.command_line import opened, record_set
from tests.command_line import weft as run_weft
from tests.integration.test_relay import last_words, raw, token
from tests.running_relay import RunningRelay, running_relay, until
from tests.stores import all_records, open_replica
from tests.worlds import CONTEXT, Author
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.names import ContextName, Incarnation
from weft_engine.records.certificate import RegionKey
from weft_engine.records.clock import HybridClock
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.identity import SignatureItem, WriterKey
from weft_engine.replica.replica import Replica
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Records
from weft_server.door.region_key import key_file_beside, read_region_key
from weft_server.door.token_keys import make_key_file

Forged = tuple[list[Record], list[SignatureItem]]


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "token.key"
    make_key_file(path)
    return path


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[RunningRelay]:
    with running_relay(tmp_path_factory.mktemp("trust"), key=key_file) as found:
        yield found


# ---- forgeries ----------------------------------------------------------------------------------


def author() -> Author:
    return Author(WriterKey(os.urandom(32)), HybridClock(), wall_ms=time.time_ns() // 1_000_000)


def said(writer: Author, kind: Kind = Kind.NATIVE, client: int | None = None) -> Record:
    body = encode_event(Event("u", Message(Role.USER, (Text("never said"),))))
    return writer.write([(writer.new_id(), body)], kind=kind, foreign_client=client)


def altered(record: Record, **changes: object) -> Record:
    return seal(replace(record.envelope, **changes), record.payload)  # type: ignore[arg-type]


def another_s_name() -> Forged:
    victim, thief = author(), author()
    record = said(victim)
    return [record], [thief.key.sign(record.hash)]


def another_s_name_and_key() -> Forged:
    victim, thief = author(), author()
    record = said(victim)
    item = thief.key.sign(record.hash)
    return [record], [SignatureItem(victim.key.public_key, record.hash, item.signature)]


def signature_of_another_record() -> Forged:
    writer = author()
    first, second = said(writer), said(writer)
    item = writer.key.sign(first.hash)
    return [first, second], [SignatureItem(item.public_key, second.hash, item.signature)]


def signature_beside_nothing() -> Forged:
    writer, other = author(), author()
    return [said(writer)], [other.key.sign(said(other).hash)]


def sequence() -> Forged:
    writer = author()
    first, second = said(writer), said(writer)
    forged = altered(second, seq=7)
    return [first, forged], [writer.key.sign(forged.hash)]


def prev() -> Forged:
    writer, other = author(), author()
    theirs = said(other)
    said(writer)
    forged = altered(said(writer), prev=theirs.hash)
    return [theirs, forged], [other.key.sign(theirs.hash), writer.key.sign(forged.hash)]


def stamp() -> Forged:
    writer = author()
    first = said(writer)
    body = encode_event(Event("u", Message(Role.USER, (Text("early"),))))
    id_ = writer.new_id()
    forged = altered(writer.write([(id_, body)]), hlc=first.envelope.hlc)
    return [first, forged], [writer.key.sign(forged.hash)]


def client_id_of_another() -> Forged:
    writer = author()
    record = said(writer, client=4711)
    return [record], [writer.key.sign(record.hash)]


def joined(writer: Author, context: str, *deps: Record) -> Record:
    """A record without a payload: of its context nothing is said but in its envelope."""
    envelope = Envelope(
        ContextName(context),
        writer.key.incarnation,
        1,
        None,
        tuple(sorted(dep.hash for dep in deps)),
        writer.clock.tick(writer.wall_ms),
        Kind.JOIN,
        payload_digest(b""),
    )
    return seal(envelope, b"")


def context_of_the_past() -> Forged:
    writer, other = author(), author()
    theirs = said(other)
    record = joined(writer, "world/two", theirs)
    return [theirs, record], [other.key.sign(theirs.hash), writer.key.sign(record.hash)]


def context_of_the_payload() -> Forged:
    writer = author()
    record = altered(said(writer), context=ContextName("world/two"))
    return [record], [writer.key.sign(record.hash)]


def context_beyond_the_token() -> Forged:
    writer = author()
    record = joined(writer, "elsewhere/one")
    return [record], [writer.key.sign(record.hash)]


def foreign_mark() -> Forged:
    writer = author()
    record = said(writer, Kind.FOREIGN, client=4711)
    return [record], [writer.key.sign(record.hash)]


def foreign_mark_further_back() -> Forged:
    """The certificate stands beside another signature of the writer, which does not cover it."""
    writer = author()
    first, second = said(writer), said(writer, Kind.FOREIGN, client=4711)
    by_region = RegionKey(os.urandom(32)).certify(writer.key.incarnation)
    beside = replace(writer.key.sign(first.hash), certificate=by_region)
    return [first, second], [beside, writer.key.sign(second.hash)]


def foreign_mark_by_a_region_of_his_own() -> Forged:
    writer = author()
    record = said(writer, Kind.FOREIGN, client=4711)
    by_region = RegionKey(os.urandom(32)).certify(writer.key.incarnation)
    return [record], [replace(writer.key.sign(record.hash), certificate=by_region)]


def certificate_of_another() -> Forged:
    writer, relay = author(), author()
    record = said(writer, Kind.FOREIGN, client=4711)
    by_region = RegionKey(os.urandom(32)).certify(relay.key.incarnation)
    return [record], [replace(writer.key.sign(record.hash), certificate=by_region)]


FORGERIES: dict[Callable[[], Forged], tuple[str, str]] = {
    another_s_name: ("record", "signed with another key than its writer's"),
    another_s_name_and_key: ("record", "the signature of record"),
    signature_of_another_record: ("record", "the signature of record"),
    signature_beside_nothing: ("malformed", "without the record"),
    sequence: ("record", "its seq 7 does not follow 1"),
    prev: ("record", "its prev belongs to another chain"),
    stamp: ("record", "is stamped after its record"),
    client_id_of_another: ("record", "a Yjs client id that is not its origin's"),
    context_of_the_past: ("record", "depends on a record of context 'world/one'"),
    context_of_the_payload: ("record", "a Yjs client id that is not its origin's"),
    context_beyond_the_token: ("record", "outside the interest of this link"),
    foreign_mark: ("record", "marked foreign, and no certificate of a region"),
    foreign_mark_further_back: ("record", "marked foreign, and no certificate of a region"),
    foreign_mark_by_a_region_of_his_own: ("denied", "which this relay does not trust"),
    certificate_of_another: ("record", "the certificate of incarnation"),
}


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_forgery_ends_its_link_with_the_reason_and_nothing_else(
    forgery: Callable[[], Forged], relay: RunningRelay, key_file: Path, tmp_path: Path
) -> None:
    code, reason = FORGERIES[forgery]
    records, items = forgery()

    async def run() -> None:
        async with weft.open(tmp_path / "good.db") as store:
            chat = store.context(f"good/{forgery.__name__}")
            await chat.append("before")
            link = store.connect(relay.url, token=token(key_file, "good/"))
            await link.synced(timeout=10)
            before = record_set(relay.store)
            sent = tuple((record.envelope_bytes, record.payload) for record in records)
            async with raw(relay, bearer=token(key_file, "world/")) as peer:
                await peer.send(encode(Records(1, None, sent, tuple(items))))
                bye, _ = await last_words(peer)
            assert bye is not None
            assert bye.code == code
            assert reason in bye.reason
            assert record_set(relay.store) == before
            with opened(relay.store) as connection:
                assert connection.execute("SELECT count(*) FROM waiting").fetchone() == (0,)
                assert connection.execute(
                    "SELECT count(*) FROM contexts WHERE name LIKE 'world/%'"
                ).fetchone() == (0,)
            assert link.error is None
            await chat.append("after")
            await link.synced(timeout=10)
            assert len(record_set(relay.store)) == len(before) + 1
        assert run_weft("verify", "--store", relay.store).code == 0

    asyncio.run(run())


# ---- the keys of regions ------------------------------------------------------------------------


def test_a_relay_makes_its_key_once_and_keeps_it(relay: RunningRelay) -> None:
    path = key_file_beside(relay.store)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_region_key(path).public.hex() == relay.region_key
    assert run_weft("keys", "--store", relay.store).out.strip() == relay.region_key
    shown = run_weft("keys", "--store", relay.store, "--json").json()
    assert shown == {"region_key": relay.region_key, "file": str(path)}


def test_what_is_no_key_is_said(tmp_path: Path) -> None:
    run = run_weft("keys", "--store", tmp_path / "no.db")
    assert run.code == 1
    assert "no region key" in run.err
    wrong = tmp_path / "wrong"
    wrong.write_text("ab" * 31)
    run = run_weft("keys", "--store", tmp_path / "no.db", "--region-key", wrong)
    assert run.code == 1
    assert "is no region key" in run.err
    words = ("--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--region", "eu")
    run = run_weft("serve", *words, "--insecure", "--trust-region", "abc")
    assert run.code == 1
    assert "no public key of a region" in run.err
    assert not (tmp_path / "data").exists()
    run = run_weft("serve", *words, "--insecure", "--region-key", tmp_path / "none" / "key")
    assert run.code == 1
    assert "can't be made" in run.err


# ---- a region that lost its disk -----------------------------------------------------------------


async def give_foreign(replica: Replica, region: RegionKey) -> None:
    """What a relay of the region wrote down for a plain Yjs client, as another holds it."""
    writer = author()
    records = [said(writer, Kind.FOREIGN, client=99), said(writer), said(writer, Kind.FOREIGN, 98)]
    by_region = region.certify(writer.key.incarnation)
    item = replace(writer.key.sign(records[-1].hash), certificate=by_region)
    outcome = await replica.journal.admit(records, [item], session=b"x", now_ms=replica.now_ms())
    assert len(outcome.applied) == 3


@pytest.mark.parametrize("lost", ["the store", "the store and the key"])
def test_a_region_that_lost_its_disk_is_refilled_by_its_clients(
    tmp_path: Path, key_file: Path, lost: str
) -> None:
    async def run() -> None:
        with running_relay(tmp_path / "relay", key=key_file) as relay:
            region = read_region_key(key_file_beside(relay.store))
            async with (
                weft.open(tmp_path / "a.db") as a,
                weft.open(tmp_path / "b.db") as b,
                weft.open(tmp_path / "c.db") as c,
            ):
                await give_foreign(a._replica, region)
                links = [
                    a.connect(relay.url, token=token(key_file, "world/", "a/", "all/")),
                    b.connect(relay.url, token=token(key_file, "world/", "b/", "all/")),
                    c.connect(relay.url, token=token(key_file)),
                ]
                for link in links:
                    await link.synced(timeout=10, received=True)
                for number in range(5):
                    await a.context("a/1").append(f"a {number}")
                    await b.context("b/1").append(f"b {number}")
                    for store, name in ((a, "a"), (b, "b"), (c, "c")):
                        await store.context("all/1").append(f"{name} {number}")
                    # Two who write into what a relay wrote down.
                    await b.context(CONTEXT).append(f"under it {number}")
                for link in links:
                    await link.synced(timeout=10)
                everything = record_set(relay.store)
                assert len(everything) == 3 + 5 * 6

                async def all_is_told() -> bool:
                    return record_set(a.path) | record_set(b.path) == everything

                await until(all_is_told, what="a and b together hold all that the relay holds")
                held = [record_set(store.path) for store in (a, b)]
                assert held[0] != everything != held[1]
                for link in links:
                    await link.aclose()
                # c, who wrote some of it, is gone for good.
            relay.end()
            for file in relay.store.parent.iterdir():
                if lost != "the store" or file != key_file_beside(relay.store):
                    file.unlink()
            more = () if lost == "the store" else ("--trust-region", region.public.hex())
            with running_relay(tmp_path / "relay", key=key_file, more=more) as again:
                assert (again.region_key == region.public.hex()) == (lost == "the store")
                assert record_set(again.store) == set()
                async with weft.open(tmp_path / "a.db") as a, weft.open(tmp_path / "b.db") as b:
                    for store, own in ((a, "a/"), (b, "b/")):
                        link = store.connect(
                            again.url, token=token(key_file, "world/", own, "all/")
                        )
                        await link.synced(timeout=10, received=True)
                assert record_set(again.store) == everything
                assert run_weft("verify", "--store", again.store).code == 0
                with opened(again.store) as connection:
                    (certified,) = connection.execute(
                        "SELECT count(*) FROM origins WHERE certificate IS NOT NULL"
                    ).fetchone()
                    assert certified == 1
                # And whoever is new gets all of it, certificates and all.
                async with weft.open(tmp_path / "d.db") as d:
                    await d.connect(again.url, token=token(key_file)).synced(
                        timeout=10, received=True
                    )
                assert record_set(tmp_path / "d.db") == everything
                assert run_weft("verify", "--store", tmp_path / "d.db").code == 0

    asyncio.run(run())


def test_verify_asks_for_certificates_of_foreign_records(tmp_path: Path) -> None:
    async def fill() -> None:
        async with weft.open(tmp_path / "a.db") as a:
            await give_foreign(a._replica, RegionKey(bytes(32)))

    asyncio.run(fill())
    assert run_weft("verify", "--store", tmp_path / "a.db").code == 0
    other = RegionKey(bytes(32)).certify(Incarnation(bytes(16))).pack()
    for wrong, complaint in ((None, "no region has certified"), (other, "the certificate of")):
        with opened(tmp_path / "a.db") as connection:
            connection.execute("UPDATE origins SET certificate = ?", (wrong,))
        run = run_weft("verify", "--store", tmp_path / "a.db")
        assert run.code == 1
        assert complaint in run.out


_TYPED: Final = bytes.fromhex("010163000401016e026869") + b"\x00"
"""A Yjs client has typed."""


def test_a_relays_chain_that_went_on_without_its_key_goes_out_with_its_word(
    tmp_path: Path,
) -> None:
    """Somebody has opened a relay's store as a client: the signature that is kept over its end
    has no certificate, and covers what is foreign."""

    async def items(*, region: RegionKey | None, says: str | None) -> list[SignatureItem]:
        replica = open_replica(tmp_path / "relay.db")
        try:
            if region is not None:
                replica.certify(region)
            if says is None:
                await replica.scribe.append_foreign(CONTEXT, [_TYPED])
            else:
                await replica.context(CONTEXT).append(says)
            if says is None:
                return []  # Nobody has asked for it yet.
            return await replica.signature_items(await all_records(replica))
        finally:
            await replica.close()

    async def run() -> None:
        region = RegionKey(bytes(32))
        await items(region=region, says=None)
        assert all(one.certificate is None for one in await items(region=None, says="as a client"))
        found = await items(region=region, says="as the relay")
        assert len({one.incarnation for one in found}) == 1, "a clean close keeps the name"
        assert all(one.certificate is not None for one in found)

    asyncio.run(run())
