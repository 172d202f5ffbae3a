"""Taking what a peer offers: inspected in the order in which it came, then through the gate.

What comes next is inspected while the gate writes what came before. Must never know: transports,
what is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from weft_engine.errors import CallerError, LinkRefused, MachineError, PeerError
from weft_engine.records.gate import Outcome
from weft_engine.sync.driving.inspection import Inspected, inspecting, is_large
from weft_engine.sync.driving.link_store import LinkStore
from weft_engine.sync.driving.turns import Turns
from weft_engine.sync.end.incoming import Admission
from weft_engine.sync.framing.messages import ByeCode

if TYPE_CHECKING:
    from weft_engine.sync.driving.link import Link

Steps: TypeAlias = Generator[bool, None, Inspected]
Ask: TypeAlias = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""What has to be asked before something may come in. It is given what waits until everything that
was offered before has passed the gate, and raises LinkRefused."""
Permit: TypeAlias = Callable[[Inspected], Ask | None]

_WRITING_MAX = 16
"""Messages of a link that the gate has and that are not on disk yet."""


@dataclass(frozen=True, slots=True)
class _Asking:
    inspected: Inspected
    ask: Ask


class Taking:
    """One link's share. `permit` is shown what a peer offers, before the gate; it may raise
    LinkRefused, and what it gives has to be asked first. `pace` is told of how many records a
    message has, before anything is done with them, and says for how many seconds they wait: the
    peer's window fills up meanwhile. Links of one relay share `turns`."""

    def __init__(
        self,
        link: Link,
        store: LinkStore,
        *,
        permit: Permit | None,
        pace: Callable[[int], float] | None,
        turns: Turns | None,
    ) -> None:
        self._link = link
        self._store = store
        self._permit = permit
        self._pace = pace
        self._turns = turns or Turns(large_at_once=2)
        self._writing = 0
        """Messages that the gate has and that are not on disk yet."""
        self._is_waiting = False
        """For a turn, or for room in the journal: what comes meanwhile stays where it is."""
        self._written: asyncio.Future[None] | None = None

    def changed(self) -> None:
        """There may be something to take. What is small is inspected here and now, if there is
        time for it."""
        self._take(is_our_turn=False)

    def _go_on(self) -> None:
        self._take(is_our_turn=True)

    def _take(self, *, is_our_turn: bool) -> None:
        """One step if it is our turn, and more if nobody waits for a step."""
        incoming, journal, turns = self._link.session.incoming, self._store.journal, self._turns
        while not self._is_waiting and self._writing < _WRITING_MAX and incoming.has_admissions:
            if journal.is_full:
                self._wait(journal.room)
                return
            if (turns.is_crowded and not is_our_turn) or not turns.may_step():
                turns.later(self._go_on)
                return
            is_our_turn = False
            admission = incoming.next_admission()
            if admission is None:
                return
            wait_s = 0.0 if self._pace is None else self._pace(len(admission.records))
            if wait_s:
                self._wait(partial(self._take_late, admission, wait_s))
                return
            steps = inspecting(admission)
            if is_large(admission):
                self._wait(partial(self._take_large, admission.serial, steps))
                return
            step = self._judged(_next_step(steps))
            assert not isinstance(step, bool), "what is not large takes one step"
            if isinstance(step, _Asking):
                self._wait(partial(self._take_asked, admission.serial, step))
            elif step is not None:
                self._offer(admission.serial, step)

    async def finish(self) -> None:
        """Wait for what the gate has begun to write: it is told to everybody who listens."""
        while self._writing:
            if self._written is None or self._written.done():
                self._written = asyncio.get_running_loop().create_future()
            # Who waits may be cut off; it is not the only one that waits.
            await asyncio.shield(self._written)

    # ---- inspecting ---------------------------------------------------------------------------

    def _judged(self, step: bool | Inspected | PeerError) -> bool | Inspected | _Asking | None:
        """A step of an inspection, as long as nothing is wrong; None if something is, and then the
        link has ended."""
        if isinstance(step, PeerError):
            self._refuse(step)
            return None
        if isinstance(step, Inspected) and self._permit is not None:
            try:
                ask = self._permit(step)
            except PeerError as refusal:
                self._refuse(refusal)
                return None
            return step if ask is None else _Asking(step, ask)
        return step

    def _refuse(self, error: PeerError) -> None:
        if isinstance(error, LinkRefused):
            self._link.close(error.message, code=ByeCode.DENIED, hint=error.hint)
        else:
            self._link.evidence.message(error, now_ms=self._store.now_ms())
            self._link.session.refused(error)
            self._link.changed()

    def _wait(self, work: Callable[[], Awaitable[None]]) -> None:
        self._is_waiting = True
        self._link.begin(self._go_on_after(work))

    async def _go_on_after(self, work: Callable[[], Awaitable[None]]) -> None:
        await work()
        self._is_waiting = False
        self._link.changed()

    async def _take_late(self, admission: Admission, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        if self._link.session.end is None:
            steps = inspecting(admission)
            await self._take_large(admission.serial, steps)

    async def _take_asked(self, serial: int, asking: _Asking) -> None:
        try:
            await asking.ask(self.finish)
        except PeerError as error:
            self._refuse(error)
            return
        if self._link.session.end is None:
            self._offer(serial, asking.inspected)

    async def _take_large(self, serial: int, steps: Steps) -> None:
        session = self._link.session
        step: bool | Inspected | _Asking | None = False
        await self._turns.wait()
        is_handed_over = False
        try:
            while session.end is None and step is not None:
                if isinstance(step, Inspected):
                    self._offer(serial, step, ends_turn=True)
                    is_handed_over = True
                    return
                if isinstance(step, _Asking):
                    # It may take long, and another's turn does not wait for it.
                    self._turns.end()
                    is_handed_over = True
                    await self._take_asked(serial, step)
                    return
                if step:
                    step = self._judged(await asyncio.to_thread(_next_step, steps))
                else:
                    await asyncio.sleep(0)
                    step = self._judged(_next_step(steps))
        finally:
            if not is_handed_over:
                self._turns.end()

    # ---- the gate -----------------------------------------------------------------------------

    def _offer(self, serial: int, inspected: Inspected, *, ends_turn: bool = False) -> None:
        session, quota = self._link.session, self._link.quota
        assert quota is not None, "records are taken after the hello only"
        session.incoming.offer(serial, inspected.records)
        self._store.hub.offered(self._link, [one.hash for one in inspected.records])
        self._writing += 1
        done = partial(self._answered, serial, inspected, ends_turn)
        try:
            self._store.journal.offer(
                inspected.records,
                inspected.items,
                session=quota,
                now_ms=self._store.now_ms(),
                proofs=inspected.proofs,
                done=done,
                # Whoever wrote it was answered by the region that it came from, or an earlier one.
                may_wait=session.is_between_regions,
            )
        except (CallerError, MachineError) as error:
            done(Outcome(), error)

    def _answered(
        self,
        serial: int,
        inspected: Inspected,
        ends_turn: bool,
        outcome: Outcome,
        error: BaseException | None,
    ) -> None:
        self._writing -= 1
        if ends_turn:
            self._turns.end()
        if error is not None:
            self._link.failed(error)
        else:
            if outcome.refused:
                offered = {record.hash: record for record in inspected.records}
                now_ms = self._store.now_ms()
                for hash_, why in outcome.refused:
                    self._link.evidence.record(hash_, offered.get(hash_), why, now_ms=now_ms)
            if self._link.session.is_between_regions:
                self._link.traffic.admitted([one.hash for one in inspected.records], outcome)
            self._link.session.admitted(serial, outcome)
            self._store.hub.admitted(self._link, [one.hash for one in inspected.records])
        self._store.hub.answered(self._link)
        if not self._writing and self._written is not None and not self._written.done():
            self._written.set_result(None)


def _next_step(steps: Steps) -> bool | Inspected | PeerError:
    """What an inspection brought, what it found wrong, or whether its next step may take long."""
    try:
        return next(steps)
    except StopIteration as done:
        inspected: Inspected = done.value
        return inspected
    except PeerError as error:
        return error
