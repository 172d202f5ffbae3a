"""A context's Yjs document over pycrdt: notes that people and agents edit together.

It follows the journal: records enter after their commit, in causal order, because yrs silently
loses data when they do not. What can't be trusted has passed the reader before it gets here. The
one module that touches pycrdt; a document that raised is poisoned and must be thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pycrdt

from weft_engine.canonical import lone_surrogate
from weft_engine.errors import InvalidMessage, InvalidName, StoreError
from weft_engine.names import ClientId, NoteName, note_name
from weft_engine.yjs.encoder import EVENTS_ROOT, STREAMS_ROOT
from weft_engine.yjs.lib0 import read_var_uint, var_uint
from weft_engine.yjs.subdocuments import taking_out
from weft_engine.yjs.update import Id

_NOTE = "note:"
_PANIC = "PanicException"
_EMPTY = b"\x00\x00"
"""An update that says nothing. pycrdt tells observers of one that changed nothing, too."""


def is_panic(error: BaseException) -> bool:
    """Whether pycrdt raised this because of what it was given. Its panics are no Exceptions."""
    return type(error).__name__ == _PANIC or (
        isinstance(error, Exception) and not isinstance(error, MemoryError)
    )


class Document:
    """Edits are made under the Yjs client id of the incarnation that will write them down."""

    def __init__(self, client: ClientId) -> None:
        self.client = client
        self._subdocuments: list[Id] = []  # First: `__del__` looks at it whatever fails.
        self._doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client)

    def __del__(self) -> None:
        if self._subdocuments:
            try:
                self._doc.apply_update(taking_out(self._subdocuments))
            except BaseException as error:
                # It is poisoned past help: what it holds is never freed.
                if not is_panic(error):
                    raise

    def expect(self, subdocuments: Sequence[Id]) -> None:
        """What is applied next brings documents of its own, which stand there: they are taken out
        before this one is thrown away."""
        self._subdocuments += subdocuments

    @property
    def has_subdocuments(self) -> bool:
        """Whether it was told to expect some."""
        return bool(self._subdocuments)

    def apply(self, update: bytes) -> None:
        """Take in what has passed the reader. Whatever it raises, the document is poisoned."""
        self._doc.apply_update(update)

    def observed(self, update: bytes) -> bytes | None:
        """As `apply`; what it changed, as an update of its own, None if nothing."""
        emitted: list[bytes] = []
        subscription = self._doc.observe(lambda event: emitted.append(event.update))
        try:
            self._doc.apply_update(update)
        finally:
            self._doc.unobserve(subscription)  # or the document is never freed
        if not emitted or emitted[0] == _EMPTY:
            return None
        (delta,) = emitted
        return delta

    def encoded(self, since: bytes | None = None) -> bytes:
        """All of it as one update, or what it has beyond a state vector. Two equal documents need
        not give the same bytes."""
        return self._doc.get_update() if since is None else self._doc.get_update(since)

    def since(self, client: ClientId, clock: int) -> bytes:
        """What it holds of one client, that it knows, from a clock on, and its deletes, as an
        update."""
        state = self._doc.get_state()
        clients, at = read_var_uint(state, 0)
        # Of two clocks of one client yrs takes the last.
        last = var_uint(client) + var_uint(clock)
        return self._doc.get_update(var_uint(clients + 1) + state[at:] + last)

    def state_vector(self) -> bytes:
        """The next clock of each client, as Yjs encodes them."""
        return self._doc.get_state()

    def clocks(self) -> dict[ClientId, int]:
        """The next Yjs clock of each client."""
        state = self._doc.get_state()
        found: dict[ClientId, int] = {}
        clients, at = read_var_uint(state, 0)
        for _ in range(clients):
            client, at = read_var_uint(state, at)
            found[ClientId(client)], at = read_var_uint(state, at)
        return found

    def content(self) -> dict[str, object] | None:
        """What each root holds, to compare documents by; None if one of them is none of Weft's."""
        found: dict[str, object] = {}
        for name in self._doc.keys():  # noqa: SIM118 - a Doc can't be iterated over
            if name in (EVENTS_ROOT, STREAMS_ROOT):
                events = self._doc.get(name, type=pycrdt.Map)
                try:
                    found[name] = {key: str(events[key]) for key in events.keys()}  # noqa: SIM118
                except KeyError:
                    return None  # A key of what can stand in a text only: pycrdt has no value.
            elif name.startswith(_NOTE):
                found[name] = self._doc.get(name, type=pycrdt.Text).diff()
            else:
                return None
        return found

    def has_key(self, root: str, key: str) -> bool:
        """Whether a root map, `events` or `streams`, holds something under a key."""
        return key in self._doc.get(root, type=pycrdt.Map)

    @property
    def clock(self) -> int:
        """The next Yjs clock of our own client."""
        return self.clocks().get(self.client, 0)

    def text(self, note: NoteName) -> str:
        return str(self._note(note))

    def texts(self) -> dict[NoteName, str]:
        """The text of every note that holds some, by its name."""
        found: dict[NoteName, str] = {}
        for root in self._doc.keys():  # noqa: SIM118 - a Doc can't be iterated over
            try:
                name = note_name(root.removeprefix(_NOTE))
            except InvalidName:
                continue  # Nobody can ask for it.
            if root.startswith(_NOTE) and (text := self.text(name)):
                found[name] = text
        return found

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
        wanted = said[:at] + insert + said[at + delete :]
        start, end, shows_all = _indexes(text, said, at, delete)
        if not shows_all:
            # Something of no shape in a text, from a hostile writer: what shows is written anew.
            start, insert = 0, wanted
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
        if str(text) != wanted:
            raise StoreError(
                f"note {note!r} can't be edited: its document is not as it was read",
                hint="nothing was written; try again",
            )
        (update,) = updates
        return update

    def _note(self, note: NoteName) -> pycrdt.Text:
        text: pycrdt.Text = self._doc.get(_NOTE + note, type=pycrdt.Text)
        return text


def _indexes(text: pycrdt.Text, said: str, at: int, delete: int) -> tuple[int, int, bool]:
    """Where pycrdt has the characters of `said` from `at` to `at + delete`, and True; if that
    can't be told, because the text holds what it does not show, where it all ends, and False.

    It counts in bytes of UTF-8, and an index inside a character breaks the document. What is no
    text (another editor's picture in a note, say) is in no string and counts as one.
    """
    start = len(said[:at].encode())
    end = start + len(said[at : at + delete].encode())
    size = len(text)
    if size == len(said.encode()):
        return start, end, True
    index = seen = 0
    begin: int | None = None
    last: int | None = None
    for piece, _ in text.diff():
        if not isinstance(piece, str):
            index += 1
            continue
        length = len(piece.encode())
        # An insertion goes behind the character before it, a deletion begins at its first.
        if begin is None and (start < seen + length or (not delete and start == seen + length)):
            begin = index + start - seen
        if begin is not None and last is None and end <= seen + length:
            last = index + end - seen
        seen += length
        index += length
    if index != size or seen != len(said.encode()):
        return 0, index, False
    begin = index if begin is None else begin
    return begin, begin if last is None else last, True
