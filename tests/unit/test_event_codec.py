"""Events on the wire: exact bytes, what is refused and where, what a later version may send."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b

import pytest

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
from weft_engine.events.part_codec import UNKNOWN_PART, is_unknown_part
from weft_engine.limits import EVENT_BYTES_MAX, INTEGER_MAX, PARTS_MAX, SEEN_MAX
from weft_engine.names import EventId, RecordHash

ID = EventId("0123456789abcdef-" + "ab" * 16)
OTHER_ID = EventId("0123456789abcdff-" + "cd" * 16)
HASHES = (RecordHash(b"\x01" * 32), RecordHash(b"\xfe" * 32))
HASHES_TEXT = ["01" * 32, "fe" * 32]

ALL_PARTS: tuple[Part, ...] = (
    Text("hé\U0001f600"),
    Refusal("no"),
    Reasoning("anthropic", text="hm", sig="s", data="d", item_id="rs_1"),
    Reasoning("openai"),
    Call("call_1", "f", '{"a": 1.0}', item_id="fc_1"),
    Result("call_1", "done", call=CallRef(ID, 4), error=True, name="f"),
    Result("call_2", (Text("a"), File("image/png", size=3, blob="ab" * 32))),
    File("image/png", url="https://x/y.png", name="y.png", width=2, height=3),
    Source('{"b":1.0,"a":1}'),
    Data("chart", "[1e0]"),
    Opaque("anthropic", '{"type":"new"}'),
)
ALL_PARTS_JSON: list[object] = [
    {"type": "text", "text": "hé\U0001f600"},
    {"type": "refusal", "text": "no"},
    {
        "type": "reasoning",
        "for": "anthropic",
        "text": "hm",
        "sig": "s",
        "data": "d",
        "itemId": "rs_1",
    },
    {"type": "reasoning", "for": "openai"},
    {"type": "call", "id": "call_1", "name": "f", "args": '{"a": 1.0}', "itemId": "fc_1"},
    {
        "type": "result",
        "id": "call_1",
        "call": [ID, 4],
        "out": "done",
        "error": True,
        "name": "f",
    },
    {
        "type": "result",
        "id": "call_2",
        "out": [
            {"type": "text", "text": "a"},
            {"type": "file", "mediaType": "image/png", "bytes": 3, "blob": "ab" * 32},
        ],
    },
    {
        "type": "file",
        "mediaType": "image/png",
        "url": "https://x/y.png",
        "name": "y.png",
        "w": 2,
        "h": 3,
    },
    {"type": "source", "json": '{"b":1.0,"a":1}'},
    {"type": "data", "name": "chart", "json": "[1e0]"},
    {"type": "opaque", "format": "anthropic", "json": '{"type":"new"}'},
]

BODIES: list[tuple[Body, dict[str, object]]] = [
    (Message(Role.USER, ()), {"kind": "message", "role": "user", "parts": []}),
    (
        Message(
            Role.ASSISTANT,
            ALL_PARTS,
            name="ann",
            tokens=7,
            via=Via("openai", "gpt"),
            crit=Criticality.CRITICAL,
            life=Lifetime.SESSION,
            expires=1_700_000_000_000,
            meta='{"x": 1.50}',
            ext=ImportedFrom("openai_chat:c", 3),
            src=Original("openai_chat", "{}"),
        ),
        {
            "kind": "message",
            "role": "assistant",
            "parts": ALL_PARTS_JSON,
            "name": "ann",
            "tokens": 7,
            "via": {"provider": "openai", "model": "gpt"},
            "crit": "critical",
            "life": "session",
            "expires": 1_700_000_000_000,
            "meta": '{"x": 1.50}',
            "ext": {"source": "openai_chat:c", "index": 3},
            "src": {"format": "openai_chat", "json": "{}"},
        },
    ),
    (
        Fact("k", "[1]", "last", (ID, OTHER_ID), Criticality.OPTIONAL, 5),
        {
            "kind": "fact",
            "key": "k",
            "value": "[1]",
            "rule": "last",
            "replaces": [ID, OTHER_ID],
            "crit": "optional",
            "expires": 5,
        },
    ),
    (
        Summary(HASHES, 12, "00ff", "so far", "gpt"),
        {
            "kind": "summary",
            "covers": HASHES_TEXT,
            "count": 12,
            "digest": "00ff",
            "text": "so far",
            "by": "gpt",
        },
    ),
    (Branch("try", HASHES), {"kind": "branch", "name": "try", "from": HASHES_TEXT}),
    (Pin(ID), {"kind": "pin", "target": ID}),
    (Hide(ID), {"kind": "hide", "target": ID}),
    (Revoke(ID, "typo"), {"kind": "revoke", "target": ID, "reason": "typo"}),
    (Close(), {"kind": "close"}),
    (
        Config((ID,), 8000, 1000, 900, 0, PolicyChoice("last_n", 1, '{"n":1}'), "o200k", "f", "{}"),
        {
            "kind": "config",
            "replaces": [ID],
            "budget": 8000,
            "reserved": 1000,
            "trigger": 900,
            "clear_at_least": 0,
            "policy": {"name": "last_n", "version": 1, "config": '{"n":1}'},
            "tokenizer": "o200k",
            "format": "f",
            "metadata": "{}",
        },
    ),
    (
        Interrupted(ID, (Text("half"),)),
        {"kind": "interrupted", "target": ID, "parts": [{"type": "text", "text": "half"}]},
    ),
]


def message(**changed: object) -> dict[str, object]:
    parts = [{"type": "text", "text": "hi"}]
    return {"kind": "message", "author": "a", "role": "user", "parts": parts, **changed}


def with_part(**fields: object) -> dict[str, object]:
    return message(parts=[{"type": "text", "text": "hi"}, fields])


def dumped(members: dict[str, object]) -> bytes:
    return json.dumps(members).encode()


# ---- the shape ------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "members"), BODIES, ids=lambda value: type(value).__name__)
def test_each_kind_has_the_fields_of_the_format(body: Body, members: dict[str, object]) -> None:
    event = Event("ann", body, branch=ID, seen=HASHES)
    data = encode_event(event)
    everything = {**members, "author": "ann", "branch": ID, "seen": HASHES_TEXT}
    assert json.loads(data) == everything
    assert decode_event(data) == event
    assert decode_event(dumped(everything)) == event


def test_the_bytes_are_canonical() -> None:
    event = Event("ann", Message(Role.USER, (Text("hé\n"),), tokens=3), seen=())
    assert (
        encode_event(event)
        == (
            '{"author":"ann","kind":"message","parts":[{"text":"hé\\n","type":"text"}],'
            '"role":"user","seen":[],"tokens":3}'
        ).encode()
    )


# ---- what a later version may send ----------------------------------------------------------


def test_unknown_fields_and_kinds_have_no_effect() -> None:
    assert decode_event(dumped(message(mood="good"))) == decode_event(dumped(message()))
    assert decode_event(b'{"kind":"poll","author":"a","parts":5}') == Event("a", Unknown("poll"))
    with pytest.raises(InvalidMessage, match="can't write") as caught:
        encode_event(Event("a", Unknown("poll")))
    assert caught.value.path == "$.kind"


def test_a_part_of_an_unknown_type_is_kept_as_it_was() -> None:
    new = {"type": "hologram", "é": ["x", {"b": 1, "a": None}], "\U0001f600": 1, "\ufb33": 2}
    data = dumped(with_part(**new))
    event = decode_event(data)
    assert isinstance(event.body, Message)
    kept = event.body.parts[1]
    assert is_unknown_part(kept)
    assert isinstance(kept, Opaque)
    assert json.loads(kept.json) == new
    assert json.loads(encode_event(event)) == json.loads(data)
    assert decode_event(encode_event(event)) == event
    nested = decode_event(dumped(with_part(type="result", id="x", out=[new])))
    assert decode_event(encode_event(nested)) == nested


@pytest.mark.parametrize(
    "text", ['{"text":"x","type":"text"}', '{"b":1,"a":1,"type":"new"}', "[]", '{"type":1}', "{"]
)
def test_the_stand_in_for_unknown_parts_holds_nothing_else(text: str) -> None:
    with pytest.raises(InvalidMessage):
        encode_event(Event("a", Message(Role.USER, (Opaque(UNKNOWN_PART, text),))))
    with pytest.raises(InvalidMessage, match="reserved"):
        decode_event(dumped(with_part(type="opaque", format=UNKNOWN_PART, json=text)))


# ---- what is refused ------------------------------------------------------------------------

NO_KIND = {"author": "a"}
CONFIG = {"kind": "config", "author": "a"}
FACT = {"kind": "fact", "author": "a", "key": "k", "value": "1", "rule": "last"}
SUMMARY = {"kind": "summary", "author": "a", "count": 1, "digest": "d", "text": "t"}
RESULT = {"type": "result", "id": "x", "out": ""}


@pytest.mark.parametrize(
    ("members", "path"),
    [
        (NO_KIND, "$.kind"),
        ({"kind": 1, "author": "a"}, "$.kind"),
        ({"kind": "close"}, "$.author"),
        ({"kind": "close", "author": None}, "$.author"),
        (message(branch="main"), "$.branch"),
        (message(branch=ID.upper()), "$.branch"),
        (message(seen=HASHES_TEXT[0]), "$.seen"),
        (message(seen=[HASHES_TEXT[0], "01"]), "$.seen[1]"),
        (message(seen=["FE" * 32]), "$.seen[0]"),
        (message(seen=HASHES_TEXT[::-1]), "$.seen[1]"),
        (message(seen=[HASHES_TEXT[0]] * 2), "$.seen[1]"),
        (message(role="robot"), "$.role"),
        (message(role=["user"]), "$.role"),
        (message(name=None), "$.name"),
        (message(tokens=0), "$.tokens"),
        (message(tokens=True), "$.tokens"),
        (message(tokens="3"), "$.tokens"),
        (message(via="openai"), "$.via"),
        (message(via={"model": "m"}), "$.via.provider"),
        (message(crit="urgent"), "$.crit"),
        (message(life="long"), "$.life"),
        (message(expires=-1), "$.expires"),
        (message(meta="{"), "$.meta"),
        (message(meta={}), "$.meta"),
        (message(ext={"source": "s", "index": -1}), "$.ext.index"),
        (message(ext={"source": "s"}), "$.ext.index"),
        (message(src={"format": "f", "json": {}}), "$.src.json"),
        (message(parts={}), "$.parts"),
        (message(parts=["hi"]), "$.parts[0]"),
        (with_part(), "$.parts[1].type"),
        (with_part(type=3), "$.parts[1].type"),
        (with_part(type="text"), "$.parts[1].text"),
        (with_part(type="reasoning"), "$.parts[1].for"),
        (with_part(type="call", id="x", name="f", args={}), "$.parts[1].args"),
        (with_part(type="result", id="x"), "$.parts[1].out"),
        (with_part(**RESULT, error=1), "$.parts[1].error"),
        (with_part(**RESULT, call=[ID]), "$.parts[1].call"),
        (with_part(**RESULT, call=["x", 0]), "$.parts[1].call[0]"),
        (with_part(**RESULT, call=[ID, -1]), "$.parts[1].call[1]"),
        (with_part(**{**RESULT, "out": [{"type": "text"}]}), "$.parts[1].out[0].text"),
        (with_part(**{**RESULT, "out": [RESULT]}), "$.parts[1].out[0].type"),
        (with_part(type="file", mediaType="a/b"), "$.parts[1]"),
        (with_part(type="file", mediaType="a/b", url="u", blob="00" * 32), "$.parts[1]"),
        (with_part(type="file", mediaType="a/b", blob="sha256:00"), "$.parts[1].blob"),
        (with_part(type="file", mediaType="a/b", url="u", w=-1), "$.parts[1].w"),
        ({**FACT, "value": 1}, "$.value"),
        ({**FACT, "value": "nope"}, "$.value"),
        ({**FACT, "replaces": ID}, "$.replaces"),
        ({**FACT, "replaces": [ID, "x"]}, "$.replaces[1]"),
        (SUMMARY, "$.covers"),
        ({**SUMMARY, "covers": ["00"]}, "$.covers[0]"),
        ({**SUMMARY, "covers": [], "count": -1}, "$.count"),
        ({"kind": "branch", "author": "a", "name": "n"}, "$.from"),
        ({"kind": "pin", "author": "a", "target": "x"}, "$.target"),
        ({**CONFIG, "budget": -1}, "$.budget"),
        ({**CONFIG, "trigger": "half"}, "$.trigger"),
        ({**CONFIG, "policy": {"name": "n", "version": 1}}, "$.policy.config"),
        ({**CONFIG, "policy": {"name": "n", "version": 1, "config": ""}}, "$.policy.config"),
    ],
)
def test_a_field_that_is_wrong_is_named(members: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode_event(dumped(members))
    assert caught.value.path == path


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b'{"kind":1.5}'])
def test_bytes_that_are_no_event_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode_event(data)


PLAIN = Message(Role.USER, (Text("hi"),))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (Message(Role.USER, (Text("ok"), Text("\ud83d"))), "$.parts[1].text"),
        (replace(PLAIN, name="\udc00"), "$.name"),
        (replace(PLAIN, tokens=-1), "$.tokens"),
        (replace(PLAIN, tokens=INTEGER_MAX + 1), "$.tokens"),
        (replace(PLAIN, meta="not json"), "$.meta"),
        (Message(Role.TOOL, (Result("x", (Call("x", "f", ""),)),)), "$.parts[0].out[0].type"),
        (Message(Role.TOOL, (Result("x", "", CallRef(EventId("x"), 0)),)), "$.parts[0].call[0]"),
        (Message(Role.USER, (File("a/b"),)), "$.parts[0]"),
        (Fact("k", "'single'", "last"), "$.value"),
        (Fact("k", "1", "last", (EventId("nope"),)), "$.replaces[0]"),
        (Branch("b", HASHES[::-1]), "$.from[1]"),
        (Branch("b", (RecordHash(b"short"),)), "$.from[0]"),
        (Pin(EventId("x")), "$.target"),
    ],
)
def test_what_a_caller_gets_wrong_is_not_written(body: Body, path: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        encode_event(Event("a", body))
    assert caught.value.path == path


def test_limits_are_named_with_the_value() -> None:
    parts = (Text(""),) * (PARTS_MAX + 1)
    members = message(parts=[{"type": "text", "text": ""}] * (PARTS_MAX + 1))
    with pytest.raises(LimitExceeded, match="has 1025 parts, PARTS_MAX is 1024"):
        encode_event(Event("a", Message(Role.USER, parts)))
    with pytest.raises(LimitExceeded, match="has 1025 parts, PARTS_MAX is 1024"):
        decode_event(dumped(members))
    full = Event("a", Message(Role.USER, parts[1:]))
    assert decode_event(encode_event(full)) == full

    seen = tuple(RecordHash(index.to_bytes(32, "big")) for index in range(SEEN_MAX + 1))
    with pytest.raises(LimitExceeded, match="has 65 record hashes, SEEN_MAX is 64"):
        encode_event(Event("a", Close(), seen=seen))
    most = Event("a", Close(), seen=seen[1:])
    assert decode_event(encode_event(most)) == most

    room = EVENT_BYTES_MAX - len(encode_event(Event("a", Message(Role.USER, (Text(""),)))))
    largest = encode_event(Event("a", Message(Role.USER, (Text("x" * room),))))
    assert len(largest) == EVENT_BYTES_MAX
    assert encode_event(decode_event(largest)) == largest
    with pytest.raises(LimitExceeded, match="8388609 bytes, EVENT_BYTES_MAX is 8388608"):
        encode_event(Event("a", Message(Role.USER, (Text("x" * (room + 1)),))))
    with pytest.raises(LimitExceeded, match="8388609 bytes"):
        decode_event(largest + b" ")


# ---- classes --------------------------------------------------------------------------------

EXT = ImportedFrom("openai_chat:c", 4)
TARGET = ImportedFrom("openai_chat:c", 3)


def digest_of(changed: Message, target: ImportedFrom | None = TARGET) -> bytes | None:
    return class_digest(changed, lambda _: target)


def result_message(call: CallRef | None) -> Message:
    return Message(Role.TOOL, (Result("call_1", "ok", call),), ext=EXT)


def test_a_message_that_was_not_imported_is_in_no_class() -> None:
    assert digest_of(PLAIN) is None


def test_a_class_does_not_depend_on_the_ids_of_one_device() -> None:
    here, there = result_message(CallRef(ID, 0)), result_message(CallRef(OTHER_ID, 0))
    assert digest_of(here) == digest_of(there)
    assert digest_of(here, None) != digest_of(there, None)
    digest = digest_of(here)
    assert digest is not None
    assert len(digest) == 16


def test_a_class_depends_on_what_was_said_and_where() -> None:
    base = Message(Role.USER, (Text("hi"),), ext=EXT)
    different = [
        base,
        replace(base, role=Role.SYSTEM),
        replace(base, name="ann"),
        replace(base, parts=(Text("ho"),)),
        replace(base, parts=(Refusal("hi"),)),
        replace(base, parts=(Text("hi"), Opaque(UNKNOWN_PART, '{"type":"hologram"}'))),
        replace(base, parts=(Text("hi"), Opaque(UNKNOWN_PART, '{"type":"hologran"}'))),
        replace(base, ext=ImportedFrom("openai_chat:c", 5)),
        replace(base, ext=ImportedFrom("openai_chat:d", 4)),
        result_message(None),
        result_message(CallRef(ID, 0)),
        result_message(CallRef(ID, 1)),
    ]
    assert len({digest_of(changed) for changed in different}) == len(different)
    other_target = digest_of(result_message(CallRef(ID, 0)), ImportedFrom("openai_chat:c", 2))
    assert other_target != digest_of(result_message(CallRef(ID, 0)))


def test_a_class_does_not_depend_on_what_one_device_added() -> None:
    base = Message(Role.USER, (Text("hi"),), ext=EXT)
    added = replace(
        base, tokens=9, crit=Criticality.CRITICAL, meta="{}", src=Original("openai_chat", "{}")
    )
    assert digest_of(added) == digest_of(base)


def test_the_digest_of_a_class_is_part_of_the_format() -> None:
    digest = digest_of(result_message(CallRef(ID, 0)))
    said = (
        b'{"ext":{"index":4,"source":"openai_chat:c"},"kind":"message","name":null,"parts":'
        b'[{"call":["openai_chat:c",3,0],"id":"call_1","out":"ok","type":"result"}],"role":"tool"}'
    )
    assert digest == blake2b(said, digest_size=16, person=b"weft-class").digest()
    assert digest.hex() == "e3c45f43140a3429afd428f0ae40b76a"
