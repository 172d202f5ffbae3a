"""What records give the same clocks, against clock by clock, and cutting out what is outweighed."""

from __future__ import annotations

from random import Random

import pytest

from tests.worlds import CONTEXT, Author
from weft_engine.document.claims import Claims, Weight
from weft_engine.names import ClientId
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Kind as RecordKind
from weft_engine.records.identity import WriterKey, client_id
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy
from weft_engine.yjs.update import Id, Kind, Struct, ranges

CLIENTS = (7, 8)


def update(rng: Random, clients: tuple[int, ...] = CLIENTS) -> bytes:
    """Structs of every weight, and deletes, by some clients."""
    some = rng.sample(clients, rng.randint(1, len(clients)))
    sections = [b""]
    for client in some:
        structs: list[bytes] = []
        clock = first = rng.randrange(8)
        for _ in range(rng.randint(1, 5)):
            length = rng.randint(1, 4)
            match rng.randrange(4):
                case 0:
                    structs.append(b"\x00" + var_uint(length))
                case 1 if structs:
                    structs.append(b"\x0a" + var_uint(length))
                case 2:
                    links = b"\x01\x01\x01t" if not clock else b"\xc1" + 2 * _link(client, clock)
                    structs.append(links + var_uint(length))
                case _:
                    structs.append(b"\x04\x01\x01t" + var_uint(length) + b"w" * length)
            clock += length
        if structs[-1][:1] == b"\x0a":
            structs.pop()
        head = var_uint(len(structs)) + var_uint(client) + var_uint(first)
        sections.append(head + b"".join(structs))
    spans = [(rng.randrange(12), rng.randint(1, 5)) for _ in range(rng.randrange(3))]
    deletes = b"\x00"
    if spans:
        pairs = b"".join(var_uint(clock) + var_uint(length) for clock, length in spans)
        deletes = b"\x01" + var_uint(some[0]) + var_uint(len(spans)) + pairs
    return var_uint(len(some)) + b"".join(sections) + deletes


def _link(client: int, clock: int) -> bytes:
    return var_uint(client) + var_uint(clock - 1)


def weights(data: bytes, own: ClientId | None) -> dict[Id, Weight]:
    """Clock by clock."""
    said = read_update(data)
    deleted = {(client, at + n) for client, at, length in said.deletes for n in range(length)}
    found: dict[Id, Weight] = {}
    for struct in said.structs:
        words = Weight.OWN if struct.client == own else Weight.WORDS
        for clock in range(struct.clock, struct.clock + struct.length):
            id_ = struct.client, clock
            if struct.kind is Kind.GC:
                found[id_] = Weight.CLOCKS
            elif struct.kind is Kind.DELETED and id_ not in deleted:
                found[id_] = Weight.PLACE
            elif struct.kind is not Kind.SKIP:
                found[id_] = words
    return found


@pytest.mark.parametrize("seed", range(150))
def test_what_weighs_most_counts(seed: int) -> None:
    rng = Random(seed)
    author = Author(WriterKey(rng.randbytes(32)), HybridClock(), wall_ms=9)
    own = client_id(author.key.incarnation, CONTEXT)
    claims = Claims()
    most: dict[Id, Weight] = {}
    is_contested = False
    written = []
    for _ in range(rng.randint(1, 5)):
        kind = rng.choice((RecordKind.NATIVE, RecordKind.FOREIGN))
        data = update(rng, (*CLIENTS, own))
        record = author.write_payload(data, kind)
        given = weights(data, own if kind is RecordKind.NATIVE else None)
        written.append((record, given))
        outweighs = any(most.get(id_, weight) < weight for id_, weight in given.items())
        is_contested |= any(most.get(id_, weight) != weight for id_, weight in given.items())
        for id_, weight in given.items():
            most[id_] = max(weight, most.get(id_, weight))
        assert claims.add(record, read_update(data)) == outweighs
        assert claims.is_contested == is_contested
    for record, given in written:
        found = claims.outweighed(record, read_update(record.payload))
        lighter = {id_ for id_, weight in given.items() if weight < most[id_]}
        hollow = {id_ for id_ in lighter if given[id_] < Weight.WORDS}
        ends: dict[ClientId, int] = {}
        for client, clock in sorted(lighter - hollow):
            ends[client] = clock + 1
        if found is None:
            assert not lighter
            continue
        assert found.words == ends
        assert hollow == {
            (client, clock)
            for client, spans in found.hollow.items()
            for first, end in spans
            for clock in range(first, end)
        }
        cut = Anatomy.of(record.payload).skipping(found.hollow)
        assert read_update(cut).deletes == read_update(record.payload).deletes
        assert given.keys() - hollow == {
            (client, clock)
            for client, spans in ranges(read_update(cut)).items()
            for first, end in spans
            for clock in range(first, end)
        }
        assert _places(cut, hollow) == _places(record.payload, hollow)


def _places(data: bytes, without: set[Id]) -> list[tuple[Id, object]]:
    """What each clock holds, and what it is behind and in front of."""
    found: list[tuple[Id, object]] = []
    for struct in read_update(data).structs:
        for at in range(struct.clock, struct.clock + struct.length):
            if struct.kind is not Kind.SKIP and (struct.client, at) not in without:
                found.append(((struct.client, at), _place(struct, at)))
    return found


def _place(struct: Struct, at: int) -> object:
    if struct.kind is Kind.GC:
        return struct.kind
    behind = struct.origin if at == struct.clock else (struct.client, at - 1)
    return struct.kind, behind, struct.right_origin, struct.parent if at == struct.clock else None
