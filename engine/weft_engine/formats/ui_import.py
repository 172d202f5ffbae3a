"""UIMessages of the Vercel AI SDK as messages of ours, without loss by construction.

A system's or user's is one message. An assistant's becomes one for each step, and behind each that
called tools one with what they returned. Unless the parts give back a step in every value, key
order and number text, the originals are kept (`src`): with the step's message its parts, but
without outputs, with the results' message those outputs; so what erases a result erases all of it.
All else of a UIMessage (its id, metadata) stands with its first message.

Must never know: contexts, events, where the messages are going.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from weft_engine.canonical import json_path
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message, Original, Role
from weft_engine.events.part import Call, Data, File, Opaque, Part, Reasoning, Result, Source, Text
from weft_engine.formats.foreign import Members, array_of, object_of, string_of, string_or
from weft_engine.formats.ui_messages import OUTPUTS, PARTS, WHOLE, is_answered
from weft_engine.formats.ui_parts import (
    DATA,
    DYNAMIC_TOOL,
    FORMAT,
    PROVIDER,
    STEP_START,
    TOOL,
    answer,
    args_of,
    call_part,
    said_part,
    step_start,
)
from weft_engine.formats.verbatim_json import (
    Pairs,
    Verbatim,
    well_formed,
    write_verbatim,
)

_ROLES: Final = {"system": Role.SYSTEM, "user": Role.USER, "assistant": Role.ASSISTANT}
_OUTPUT_KEYS: Final = ("output", "errorText")


def import_tree(tree: Verbatim, path: str = "$") -> list[Message]:
    """The messages of a UIMessage that stands at `path`. InvalidMessage with the path for what is
    none. Unknown fields and types of parts are kept."""
    members = object_of(tree, path)
    role_name = string_of(members, "role", path)
    role = _ROLES.get(role_name)
    if role is None:
        raise InvalidMessage(f"unknown role {role_name!r}", path=f"{path}.role")
    raw = array_of(members, "parts", path)
    for index, part in enumerate(raw):
        where = json_path(f"{path}.{PARTS}", index)
        string_of(object_of(part, where), "type", where)
    if isinstance(tree, Pairs) or role is not Role.ASSISTANT:
        return [_one(tree, members, role, raw, path)]
    shell: dict[str, Verbatim] = {**members, PARTS: None}
    messages: list[Message] = []
    at = 0
    for step in _steps(raw):
        messages += _step(step, f"{path}.{PARTS}", at, None if messages else shell)
        at += len(step)
    return messages


def _one(
    tree: Verbatim, members: Members, role: Role, raw: Sequence[Verbatim], path: str
) -> Message:
    parts = tuple(_part(part, json_path(f"{path}.{PARTS}", i)) for i, part in enumerate(raw))
    original: dict[str, Verbatim] = {WHOLE: tree}
    if isinstance(tree, dict):
        built = [said_part(part) for part in parts]
        original = {**members, PARTS: None if _same(built, raw) else list(raw)}
    return Message(role=role, parts=parts, src=Original(FORMAT, write_verbatim(original)))


def _steps(raw: Sequence[Verbatim]) -> list[list[Verbatim]]:
    """At least one, each but the first beginning with its mark."""
    steps: list[list[Verbatim]] = [[]]
    for part in raw:
        if isinstance(part, dict) and part.get("type") == STEP_START and steps[-1]:
            steps.append([])
        steps[-1].append(part)
    return steps


def _step(
    raw: Sequence[Verbatim], path: str, at: int, shell: dict[str, Verbatim] | None
) -> list[Message]:
    parts: list[Part] = []
    results: list[Part] = []
    opened: list[Verbatim] = []
    outputs: list[Verbatim] = []
    for index, part in enumerate(raw):
        where = json_path(path, at + index)
        if not isinstance(part, dict) or not _is_tool(part):
            if not (isinstance(part, dict) and part.get("type") == STEP_START and index == 0):
                parts.append(_part(part, where))
            opened.append(part)
            continue
        call = _call(part, where)
        parts.append(call)
        if is_answered(part):
            results.append(_result(part, call))
            outputs.append({key: part[key] for key in _OUTPUT_KEYS if key in part})
            part = {key: None if key in _OUTPUT_KEYS else part[key] for key in part}
        opened.append(part)
    is_same = bool(parts) and _same(_built(parts, results), raw)
    messages: list[Message] = []
    kept: dict[str, Verbatim] | None = None if shell is None else dict(shell)
    if not is_same:
        kept = {**(kept or {}), PARTS: opened}
    src = None if kept is None else Original(FORMAT, write_verbatim(kept))
    messages.append(Message(role=Role.ASSISTANT, parts=tuple(parts), src=src))
    if results:
        returned: dict[str, Verbatim] = {OUTPUTS: outputs}
        src = None if is_same else Original(FORMAT, write_verbatim(returned))
        messages.append(Message(role=Role.TOOL, parts=tuple(results), src=src))
    return messages


def _built(parts: Sequence[Part], results: Sequence[Part]) -> list[Verbatim]:
    """The step as its parts alone give it."""
    built: list[Verbatim] = [step_start()]
    waiting: list[dict[str, Verbatim]] = []
    for part in parts:
        if isinstance(part, Call):
            waiting.append(call_part(part))
            built.append(waiting[-1])
        elif (said := said_part(part)) is not None:
            built.append(said)
    for result in results:
        assert isinstance(result, Result)
        for index, call in enumerate(waiting):
            if call["toolCallId"] == result.id:
                answer(call, result)
                del waiting[index]
                break
    return built


def _same(built: Sequence[Verbatim], raw: Sequence[Verbatim]) -> bool:
    return write_verbatim(list(built)) == write_verbatim(list(raw))


# ---- parts ----------------------------------------------------------------------------------


def _is_tool(part: Members) -> bool:
    kind = part.get("type")
    is_named = kind == DYNAMIC_TOOL or (isinstance(kind, str) and kind.startswith(TOOL))
    return is_named and isinstance(part.get("toolCallId"), str)


def _call(part: Members, path: str) -> Call:
    kind = string_of(part, "type", path)
    dynamic = kind == DYNAMIC_TOOL
    name = string_of(part, "toolName", path) if dynamic else kind.removeprefix(TOOL)
    given = part.get("input", part.get("rawInput"))
    args = "" if given is None else well_formed(args_of(given))
    return Call(id=string_of(part, "toolCallId", path), name=name, args=args)


def _result(part: Members, call: Call) -> Result:
    failed = part.get("state") == "output-error"
    out = part.get("errorText" if failed else "output")
    if isinstance(out, str):
        text = well_formed(out)
    else:
        text = "" if out is None else well_formed(write_verbatim(out))
    return Result(id=call.id, out=text, error=failed)


def _part(tree: Verbatim, path: str) -> Part:
    """A part that is no tool call of an assistant's."""
    members = object_of(tree, path)
    kind = string_of(members, "type", path)
    match kind:
        case "text":
            return Text(string_of(members, "text", path))
        case "reasoning":
            return _reasoning(members, path)
        case "file":
            return File(
                media_type=string_of(members, "mediaType", path),
                url=string_of(members, "url", path),
                name=string_or(members, "filename", None),
            )
        case "source-url" | "source-document":
            return Source(write_verbatim(tree))
        case _ if kind.startswith(DATA) and "data" in members:
            return Data(kind.removeprefix(DATA), well_formed(write_verbatim(members["data"])))
        case _:
            return Opaque(FORMAT, write_verbatim(tree))


def _reasoning(members: Members, path: str) -> Reasoning:
    text = string_of(members, "text", path)
    told = members.get("providerMetadata")
    if isinstance(told, dict):
        for provider in ("anthropic", "openai"):
            own = told.get(provider)
            if not isinstance(own, dict):
                continue
            if provider == "anthropic":
                data = string_or(own, "redactedData", None)
                said = None if data is not None and not text else text
                sig = string_or(own, "signature", None)
                return Reasoning(provider, text=said, sig=sig, data=data)
            return Reasoning(
                provider,
                text=text or None,
                data=string_or(own, "reasoningEncryptedContent", None),
                item_id=string_or(own, "itemId", None),
            )
    return Reasoning(PROVIDER, text=text)
