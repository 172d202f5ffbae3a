"""What a link needs of the replica at its end.

Must never know: transports, sessions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from weft_engine.names import RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.erasure import Eraser
from weft_engine.records.gate import Outcome
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.journal import Identity
from weft_engine.storage.ledger import Stored
from weft_engine.sync.driving.hub import Hub
from weft_engine.sync.presence import Presence
from weft_engine.sync.reach import Reach

if TYPE_CHECKING:
    from weft_engine.sync.driving.link import Link

T = TypeVar("T")


class Journal(Protocol):
    """What a link needs of a journal; `storage.journal.SqliteJournal` is one."""

    async def read(self, question: Callable[[sqlite3.Connection], T], /) -> T: ...

    async def write(self, job: Callable[[sqlite3.Connection], T], /) -> T: ...

    @property
    def is_full(self) -> bool:
        """Whether so much is offered that one should wait for `room`."""

    async def room(self) -> None: ...

    def offer(
        self,
        records: Sequence[Record],
        items: Sequence[SignatureItem],
        *,
        session: bytes,
        now_ms: int,
        proofs: Mapping[RecordHash, Sequence[Eraser]] | None = None,
        done: Callable[[Outcome, BaseException | None], None],
        may_wait: bool = False,
    ) -> None: ...

    async def confirm(
        self, confirmations: Sequence[tuple[RecordHash, Sequence[bytes]]], /
    ) -> None: ...

    def listen_confirmed(self, listener: Callable[[], None], /) -> Callable[[], None]: ...


class LinkGuard(Protocol):
    """What the replica at this end makes of what a link tells about itself
    (`replica.guard.Guard`)."""

    @property
    def keeps_cursors(self) -> bool:
        """Whether the store can be written to."""

    def joined(self, link: Link, /) -> None: ...

    def left(self, link: Link, /) -> None: ...

    def greeted(self, link: Link, /) -> None: ...

    def may_show(self, link: Link, peer: bytes, /) -> bool: ...

    def shows(self, link: Link, peer: bytes, /) -> bool: ...

    async def superseded(self, link: Link, /) -> None: ...


class LinkStore(Protocol):
    """The replica at this end of a link."""

    @property
    def identity(self) -> Identity: ...

    @property
    def journal(self) -> Journal: ...

    @property
    def hub(self) -> Hub:
        """Tells its links of what is committed."""

    @property
    def presence(self) -> Presence:
        """Who is in its contexts now."""

    @property
    def reach(self) -> Reach:
        """Which regions hold its journal."""

    @property
    def guard(self) -> LinkGuard | None:
        """None: this end has one identity for ever."""

    def now_ms(self) -> int: ...

    def random(self, size: int, /) -> bytes: ...

    async def signature_items(self, stored: Sequence[Stored], /) -> list[SignatureItem]:
        """Signatures whose tips are among these records: those that are kept, and a fresh one
        over each record of our own that no other of them continues. (Not one for each chain:
        after an equivocation a chain of our own has two ends, and what is not covered waits.)"""
