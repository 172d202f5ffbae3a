"""OpenAI chat messages as messages of ours, without loss by construction.

The parts take what has a meaning here. Then they are exported again, and unless that gives back
the message in every value, key order and number text, the original's JSON text is kept beside
them (`src`). Nothing is normalised, trimmed or repaired, but for lone surrogates, which become
U+FFFD in parts. Must never know: contexts, events, where the message is going.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

from weft_engine.canonical import json_path, lone_surrogate
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import ImportedFrom, Message, Original, Role
from weft_engine.events.part import Call, File, Opaque, Part, Refusal, Result, Text
from weft_engine.formats.foreign import Members, object_of, optional_string, string_of
from weft_engine.formats.openai_export import (
    AUDIO_FORMATS,
    DATA_URL,
    FORMAT,
    export_message,
    file_content,
)
from weft_engine.formats.verbatim_json import (
    Verbatim,
    parse_verbatim,
    verbatim,
    well_formed,
    write_verbatim,
)

_FUNCTION: Final = "function"
"""The role that answered calls before tools had ids."""
_FUNCTION_ID_LENGTH_MAX: Final = 40
_ROLES: Final = {role.value: role for role in Role}
_PLAIN_ROLES: Final[Mapping[tuple[str, ...], Mapping[str, Role]]] = {
    ("role", "content"): {role.value: role for role in (Role.USER, Role.SYSTEM, Role.DEVELOPER)},
    ("content", "role"): {Role.ASSISTANT.value: Role.ASSISTANT},
}
_OPAQUE_CALL: Final = f"{FORMAT}.tool_call"


@runtime_checkable
class SupportsModelDump(Protocol):
    """A message object of the SDK, or any pydantic model of that shape."""

    def model_dump(self, *, exclude_unset: bool = ...) -> dict[str, object]: ...


def import_message(source: str | Mapping[str, object] | SupportsModelDump) -> Message:
    """A message from the JSON text of one (as in a file), from a mapping or an SDK's object.

    InvalidMessage with the path for what is no message: no or an unknown role, a field of the
    wrong type, a call or tool message without id. Unknown fields, part types and call types are
    kept.
    """
    if isinstance(source, str):
        return import_tree(parse_verbatim(source))
    if isinstance(source, Mapping):
        return _plain(source) or import_tree(verbatim(source))
    if isinstance(source, SupportsModelDump):
        return import_tree(verbatim(source.model_dump(exclude_unset=True)))
    raise InvalidMessage(
        f"{type(source).__name__} is no message",
        hint="give a mapping, JSON text or an object with model_dump()",
    )


def _plain(source: Mapping[str, object]) -> Message | None:
    """What `import_tree` gives for most messages, which are a role and a text in the usual order
    and nothing else; None for all others."""
    roles = _PLAIN_ROLES.get(tuple(source))
    text = source.get("content")
    name = source.get("role")
    if roles is None or type(name) is not str or type(text) is not str:
        return None
    role = roles.get(name)
    if role is None or lone_surrogate(text):
        return None
    return Message(role, (Text(text),))


def import_tree(tree: Verbatim, path: str = "$", ext: ImportedFrom | None = None) -> Message:
    """As `import_message`, from a parsed tree that stands at `path` of some file."""
    members = object_of(tree, path)
    role_name = string_of(members, "role", path)
    role = Role.TOOL if role_name == _FUNCTION else _ROLES.get(role_name)
    if role is None:
        raise InvalidMessage(f"unknown role {role_name!r}", path=f"{path}.role")
    name = None if role is Role.TOOL else optional_string(members, "name", path)
    if role_name == _FUNCTION:
        parts: tuple[Part, ...] = (_function_result(members, path),)
    else:
        parts = _parts(members, role, path)
    message = Message(role=role, parts=parts, name=name, ext=ext)
    original = write_verbatim(tree)
    if export_message(message) == (original,):
        return message
    return Message(role=role, parts=parts, name=name, ext=ext, src=Original(FORMAT, original))


def _parts(members: Members, role: Role, path: str) -> tuple[Part, ...]:
    match role:
        case Role.TOOL:
            return (_result(members, path),)
        case Role.ASSISTANT:
            return (*_said(members, path), *_calls(members, path))
        case Role.SYSTEM | Role.DEVELOPER | Role.USER:
            return _content(members, path)


def _result(members: Members, path: str) -> Result:
    content = members.get("content")
    said = well_formed(content) if isinstance(content, str) else _content(members, path)
    return Result(
        id=string_of(members, "tool_call_id", path),
        out=said or "",
        name=optional_string(members, "name", path),
    )


# ---- content --------------------------------------------------------------------------------


def _content(members: Members, path: str) -> tuple[Part, ...]:
    content = members.get("content")
    path = f"{path}.content"
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(well_formed(content)),)
    if isinstance(content, list):
        return tuple(
            _content_part(item, json_path(path, index)) for index, item in enumerate(content)
        )
    raise InvalidMessage("must be a string, an array or null", path=path)


def _content_part(tree: Verbatim, path: str) -> Part:
    members = object_of(tree, path)
    kind = string_of(members, "type", path)
    part: Part | None = None
    match kind:
        case "text":
            part = Text(string_of(members, "text", path))
            plain = members.keys() == {"type", "text"}
        case "refusal":
            part = Refusal(string_of(members, "refusal", path))
            plain = members.keys() == {"type", "refusal"}
        case "image_url" | "input_audio" | "file":
            part = _file(object_of(members.get(kind), f"{path}.{kind}"), kind, f"{path}.{kind}")
            # Equal in value is enough here: the order of keys is minded for the whole message.
            plain = part is not None and verbatim(file_content(part)) == members
        case _:
            plain = False
    if part is None or not plain:
        return Opaque(FORMAT, write_verbatim(tree))
    return part


def _file(members: Members, kind: str, path: str) -> File | None:
    """The attachment that says what `members` say, None if `File` has no room for it."""
    match kind:
        case "image_url":
            url = string_of(members, "url", path)
            inline = url.startswith(DATA_URL)
            return File(media_type=_data_url_type(url) if inline else "image/*", url=url)
        case "input_audio":
            data, sound = string_of(members, "data", path), string_of(members, "format", path)
            if sound not in AUDIO_FORMATS:
                return None
            return File(media_type=f"audio/{sound}", url=f"{DATA_URL}audio/{sound};base64,{data}")
        case _:
            data_url = optional_string(members, "file_data", path)
            if data_url is None or not data_url.startswith(DATA_URL):
                return None
            name = optional_string(members, "filename", path)
            return File(media_type=_data_url_type(data_url), url=data_url, name=name)


def _data_url_type(url: str) -> str:
    """``image/png`` of ``data:image/png;base64,...``. Empty means text in data URLs."""
    head = url[len(DATA_URL) :].partition(",")[0]
    return head.partition(";")[0] or "text/plain"


# ---- the assistant --------------------------------------------------------------------------


def _said(members: Members, path: str) -> tuple[Part, ...]:
    said = _content(members, path)
    refusal = optional_string(members, "refusal", path)
    if refusal is not None:
        said = (*said, Refusal(refusal))
    audio = members.get("audio")
    if not said and audio is not None:
        # What was spoken can be sent to any model at any time; the recording's id expires.
        spoken = optional_string(object_of(audio, f"{path}.audio"), "transcript", f"{path}.audio")
        said = () if spoken is None else (Text(spoken),)
    return said


def _calls(members: Members, path: str) -> tuple[Part, ...]:
    calls: list[Part] = []
    listed = members.get("tool_calls")
    if listed is not None:
        if not isinstance(listed, list):
            raise InvalidMessage("must be an array or null", path=f"{path}.tool_calls")
        for index, item in enumerate(listed):
            calls.append(_call(item, f"{path}.tool_calls[{index}]"))
    function_call = members.get("function_call")
    if function_call is not None:
        where = f"{path}.function_call"
        function = object_of(function_call, where)
        name = string_of(function, "name", where)
        calls.append(Call(_function_id(name), name, string_of(function, "arguments", where)))
    return tuple(calls)


def _call(tree: Verbatim, path: str) -> Part:
    members = object_of(tree, path)
    kind = optional_string(members, "type", path) or "function"
    body, args = ("custom", "input") if kind == "custom" else ("function", "arguments")
    if kind not in ("custom", "function"):
        return Opaque(_OPAQUE_CALL, write_verbatim(tree))
    where = f"{path}.{body}"
    function = object_of(members.get(body), where)
    return Call(
        id=string_of(members, "id", path),
        name=string_of(function, "name", where),
        args=string_of(function, args, where),
    )


def _function_result(members: Members, path: str) -> Result:
    name = string_of(members, "name", path)
    out = optional_string(members, "content", path)
    return Result(id=_function_id(name), out=out or "", name=name)


def _function_id(name: str) -> str:
    """Calls of the old form have no id. The name is all that ties one to its answer, and the
    position tells the answers to one name apart, as with any id that is used again."""
    return f"call_{name}"[:_FUNCTION_ID_LENGTH_MAX]
