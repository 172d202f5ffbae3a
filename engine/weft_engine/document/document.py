"""A context's Yjs document over pycrdt: notes that people and agents edit together.

It follows the journal: records enter after their commit, in causal order, because yrs silently
loses data when they do not. What can't be trusted has passed the reader before it gets here. The
one module that touches pycrdt; a document that raised is poisoned and must be thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable

import pycrdt

from weft_engine.canonical import lone_surrogate
from weft_engine.errors import InvalidMessage
from weft_engine.names import ClientId, NoteName
from weft_engine.records.envelope import Kind, Record
from weft_engine.yjs.lib0 import read_var_uint

_NOTE = "note:"


class Document:
    """Edits are made under the Yjs client id of the incarnation that will write them down."""

    def __init__(self, client: ClientId) -> None:
        self.client = client
        self._doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=client)

    def apply(self, records: Iterable[Record]) -> None:
        """Take in journaled records, in journal order."""
        for record in records:
            if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
                self._doc.apply_update(record.payload)

    @property
    def clock(self) -> int:
        """The next Yjs clock of our own client."""
        state = self._doc.get_state()
        clients, at = read_var_uint(state, 0)
        for _ in range(clients):
            client, at = read_var_uint(state, at)
            clock, at = read_var_uint(state, at)
            if client == self.client:
                return clock
        return 0

    def text(self, note: NoteName) -> str:
        return str(self._note(note))

    def edit(self, note: NoteName, at: int, delete: int, insert: str) -> bytes | None:
        """Replace `delete` characters from the character `at` on by `insert`; the update, None if
        nothing changes.

        Counted in Unicode code points. InvalidMessage if that is outside the text; then nothing
        has changed.
        """
        text = self._note(note)
        said = str(text)
        if not 0 <= at <= at + delete <= len(said):
            raise InvalidMessage(
                f"characters {at} to {at + delete} are outside note {note!r} of {len(said)}",
                hint="count in Unicode code points",
            )
        if lone_surrogate(insert):
            raise InvalidMessage("the text holds a lone surrogate", hint="use well-formed Unicode")
        if not delete and not insert:
            return None
        # pycrdt counts in bytes of UTF-8, and an index inside a character breaks the document.
        start = len(said[:at].encode())
        end = start + len(said[at : at + delete].encode())
        updates: list[bytes] = []
        subscription = self._doc.observe(lambda event: updates.append(event.update))
        try:
            with self._doc.transaction():
                if end > start:
                    del text[start:end]
                if insert:
                    text.insert(start, insert)
        finally:
            self._doc.unobserve(subscription)  # or the document is never freed
        (update,) = updates
        return update

    def _note(self, note: NoteName) -> pycrdt.Text:
        return self._doc.get(_NOTE + note, type=pycrdt.Text)
