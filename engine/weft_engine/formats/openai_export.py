"""Messages as OpenAI chat messages: what a model is sent, and what a file gets back.

`render` builds from parts alone and gives only what the API takes, names and ids made to fit;
`export_message` gives back what was imported. Keys stand in the order of real dumps, so that few
messages need their original kept. Must never know: contexts, budgets, where a message came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, File, Opaque, Part, Refusal, Result, Text
from weft_engine.formats.attachments import is_unseen_image, remark_of, remarks_of
from weft_engine.formats.fitting import (
    CHAT_ID_CHARS_MAX,
    OPENAI_NAME_CHARS_MAX,
    fit_id,
    fit_participant,
    fit_tool_name,
)
from weft_engine.formats.sendable import sendable_object
from weft_engine.formats.verbatim_json import verbatim, write_verbatim

FORMAT: Final = "openai_chat"
DATA_URL: Final = "data:"
AUDIO_FORMATS: Final = ("wav", "mp3")

# The content part types that the API takes from each role. An unlisted type is some other
# endpoint's extension, which goes back to where the application had it.
_TAKEN: Final = {
    Role.SYSTEM: frozenset({"text"}),
    Role.DEVELOPER: frozenset({"text"}),
    Role.USER: frozenset({"text", "image_url", "input_audio", "file"}),
    Role.ASSISTANT: frozenset({"text", "refusal"}),
    Role.TOOL: frozenset({"text"}),
}
_KNOWN: Final = frozenset().union(*_TAKEN.values())

Json = dict[str, object]


def render(message: Message, *, exact: bool = False) -> tuple[Json, ...]:
    """The chat messages that say `message` to a model, from its parts alone (`src` is not used).

    Mostly one. Each result is a tool message of its own: before the other parts of its message,
    after them if the message is the assistant's. What the API has no place for is left out
    (reasoning, sources, data, opaque parts of other formats, files it takes no address of, calls
    of anybody but the assistant); if nothing remains, the tuple is empty. Names and ids that the
    API refuses are made to fit, and a remark stands for attachments that would leave nothing of a
    user's message and for images that models do not look at, unless `exact`.
    """
    role = message.role
    parts = message.parts
    if (
        len(parts) == 1
        and type(parts[0]) is Text
        and role is not Role.TOOL
        and message.name is None
    ):
        text = parts[0].text
        if role is Role.ASSISTANT:
            return ({"content": text, "role": "assistant"},)
        return ({"role": role.value, "content": text},)
    results = tuple(_tool_message(part, exact) for part in parts if isinstance(part, Result))
    if role is Role.ASSISTANT:
        return (*_assistant_message(message, exact), *results)
    if role is Role.TOOL:
        return results
    content = _content(parts, role, exact)
    if content is None:
        return results
    said: Json = {"role": role.value, "content": content}
    _name(said, message, exact)
    return (*results, said)


def export_message(message: Message) -> tuple[str, ...]:
    """The JSON texts `message` stands for in a file of this format: exactly the original, where
    one is kept, else what `render` gives, names and ids as they are."""
    if message.src is not None and message.src.format == FORMAT:
        return (message.src.json,)
    return tuple(write_verbatim(verbatim(sent)) for sent in render(message, exact=True))


def export_text(message: Message) -> str:
    """The JSON text of a message that was imported from this format. InvalidMessage for a message
    of other origin that makes none or several (use `export_message`)."""
    texts = export_message(message)
    if len(texts) != 1:
        raise InvalidMessage(f"the parts make {len(texts)} chat messages, not one", path="$.parts")
    return texts[0]


def file_content(file: File) -> Json | None:
    """The content part for an attachment, or None where the API takes none: it wants images by
    any address, sound and documents only with their bytes in a data URL."""
    if file.url is None:
        return None
    if file.media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": file.url}}
    if not file.url.startswith(DATA_URL):
        return None
    head, comma, data = file.url.partition(";base64,")
    sound = file.media_type.removeprefix("audio/")
    if comma and sound in AUDIO_FORMATS and head == f"{DATA_URL}audio/{sound}":
        return {"type": "input_audio", "input_audio": {"data": data, "format": sound}}
    named: Json = {} if file.name is None else {"filename": file.name}
    return {"type": "file", "file": {**named, "file_data": file.url}}


def _name(said: Json, message: Message, exact: bool) -> None:
    name = message.name
    if name is not None and not exact:
        name = fit_participant(name)
    if name is not None:
        said["name"] = name


def _assistant_message(message: Message, exact: bool) -> tuple[Json, ...]:
    content = _content(message.parts, Role.ASSISTANT, exact)
    refusals = [part.text for part in message.parts if isinstance(part, Refusal)]
    calls = [_tool_call(part, exact) for part in message.parts if isinstance(part, Call)]
    if content is None and not refusals and not calls:
        return ()
    said: Json = {"content": content}
    if refusals:
        said["refusal"] = "\n".join(refusals)
    said["role"] = "assistant"
    _name(said, message, exact)
    if calls:
        said["tool_calls"] = calls
    return (said,)


def _tool_call(call: Call, exact: bool) -> Json:
    name = call.name if exact else fit_tool_name(call.name, OPENAI_NAME_CHARS_MAX)
    id_ = call.id if exact else fit_id(call.id, CHAT_ID_CHARS_MAX)
    function = {"arguments": call.args, "name": name}
    return {"function": function, "id": id_, "type": "function"}


def _tool_message(result: Result, exact: bool) -> Json:
    id_ = result.id if exact else fit_id(result.id, CHAT_ID_CHARS_MAX)
    said: Json = {"role": "tool", "tool_call_id": id_}
    name = result.name
    if name is not None:
        said["name"] = name if exact else fit_tool_name(name, OPENAI_NAME_CHARS_MAX)
    if isinstance(result.out, str):
        said["content"] = result.out
    else:
        # A call needs its answer, even if nothing of it can be said here.
        said["content"] = _content_parts(result.out, Role.TOOL, exact) or ""
    return said


def _content(parts: Iterable[Part], role: Role, exact: bool) -> str | list[Json] | None:
    """One text is a string, anything else an array, nothing is None."""
    said = _content_parts(parts, role, exact)
    if not said and role is Role.USER and not exact and (remarks := remarks_of(parts)):
        return remarks
    if len(said) == 1 and said[0].keys() == {"type", "text"}:
        text = said[0]["text"]
        if isinstance(text, str):
            return text
    return said or None


def _content_parts(parts: Iterable[Part], role: Role, exact: bool) -> list[Json]:
    said: list[Json] = []
    for part in parts:
        match part:
            case Text(text):
                said.append({"type": "text", "text": text})
            case Opaque(format="openai_chat", json=text):
                own = _own_part(text, role)
                if own is not None:
                    said.append(own)
            case File() if role is Role.USER and not exact and is_unseen_image(part):
                said.append({"type": "text", "text": remark_of(part)})
            case File() if role is Role.USER:
                attached = file_content(part)
                if attached is not None:
                    said.append(attached)
            case _:
                pass
    return said


def _own_part(text: str, role: Role) -> Json | None:
    """A content part that came from this format, if it can be sent from this role. A view needs
    one spelling of it, so what is no strict JSON stays out."""
    value = sendable_object(text)
    if value is None:
        return None
    kind = value.get("type")
    if not isinstance(kind, str) or (kind in _KNOWN and kind not in _TAKEN[role]):
        return None
    return value
