"""One line of a JSONL file of conversations: ``{"id": ..., "messages": [...]}``.

Reads a line into its messages and whatever else it holds, and writes an equal line again. Must
never know: contexts, or what is done with a conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft_engine.errors import InvalidMessage
from weft_engine.events.event import ImportedFrom, Message
from weft_engine.formats.openai_export import FORMAT
from weft_engine.formats.openai_import import import_tree
from weft_engine.formats.verbatim_json import (
    Number,
    Pairs,
    Verbatim,
    parse_verbatim,
    well_formed,
    write_verbatim,
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """`messages` are JSON texts, compact, as they stood in key order and number text. `rest` is
    the line with no messages, None if it has nothing but a string id and then the messages."""

    id: str
    messages: tuple[str, ...]
    rest: str | None = None


def read_conversation(line: str) -> Conversation:
    """The conversation of one line. InvalidMessage if the line is no JSON object with an id (a
    string or a number) and an array of messages; the messages themselves are not looked into."""
    members = parse_verbatim(line)
    if isinstance(members, Pairs):
        raise InvalidMessage("a conversation repeats a key")
    if not isinstance(members, dict):
        raise InvalidMessage('a conversation must be an object {"id", "messages"}')
    for key in ("id", "messages"):
        if key not in members:
            raise InvalidMessage("missing", path=f"$.{key}")
    conversation_id = id_text(members["id"])
    messages = members["messages"]
    if not isinstance(messages, list):
        raise InvalidMessage("must be an array", path="$.messages")
    bare = list(members) == ["id", "messages"] and members["id"] == conversation_id
    rest = None if bare else write_verbatim({**members, "messages": []})
    return Conversation(conversation_id, tuple(map(write_verbatim, messages)), rest)


def write_conversation(
    conversation_id: str, message_texts: Sequence[str], rest: str | None = None
) -> str:
    """The line for these messages, without line end: what `read_conversation` read, if they are
    as they were; under another id if `conversation_id` is not that of `rest`."""
    messages = [parse_verbatim(text) for text in message_texts]
    if rest is None:
        return write_verbatim({"id": conversation_id, "messages": messages})
    members = parse_verbatim(rest)
    if not isinstance(members, dict) or "id" not in members or "messages" not in members:
        raise InvalidMessage('the rest of a conversation must be an object {"id", "messages"}')
    if id_text(members["id"]) != conversation_id:
        members = {**members, "id": conversation_id}
    return write_verbatim({**members, "messages": messages})


def import_conversation(conversation: Conversation) -> list[Message]:
    """Its messages, each with its place in the file as `ext`. InvalidMessage with the path within
    the line, such as ``$.messages[3].role``."""
    source = f"{FORMAT}:{conversation.id}"
    return [
        import_tree(parse_verbatim(text), f"$.messages[{index}]", ImportedFrom(source, index))
        for index, text in enumerate(conversation.messages)
    ]


def id_text(tree: Verbatim) -> str:
    """The id of a conversation: a string, or a number as its digits stood."""
    if isinstance(tree, Number):
        return tree.text
    if isinstance(tree, str):
        return well_formed(tree)
    raise InvalidMessage("must be a string or a number", path="$.id")
