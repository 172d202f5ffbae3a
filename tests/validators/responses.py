"""What the OpenAI Responses API takes as `input`.

Sources, by topic: the API reference of "Create a model response" (items, content types by role);
the function calling and the conversation state guides (outputs name their call by `call_id`;
reasoning items go back with what followed them); the API's own errors 400: no tool output found
for a function call, no tool call found for an output, a reasoning item without its required
following item, duplicate items, `input_text` from an assistant, prefixes of ids, call ids of at
most 64 characters. Must never know: how items are rendered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

CALL_ID_CHARS_MAX: Final = 64
NAME_CHARS_MAX: Final = 64

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)
_ROLES: Final = ("system", "developer", "user", "assistant")
_STATUS: Final = (None, "in_progress", "completed", "incomplete")
_ASKED: Final = frozenset({"input_text", "input_image", "input_file"})
_ANSWERED: Final = frozenset({"output_text", "refusal"})
_TEXT_KEYS: Final[Mapping[str, str]] = {
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
}
# An item that calls, by the item that answers it.
_CALL_OF: Final[Mapping[str, str]] = {
    "function_call_output": "function_call",
    "custom_tool_call_output": "custom_tool_call",
    "computer_call_output": "computer_call",
    "local_shell_call_output": "local_shell_call",
    "shell_call_output": "shell_call",
    "apply_patch_call_output": "apply_patch_call",
}
_HOSTED: Final = frozenset(
    {"web_search_call", "file_search_call", "image_generation_call", "code_interpreter_call"}
    | {"mcp_list_tools", "mcp_call", "mcp_approval_request", "compaction"}
)
_MADE_BY_MODEL: Final = frozenset({"reasoning"} | _HOSTED | {*_CALL_OF.values()})
_KNOWN: Final = _MADE_BY_MODEL | {*_CALL_OF} | {"message", "item_reference"}
_PREFIX: Final[Mapping[str, str]] = {"message": "msg", "reasoning": "rs", "function_call": "fc"}
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "message": frozenset({"type", "role", "content", "id", "status", "phase"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments", "id", "status"}),
    "function_call_output": frozenset({"type", "call_id", "output", "id", "status"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
}


def validate(items: object) -> list[str]:
    """What the API would refuse in `items`, each as ``path: what``."""
    if not isinstance(items, list) or not items:
        return ["$: input must be an array of at least one item"]
    found = [*_encoding(items)]
    if not all(isinstance(item, dict) for item in items):
        return [*found, "$: every item must be an object"]
    return [*found, *_pairs(items), *_reasoning(items), *_ids(items), *_items(items)]


def _kind(item: Mapping[str, object]) -> str:
    """A message may leave its type out."""
    return str(item.get("type", "message"))


def _is_of_model(item: Mapping[str, object]) -> bool:
    return _kind(item) in _MADE_BY_MODEL or (
        _kind(item) == "message" and item.get("role") == "assistant"
    )


def _encoding(value: object) -> Iterator[str]:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        yield f"$: no JSON in UTF-8: {error}"


# ---- what must stand together -------------------------------------------------------------------


def _pairs(items: list[dict[str, object]]) -> Iterator[str]:
    """Every call is answered before the model goes on, every answer has its call. What the model
    made without a break is one turn: calls beside a message, or several at once."""
    waiting: dict[tuple[str, object], str] = {}
    called: set[object] = set()
    in_turn = False
    for index, item in enumerate(items):
        path, kind, call_id = f"$[{index}]", _kind(item), item.get("call_id")
        of_model = _is_of_model(item)
        if of_model and not in_turn:
            for (_, left), where in waiting.items():
                yield f"{where}: no output for {left!r} before the model goes on at {path}"
            waiting.clear()
        in_turn = of_model
        if kind in _CALL_OF and waiting.pop((_CALL_OF[kind], call_id), None) is None:
            yield f"{path}: no open {_CALL_OF[kind]} for the output with call_id {call_id!r}"
        if kind in _CALL_OF.values():
            if call_id in called:
                yield f"{path}.call_id: {call_id!r} is used twice"
            called.add(call_id)
            waiting[kind, call_id] = path
    for (_, left), where in waiting.items():
        yield f"{where}: no output for {left!r}"


def _reasoning(items: list[dict[str, object]]) -> Iterator[str]:
    for index, item in enumerate(items):
        if _kind(item) == "reasoning":
            follows = items[index + 1 :]
            behind = next((other for other in follows if _kind(other) != "reasoning"), None)
            if behind is None or not _is_of_model(behind):
                yield f"$[{index}]: reasoning without the item that it belongs to behind it"


def _ids(items: list[dict[str, object]]) -> Iterator[str]:
    seen: set[object] = set()
    for index, item in enumerate(items):
        id_ = item.get("id")
        if id_ is None:
            continue
        path = f"$[{index}].id"
        prefix = _PREFIX.get(_kind(item), "")
        if not isinstance(id_, str) or not id_ or not id_.startswith(prefix):
            yield f"{path}: {id_!r} does not begin with {prefix}"
        elif len(id_) > CALL_ID_CHARS_MAX and prefix in ("msg", "fc"):
            yield f"{path}: {len(id_)} characters are more than {CALL_ID_CHARS_MAX}"
        elif id_ in seen:
            yield f"{path}: duplicate item {id_!r}"
        seen.add(id_)


# ---- each item ----------------------------------------------------------------------------------


def _items(items: list[dict[str, object]]) -> Iterator[str]:
    for index, item in enumerate(items):
        path, kind = f"$[{index}]", _kind(item)
        if kind not in _KNOWN:
            yield f"{path}.type: unknown {kind!r}"
            continue
        if kind in _KEYS:
            for key in sorted(item.keys() - _KEYS[kind]):
                yield f"{path}.{key}: unknown in an item of type {kind}"
        if item.get("status") not in _STATUS:
            yield f"{path}.status: unknown {item['status']!r}"
        match kind:
            case "message":
                yield from _message(item, path)
            case "function_call":
                yield from _call_id(item, path)
                yield from _text(item.get("name"), f"{path}.name", most=NAME_CHARS_MAX, name=True)
                if not isinstance(item.get("arguments"), str):
                    yield f"{path}.arguments: must be a string"
            case "function_call_output":
                yield from _call_id(item, path)
                yield from _content(item.get("output"), _ASKED, f"{path}.output")
            case "reasoning":
                yield from _thought(item, path)
            case _:
                pass


def _message(item: Mapping[str, object], path: str) -> Iterator[str]:
    role = item.get("role")
    if role not in _ROLES:
        yield f"{path}.role: {role!r} is none of {', '.join(_ROLES)}"
        return
    taken = _ANSWERED if role == "assistant" else _ASKED
    yield from _content(item.get("content"), taken, f"{path}.content")


def _content(content: object, taken: frozenset[str], path: str) -> Iterator[str]:
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        yield f"{path}: must be a string or an array of at least one part"
        return
    for index, part in enumerate(content):
        here = f"{path}[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in taken:
            yield f"{here}.type: {kind!r} is none of {sorted(taken)}"
        elif kind == "input_image":
            yield from _image(part, here)
        elif kind == "input_file":
            if sum(key in part for key in ("file_data", "file_id", "file_url")) != 1:
                yield f"{here}: needs one of file_data, file_id and file_url"
        elif not isinstance(part.get(_TEXT_KEYS[str(kind)]), str):
            yield f"{here}.{_TEXT_KEYS[str(kind)]}: must be a string"


def _image(part: Mapping[str, object], path: str) -> Iterator[str]:
    match part:
        case {"image_url": str(url)}:
            if not url.startswith(("https://", "http://", "data:image/")):
                yield f"{path}.image_url: must be an address or a data URL of an image"
        case {"file_id": str(id_)} if id_:
            pass
        case _:
            yield f"{path}: needs image_url or file_id"
    if part.get("detail", "auto") not in ("auto", "low", "high", "original"):
        yield f"{path}.detail: unknown {part['detail']!r}"


def _thought(item: Mapping[str, object], path: str) -> Iterator[str]:
    if not isinstance(item.get("id"), str):
        yield f"{path}.id: must be a string"
    summary = item.get("summary")
    if not isinstance(summary, list):
        yield f"{path}.summary: must be an array"
        return
    for index, part in enumerate(summary):
        match part:
            case {"type": "summary_text", "text": str()}:
                pass
            case _:
                yield f"{path}.summary[{index}]: must be a summary_text"
    if not isinstance(item.get("encrypted_content"), str | None):
        yield f"{path}.encrypted_content: must be a string"


def _call_id(item: Mapping[str, object], path: str) -> Iterator[str]:
    yield from _text(item.get("call_id"), f"{path}.call_id", most=CALL_ID_CHARS_MAX)


def _text(value: object, path: str, *, most: int, name: bool = False) -> Iterator[str]:
    if not isinstance(value, str) or not value:
        yield f"{path}: must be a string of at least one character"
    elif len(value) > most:
        yield f"{path}: {len(value)} characters are more than {most}"
    elif name and _NAME.fullmatch(value) is None:
        yield f"{path}: {value!r} does not match {_NAME.pattern}"
