"""The short ways that most messages take give exactly what the long ways give."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from weft_engine.canonical import canonical_json, parse_json
from weft_engine.events.codec import decode_event, encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.formats.openai_chat import import_message

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
