"""A session of writing in one store, from its lease to the lease it leaves.

Lives on the writer thread. Must never know: what is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from weft_engine.storage.identity import Resumable, Standing, leave
from weft_engine.storage.lease import consume
from weft_engine.storage.machine import Machine


class Tenure:
    """`begin` before records are written, `end` in the last transaction."""

    def __init__(
        self,
        path: Path,
        machine: Machine,
        random: Callable[[int], bytes],
        is_leased: bool,
    ) -> None:
        self.random = random
        self._path = path
        self._machine = machine
        self._is_leased = is_leased

    def begin(self) -> None:
        """Take up the lease, once. From here to the end the store has none, so whoever finds it
        like that knows that it was left in the middle. StoreError if that can't be made durable."""
        if self._is_leased:
            consume(self._path)
            self._is_leased = False

    def end(
        self, standing: Standing, resumable: Resumable | None, connection: sqlite3.Connection
    ) -> None:
        """Leave a lease, unless the one that was found is still there and says what it would."""
        found = None if resumable is None else resumable.incarnation
        if not self._is_leased or standing.incarnation != found:
            self._is_leased = False
            leave(self._path, connection, self._machine, standing, random=self.random)
