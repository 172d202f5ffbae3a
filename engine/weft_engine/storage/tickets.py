"""Tickets: how a relay knows a store from its copy.

At each hello a store shows the ticket it was given last and gets a fresh one, which it keeps before
it sends anything. So of two copies, the second that comes shows one that is not the last any more.
`current` is what the store is known to keep, `offered` what it may keep: if the answer was lost, it
shows `current` again, if only its word that it keeps `offered` was lost, it shows that.

Functions over the writer's connection, inside its transaction. Must never know: links.
"""

from __future__ import annotations

import sqlite3

from weft_engine.limits import ISSUED_TICKETS_MAX, TICKETS_MAX


def held(connection: sqlite3.Connection, peer: bytes) -> bytes | None:
    """The ticket that the store `peer` gave us last."""
    row = connection.execute("SELECT ticket FROM tickets WHERE peer = ?", (peer,)).fetchone()
    return None if row is None else bytes(row[0])


def keep(connection: sqlite3.Connection, peer: bytes, ticket: bytes) -> None:
    """Keep what the store `peer` gave us, in place of what it gave before."""
    connection.execute(
        "INSERT OR REPLACE INTO tickets (peer, ticket) VALUES (?, ?)", (peer, ticket)
    )
    # Forgetting the oldest is harmless: there it counts as old, once.
    connection.execute(
        "DELETE FROM tickets WHERE id <= (SELECT max(id) FROM tickets) - ?", (TICKETS_MAX,)
    )


def is_known(connection: sqlite3.Connection, store: bytes) -> bool:
    """Whether we know what we gave it. If not, and it shows something all the same, it comes after
    very long, or we were set back to before it was given."""
    known = connection.execute("SELECT 1 FROM issued_tickets WHERE store = ?", (store,)).fetchone()
    return known is not None


def issue(connection: sqlite3.Connection, store: bytes, shown: bytes | None, fresh: bytes) -> bool:
    """Whether what `store` shows is what it was given last, or nothing tells that it is not; then
    `fresh` is offered to it."""
    row = connection.execute(
        "SELECT current, offered FROM issued_tickets WHERE store = ?", (store,)
    ).fetchone()
    current, offered = row or (None, None)
    if row is not None and shown == offered:
        # It keeps what was offered, and we were not told.
        current = offered
    elif row is not None and shown != current:
        return False
    _put(connection, store, current, fresh)
    return True


def confirm(connection: sqlite3.Connection, store: bytes, ticket: bytes) -> None:
    """`store` keeps a ticket that was offered to it. What another link has offered it since stays
    offered: it may be keeping that."""
    row = connection.execute(
        "SELECT offered FROM issued_tickets WHERE store = ?", (store,)
    ).fetchone()
    _put(connection, store, ticket, ticket if row is None else row[0])


def _put(
    connection: sqlite3.Connection, store: bytes, current: bytes | None, offered: bytes
) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO issued_tickets (store, current, offered) VALUES (?, ?, ?)",
        (store, current, offered),
    )
    # Who has not said hello for so long is met like a stranger again.
    connection.execute(
        "DELETE FROM issued_tickets WHERE id <= (SELECT max(id) FROM issued_tickets) - ?",
        (ISSUED_TICKETS_MAX,),
    )
