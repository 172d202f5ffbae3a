"""The counting rule by example."""

from __future__ import annotations

import hashlib

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, File, Opaque, Reasoning, Refusal, Result, Text
from weft_engine.views.count import count_message, tool_set
from weft_engine.views.media import MediaTable
from weft_engine.views.tokenizer import O200K_BASE, Tokenizer

TOKENIZER = Tokenizer(O200K_BASE)


def call(id_: str = "c1", args: str = "{}") -> Call:
    return Call(id_, "find", args)


def test_the_counting_rule() -> None:
    n = TOKENIZER.count
    cases = [
        (Message(Role.USER, (Text("hello world"),)), 4 + 2),
        (Message(Role.USER, (Text("hello world"),), name="ann"), 4 + 2 + 1 + n("ann")),
        (Message(Role.USER, ()), 0),
        (Message(Role.USER, (), tokens=9), 0),
        (Message(Role.ASSISTANT, (Reasoning("openai", "hmm"),)), 0),
        (
            Message(Role.USER, (Opaque("openai_chat", '{"type":"new", "x":"hello world"}'),)),
            4 + n('{"type":"new","x":"hello world"}'),
        ),
        (Message(Role.USER, (Text("hello world"),), tokens=1), 1),
        (Message(Role.ASSISTANT, (Text("hi"), Refusal("no way"))), 4 + n("hi") + n("no way")),
        (
            Message(Role.ASSISTANT, (call(args='{"a": 1}'), call("c2"))),
            4 + 8 + n("find") + n('{"a": 1}') + 8 + n("find") + n("{}"),
        ),
        (
            Message(Role.TOOL, (Result("c1", "sunny"), Result("c2", "rain", name="find"))),
            4 + n("sunny") + 4 + n("rain") + 1 + n("find"),
        ),
    ]
    for message, tokens in cases:
        assert count_message(message, TOKENIZER) == tokens, message


def test_attachments_count_by_the_media_table() -> None:
    media = MediaTable(image=100, audio=20, file=3)
    urls = {
        "image/png": "https://example.com/a.png",
        "audio/wav": "data:audio/wav;base64,AAAA",
        "application/pdf": "data:application/pdf;base64,AAAA",
    }
    for (kind, url), tokens in zip(urls.items(), (100, 20, 3), strict=True):
        message = Message(Role.USER, (Text("see"), File(kind, url=url)))
        assert count_message(message, TOKENIZER, media) == 4 + 1 + tokens


def test_tools_are_counted_on_their_canonical_json() -> None:
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"minimum": 0.50}}}]
    text = '[{"function":{"name":"find","parameters":{"minimum":0.5}},"type":"function"}]'
    made = tool_set(tools, TOKENIZER)
    assert made is not None
    assert made.tokens == TOKENIZER.count(text)
    assert made.digest == hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
    assert tool_set([], TOKENIZER) is None
