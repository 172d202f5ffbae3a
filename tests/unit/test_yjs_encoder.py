"""The encoder of new events: byte for byte what pycrdt writes."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Doc, Map

from weft_engine.events.candidate import Candidate, candidates
from weft_engine.limits import INTEGER_MAX
from weft_engine.names import ClientId, EventId, Hlc, Incarnation, event_id
from weft_engine.yjs.encoder import encode_event_append
from weft_engine.yjs.reader import read_update


def test_one_entry() -> None:
    append = encode_event_append(ClientId(INTEGER_MAX), 0, [(EventId("k1"), b'{"a":1}')])
    assert append.payload.hex() == (
        "0101ffffffffffffff0f002801066576656e7473026b310177077b2261223a317d00"
    )
    (offset,) = append.offsets
    assert append.payload[offset : offset + 7] == b'{"a":1}'


def test_two_entries() -> None:
    append = encode_event_append(ClientId(1), 2, [(EventId("k2"), b"x"), (EventId("k3"), b"y")])
    assert append.payload.hex() == (
        "010201022801066576656e7473026b32017701782801066576656e7473026b330177017900"
    )
    assert [append.payload[offset : offset + 1] for offset in append.offsets] == [b"x", b"y"]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_100_000])
@pytest.mark.parametrize("clock", [0, 127, 128, 100_000])
def test_same_bytes_as_pycrdt_at_the_edges_of_lengths(size: int, clock: int) -> None:
    client = ClientId(300)
    key = event_id(Hlc(2**63), Incarnation(bytes(range(16))))
    doc: Doc[Any] = Doc(client_id=client)
    if clock:
        doc.apply_update(b"\x01\x01" + b"\xac\x02" + b"\x00" + b"\x00" + _groups(clock) + b"\x00")
    before = doc.get_state()
    doc.get("events", type=Map)[key] = "x" * size
    append = encode_event_append(client, clock, [(key, b"x" * size)])
    assert append.payload == doc.get_update(before).replace(
        b"\x01\xac\x02\x01\x00" + _groups(clock), b"\x00"
    )
    assert candidates(read_update(append.payload)) == (
        Candidate(client, clock, key, append.offsets[0], size),
    )


def _groups(value: int) -> bytes:
    """A varUint, written down once more so that the encoder is not checked against itself."""
    low, rest = value % 128, value // 128
    return bytes([low + 128]) + _groups(rest) if rest else bytes([low])


def test_an_update_without_entries_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError):
        encode_event_append(ClientId(1), 0, [])
