"""Records that give the same clocks of one Yjs client with different words: the document follows
from their set all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pycrdt
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_document_order import anew, followed
from tests.worlds import Author, causal_shuffle
from weft_engine.document.assembly import Assembly
from weft_engine.document.document import Document
from weft_engine.document.offered import read_offered
from weft_engine.errors import MalformedUpdate
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import WriterKey
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy
from weft_engine.yjs.update import Kind as StructKind

CLIENTS = (7, 8, 9)
ROOTS = (b"\x01\x09note:plan", b"\x01\x09note:todo", b"\x01\x06events")


def same_of_every_order(rng: Random, records: list[Record]) -> None:
    if is_inside_out(records):
        return
    wanted = anew(records)
    for _ in range(4):
        shuffled = causal_shuffle(rng, records)
        for found in (anew(shuffled), followed(rng, shuffled)):
            assert told(found) == told(wanted)


def told(assembly: Assembly[Document]) -> Sequence[object]:
    said: dict[str, object] = {}
    for root, held in (assembly.document.content() or {}).items():
        # A type in a text is shown as another object each time.
        if isinstance(held, list):
            held = [(_said(piece), how) for piece, how in held]
        if held:
            said[root] = held
    return said, assembly.document.clocks(), assembly.problems


def _said(piece: object) -> object:
    return piece if isinstance(piece, (str, bytes, float)) else type(piece)


def is_inside_out(records: list[Record]) -> bool:
    """Whether a struct stands behind one that stands behind the one that it stands in front of, in
    one row. yrs puts it elsewhere if that row is cut, so for these the law does not hold."""
    structs = [struct for record in records for struct in read_update(record.payload).structs]
    rows = {
        (struct.client, clock)
        for struct in structs
        for clock in range(struct.clock, struct.clock + struct.length)
        if clock > struct.clock or struct.origin == (struct.client, clock - 1)
    }
    return any(
        origin is not None
        and right is not None
        and origin[0] == right[0]
        and all((origin[0], clock) in rows for clock in range(right[1] + 1, origin[1] + 1))
        and origin[1] >= right[1]
        for origin, right in ((struct.origin, struct.right_origin) for struct in structs)
    )


def profiles(rng: Random) -> list[Record]:
    """Profiles of a browser with the same client ids, some cloned from each other; each tells
    relays all it has or some of it, from its own words on or from somewhere in between."""
    docs: list[pycrdt.Doc[Any]] = [
        pycrdt.Doc(client_id=client) for client in CLIENTS[: rng.randint(1, 3)] for _ in range(2)
    ]
    relays = [Author(WriterKey(rng.randbytes(32)), HybridClock(), wall_ms=9) for _ in range(3)]
    records: list[Record] = []
    for step in range(rng.randint(5, 25)):
        doc = rng.choice(docs)
        match rng.randrange(8):
            case 0 | 1 | 2:
                text = doc.get(f"note:{rng.choice(('plan', 'todo'))}", type=pycrdt.Text)
                if len(text) > 2 and rng.random() < 0.3:
                    at = rng.randrange(len(text) - 1)
                    del text[at : at + rng.choice((1, 2))]
                elif len(text) > 2 and rng.random() < 0.2:
                    text.format(0, 2, {"link": {"a": step, "b": [1, None]}})
                else:
                    text.insert(rng.randint(0, len(text)), rng.choice("abcdefgh") * 2)
            case 3:
                doc.get("events", type=pycrdt.Map)[rng.choice("xyz")] = str(step)
            case 4:
                doc.apply_update(rng.choice(docs).get_update())
            case 5 if records:
                relay = rng.choice(relays)
                for record in rng.sample(records, rng.randint(1, len(records))):
                    relay.receive(record)
            case _:
                way = rng.random()
                update = doc.get_update()
                if way < 0.3:
                    update = doc.get_update(rng.choice(docs).get_state())
                elif way < 0.5:
                    update = doc.get_update(state_vector(rng))
                records.append(rng.choice(relays).write_payload(update, Kind.FOREIGN))
    return [erased(rng, record) if rng.random() < 0.1 else record for record in records]


def state_vector(rng: Random) -> bytes:
    return b"\x03" + b"".join(var_uint(one) + var_uint(rng.randrange(4)) for one in CLIENTS)


def erased(rng: Random, record: Record) -> Record:
    anatomy = Anatomy.of(record.payload)
    some = [index for index in range(len(anatomy.spans)) if rng.random() < 0.5]
    payload = anatomy.blank() if rng.random() < 0.3 else anatomy.without(some)
    return replace(record, payload=payload)


def strange_record(rng: Random, relay: Author) -> Record:
    """One that every door lets in."""
    while True:
        update = strange(rng)
        try:
            read_offered(update, lambda: 0.0)
        except MalformedUpdate:
            continue
        return relay.write_payload(update, Kind.FOREIGN)


def strange(rng: Random) -> bytes:
    """Structs of every kind that no editor would write, in whatever clocks."""
    sections: list[bytes] = []
    clients = rng.sample(CLIENTS, rng.randint(1, 2))
    for client in clients:
        structs: list[bytes] = []
        first = clock = rng.choice((0, 0, 0, 1, 2, 4))
        for _ in range(rng.randint(1, 3)):
            length = rng.randint(1, 3)
            word = bytes(rng.choice(b"abc") for _ in range(length))
            kind, content = rng.choice(
                (
                    (StructKind.GC, b""),
                    (StructKind.DELETED, var_uint(length)),
                    (StructKind.STRING, var_uint(length) + word),
                    (StructKind.STRING, var_uint(length) + word),
                    (StructKind.ANY, var_uint(length) + b"".join(b"\x77\x01%c" % c for c in word)),
                    (StructKind.ANY, var_uint(length) + b"".join(b"\x7d%c" % c for c in word)),
                    (StructKind.FORMAT, b"\x04bold" + rng.choice((b"\x04true", b"\x04null"))),
                    (StructKind.EMBED, b"\x03" + b'"%c"' % word[0]),
                    (StructKind.TYPE, rng.choice(b"\x00\x01\x02").to_bytes()),
                )
            )
            if kind in (StructKind.FORMAT, StructKind.EMBED, StructKind.TYPE):
                length = 1
            if kind is StructKind.GC:
                structs.append(b"\x00" + var_uint(length))
            else:
                structs.append(placed(rng, kind, client, clock) + content)
            clock += length
        sections.append(
            var_uint(len(structs)) + var_uint(client) + var_uint(first) + b"".join(structs)
        )
    deletes = b"\x00"
    if rng.random() < 0.3:
        deletes = b"\x01" + var_uint(rng.choice(clients)) + b"\x01"
        deletes += var_uint(rng.randrange(4)) + var_uint(rng.randint(1, 3))
    return var_uint(len(clients)) + b"".join(sections) + deletes


def placed(rng: Random, kind: StructKind, client: int, clock: int) -> bytes:
    """What stands in front of the content: links to what came before, or a parent."""
    links = [
        var_uint(other) + var_uint(rng.randrange(clock if other == client else 4))
        for other in rng.choices(CLIENTS, k=2)
        if other != client or clock
    ]
    way = rng.random()
    if way < 0.6 and links:
        if len(links) == 2 and rng.random() < 0.3:
            return bytes((kind.value | 0xC0,)) + b"".join(links)
        return bytes((kind.value | rng.choice((0x80, 0x80, 0x40)),)) + links[0]
    if way < 0.7 and links:
        return bytes((kind.value,)) + b"\x00" + links[0]
    if kind is not StructKind.FORMAT and rng.random() < 0.3:
        return bytes((kind.value | 0x20,)) + ROOTS[2] + b"\x01" + rng.choice((b"x", b"y"))
    return bytes((kind.value,)) + rng.choice(ROOTS[:2])


@given(st.integers(0, 1 << 32))
@settings(max_examples=150, deadline=None)
def test_a_cloned_profile_makes_no_two_documents(seed: int) -> None:
    rng = Random(seed)
    same_of_every_order(rng, profiles(rng))


@given(st.integers(0, 1 << 32))
@settings(max_examples=150, deadline=None)
def test_nor_do_liars(seed: int) -> None:
    rng = Random(seed)
    relays = [Author(WriterKey(rng.randbytes(32)), HybridClock(), wall_ms=9) for _ in range(3)]
    records: list[Record] = []
    for _ in range(rng.randint(2, 7)):
        relay = rng.choice(relays)
        if records and rng.random() < 0.3:
            relay.receive(rng.choice(records))
        records.append(strange_record(rng, relay))
    same_of_every_order(rng, records)
