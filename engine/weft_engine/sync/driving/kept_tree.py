"""The tree over all contexts of a replica, kept as they change, for links between regions.

It is made when it is needed first, in steps, so that nothing else waits for it for long; from then
on commits mark contexts, and these are read again when the tree is asked for. A replica without
links to regions never makes one. A tree over less than everything is made for who asks for it.

Invariant: a context of which a commit was heard and that is not marked is in the tree as it was
then, or later.

Must never know: sessions, what a tree is compared with.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from weft_engine.limits import (
    TREE_BEHIND_CONTEXTS,
    TREE_BEHIND_CONTEXTS_MAX,
    TREE_READ_CONTEXTS,
)
from weft_engine.names import ContextName, Position
from weft_engine.records.identity import SignatureItem
from weft_engine.storage import context_rows, reading
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.regions.tree_questions import (
    Page,
    ReadTree,
    TreeRead,
    entries_of,
    read_page,
)
from weft_engine.sync.interest import EVERYTHING
from weft_engine.sync.tree import Entry, Tree, entries_in

T = TypeVar("T")
_PARTS = 256
"""In which the entries of a new tree are sorted first: by the first byte of their keys."""


class Read(Protocol):
    """Asks the store a question, on a connection of its readers."""

    def __call__(self, question: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]: ...


class Commits(Protocol):
    """Where commits are heard of."""

    def listen_commits(
        self, listener: Callable[[Sequence[Stored], Sequence[SignatureItem]], None], /
    ) -> Callable[[], None]: ...


class KeptTree:
    """One for each replica."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._tree: Tree | None = None
        self._stop: Callable[[], None] | None = None
        self._marked: set[ContextName] = set()
        self._position = Position(0)
        """Of the newest commit that we know of."""
        self._turn = asyncio.Lock()

    @property
    def is_behind(self) -> bool:
        """So far that it should be brought up, though nobody asks for it."""
        return len(self._marked) >= TREE_BEHIND_CONTEXTS and not self._turn.locked()

    async def read(self, question: ReadTree, read: Read) -> TreeRead:
        if question.interest != EVERYTHING:
            position = await read(reading.last_position)
            return TreeRead(await _made(question, read), position)
        async with self._turn:
            if self._tree is None:
                self._listen()
                self._position = max(self._position, await read(reading.last_position))
                self._tree = await _made(question, read)
            position = await self._bring_up(self._tree, read)
            return TreeRead(self._tree, position)

    async def bring_up(self, read: Read) -> None:
        """Read what is marked, if there is a tree."""
        async with self._turn:
            if self._tree is not None:
                await self._bring_up(self._tree, read)

    async def _bring_up(self, tree: Tree, read: Read) -> Position:
        """Up to where everything is in the tree then."""
        position = self._position
        names = list(self._marked)
        for start in range(0, len(names), TREE_READ_CONTEXTS):
            some = names[start : start + TREE_READ_CONTEXTS]
            self._marked.difference_update(some)
            try:
                tree.update(await read(partial(_entries_named, names=some)))
            except BaseException:
                self._marked.update(some)
                raise
            tree.value()
        return position

    def _listen(self) -> None:
        if self._stop is None:
            self._stop = self._commits.listen_commits(self._committed)

    def _committed(self, stored: Sequence[Stored], _: Sequence[SignatureItem]) -> None:
        self._marked.update([one.record.envelope.context for one in stored])
        self._position = max(self._position, stored[-1].position)
        if len(self._marked) > TREE_BEHIND_CONTEXTS_MAX and not self._turn.locked():
            self._drop()

    def _drop(self) -> None:
        self._tree = None
        self._marked.clear()
        if self._stop is not None:
            self._stop()
            self._stop = None


def _entries_named(connection: sqlite3.Connection, *, names: Sequence[ContextName]) -> list[Entry]:
    return entries_of(context_rows.rows_named(connection, names))


async def _made(question: ReadTree, read: Read) -> Tree:
    """A new tree. What belongs together goes in together, which is a tenth of the work."""
    parts = [bytearray() for _ in range(_PARTS)]
    page: Page | None = Page()
    while page is not None:
        entries, page = await read(partial(read_page, interest=question.interest, page=page))
        for one in entries:
            parts[one[0]] += one
    tree = Tree()
    for index, part in enumerate(parts):
        tree.update(entries_in(bytes(part)))
        parts[index] = bytearray()
        tree.value(_PARTS + index)
        await asyncio.sleep(0)
    return tree
