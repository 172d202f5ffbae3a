"""Laws of the event codec: round trips, one spelling, and no other error on any bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weft_engine.canonical import canonical_json, parse_json
from weft_engine.errors import InvalidMessage, LimitExceeded
from weft_engine.events.codec import decode_event, encode_event
from weft_engine.events.event import (
    Body,
    Branch,
    Close,
    Config,
    Criticality,
    Event,
    Fact,
    Hide,
    ImportedFrom,
    Interrupted,
    Lifetime,
    Message,
    Original,
    Pin,
    PolicyChoice,
    Revoke,
    Role,
    Summary,
    Unknown,
    Via,
)
from weft_engine.events.message_class import class_digest
from weft_engine.events.part import (
    Call,
    CallRef,
    Data,
    File,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Result,
    Source,
    Text,
)
from weft_engine.events.part_codec import UNKNOWN_PART
from weft_engine.limits import INTEGER_MAX
from weft_engine.names import EventId, RecordHash

law = settings(max_examples=150, deadline=None)

# ---- values ---------------------------------------------------------------------------------

WORDS = st.text(max_size=8)
COUNTS = st.integers(0, INTEGER_MAX)
KEYS = st.text(max_size=3) | st.sampled_from(["\ufb33", "\U0001f600", "\ue000", "\uffff"])
STRICT: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(KEYS, values, max_size=4),
    max_leaves=10,
)
JSON: st.SearchStrategy[Any] = st.recursive(
    STRICT | st.floats(allow_nan=False, allow_infinity=False),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(KEYS, values, max_size=4),
    max_leaves=10,
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    JSON | st.integers() | st.sampled_from([float("nan"), float("inf"), "\ud800"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(KEYS, values, max_size=3),
    max_leaves=6,
)
JSON_TEXTS = JSON.map(json.dumps)
EVENT_IDS = st.builds(
    lambda hlc, writer: EventId(f"{hlc:016x}-{writer.hex()}"),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=16, max_size=16),
)
FRONTIERS = st.lists(
    st.binary(min_size=32, max_size=32).map(RecordHash), max_size=3, unique=True
).map(lambda hashes: tuple(sorted(hashes)))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def shape(make: Callable[..., Any], *args: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(make, *args)


UNKNOWN_PARTS = st.dictionaries(KEYS, STRICT, max_size=3).map(
    lambda members: Opaque(UNKNOWN_PART, canonical_json({**members, "type": "hologram"}).decode())
)
FLAT_PARTS: st.SearchStrategy[Part] = st.one_of(
    shape(Text, WORDS),
    shape(Refusal, WORDS),
    shape(File, WORDS, maybe(COUNTS), WORDS, st.none(), maybe(WORDS), maybe(COUNTS), maybe(COUNTS)),
    shape(File, WORDS, maybe(COUNTS), st.none(), st.just("ab" * 32)),
    shape(Source, WORDS),
    shape(Data, WORDS, WORDS),
    shape(Opaque, WORDS, WORDS),
    UNKNOWN_PARTS,
)
PARTS: st.SearchStrategy[tuple[Part, ...]] = st.lists(
    st.one_of(
        FLAT_PARTS,
        shape(Reasoning, WORDS, maybe(WORDS), maybe(WORDS), maybe(WORDS), maybe(WORDS)),
        shape(Call, WORDS, WORDS, WORDS, maybe(WORDS)),
        shape(
            Result,
            WORDS,
            WORDS | st.lists(FLAT_PARTS, max_size=2).map(tuple),
            maybe(shape(CallRef, EVENT_IDS, COUNTS)),
            st.booleans(),
            maybe(WORDS),
        ),
    ),
    max_size=3,
).map(tuple)
IDS = st.lists(EVENT_IDS, max_size=2).map(tuple)
MESSAGES: st.SearchStrategy[Message] = shape(
    Message,
    st.sampled_from(Role),
    PARTS,
    maybe(WORDS),
    maybe(st.integers(1, INTEGER_MAX)),
    maybe(shape(Via, WORDS, maybe(WORDS))),
    maybe(st.sampled_from(Criticality)),
    maybe(st.sampled_from(Lifetime)),
    maybe(COUNTS),
    maybe(JSON_TEXTS),
    maybe(shape(ImportedFrom, WORDS, COUNTS)),
    maybe(shape(Original, WORDS, WORDS)),
)
IMPORTED: st.SearchStrategy[Message] = st.builds(
    lambda message, source, index: replace(message, ext=ImportedFrom(source, index)),
    MESSAGES,
    st.sampled_from("ab"),
    st.integers(0, 1),
)
BODIES: st.SearchStrategy[Body] = st.one_of(
    MESSAGES,
    MESSAGES,
    MESSAGES,
    shape(
        Fact,
        WORDS,
        JSON_TEXTS,
        WORDS,
        IDS,
        maybe(st.sampled_from(Criticality)),
        maybe(COUNTS),
    ),
    shape(Summary, FRONTIERS, COUNTS, WORDS, WORDS, maybe(WORDS)),
    shape(Branch, WORDS, FRONTIERS),
    shape(Pin, EVENT_IDS),
    shape(Hide, EVENT_IDS),
    shape(Revoke, EVENT_IDS, maybe(WORDS)),
    shape(Close, maybe(WORDS)),
    shape(
        Config,
        IDS,
        *[maybe(COUNTS)] * 4,
        maybe(shape(PolicyChoice, WORDS, COUNTS, JSON_TEXTS)),
        maybe(WORDS),
        maybe(WORDS),
        maybe(JSON_TEXTS),
    ),
    shape(Interrupted, EVENT_IDS, PARTS),
)
EVENTS: st.SearchStrategy[Event] = shape(Event, WORDS, BODIES, maybe(EVENT_IDS), maybe(FRONTIERS))

# ---- events ---------------------------------------------------------------------------------


@law
@given(EVENTS)
def test_an_event_comes_back_equal_from_canonical_bytes(event: Event) -> None:
    data = encode_event(event)
    assert decode_event(data) == event
    assert data == rfc8785.dumps(json.loads(data))


@law
@given(EVENTS, EVENTS)
def test_different_events_have_different_bytes(one: Event, other: Event) -> None:
    assert (one == other) == (encode_event(one) == encode_event(other))


@law
@given(EVENTS, st.data())
def test_a_changed_event_is_read_or_refused_and_nothing_else(
    event: Event, data: st.DataObject
) -> None:
    members = json.loads(encode_event(event))
    for _ in range(data.draw(st.integers(1, 2), label="changes")):
        change(members, data)
    survives(json.dumps(members).encode())


@law
@given(EVENTS, st.data())
def test_damaged_bytes_are_read_or_refused_and_nothing_else(
    event: Event, data: st.DataObject
) -> None:
    damaged = bytearray(encode_event(event))
    at = data.draw(st.integers(0, len(damaged) - 1))
    end = data.draw(st.integers(at, min(len(damaged), at + 4)))
    damaged[at:end] = data.draw(st.binary(max_size=3) | st.sampled_from([b"[", b'"', b"\\u", b"1"]))
    survives(bytes(damaged))


@law
@given(st.binary(max_size=40) | ANYTHING.map(lambda value: json.dumps(value).encode()))
@example(b'{"kind":"message","author":"","role":"user","parts":[{"type":"x","y":[[]]}]}')
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    survives(data)


def change(members: dict[str, Any], data: st.DataObject) -> None:
    """Puts something else at a random place of a JSON value, or takes it away."""
    holder: Any = members
    while True:
        places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not places:
            return
        place = data.draw(st.sampled_from(places))
        if not isinstance(holder[place], (dict, list)) or data.draw(st.booleans()):
            break
        holder = holder[place]
    if data.draw(st.booleans()):
        holder[place] = data.draw(ANYTHING)
    else:
        del holder[place]


def survives(data: bytes) -> None:
    try:
        event = decode_event(data)
    except (InvalidMessage, LimitExceeded):
        return
    if not isinstance(event.body, Unknown):
        assert decode_event(encode_event(event)) == event


# ---- classes --------------------------------------------------------------------------------


@law
@given(IMPORTED, IMPORTED, st.booleans())
def test_a_class_is_ext_role_name_and_parts(one: Message, other: Message, alike: bool) -> None:
    def same_target(_: CallRef) -> ImportedFrom | None:
        return None

    if alike:  # but for what is no part of a class
        other = replace(other, ext=one.ext, role=one.role, name=one.name, parts=one.parts)
    equal = (one.ext, one.role, one.name, one.parts) == (
        other.ext,
        other.role,
        other.name,
        other.parts,
    )
    assert equal == (class_digest(one, same_target) == class_digest(other, same_target))


# ---- canonical JSON -------------------------------------------------------------------------


@law
@given(JSON)
def test_canonical_json_is_that_of_the_reference(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@law
@given(STRICT)
def test_strict_values_come_back_equal(value: Any) -> None:
    data = canonical_json(value)
    assert parse_json(data) == value
    assert parse_json(data.decode()) == value
    assert parse_json(json.dumps(value, indent=1)) == value
    assert canonical_json(parse_json(data)) == data


@law
@given(ANYTHING)
@example(2.0**53)
@example([-(2.0**60), 1e20, 1e21])
def test_whatever_is_written_is_read_and_has_one_spelling(value: Any) -> None:
    try:
        data = canonical_json(value)
    except InvalidMessage:
        return
    assert data == rfc8785.dumps(value)
    assert canonical_json(parse_json(data, floats=True)) == data
