"""Messages of the Anthropic Messages API as messages of ours, without loss by construction.

The parts take what has a meaning here. Then they are exported again, and unless that gives back
the message in every value, key order and number text, the original's JSON text is kept beside
them (`src`). Must never know: contexts, events, where the message is going.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Final

from weft_engine.canonical import json_path
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import ImportedFrom, Message, Original, Role, Via
from weft_engine.events.part import Call, File, Opaque, Part, Reasoning, Result, Text
from weft_engine.formats.anthropic_blocks import DATA_URL, FORMAT, PDF, PLAIN, PROVIDER
from weft_engine.formats.anthropic_export import (
    INLINE_TEXT,
    SYSTEM_FORMAT,
    exact_block,
    export_message,
    export_system,
)
from weft_engine.formats.attachments import ANY_IMAGE
from weft_engine.formats.foreign import (
    Members,
    array_of,
    object_of,
    optional_string,
    string_of,
    string_or,
)
from weft_engine.formats.reply_meta import reply_meta
from weft_engine.formats.verbatim_json import Pairs, Verbatim, well_formed, write_verbatim

_ROLES: Final = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_REPLY_META: Final = ("id", "stop_reason", "stop_sequence", "usage")


def import_tree(tree: Verbatim, path: str = "$", ext: ImportedFrom | None = None) -> Message:
    """A message from a parsed tree that stands at `path`. InvalidMessage with the path for what is
    no message. Unknown fields and block types are kept. A user's message that holds nothing but
    results is a tool message."""
    members = object_of(tree, path)
    role_name = string_of(members, "role", path)
    role = _ROLES.get(role_name)
    if role is None:
        raise InvalidMessage(f"unknown role {role_name!r}", path=f"{path}.role")
    parts = _content(members, path)
    if role is Role.USER and parts and all(isinstance(part, Result) for part in parts):
        role = Role.TOOL
    message = Message(role=role, parts=parts, ext=ext)
    if role is not Role.SYSTEM and _same(export_message(message), [tree]):
        return message
    # A system message among the others always keeps its original: that tells it from the prompt.
    return Message(role=role, parts=parts, ext=ext, src=Original(FORMAT, write_verbatim(tree)))


def import_system(tree: Verbatim, path: str, ext: ImportedFrom | None = None) -> Message:
    """The system prompt, which stands beside the messages: a text or an array of blocks."""
    parts = _parts(tree, path)
    message = Message(role=Role.SYSTEM, parts=parts, ext=ext)
    if isinstance(tree, str) and _same([export_system(message)], [tree]):
        return message
    original = Original(SYSTEM_FORMAT, write_verbatim(tree))
    return Message(role=Role.SYSTEM, parts=parts, ext=ext, src=original)


def import_reply(tree: Verbatim) -> Message:
    """The message object that the API answers with: its role and content as a message, what
    it says of the call (id, why it stopped, usage) as `meta`."""
    members = object_of(tree, "$")
    said: dict[str, Verbatim] = {}
    for key in ("role", "content"):
        if key not in members:
            raise InvalidMessage("missing", path=f"$.{key}")
        said[key] = members[key]
    message = import_tree(said)
    # The order of keys in an object of an SDK, and its fields without value, say nothing; nor does
    # one text as an array.
    built = [
        _plain_reply(object_of(one, "$")) for one in export_message(replace(message, src=None))
    ]
    is_same = built == [_plain_reply(said)]
    return Message(
        role=message.role,
        parts=message.parts,
        via=Via(PROVIDER, string_or(members, "model", None)),
        meta=reply_meta(members, _REPLY_META),
        src=None if is_same else message.src,
    )


def _plain_reply(said: Members) -> Verbatim:
    content = said.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        return dict(said)
    blocks: list[Verbatim] = [
        {key: value for key, value in block.items() if value is not None}
        if isinstance(block, dict)
        else block
        for block in content
    ]
    return {**said, "content": blocks}


def _same(built: list[Verbatim], original: list[Verbatim]) -> bool:
    return write_verbatim(built) == write_verbatim(original)


def _content(members: Members, path: str) -> tuple[Part, ...]:
    if "content" not in members:
        raise InvalidMessage("missing", path=f"{path}.content")
    return _parts(members["content"], f"{path}.content")


def _parts(tree: Verbatim, path: str) -> tuple[Part, ...]:
    """What the content at `path` holds."""
    if isinstance(tree, str):
        return (Text(well_formed(tree)),)
    if isinstance(tree, list):
        return tuple(_part(item, json_path(path, index)) for index, item in enumerate(tree))
    raise InvalidMessage("must be a string or an array", path=path)


def _part(tree: Verbatim, path: str) -> Part:
    members = object_of(tree, path)
    match string_of(members, "type", path):
        case "text":
            # Marks for the cache, and citations, say nothing to a model: the original has them.
            return Text(string_of(members, "text", path))
        case "thinking":
            said = string_of(members, "thinking", path)
            return Reasoning(PROVIDER, text=said, sig=optional_string(members, "signature", path))
        case "redacted_thinking":
            return Reasoning(PROVIDER, data=string_of(members, "data", path))
        case "tool_use":
            return _call(members, path)
        case "tool_result":
            return _result(members, path)
        case "image" | "document":
            file = _file(members)
            return Opaque(FORMAT, write_verbatim(tree)) if file is None else file
        case _:
            return Opaque(FORMAT, write_verbatim(tree))


def _call(members: Members, path: str) -> Call:
    args = members.get("input")
    if not isinstance(args, (dict, Pairs)):
        problem = "must be an object" if "input" in members else "missing"
        raise InvalidMessage(problem, path=f"{path}.input")
    return Call(
        id=string_of(members, "id", path),
        name=string_of(members, "name", path),
        args=well_formed(write_verbatim(args)),
    )


def _result(members: Members, path: str) -> Result:
    content = members.get("content")
    out: str | tuple[Part, ...] = ""
    if content is not None:
        said = _content(members, path)
        single = isinstance(content, str) and isinstance(said[0], Text)
        out = said[0].text if single and isinstance(said[0], Text) else said
        if not single:
            # Calls and results stand in messages only.
            array = array_of(members, "content", path)
            out = tuple(
                Opaque(FORMAT, write_verbatim(item))
                if isinstance(part, (Call, Result, Reasoning))
                else part
                for part, item in zip(said, array, strict=True)
            )
    error = members.get("is_error") is True
    return Result(id=string_of(members, "tool_use_id", path), out=out, error=error)


def _file(members: Members) -> File | None:
    """The attachment that says what `members` say, None if `File` has no room for it."""
    source = members.get("source")
    if not isinstance(source, dict):
        return None
    kind, data, url = source.get("type"), source.get("data"), source.get("url")
    media_type = string_or(source, "media_type", "") or ""
    is_image = members.get("type") == "image"
    name = string_or(members, "title", None)
    file: File | None = None
    if kind == "base64" and isinstance(data, str) and media_type:
        inline = f"{DATA_URL}{media_type};base64,{well_formed(data)}"
        file = File(media_type, url=inline, name=name)
    elif kind == "url" and isinstance(url, str):
        file = File(ANY_IMAGE if is_image else PDF, url=well_formed(url), name=name)
    elif kind == "text" and isinstance(data, str) and not is_image:
        content = base64.b64encode(well_formed(data).encode()).decode()
        file = File(PLAIN, url=f"{INLINE_TEXT}{content}", name=name)
    # What would come out as another kind of block, or as none, stays as it is.
    said = None if file is None else exact_block(file)
    return file if isinstance(said, dict) and said.get("type") == members.get("type") else None
