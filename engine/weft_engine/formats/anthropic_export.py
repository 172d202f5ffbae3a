"""Messages as a file of the Anthropic Messages format holds them.

What was imported from this format and kept its original gives that; anything else is built from its
parts, exactly, whether the API would take it or not. Must never know: contexts, budgets, views.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Final

from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message, Role
from weft_engine.events.part import (
    Call,
    File,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Result,
    Text,
)
from weft_engine.formats.anthropic_blocks import DATA_URL, FORMAT, PLAIN, PROVIDER, file_block
from weft_engine.formats.kept import kept_object, kept_original, kept_tree
from weft_engine.formats.verbatim_json import Pairs, Verbatim, verbatim

SYSTEM_FORMAT: Final = f"{FORMAT}.system"
"""The format of an original that is a whole system prompt."""
STANDING: Final = (Role.SYSTEM, Role.DEVELOPER)
INLINE_TEXT: Final = f"{DATA_URL}{PLAIN};base64,"

_ROLES: Final = {
    Role.SYSTEM: "system",
    Role.DEVELOPER: "system",
    Role.USER: "user",
    Role.ASSISTANT: "assistant",
    Role.TOOL: "user",
}

Members = dict[str, Verbatim]


def export_conversation(messages: Sequence[Message]) -> tuple[Verbatim, list[Verbatim]]:
    """The system prompt (None if there is none) and the messages. Results that stand in messages of
    their own, one behind the other, share one: the API wants all results of a turn together."""
    leading = list(takewhile(_is_prompt, messages))
    said: list[Verbatim] = []
    open_results: list[Verbatim] | None = None
    for message in messages[len(leading) :]:
        if message.role is Role.TOOL and not _is_from_file(message):
            blocks = _blocks(message.parts)
            if open_results is None and blocks:
                open_results = []
                said.append({"role": "user", "content": open_results})
            if open_results is not None:
                open_results += blocks
            continue
        open_results = None
        said += export_message(message)
    return _system(leading), said


def export_message(message: Message) -> list[Verbatim]:
    """What stands for `message` in the array of messages."""
    original = kept_original(message, FORMAT)
    if original is not None:
        return [original]
    if message.role is not Role.ASSISTANT:
        return _said(message.role, message.parts)
    results = [part for part in message.parts if isinstance(part, Result)]
    own = [part for part in message.parts if not isinstance(part, Result)]
    return [*_said(Role.ASSISTANT, own), *_said(Role.TOOL, results)]


def export_system(message: Message) -> Verbatim:
    """`message` as a system prompt alone."""
    original = kept_original(message, SYSTEM_FORMAT)
    return _content(message.parts) if original is None else original


def _is_prompt(message: Message) -> bool:
    """Whether it may stand in the system prompt: not if it was imported from among the messages."""
    own = message.src is not None and message.src.format == FORMAT
    return message.role in STANDING and not own


def _is_from_file(message: Message) -> bool:
    """Whether it stood in a file of this format as one message."""
    own = message.src is not None and message.src.format == FORMAT
    return own or (message.ext is not None and message.ext.source.startswith(f"{FORMAT}:"))


def _system(leading: Sequence[Message]) -> Verbatim:
    if len(leading) == 1:
        return export_system(leading[0])
    blocks: list[Verbatim] = []
    for message in leading:
        said = export_system(message)
        if isinstance(said, str):
            blocks.append({"type": "text", "text": said})
        elif isinstance(said, list):
            blocks += said
    return blocks or None


def _said(role: Role, parts: Sequence[Part]) -> list[Verbatim]:
    content = _content(parts)
    return [{"role": _ROLES[role], "content": content}] if content else []


def _content(parts: Sequence[Part]) -> Verbatim:
    """One text is a string, anything else an array; an empty one says nothing."""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return _blocks(parts)


def _blocks(parts: Iterable[Part]) -> list[Verbatim]:
    return [block for part in parts if (block := exact_block(part)) is not None]


def exact_block(part: Part) -> Verbatim:
    """The block that says exactly what `part` does, None if there is none."""
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text}
        case Call():
            args = _arguments(part.args)
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": args}
        case Result():
            return _result(part)
        case Reasoning(provider=provider) if provider == PROVIDER:
            return _thinking(part)
        case File():
            return _file(part)
        case Opaque(format="anthropic", json=text):
            return kept_object(text)
        case _:
            return None


def _thinking(part: Reasoning) -> Verbatim:
    if part.data is not None:
        return {"type": "redacted_thinking", "data": part.data}
    said: Members = {"type": "thinking", "thinking": part.text or ""}
    if part.sig is not None:
        said["signature"] = part.sig
    return said


def _result(result: Result) -> Verbatim:
    said: Members = {"type": "tool_result", "tool_use_id": result.id}
    said["content"] = result.out if isinstance(result.out, str) else _blocks(result.out)
    if result.error:
        said["is_error"] = True
    return said


def _file(file: File) -> Verbatim:
    """As it is sent; text that can't be (it is blank, say) by its bytes all the same."""
    block = file_block(file)
    if block is None and file.url is not None and file.url.startswith(INLINE_TEXT):
        try:
            text = base64.b64decode(file.url[len(INLINE_TEXT) :], validate=True).decode()
        except ValueError:
            return None
        source: Members = {"type": "text", "media_type": PLAIN, "data": text}
        said: Members = {"type": "document", "source": source}
        return said if file.name is None else {**said, "title": file.name}
    return None if block is None else verbatim(block)


def _arguments(args: str) -> Verbatim:
    try:
        tree = kept_tree(args)
    except InvalidMessage:
        return {"arguments": args} if args else {}
    return tree if isinstance(tree, (dict, Pairs)) else {"arguments": args}
