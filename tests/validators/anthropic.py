"""What the Anthropic Messages API takes as `system` and `messages`.

Sources, by topic: the API reference of "Messages" (roles, blocks, sources of images and
documents; `system` is a parameter of its own); the guide "handle tool calls" (results stand in the
very next user message, before anything else in it); the guide on extended thinking (thinking
blocks go back unchanged, with their signature, in front); the API's own errors 400: the first
message must be the user's, `tool_use` ids must be unique and match a pattern, text blocks must not
be empty or blank, the final assistant content cannot end with white space, the final block cannot
be thinking, a text behind a `tool_use` parts it from its result, `is_error` needs content and text
only. The API merges messages of one role; we promise to alternate, so that is checked. Must never
know: how messages are rendered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

NAME_CHARS_MAX: Final = 128

_ID: Final = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_BLOCKS: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"text", "image", "document", "search_result", "tool_result"}),
    "assistant": frozenset({"text", "thinking", "redacted_thinking", "tool_use"}),
}
_IN_RESULT: Final = frozenset({"text", "image", "document", "search_result"})
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"type", "text", "cache_control", "citations"}),
    "image": frozenset({"type", "source", "cache_control"}),
    "document": frozenset({"type", "source", "cache_control", "citations", "context", "title"}),
    "tool_use": frozenset({"type", "id", "name", "input", "cache_control"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
}

Block = Mapping[str, object]


def validate(request: object) -> list[str]:
    """What the API would refuse in `request`, an object with `messages` and perhaps `system`; each
    as ``path: what``."""
    if not isinstance(request, dict) or not {"messages"} <= request.keys() <= {
        "messages",
        "system",
    }:
        return ["$: must be an object of messages and system"]
    found = [*_encoding(request)]
    if "system" in request:
        found += _system(request["system"])
    messages = request["messages"]
    if not isinstance(messages, list) or not messages:
        return [*found, "$.messages: at least one message is required"]
    if not all(isinstance(message, dict) for message in messages):
        return [*found, "$.messages: every message must be an object"]
    return [*found, *_turns(messages), *_contents(messages), *_tools(messages)]


def _encoding(value: object) -> Iterator[str]:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        yield f"$: no JSON in UTF-8: {error}"


def _system(system: object) -> Iterator[str]:
    if isinstance(system, str):
        if not system.strip():
            yield "$.system: must not be blank"
    elif not isinstance(system, list) or not system:
        yield "$.system: must be a string or an array of text blocks"
    else:
        for index, block in enumerate(system):
            yield from _block(block, frozenset({"text"}), f"$.system[{index}]")


def _turns(messages: list[dict[str, object]]) -> Iterator[str]:
    former: object = "assistant"
    for index, message in enumerate(messages):
        path = f"$.messages[{index}]"
        role = message.get("role")
        if role not in _BLOCKS:
            yield f"{path}.role: {role!r} is none of {', '.join(_BLOCKS)}"
        elif role == former:
            yield (
                f"{path}.role: roles must alternate, found {role} again"
                if index
                else f"{path}.role: the first message must be the user's"
            )
        former = role
        for key in sorted(message.keys() - {"role", "content"}):
            yield f"{path}.{key}: unknown in a message"


def _blocks(message: Mapping[str, object]) -> list[Block]:
    """Its blocks, as far as they are some; a string is one text."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        return []
    return [block for block in content if isinstance(block, dict)]


# ---- each message -------------------------------------------------------------------------------


def _contents(messages: list[dict[str, object]]) -> Iterator[str]:
    for index, message in enumerate(messages):
        path = f"$.messages[{index}].content"
        content, role = message.get("content"), message.get("role")
        taken = _BLOCKS.get(str(role), frozenset())
        if isinstance(content, str):
            if not content.strip():
                yield f"{path}: must not be empty or blank"
        elif not isinstance(content, list) or not content:
            yield f"{path}: must be a string or an array of at least one block"
        else:
            for place, block in enumerate(content):
                yield from _block(block, taken, f"{path}[{place}]")
        if role == "assistant":
            yield from _order(_blocks(message), path, is_last=index == len(messages) - 1)


def _order(blocks: list[Block], path: str, *, is_last: bool) -> Iterator[str]:
    """Thinking first, then texts, then calls."""
    kinds = [block.get("type") for block in blocks]
    spoke = called = False
    for index, kind in enumerate(kinds):
        if kind in _THOUGHTS and (spoke or called):
            yield f"{path}[{index}]: thinking must come first"
        if kind == "text" and called:
            yield f"{path}[{index}]: nothing may come between tool_use and its result"
        spoke, called = spoke or kind == "text", called or kind == "tool_use"
    if kinds and kinds[-1] in _THOUGHTS:
        yield f"{path}: the final block cannot be thinking"
    if is_last and blocks:
        text = blocks[-1].get("text")
        if isinstance(text, str) and text != text.rstrip():
            yield f"{path}: the final assistant content cannot end with white space"


def _block(block: object, taken: frozenset[str], path: str) -> Iterator[str]:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(block, dict) or kind not in taken:
        yield f"{path}.type: {kind!r} is none of {', '.join(sorted(taken))}"
        return
    for key in sorted(block.keys() - _KEYS.get(str(kind), block.keys())):
        yield f"{path}.{key}: unknown in a block of type {kind}"
    match kind:
        case "text":
            text = block.get("text")
            if not isinstance(text, str) or not text.strip():
                yield f"{path}.text: must be a string that is not empty or blank"
        case "thinking":
            if not isinstance(block.get("thinking"), str):
                yield f"{path}.thinking: must be a string"
            if not isinstance(block.get("signature"), str) or not block["signature"]:
                yield f"{path}.signature: is required"
        case "redacted_thinking":
            if not isinstance(block.get("data"), str) or not block["data"]:
                yield f"{path}.data: is required"
        case "image":
            yield from _image(block.get("source"), f"{path}.source")
        case "document":
            yield from _document(block.get("source"), f"{path}.source")
        case "tool_use":
            yield from _call(block, path)
        case "tool_result":
            yield from _result(block, path)
        case _:
            pass


def _image(source: object, path: str) -> Iterator[str]:
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data), **rest} if not rest:
            if kind not in _IMAGES:
                yield f"{path}.media_type: {kind!r} is none of {', '.join(sorted(_IMAGES))}"
            if _BASE64.fullmatch(data) is None:
                yield f"{path}.data: must be base64"
        case {"type": "url", "url": str(url), **rest} if not rest:
            if not url.startswith(("https://", "http://")):
                yield f"{path}.url: must be an address"
        case {"type": "file", "file_id": str(id_), **rest} if id_ and not rest:
            pass
        case _:
            yield f"{path}: must be of type base64, url or file"


def _document(source: object, path: str) -> Iterator[str]:
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data), **rest} if not rest:
            if kind != "application/pdf":
                yield f"{path}.media_type: {kind!r} is not application/pdf"
            if _BASE64.fullmatch(data) is None:
                yield f"{path}.data: must be base64"
        case {"type": "text", "media_type": "text/plain", "data": str(), **rest} if not rest:
            pass
        case {"type": "url", "url": str(url), **rest} if not rest:
            if not url.startswith(("https://", "http://")):
                yield f"{path}.url: must be an address"
        case {"type": "content", "content": str() | list(), **rest} if not rest:
            pass
        case {"type": "file", "file_id": str(id_), **rest} if id_ and not rest:
            pass
        case _:
            yield f"{path}: must be of type base64, text, url, content or file"


def _call(block: Block, path: str) -> Iterator[str]:
    id_, name = block.get("id"), block.get("name")
    if not isinstance(id_, str) or _ID.fullmatch(id_) is None:
        yield f"{path}.id: {id_!r} does not match {_ID.pattern}"
    if not isinstance(name, str) or _ID.fullmatch(name) is None or len(name) > NAME_CHARS_MAX:
        yield f"{path}.name: {name!r} does not match {_ID.pattern}, or is too long"
    if not isinstance(block.get("input"), dict):
        yield f"{path}.input: must be an object"


def _result(block: Block, path: str) -> Iterator[str]:
    id_, content, failed = block.get("tool_use_id"), block.get("content"), block.get("is_error")
    if not isinstance(id_, str) or _ID.fullmatch(id_) is None:
        yield f"{path}.tool_use_id: {id_!r} does not match {_ID.pattern}"
    if not isinstance(failed, bool | None):
        yield f"{path}.is_error: must be true or false"
    if failed and not content:
        yield f"{path}.content: must not be empty where is_error is true"
    if isinstance(content, list):
        for index, inner in enumerate(content):
            taken = frozenset({"text"}) if failed else _IN_RESULT
            yield from _block(inner, taken, f"{path}.content[{index}]")
    elif not isinstance(content, str | None):
        yield f"{path}.content: must be a string or an array of blocks"


# ---- calls and results --------------------------------------------------------------------------


def _tools(messages: list[dict[str, object]]) -> Iterator[str]:
    used: set[object] = set()
    open_calls: list[object] = []
    asked_at = ""
    for index, message in enumerate(messages):
        path = f"$.messages[{index}]"
        blocks = _blocks(message)
        answers = [block.get("tool_use_id") for block in blocks if _is(block, "tool_result")]
        for answer in answers:
            if answer in open_calls:
                open_calls.remove(answer)
            else:
                yield f"{path}: tool_result {answer!r} has no open tool_use in the message before"
        if open_calls:
            yield f"{asked_at}: tool_use without a tool_result in the next message: {open_calls}"
        if not all(_is(block, "tool_result") for block in blocks[: len(answers)]):
            yield f"{path}: tool_result blocks must come first"
        open_calls = [block.get("id") for block in blocks if _is(block, "tool_use")]
        asked_at = path
        for id_ in open_calls:
            if id_ in used:
                yield f"{path}: tool_use ids must be unique, {id_!r} is used again"
            used.add(id_)
    if open_calls:
        yield f"{asked_at}: tool_use without a tool_result in the next message: {open_calls}"


def _is(block: Block, kind: str) -> bool:
    return block.get("type") == kind
