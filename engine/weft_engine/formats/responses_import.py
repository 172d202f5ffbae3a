"""Items of the OpenAI Responses API as messages of ours, without loss by construction.

What a model gave in one go (reasoning, texts, calls) is one message: a run of such items, as they
stand in a response's `output` or between two inputs. Each output of a tool is a message, and each
message of a user. Unless the parts give back the items in every value, key order and number text,
their JSON text is kept (`src`, an array). Must never know: contexts, events, where it is going.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from weft_engine.canonical import json_path
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message, Original, Role, Via
from weft_engine.events.part import Call, File, Opaque, Part, Reasoning, Refusal, Result, Text
from weft_engine.formats.foreign import (
    Members,
    array_of,
    object_of,
    optional_string,
    string_of,
    string_or,
)
from weft_engine.formats.reply_meta import reply_meta
from weft_engine.formats.responses_content import DATA_URL, DETAIL, FORMAT, PROVIDER
from weft_engine.formats.responses_export import ITEM_FORMAT, exact_content, export_message
from weft_engine.formats.verbatim_json import Verbatim, well_formed, write_verbatim

_ROLES: Final = {role.value: role for role in Role if role is not Role.TOOL}
_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")
_REPLY_META: Final = ("id", "status", "incomplete_details", "usage")

_Placed = tuple[Verbatim, str]
"""An item and its path."""


def import_items(items: Sequence[Verbatim], path: str) -> list[Message]:
    """The messages that the array of items at `path` holds. InvalidMessage with the path for what
    is no item. Items of unknown types are kept."""
    return [
        _message(role, run)
        for role, run in _runs([(item, json_path(path, i)) for i, item in enumerate(items)])
    ]


def import_reply(tree: Verbatim) -> Message:
    """The response object that the API answers with: its output as one message, what it says of the
    call (id, status, usage) as `meta`."""
    members = object_of(tree, "$")
    output = array_of(members, "output", "$")
    if not output:
        raise InvalidMessage("the response has no output yet", path="$.output")
    placed = [(item, json_path("$.output", i)) for i, item in enumerate(output)]
    message = _message(Role.ASSISTANT, placed)
    return Message(
        role=Role.ASSISTANT,
        parts=message.parts,
        via=Via(PROVIDER, string_or(members, "model", None)),
        meta=reply_meta(members, _REPLY_META),
        src=message.src,
    )


def _runs(placed: Sequence[_Placed]) -> Iterator[tuple[Role, list[_Placed]]]:
    run: list[_Placed] = []
    for item, path in placed:
        role = _role(object_of(item, path), path)
        if role is Role.ASSISTANT:
            run.append((item, path))
            continue
        if run:
            yield Role.ASSISTANT, run
            run = []
        yield role, [(item, path)]
    if run:
        yield Role.ASSISTANT, run


def _role(members: Members, path: str) -> Role:
    """Who says an item. What is no message is the model's doing, unless it is some output."""
    kind = optional_string(members, "type", path)
    if kind is None or kind == "message":
        name = string_of(members, "role", path)
        role = _ROLES.get(name)
        if role is None:
            raise InvalidMessage(f"unknown role {name!r}", path=f"{path}.role")
        return role
    return Role.TOOL if kind.endswith("_output") else Role.ASSISTANT


def _message(role: Role, placed: Sequence[_Placed]) -> Message:
    parts = tuple(part for item, path in placed for part in _parts(item, path))
    items: list[Verbatim] = [item for item, _ in placed]
    message = Message(role=role, parts=parts)
    original = write_verbatim(items)
    if write_verbatim(export_message(message)) == original:
        return message
    return Message(role=role, parts=parts, src=Original(FORMAT, original))


def _parts(item: Verbatim, path: str) -> tuple[Part, ...]:
    members = object_of(item, path)
    match optional_string(members, "type", path):
        case None | "message":
            return _content(members, "content", path, said=members.get("role") == "assistant")
        case "reasoning":
            return (_reasoning(members, path),)
        case "function_call" | "custom_tool_call" as kind:
            args = "arguments" if kind == "function_call" else "input"
            return (
                Call(
                    id=string_of(members, "call_id", path),
                    name=string_of(members, "name", path),
                    args=string_of(members, args, path),
                    item_id=optional_string(members, "id", path),
                ),
            )
        case kind if kind in _OUTPUTS:
            return (_result(members, path),)
        case _:
            return (Opaque(ITEM_FORMAT, write_verbatim(item)),)


def _reasoning(members: Members, path: str) -> Reasoning:
    texts = []
    for index, item in enumerate(array_of(members, "summary", path)):
        where = json_path(f"{path}.summary", index)
        texts.append(string_of(object_of(item, where), "text", where))
    return Reasoning(
        PROVIDER,
        text="\n\n".join(texts) if texts else None,
        data=optional_string(members, "encrypted_content", path),
        item_id=optional_string(members, "id", path),
    )


def _result(members: Members, path: str) -> Result:
    output = members.get("output")
    out: str | tuple[Part, ...]
    if isinstance(output, str):
        out = well_formed(output)
    else:
        out = _content(members, "output", path, said=False)
    return Result(id=string_of(members, "call_id", path), out=out)


def _content(members: Members, key: str, path: str, *, said: bool) -> tuple[Part, ...]:
    """`said`: by the model, which may refuse."""
    content = members.get(key)
    if isinstance(content, str):
        return (Text(well_formed(content)),)
    return tuple(
        _content_part(item, json_path(f"{path}.{key}", index), said)
        for index, item in enumerate(array_of(members, key, path))
    )


def _content_part(tree: Verbatim, path: str, said: bool) -> Part:
    members = object_of(tree, path)
    match string_of(members, "type", path):
        case "input_text" | "output_text" | "text":
            # Citations and log probabilities say nothing to a model: the original has them.
            return Text(string_of(members, "text", path))
        case "refusal" if said:
            return Refusal(string_of(members, "refusal", path))
        case "input_image" | "input_file":
            file = _file(members)
            # What would come out as something else stays as it is.
            if file is not None and exact_content(file) == members:
                return file
            return Opaque(FORMAT, write_verbatim(tree))
        case _:
            return Opaque(FORMAT, write_verbatim(tree))


def _file(members: Members) -> File | None:
    """The attachment that says what `members` say, None if `File` has no room for it."""
    image = string_or(members, "image_url", None)
    data = string_or(members, "file_data", None)
    url = string_or(members, "file_url", None)
    name = string_or(members, "filename", None)
    if members.get("type") == "input_image":
        if image is None or members.get("detail") != DETAIL:
            return None
        return File(_data_url_type(image) if image.startswith(DATA_URL) else "image/*", url=image)
    if data is not None and data.startswith(DATA_URL):
        return File(_data_url_type(data), url=data, name=name)
    return None if url is None else File("application/pdf", url=url, name=name)


def _data_url_type(url: str) -> str:
    head = url[len(DATA_URL) :].partition(",")[0]
    return head.partition(";")[0] or "text/plain"
