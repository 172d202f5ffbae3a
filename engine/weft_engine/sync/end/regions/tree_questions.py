"""What a session asks of the tree over its store's contexts, and the answers, as values.

A tree over everything is kept by who drives links (`sync.driving.kept_tree`); any other is made
from the store when it is asked for. Must never know: the session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from weft_engine.limits import TREE_READ_CONTEXTS
from weft_engine.names import ContextName, Position
from weft_engine.storage import context_rows, reading
from weft_engine.storage.context_rows import ContextRow
from weft_engine.sync.interest import Interest
from weft_engine.sync.tree import Entry, Tree, entry


@dataclass(frozen=True, slots=True)
class ReadTree:
    """The tree over the contexts within `interest`."""

    interest: Interest


@dataclass(frozen=True, slots=True)
class TreeRead:
    """The tree, which may grow later. Everything up to `position` of the journal is in it."""

    tree: Tree
    position: Position


@dataclass(frozen=True, slots=True)
class ReadNames:
    """Which contexts these are, by their rows."""

    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NamesRead:
    contexts: tuple[tuple[ContextName, Position], ...]
    """With the positions of their newest records."""


TreeQuestion = ReadTree | ReadNames
TreeAnswer = TreeRead | NamesRead


@dataclass(frozen=True, slots=True)
class Page:
    """Where to go on reading what an interest covers: in its prefix number `part`, behind `after`;
    behind the last prefix, at the contexts that it names."""

    part: int = 0
    after: str = ""


def answer_tree(connection: sqlite3.Connection, question: TreeQuestion) -> TreeAnswer:
    match question:
        case ReadTree(interest):
            tree = Tree()
            position = reading.last_position(connection)
            page: Page | None = Page()
            while page is not None:
                entries, page = read_page(connection, interest, page)
                tree.update(entries)
            return TreeRead(tree, position)
        case ReadNames(rows):
            return NamesRead(tuple(context_rows.names_of(connection, rows)))


def read_page(
    connection: sqlite3.Connection, interest: Interest, page: Page
) -> tuple[list[Entry], Page | None]:
    """Some entries of the tree over `interest`, and where to go on."""
    if page.part < len(interest.prefixes):
        limit = TREE_READ_CONTEXTS
        prefix = interest.prefixes[page.part]
        rows = context_rows.rows_below(connection, prefix, page.after, limit=limit)
        if len(rows) == limit:
            return entries_of(rows), Page(page.part, rows[-1][1])
        following = Page(page.part + 1)
        is_last = following.part == len(interest.prefixes) and not interest.contexts
        return entries_of(rows), None if is_last else following
    return entries_of(context_rows.rows_named(connection, sorted(interest.contexts))), None


def entries_of(rows: Iterable[ContextRow]) -> list[Entry]:
    return [entry(name, fingerprint, row) for row, name, fingerprint in rows]
