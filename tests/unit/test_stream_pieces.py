"""What updates say of streams, from their bytes alone; and how they are written."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Map

from weft_engine.document.door import is_plain
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Interrupted, Message, Role
from weft_engine.events.part import Call, Part, Text
from weft_engine.events.streams import (
    Growth,
    as_far_as_it_came,
    broken_off,
    event_of,
    is_quiet,
    join,
    parts_key,
    pieces,
    precedence,
    text_key,
    told_by,
    well_formed,
    write_piece,
)
from weft_engine.limits import STREAM_BYTES_MAX
from weft_engine.names import ClientId, ContextName, EventId, Hlc, event_id
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.erasure import Erasure
from weft_engine.records.identity import WriterKey
from weft_engine.yjs.encoder import (
    encode_event_append,
    encode_stream_append,
    encode_stream_seal,
)
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy

KEY = WriterKey(bytes(range(32)))
OTHER = WriterKey(bytes(32))
ID = event_id(Hlc(2**60), KEY.incarnation)
CLIENT = ClientId(7)
OPENING = Event("bot", Message(Role.ASSISTANT, (), "b"))


def record(
    entries: list[tuple[str, bytes]], *, key: WriterKey = KEY, kind: Kind = Kind.NATIVE
) -> Record:
    payload = encode_stream_append(CLIENT, 0, entries)
    hlc = Hlc(2**60)
    envelope = Envelope(
        ContextName("c"), key.incarnation, 1, None, (), hlc, kind, payload_digest(payload)
    )
    return seal(envelope, payload)


def grown(*records: Record) -> Growth:
    growth = Growth(ID)
    for one in records:
        for piece in pieces(one, read_update(one.payload)):
            assert piece.id == ID
            growth.take(piece, one.payload)
    return growth


def test_pieces_are_written_byte_for_byte_as_pycrdt_does() -> None:
    doc: Doc[Any] = Doc(client_id=CLIENT)
    streams = doc.get("streams", type=Map)
    with doc.transaction():
        streams[ID] = "{}"
        streams[text_key(ID, 0)] = "höre"
    ours = encode_stream_append(CLIENT, 0, [(ID, b"{}"), (text_key(ID, 0), "höre".encode())])
    assert ours == doc.get_update()


def test_the_seal_deletes_what_was_streamed() -> None:
    doc: Doc[Any] = Doc(client_id=1)
    doc.apply_update(encode_stream_append(CLIENT, 0, [(ID, b"{}"), (text_key(ID, 0), b"so far")]))
    sealed = encode_stream_seal(CLIENT, 2, (ID, b'{"text":1}'), streamed=(CLIENT, [(0, 2)]))
    doc.apply_update(sealed)
    assert doc.get("streams", type=Map).to_py() == {}
    assert doc.get("events", type=Map).to_py() == {ID: '{"text":1}'}
    assert b"so far" not in doc.get_update()
    assert encode_stream_seal(CLIENT, 2, (ID, b"x"), streamed=(CLIENT, [])) == (
        encode_event_append(CLIENT, 2, [(ID, b"x")]).payload
    )


def test_what_was_streamed_comes_together() -> None:
    call = Call("1", "look", "{}")
    some = [
        record([(ID, encode_event(OPENING))]),
        record([(text_key(ID, 0), b"a"), (text_key(ID, 1), b"b")]),
        record([(parts_key(ID, 2), write_piece((call,))), (text_key(ID, 3), b"c")]),
    ]
    growth = grown(*some)
    assert growth.opening == OPENING
    assert growth.parts == (Text("ab"), call, Text("c"))
    assert growth.count == 4
    # Once more, and what leaves a gap, changes nothing.
    again = grown(*some, some[1], record([(text_key(ID, 9), b"far ahead")]))
    assert again.parts == growth.parts


@pytest.mark.parametrize(
    "entry",
    [
        ("junk", b"x"),
        (f"{ID}/", b"x"),
        (f"{ID}/01", b"x"),
        (f"{ID}/-1", b"x"),
        (f"{ID}/1/2", b"x"),
        (f"{ID}\n", b"x"),
        (ID.upper(), b"x"),
        (event_id(Hlc(2**60 + 1), KEY.incarnation), b"{}"),
        (event_id(Hlc(2**60), OTHER.incarnation), b"{}"),
    ],
)
def test_what_is_no_piece_of_the_writer_counts_for_nothing(entry: tuple[str, bytes]) -> None:
    one = record([entry])
    assert pieces(one, read_update(one.payload)) == ()


def test_only_the_ids_own_incarnation_counts_and_no_relay_for_others() -> None:
    for one in (
        record([(text_key(ID, 0), b"x")], key=OTHER),
        record([(text_key(ID, 0), b"x")], kind=Kind.FOREIGN),
    ):
        assert pieces(one, read_update(one.payload)) == ()


def test_what_can_not_be_read_counts_for_nothing() -> None:
    growth = grown(
        record([(ID, b"not json")]),
        record([(ID, encode_event(Event("x", Interrupted(ID, ()))))]),
        record([(parts_key(ID, 0), b'[{"type":7}]')]),
        record([(text_key(ID, 0), b"text")]),
    )
    assert growth.opening is None
    assert growth.parts == (Text("text"),)


def test_a_stream_ends_to_grow_where_no_event_could_hold_it() -> None:
    large = b"x" * (STREAM_BYTES_MAX // 2)
    growth = grown(*(record([(text_key(ID, n), large)]) for n in range(4)))
    assert growth.count == 1
    encode_event(broken_off(ID, OPENING, growth.parts))


def test_what_a_struct_stands_under() -> None:
    told = Event("x", Interrupted(ID, (Text("secret"),)))
    own = event_id(Hlc(5), OTHER.incarnation)
    streamed = read_update(encode_stream_append(CLIENT, 0, [(ID, b""), (text_key(ID, 4), b"")]))
    assert [event_of(struct) for struct in streamed.structs] == [ID, ID]
    assert is_quiet(streamed)
    assert is_plain(streamed)
    payload = encode_event_append(CLIENT, 0, [(own, encode_event(told))]).payload
    update = read_update(payload)
    assert told_by(update, payload) == ID
    assert event_of(update.structs[0]) == own
    assert not is_quiet(update)
    both = encode_event_append(CLIENT, 0, [(own, encode_event(told)), (ID, b"{}")]).payload
    assert told_by(read_update(both), both) is None
    erasure = Erasure((ID,), None, "test", {})
    assert erasure.shown(Anatomy.of(payload)) == {0}
    assert erasure.named(Anatomy.of(payload)) == frozenset()
    assert erasure.shown(Anatomy.of(both)) == erasure.named(Anatomy.of(both)) == {1}
    assert erasure.named(Anatomy.of(encode_stream_append(CLIENT, 0, [(ID, b"")]))) == {0}


def test_a_broken_stream_keeps_what_was_said_when_it_opened() -> None:
    opening = Event("bot", Message(Role.USER, (), "b"), EventId("x" * 49), None)
    event = as_far_as_it_came(broken_off(ID, opening, (Text("a"),)))
    assert event == Event("bot", Message(Role.USER, (Text("a"),), "b"), EventId("x" * 49), None)


def test_the_longest_text_then_the_most_parts_then_the_least_id() -> None:
    call = Call("1", "f", "a long argument that is no text")
    some: list[tuple[tuple[Part, ...], str]] = [
        ((Text("abc"),), "b"),
        ((Text("ab"), Text("c")), "c"),
        ((Text("abc"),), "a"),
        ((Text("ab"), call, call), "a"),
    ]
    ordered = sorted(some, key=lambda one: precedence(*one))
    assert ordered == [some[1], some[2], some[0], some[3]]


@given(st.lists(st.text(alphabet=st.characters(), max_size=4)))
def test_text_may_be_cut_anywhere_even_inside_characters(deltas: list[str]) -> None:
    said = "".join(deltas)
    halves = said.encode("utf-16-le", "surrogatepass")
    units = [
        halves[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(halves), 2)
    ]
    held, found = "", ""
    for unit in units:
        text, held = well_formed(held + unit, is_last=False)
        found += text
    found += well_formed(held, is_last=True)[0]
    assert found == halves.decode("utf-16-le", "replace")
    found.encode()


@given(st.lists(st.one_of(st.text(max_size=3), st.just((Call("1", "f", ""),)))))
def test_joining_loses_nothing(some: list[str | tuple[Part, ...]]) -> None:
    parts = join(some)
    assert "".join(p.text for p in parts if isinstance(p, Text)) == "".join(
        one for one in some if isinstance(one, str)
    )
    assert sum(isinstance(p, Call) for p in parts) == sum(isinstance(o, tuple) for o in some)
    assert all(not (isinstance(a, Text) and isinstance(b, Text)) for a, b in pairwise(parts))
