"""The text of an event that search looks into, and that snippets are cut from.

JSON is taken apart where its escapes would hide words. Must never know: indexes, queries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import assert_never

from weft_engine.events.event import (
    Body,
    Branch,
    Close,
    Config,
    Fact,
    Hide,
    Interrupted,
    Message,
    Pin,
    Revoke,
    Summary,
    Unknown,
)
from weft_engine.events.part import (
    Call,
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


def searchable(body: Body) -> str:
    """What is said in an event; empty if it says nothing in words."""
    match body:
        case Message():
            return "\n".join(_of_parts(body.parts))
        case Interrupted():
            return "\n".join(_of_parts(body.parts))
        case Fact():
            return f"{body.key}\n{_of_json(body.value)}"
        case Summary():
            return body.text
        case Branch():
            return body.name
        case Revoke() | Close():
            return body.reason or ""
        case Pin() | Hide() | Config() | Unknown():
            return ""
        case _:
            assert_never(body)


def _of_parts(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        match part:
            case Text() | Refusal():
                yield part.text
            case Reasoning():
                yield part.text or ""
            case Call():
                yield part.name
                yield _of_json(part.args)
            case Result():
                yield part.name or ""
                if isinstance(part.out, str):
                    yield _of_json(part.out)
                else:
                    yield from _of_parts(part.out)
            case File():
                yield part.name or ""
                if part.url is not None and not part.url.startswith("data:"):
                    yield part.url
            case Data():
                yield part.name
                yield _of_json(part.json)
            case Source():
                yield _of_json(part.json)
            case Opaque():
                # Of a format that nobody here knows: it may be a picture in letters.
                continue
            case _:
                assert_never(part)


def _of_json(text: str) -> str:
    """What a JSON text says, without its escapes; any other text as it is."""
    if "\\" not in text or text.lstrip()[:1] not in ("{", "[", '"'):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    # An escape can be half of a character, which is no text.
    return "\n".join(_leaves(value)).encode("utf-8", "replace").decode()


def _leaves(value: object) -> Iterator[str]:
    """Keys and values in their order."""
    waiting: list[object] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key, inner in reversed(one.items()):
                waiting.extend((inner, key))
        elif isinstance(one, list):
            waiting.extend(reversed(one))
        elif one is not None:
            yield str(one)
