"""The short ways that most messages take give exactly what the long ways give."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from weft_engine.canonical import canonical_json, parse_json
from weft_engine.errors import MalformedUpdate
from weft_engine.events.candidate import candidates
from weft_engine.events.codec import decode_event, encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.formats.openai_chat import import_message
from weft_engine.limits import CLOCK_END_MAX
from weft_engine.names import ClientId, EventId
from weft_engine.yjs.appends import read_appends
from weft_engine.yjs.encoder import encode_event_append
from weft_engine.yjs.reader import read_update

TEXTS = st.text(st.characters(codec="utf-8"))
ODD_TEXTS = st.text(st.characters())
NAMES = st.sampled_from(["role", "content", "name"])


@given(
    message=st.one_of(
        st.fixed_dictionaries({"role": st.sampled_from(list(Role)).map(str), "content": ODD_TEXTS}),
        st.fixed_dictionaries({"content": ODD_TEXTS, "role": st.sampled_from(list(Role)).map(str)}),
        st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS, "name": TEXTS}),
    )
)
def test_a_plain_dict_is_imported_like_its_json_text(message: dict[str, str]) -> None:
    if message["role"] == "tool":
        message = {**message, "tool_call_id": "c"}
    assert import_message(message) == import_message(json.dumps(message))


@given(
    role=st.sampled_from([role for role in Role if role is not Role.TOOL]),
    text=TEXTS,
    author=TEXTS,
    name=st.none() | TEXTS,
)
def test_a_plain_event_is_encoded_canonically(
    role: Role, text: str, author: str, name: str | None
) -> None:
    event = Event(author, Message(role, (Text(text),), name=name))
    data = encode_event(event)
    assert data == canonical_json(parse_json(data))
    assert decode_event(data) == event


KEYS = st.from_regex(r"[0-9a-f]{16}-[0-9a-f]{32}", fullmatch=True)
CLIENTS = st.sampled_from([0, 1, 300, 2**53 - 1])
CLOCKS = st.sampled_from([0, 7, 200, CLOCK_END_MAX - 2])


@given(
    client=CLIENTS,
    clock=CLOCKS,
    entries=st.lists(st.tuples(KEYS, TEXTS), min_size=1, max_size=3, unique_by=lambda e: e[0]),
)
def test_appends_are_known_as_such(
    client: int, clock: int, entries: Sequence[tuple[str, str]]
) -> None:
    payload = encode_event_append(
        ClientId(client), clock, [(EventId(key), text.encode()) for key, text in entries]
    ).payload
    found = read_appends(payload, ClientId(client))
    if clock + len(entries) <= CLOCK_END_MAX:
        assert found == [key.encode() for key, _ in entries]
    else:
        assert found is None


@given(
    client=CLIENTS,
    clock=CLOCKS,
    keys=st.lists(st.sampled_from(["0" * 16 + "-" + "1" * 32, "é" * 24 + "x", "k"]), min_size=1),
    text=st.binary(max_size=200),
    cut=st.integers(0, 60),
    at=st.integers(0, 400),
    byte=st.integers(0, 255),
)
@example(client=1, clock=0, keys=["k" * 49], text=b"\xff", cut=0, at=0, byte=1)
@example(client=1, clock=0, keys=["k" * 49, "k" * 49], text=b"", cut=0, at=0, byte=1)
def test_what_looks_like_appends_is_read_like_any_update(
    client: int, clock: int, keys: list[str], text: bytes, cut: int, at: int, byte: int
) -> None:
    made = encode_event_append(
        ClientId(client), clock, [(EventId(key), text) for key in keys]
    ).payload
    changed = bytearray(made[: len(made) - cut] if cut < 30 else made)
    if changed:
        changed[at % len(changed)] = byte
    for data in (made, bytes(changed)):
        found = read_appends(data, ClientId(client))
        if found is None:
            continue
        try:
            update = read_update(data)
        except MalformedUpdate as error:
            raise AssertionError(f"the reader refuses {data!r}") from error
        listed = candidates(update)
        assert [one.key.encode() for one in listed] == found
        assert {one.client for one in listed} == {client}
        assert len(update.structs) == len(found)
        assert not update.deletes
        assert update.woven == 0
