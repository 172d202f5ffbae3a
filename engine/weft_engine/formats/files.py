"""Files of conversations, one format at a time: from an object to messages, and back to a line.

An object is a conversation: ``{"id", "messages"}``; of Anthropic also with ``"system"``; of
Responses ``{"id", "items"}`` or ``{"id", "input"}``. All else in it is kept as the conversation's
rest: the object with its messages taken out. Must never know: contexts, stores, where a line is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Protocol

from weft_engine.canonical import json_path
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import ImportedFrom, Message
from weft_engine.formats import (
    anthropic_export,
    anthropic_import,
    openai_export,
    openai_import,
    responses_export,
    responses_import,
    ui_import,
    ui_messages,
)
from weft_engine.formats.conversation_file import id_text
from weft_engine.formats.foreign import array_of
from weft_engine.formats.kept import kept_original
from weft_engine.formats.verbatim_json import (
    Number,
    Verbatim,
    parse_verbatim,
    verbatim,
    write_verbatim,
)

ID: Final = "id"
MESSAGES: Final = "messages"
SYSTEM: Final = "system"
ITEMS: Final = "items"
INPUT: Final = "input"

Members = dict[str, Verbatim]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A conversation that was read. `rest` is None if there is nothing but an id that is a string
    and the messages; `paths[i]` is where message i stands."""

    id: str
    messages: tuple[Message, ...]
    paths: tuple[str, ...]
    rest: str | None


class ConversationFormat(Protocol):
    name: ClassVar[str]
    source: ClassVar[str]
    """What `ext.source` begins with."""

    def first_index(self, members: Members) -> int:
        """The place of the first message. A file may get a system prompt later, which is first."""
        ...

    def read(self, members: Members) -> tuple[list[tuple[Message, str]], Members]:
        """The messages with their paths, and the members with the messages taken out."""
        ...

    def write(self, messages: Sequence[Message], rest: Members | None) -> Members:
        """The members that hold the messages, by the names they have in `rest`."""
        ...


class _OpenAI:
    name: ClassVar[str] = "openai"
    source: ClassVar[str] = openai_export.FORMAT

    def first_index(self, members: Members) -> int:
        return 0

    def read(self, members: Members) -> tuple[list[tuple[Message, str]], Members]:
        said = [
            (openai_import.import_tree(tree, path), path)
            for path, tree in _listed(members, MESSAGES)
        ]
        return said, {**members, MESSAGES: []}

    def write(self, messages: Sequence[Message], rest: Members | None) -> Members:
        said: list[Verbatim] = []
        for message in messages:
            original = kept_original(message, openai_export.FORMAT)
            if original is not None:
                said.append(original)
            else:
                said += map(verbatim, openai_export.render(message, exact=True))
        return {MESSAGES: said}


class _Anthropic:
    name: ClassVar[str] = "anthropic"
    source: ClassVar[str] = "anthropic"

    def first_index(self, members: Members) -> int:
        return 1 if members.get(SYSTEM) is None else 0

    def read(self, members: Members) -> tuple[list[tuple[Message, str]], Members]:
        said: list[tuple[Message, str]] = []
        taken: Members = {MESSAGES: []}
        system = members.get(SYSTEM)
        if system is not None:
            path = json_path("$", SYSTEM)
            said.append((anthropic_import.import_system(system, path), path))
            taken[SYSTEM] = None
        for path, tree in _listed(members, MESSAGES):
            said.append((anthropic_import.import_tree(tree, path), path))
        return said, {**members, **taken}

    def write(self, messages: Sequence[Message], rest: Members | None) -> Members:
        system, said = anthropic_export.export_conversation(messages)
        return {MESSAGES: said} if system is None else {SYSTEM: system, MESSAGES: said}


class _Responses:
    name: ClassVar[str] = "responses"
    source: ClassVar[str] = "responses"

    def first_index(self, members: Members) -> int:
        return 0

    def read(self, members: Members) -> tuple[list[tuple[Message, str]], Members]:
        key = _items_key(members)
        items = array_of(members, key, "$")
        path = json_path("$", key)
        said = [(message, path) for message in responses_import.import_items(items, path)]
        return said, {**members, key: []}

    def write(self, messages: Sequence[Message], rest: Members | None) -> Members:
        items = [item for message in messages for item in responses_export.export_message(message)]
        return {_items_key(rest or {}): items}


class _UI:
    name: ClassVar[str] = "ui"
    source: ClassVar[str] = "ui"

    def first_index(self, members: Members) -> int:
        return 0

    def read(self, members: Members) -> tuple[list[tuple[Message, str]], Members]:
        said = [
            (message, path)
            for path, tree in _listed(members, MESSAGES)
            for message in ui_import.import_tree(tree, path)
        ]
        return said, {**members, MESSAGES: []}

    def write(self, messages: Sequence[Message], rest: Members | None) -> Members:
        return {MESSAGES: ui_messages.export_conversation(messages)}


_FORMATS: Final[dict[str, ConversationFormat]] = {
    known.name: known for known in (_OpenAI(), _Responses(), _Anthropic(), _UI())
}
FILE_FORMAT_NAMES: Final = tuple(_FORMATS)


def file_format(name: str) -> ConversationFormat:
    """The format of this name. InvalidMessage that lists the names for an unknown one."""
    known = _FORMATS.get(name)
    if known is None:
        raise InvalidMessage(
            f"conversations have no format {name!r}",
            hint=f"the formats are {', '.join(FILE_FORMAT_NAMES)}",
        )
    return known


def read_conversation(tree: Verbatim, format_: ConversationFormat) -> Incoming:
    """The conversation of one object, each message with its place in it as `ext`. InvalidMessage
    with the path of what is wrong."""
    if not isinstance(tree, dict):
        repeats = "a conversation repeats a key"
        is_object = tree is not None and not isinstance(tree, (bool, str, list, Number))
        problem = repeats if is_object else 'a conversation must be an object with an "id"'
        raise InvalidMessage(problem)
    if ID not in tree:
        raise InvalidMessage("missing", path=json_path("$", ID))
    conversation_id = id_text(tree[ID])
    said, rest = format_.read(tree)
    source = f"{format_.source}:{conversation_id}"
    messages = tuple(
        replace(message, ext=ImportedFrom(source, index))
        for index, (message, _) in enumerate(said, start=format_.first_index(tree))
    )
    written = format_.write(messages, None)
    bare = list(tree) == [ID, *written] and tree[ID] == conversation_id
    return Incoming(
        id=conversation_id,
        messages=messages,
        paths=tuple(path for _, path in said),
        rest=None if bare else write_verbatim(rest),
    )


def write_conversation(
    conversation_id: str,
    messages: Sequence[Message],
    rest: str | None,
    format_: ConversationFormat,
) -> str:
    """The line for these messages, without line end: what was read, if they are as they were; under
    another id if `conversation_id` is not that of `rest`."""
    members: Members = {ID: conversation_id}
    if rest is not None:
        tree = parse_verbatim(rest)
        if not isinstance(tree, dict) or ID not in tree:
            raise InvalidMessage('the rest of a conversation must be an object with an "id"')
        members = tree
        if id_text(members[ID]) != conversation_id:
            members = {**members, ID: conversation_id}
    written = format_.write(messages, members)
    if not any(key in members for key in written if key != SYSTEM):
        # The rest is of another format: its places for messages are empty.
        for key in (MESSAGES, ITEMS, INPUT, SYSTEM):
            if key in members and members[key] in ([], None):
                members = {name: value for name, value in members.items() if name != key}
    return write_verbatim({**members, **written})


def _listed(members: Members, key: str) -> list[tuple[str, Verbatim]]:
    path = json_path("$", key)
    return [(json_path(path, i), tree) for i, tree in enumerate(array_of(members, key, "$"))]


def _items_key(members: Members) -> str:
    return INPUT if INPUT in members and ITEMS not in members else ITEMS
