"""What a relay asks of the records that one link offers, before they come to its gate.

State, rights and settings refuse here and nowhere else: only what a client brings, never what
another relay has journaled. Must never know: tokens, websockets, what records mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set
from functools import partial

from weft_engine.errors import LinkRefused
from weft_engine.sync.driving.inspection import Inspected
from weft_engine.sync.driving.taking import Ask
from weft_server.context_sizes import ContextSizes
from weft_server.door.erasure_rights import refuse_foreign_erasures
from weft_server.door.note_rights import Journal, refuse_notes
from weft_server.door.permission import Permission
from weft_server.door.trust import check_regions
from weft_server.relay_limits import RelayLimits


class Offers:
    """`trusted`: public keys of the regions whose foreign records are taken from clients.
    `is_relay` tells whether the other end says that it is one: an insecure relay knows nothing
    better, and its limits hold for clients. `pace` waits until so many records more may come."""

    __slots__ = ("_is_relay", "_journal", "_limits", "_pace", "_permission", "_sizes", "_trusted")

    def __init__(
        self,
        permission: Permission,
        *,
        journal: Journal,
        sizes: ContextSizes,
        limits: RelayLimits,
        trusted: Set[bytes],
        is_relay: Callable[[], bool],
        pace: Callable[[int], Awaitable[None]],
    ) -> None:
        self._permission = permission
        self._journal = journal
        self._sizes = sizes
        self._limits = limits
        self._trusted = trusted
        self._is_relay = is_relay
        self._pace = pace

    def permit(self, offered: Inspected) -> Ask | None:
        """LinkRefused, with the record and what it lacks, if these sound records may not come in
        here; or what has to be asked first."""
        may = self._permission
        if not may.may_append:
            refuse_all(offered)
        if not may.is_peer:
            check_regions(self._trusted, offered)
        if not may.may_erase:
            refuse_foreign_erasures(offered)
        is_client = not may.is_peer or (may.quota is None and not self._is_relay())
        if is_client:
            self._check_records(offered)
        if may.may_edit and (not is_client or self._sizes.surely_fit(offered.records)):
            return None
        return partial(self._ask, offered, is_client)

    async def _ask(
        self, offered: Inspected, is_client: bool, settled: Callable[[], Awaitable[None]]
    ) -> None:
        if not self._permission.may_edit:
            await refuse_notes(self._journal, offered, settled, self._pace)
        full = await self._sizes.first_full(offered.records) if is_client else None
        if full is not None:
            raise LinkRefused(
                f"context {full!r} would have more than {self._limits.context_bytes} bytes here,"
                " which is this relay's limit context_bytes",
                hint="go on in another context, or ask the relay's owner to raise the limit",
            )

    def _check_records(self, offered: Inspected) -> None:
        for record in offered.records:
            if len(record.payload) > self._limits.record_bytes:
                raise LinkRefused(
                    f"record {record.hash.hex()[:16]} of context {record.envelope.context!r} has"
                    f" {len(record.payload)} bytes, above this relay's limit record_bytes,"
                    f" {self._limits.record_bytes}",
                    hint="write smaller messages, or ask the relay's owner to raise the limit",
                )


def refuse_all(offered: Inspected) -> None:
    """LinkRefused: whoever may only read offers something."""
    record = offered.records[0]
    raise LinkRefused(
        f"record {record.hash.hex()[:16]} of context {record.envelope.context!r}, the first of"
        f" {len(offered.records)} that this link offers, needs a token that may append",
        hint="ask for a token with the right append or write",
    )
