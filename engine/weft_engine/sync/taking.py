"""Taking what a peer offers: inspected in the order in which it came, then through the gate.

What comes next is inspected while the gate writes what came before. Must never know: transports,
what is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from weft_engine.errors import LinkRefused, PeerError
from weft_engine.sync.incoming import Admission
from weft_engine.sync.inspection import Inspected, inspecting
from weft_engine.sync.link_store import LinkStore
from weft_engine.sync.messages import ByeCode
from weft_engine.sync.turns import Turns

if TYPE_CHECKING:
    from weft_engine.sync.link import Link

_WRITING_MAX = 16
"""Messages of a link that the gate has and that are not on disk yet."""


class Taking:
    """One link's share. `permit` is shown what a peer offers, before the gate; it may raise
    LinkRefused. Links of one relay share `turns`."""

    def __init__(
        self,
        link: Link,
        store: LinkStore,
        *,
        permit: Callable[[Inspected], None] | None,
        turns: Turns | None,
    ) -> None:
        self._link = link
        self._store = store
        self._permit = permit
        self._turns = turns or Turns()
        self._writing: set[asyncio.Task[None]] = set()
        self._is_taking = False

    def changed(self) -> None:
        """There may be something to take."""
        if self._is_taking or len(self._writing) >= _WRITING_MAX:
            return
        if self._link.session.has_admissions:
            self._is_taking = True
            self._link.begin(self._take())

    async def finish(self) -> list[BaseException]:
        """Wait for what the gate has begun to write; what went wrong with it."""
        results = await asyncio.gather(*self._writing, return_exceptions=True)
        return [error for error in results if error is not None]

    async def _take(self) -> None:
        session = self._link.session
        while len(self._writing) < _WRITING_MAX:
            admission = session.next_admission()
            if admission is None:
                break
            with ExitStack() as turn:
                inspected = await self._inspect(admission, turn)
                if inspected is None or session.end is not None:
                    continue
                session.offer(admission.serial, inspected.records)
                self._store.hub.offered(self._link, [one.hash for one in inspected.records])
                # A task of its own, which the end of the link does not cut: what the gate has
                # begun to write is told to everybody who listens.
                written = asyncio.create_task(
                    self._write(admission.serial, inspected, turn.pop_all())
                )
            self._writing.add(written)
            written.add_done_callback(self._written)
        self._is_taking = False

    async def _inspect(self, admission: Admission, turn: ExitStack) -> Inspected | None:
        """What the message brings; None if that is refused, and then the link has ended. What
        takes long waits for its turn, which ends with `turn`."""
        try:
            inspected = await self._step_by_step(admission, turn)
            if self._permit is not None and inspected is not None:
                self._permit(inspected)
        except LinkRefused as error:
            self._link.close(error.message, code=ByeCode.DENIED, hint=error.hint)
            return None
        except PeerError as error:
            self._link.evidence.message(error, now_ms=self._store.now_ms())
            self._link.session.refused(error)
            self._link.changed()
            return None
        return inspected

    async def _step_by_step(self, admission: Admission, turn: ExitStack) -> Inspected | None:
        session = self._link.session
        steps = inspecting(admission, session.interest)
        step = _next_step(steps)
        if not isinstance(step, Inspected):
            await self._turns.wait()
            turn.callback(self._turns.end)
        while not isinstance(step, Inspected):
            if step:
                step = await asyncio.to_thread(_next_step, steps)
            else:
                await asyncio.sleep(0)
                step = _next_step(steps)
            if session.end is not None:
                return None
        return step

    async def _write(self, serial: int, inspected: Inspected, turn: ExitStack) -> None:
        session, quota = self._link.session, self._link.quota
        assert quota is not None, "records are taken after the hello only"
        with turn:
            outcome = await self._store.journal.admit(
                inspected.records,
                inspected.items,
                session=quota,
                now_ms=self._store.now_ms(),
                proofs=inspected.proofs,
            )
        if outcome.refused:
            offered = {record.hash: record for record in inspected.records}
            now_ms = self._store.now_ms()
            for hash_, error in outcome.refused:
                self._link.evidence.record(hash_, offered.get(hash_), error, now_ms=now_ms)
        session.admitted(serial, outcome)
        self._store.hub.admitted(self._link, [one.hash for one in inspected.records])

    def _written(self, writing: asyncio.Task[None]) -> None:
        self._writing.discard(writing)
        error = None if writing.cancelled() else writing.exception()
        if error is not None:
            self._link.failed(error)
        self._link.changed()


def _next_step(steps: Generator[bool, None, Inspected]) -> bool | Inspected:
    """What an inspection brought, or whether its next step may take long."""
    try:
        return next(steps)
    except StopIteration as done:
        inspected: Inspected = done.value
        return inspected
