"""Importing a conversation that may be here already, wholly or in part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from weft_engine.events.event import Event, ImportedFrom, Message
from weft_engine.events.message_class import class_digest
from weft_engine.events.part import CallRef, Part, Result
from weft_engine.formats.openai_chat import link_conversation
from weft_engine.names import EventId
from weft_engine.storage.lineage import ReadingOrder


class Import:
    """The messages of one conversation, each with its `ext`, in the order of the file.

    Results are linked to calls by position. Until the messages have ids, those of this import
    stand in for them. `branch` is where they are written.
    """

    def __init__(self, messages: Sequence[Message], branch: EventId | None = None) -> None:
        self._branch = branch
        stand_ins = [EventId(f"{index:016x}-{0:032x}") for index in range(len(messages))]
        self._index = {stand_in: index for index, stand_in in enumerate(stand_ins)}
        self.messages = link_conversation(list(zip(stand_ins, messages, strict=True)))
        self._ids: list[EventId | None] = [None] * len(messages)

    def find_known(self, table: ReadingOrder) -> None:
        """Look up which of the messages the branch has already."""
        digests = [class_digest(message, self._ext) for message in self.messages]
        known = table.by_classes([digest for digest in digests if digest is not None])
        for index, digest in enumerate(digests):
            rows = known.get(digest, ()) if digest is not None else ()
            self._ids[index] = next((row.id for row in rows if row.place is not None), None)

    @property
    def unknown(self) -> list[int]:
        """Indices of the messages that are to be written."""
        return [index for index, id_ in enumerate(self._ids) if id_ is None]

    def draft(self, index: int, id_: EventId) -> Event:
        """The event of message `index`, now that it has an id. Earlier ones have theirs."""
        self._ids[index] = id_
        message = self.messages[index]
        parts = tuple(self._with_real_call(part) for part in message.parts)
        author = message.name or message.role.value
        return Event(author, replace(message, parts=parts), branch=self._branch)

    def _with_real_call(self, part: Part) -> Part:
        if not isinstance(part, Result) or part.call is None:
            return part
        index = self._index.get(part.call.event)
        real = None if index is None else self._ids[index]
        return part if real is None else replace(part, call=CallRef(real, part.call.part))

    def _ext(self, ref: CallRef) -> ImportedFrom | None:
        index = self._index.get(ref.event)
        return None if index is None else self.messages[index].ext
