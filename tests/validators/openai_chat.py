"""What the OpenAI Chat Completions API takes as `messages`.

Sources, by topic: the API reference of "Create chat completion" (roles, content parts of each
role, when an assistant's content may be null); the function calling guide (an assistant message
with `tool_calls` is followed by one tool message per call); the API's own errors 400 (a tool
message must answer a preceding message with `tool_calls`; the patterns of names; ids of at most 40
characters; arrays that are too short). What it does not demand is not checked: `arguments` is a
string that need not be JSON, "the model does not always generate valid JSON". Must never know: how
messages are rendered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

CALL_ID_CHARS_MAX: Final = 40
NAME_CHARS_MAX: Final = 64
CALLS_MAX: Final = 128

_FUNCTION_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)
_PARTICIPANT_NAME: Final = re.compile(r"[^\s<|\\/>]+")
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "refusal", "audio", "tool_calls"}),
    # `name` is not in the reference, but the API took it from its first examples on.
    "tool": frozenset({"role", "content", "name", "tool_call_id"}),
}
_CONTENT: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"text"}),
    "developer": frozenset({"text"}),
    "user": frozenset({"text", "image_url", "input_audio", "file"}),
    "assistant": frozenset({"text", "refusal"}),
    "tool": frozenset({"text"}),
}
_DETAILS: Final = frozenset({"auto", "low", "high", "original"})


def validate(messages: object) -> list[str]:
    """What the API would refuse in `messages`, each as ``path: what``."""
    if not isinstance(messages, list) or not messages:
        return ["$: messages must be an array of at least one"]
    return [*_encoding(messages), *_messages(messages)]


def _encoding(value: object) -> Iterator[str]:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        yield f"$: no JSON in UTF-8: {error}"


def _messages(messages: list[object]) -> Iterator[str]:
    waiting: set[str] = set()
    asked_at = ""
    for index, message in enumerate(messages):
        path = f"$[{index}]"
        if not isinstance(message, dict):
            yield f"{path}: a message must be an object"
            continue
        if message.get("role") == "tool":
            answered = message.get("tool_call_id")
            if not isinstance(answered, str):
                yield f"{path}.tool_call_id: must be a string"
            elif answered in waiting:
                waiting.remove(answered)
            else:
                yield f"{path}: answers {answered!r}, no open call of the message before"
        else:
            if waiting:
                yield f"{asked_at}: calls without an answer behind them: {sorted(waiting)}"
            asked_at, waiting = path, _call_ids(message)
        yield from _message(message, path)
    if waiting:
        yield f"{asked_at}: calls without an answer behind them: {sorted(waiting)}"


def _call_ids(message: dict[str, object]) -> set[str]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return set()
    ids = (call.get("id") for call in calls if isinstance(call, dict))
    return {id_ for id_ in ids if isinstance(id_, str)}


def _message(message: dict[str, object], path: str) -> Iterator[str]:
    role = message.get("role")
    if not isinstance(role, str) or role not in _KEYS:
        yield f"{path}.role: {role!r} is none of {', '.join(_KEYS)}"
        return
    for key in sorted(message.keys() - _KEYS[role]):
        yield f"{path}.{key}: unknown in a message of role {role}"
    if "name" in message:
        yield from _text(
            message["name"], f"{path}.name", pattern=_PARTICIPANT_NAME, most=NAME_CHARS_MAX
        )
    yield from _content(message, role, path)
    if "refusal" in message and not isinstance(message["refusal"], str | None):
        yield f"{path}.refusal: must be a string or null"
    if role == "assistant" and "tool_calls" in message:
        yield from _tool_calls(message["tool_calls"], f"{path}.tool_calls")


def _content(message: dict[str, object], role: str, path: str) -> Iterator[str]:
    content = message.get("content")
    path = f"{path}.content"
    match content:
        case None:
            # Required, but from an assistant that said something in another way.
            says = any(message.get(key) for key in ("tool_calls", "refusal", "audio"))
            if role != "assistant" or not says:
                yield f"{path}: must be a string or an array, got null"
        case str():
            pass
        case []:
            yield f"{path}: the array is too short"
        case list():
            for index, part in enumerate(content):
                yield from _part(part, role, f"{path}[{index}]")
            kinds = [part.get("type") for part in content if isinstance(part, dict)]
            if "refusal" in kinds and len(kinds) > 1:
                yield f"{path}: texts, or exactly one refusal"
        case _:
            yield f"{path}: must be a string or an array"


def _part(part: object, role: str, path: str) -> Iterator[str]:
    if not isinstance(part, dict):
        yield f"{path}: a content part must be an object"
        return
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in _CONTENT[role]:
        yield f"{path}.type: {kind!r} is not taken from role {role}"
        return
    extra = part.keys() - {"type", kind, "prompt_cache_breakpoint"}
    if extra:
        yield f"{path}: unknown {sorted(extra)}"
    value = part.get(kind)
    match kind:
        case "text" | "refusal":
            if not isinstance(value, str):
                yield f"{path}.{kind}: must be a string"
        case "image_url":
            yield from _image(value, f"{path}.image_url")
        case "input_audio":
            match value:
                case {"data": str(data), "format": "wav" | "mp3"} if data:
                    pass
                case _:
                    yield f"{path}.input_audio: needs data, and format wav or mp3"
        case _:
            yield from _file(value, f"{path}.file")


def _image(value: object, path: str) -> Iterator[str]:
    match value:
        case {"url": str(url), **rest} if url.startswith(("https://", "http://", "data:image/")):
            if rest and not (list(rest) == ["detail"] and rest["detail"] in _DETAILS):
                yield f"{path}: unknown {rest}"
        case _:
            yield f"{path}.url: must be an address or a data URL of an image"


def _file(value: object, path: str) -> Iterator[str]:
    match value:
        case {"file_id": str(id_), **rest} if id_ and "file_data" not in rest:
            pass
        case {"file_data": str(data), **rest} if "file_id" not in rest:
            if not data.startswith("data:") or ";base64," not in data:
                yield f"{path}.file_data: must be a data URL in base64"
        case _:
            yield f"{path}: needs either file_id or file_data"


def _tool_calls(calls: object, path: str) -> Iterator[str]:
    if not isinstance(calls, list) or not 1 <= len(calls) <= CALLS_MAX:
        yield f"{path}: must be an array of 1 to {CALLS_MAX}"
        return
    seen: set[str] = set()
    for index, call in enumerate(calls):
        here = f"{path}[{index}]"
        if not isinstance(call, dict):
            yield f"{here}: a call must be an object"
            continue
        id_ = call.get("id")
        yield from _text(id_, f"{here}.id", pattern=None, most=CALL_ID_CHARS_MAX)
        if isinstance(id_, str):
            if id_ in seen:
                yield f"{here}.id: {id_!r} twice in one message"
            seen.add(id_)
        yield from _call(call, here)


def _call(call: dict[str, object], path: str) -> Iterator[str]:
    kind, said = {"function": ("function", "arguments"), "custom": ("custom", "input")}.get(
        str(call.get("type")), ("", "")
    )
    body = call.get(kind)
    if not isinstance(body, dict) or call.keys() != {"id", "type", kind}:
        yield f"{path}: needs id, type function or custom, and what is called"
        return
    if body.keys() != {"name", said}:
        yield f"{path}.{kind}: needs exactly name and {said}"
    yield from _text(
        body.get("name"), f"{path}.{kind}.name", pattern=_FUNCTION_NAME, most=NAME_CHARS_MAX
    )
    if not isinstance(body.get(said), str):
        yield f"{path}.{kind}.{said}: must be a string"


def _text(value: object, path: str, *, pattern: re.Pattern[str] | None, most: int) -> Iterator[str]:
    if not isinstance(value, str) or not value:
        yield f"{path}: must be a string of at least one character"
    elif len(value) > most:
        yield f"{path}: {len(value)} characters are more than {most}"
    elif pattern is not None and pattern.fullmatch(value) is None:
        yield f"{path}: {value!r} does not match {pattern.pattern}"
