"""A room: one context's document, and the Yjs clients that edit it together.

What clients send is written down by the relay as foreign records. One task does everything that
changes the document, turn by turn, and works only while there is something to do:

    committed elsewhere -> document;  sent by clients -> document -> journal -> everybody

Between the turns the document is that of the journal. Only then is it shown to anybody: commit,
then echo and fan out. What a client has sent comes back to it as it goes to all others, once it is
on disk, so the echo is an acknowledgement. If a commit fails the document is made anew.

Must never know: websockets, tokens, who has been told what.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from weft_engine.background import begin
from weft_engine.document.document import is_panic
from weft_engine.document.offered import Offered
from weft_engine.errors import LinkRefused, PeerError, WeftError
from weft_engine.limits import YJS_BATCH_MESSAGES
from weft_engine.names import ContextName
from weft_engine.replica.live import LiveDocument, Part
from weft_engine.replica.replica import Replica
from weft_engine.storage.ledger import Stored
from weft_engine.sync.framing.messages import PresenceState
from weft_server.yjs import wire
from weft_server.yjs.circle import Circle, Making
from weft_server.yjs.framing import frame
from weft_server.yjs.member import Member
from weft_server.yjs.unready import Unready

_LOG: Final = logging.getLogger("weft.relay")


class Author(Protocol):
    """Whoever offers updates to a room."""

    @property
    def member(self) -> Member: ...

    def permitted(self, offered: Offered, live: LiveDocument, *, is_step2: bool) -> Offered | None:
        """What of it is to be taken, None for nothing; LinkRefused if it may not be offered."""

    def refuse(self, error: PeerError, offered: Offered) -> None:
        """The update can't be taken; nothing of it was."""

    def try_again(self, reason: str) -> None:
        """What it has offered last may be on disk or not: it is to come again."""

    def settled(self, offered: Offered) -> None:
        """No more is to be done for it."""


@dataclass(frozen=True, slots=True)
class _Offer:
    author: Author
    offered: Offered
    is_step2: bool


class Room:
    """`close` ends it. `loading` bounds how many documents are loaded at once."""

    def __init__(self, name: ContextName, replica: Replica, loading: asyncio.Semaphore) -> None:
        self.name = name
        self.on_failure: Callable[[ContextName], None] = lambda _: None
        """Called when the document can't be had now: all are to come again."""
        self._replica = replica
        self._loading = loading
        self._live = LiveDocument(replica, name)
        self._circle = Circle(name, self._live, replica.presence, ask=self._ask)
        self._is_stale = True
        self._is_committing = False
        self._offers: deque[_Offer] = deque()
        self._asking: dict[tuple[Member, Making], bytes] = {}
        """What each member has that waits for an answer, as a state vector."""
        self._unready = Unready(name, self._live)
        self._working: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    # ---- members ------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        return not self._circle

    @property
    def is_idle(self) -> bool:
        """Nobody is here and nothing is left to do."""
        is_working = self._working is not None or self._keeping is not None
        return not self._circle and not is_working and not self._offers

    def rest(self) -> bool:
        """Nobody was here for a while. Whether it may end now: a checkpoint is written before, if
        it is worth one."""
        if not self.is_idle:
            return False
        if self._is_stale or not self._live.wants_checkpoint:
            return True
        self._keeping = begin(self._keep(), name="weft-yjs-checkpoint")
        return False

    def join(self, member: Member) -> None:
        """A client is here: it is told who else is, and asked for what is not known, once the
        document is loaded."""
        self._circle.join(member)
        self._work()

    def leave(self, member: Member) -> None:
        self._unready.leave(member)
        self._circle.leave(member)

    def ask(self, member: Member, state_vector: bytes) -> None:
        """A client's step 1: it is answered with what it lacks, and is in step from then on."""
        self._ask(member, state_vector, wire.step2)

    def show_awareness(self, member: Member) -> None:
        """Tell a member who asks who is here."""
        self._circle.show_awareness(member)

    def show(self, member: Member, states: Sequence[PresenceState]) -> None:
        """Tell one member of these."""
        self._circle.show(member, states)

    def sign_of_life(self, frames: bytes) -> None:
        """Write something harmless to everybody to whom something can be written."""
        self._circle.sign_of_life(frames)

    def offer(self, author: Author, offered: Offered, *, is_step2: bool) -> None:
        """An update of a client, read and tried."""
        self._offers.append(_Offer(author, offered, is_step2))
        self._work()

    def tell(self, stored: Stored, *, is_own: bool) -> None:
        """A record was committed; `is_own`: by our own hand, for a Yjs client."""
        self._live.tell(stored, was_offered=is_own and self._is_committing)
        self._work()

    def reload(self) -> None:
        """Something of the context was erased: make the document anew."""
        self._is_stale = True
        self._work()

    async def close(self) -> None:
        """Finish what is being committed."""
        self._circle.close()
        self._unready.close()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._working is not None:
            await asyncio.gather(self._working, return_exceptions=True)

    # ---- the work -----------------------------------------------------------------------------

    def _work(self) -> None:
        if self._working is None:
            self._working = begin(self._run(), name="weft-yjs-room")

    async def _run(self) -> None:
        try:
            while self._has_work():
                await self._turn()
        except BaseException as error:
            # A fault of the machine or of ours: the document may be no more than half of it.
            self._is_stale = True
            self._offers.clear()
            self._asking.clear()
            self.on_failure(self.name)
            if not isinstance(error, WeftError):
                raise
            _LOG.error("room %r can't go on: %s", self.name, error)
        finally:
            self._working = None

    async def _keep(self) -> None:
        try:
            await self._live.keep_checkpoint()
        except WeftError as error:
            # It costs time at the next load, nothing else.
            _LOG.warning("no checkpoint of room %r: %s", self.name, error)
        finally:
            self._keeping = None

    def _has_work(self) -> bool:
        if self._offers or self._asking:
            return True
        if self._live.is_torn or self._is_stale:
            return bool(self._circle)
        return self._live.has_arrived or self._circle.has_new

    async def _turn(self) -> None:
        live = self._live
        was_torn = live.is_torn
        if was_torn or self._is_stale:
            self._is_stale = False
            async with self._loading:
                await live.load()
            self._circle.start_again()
        updates: list[bytes] = []
        if was_torn:
            # Who waits has a turn of what was loaded, before the document follows what has come
            # meanwhile: what comes steadily, and tears it each time, would leave nobody any.
            await self._answer()
        else:
            updates = await live.follow()
        if live.is_torn:
            return
        self._circle.greet()
        batch = [self._offers.popleft() for _ in range(min(len(self._offers), YJS_BATCH_MESSAGES))]
        if batch:
            updates += await self._take(batch)
        if live.is_torn:
            return
        self._circle.tell(updates)
        if updates:
            self._unready.has_come()
        await self._answer()

    async def _answer(self) -> None:
        """Tell those who ask what they lack, while the document is that of the journal."""
        while self._asking and not self._live.is_torn:
            (member, making), since = next(iter(self._asking.items()))
            del self._asking[member, making]
            self._circle.answer(member, since, making)
            await self._live.turn()

    def _ask(self, member: Member, since: bytes, making: Making) -> None:
        # Who asks again before it is answered had no more when it asked first.
        self._asking.setdefault((member, making), since)
        self._work()

    async def _take(self, batch: Sequence[_Offer]) -> list[bytes]:
        """Put what clients offer into the document and into the journal: the updates that all are
        to be told. Each author is told apart what came of the rest."""
        live = self._live
        payloads: list[bytes] = []
        written: list[_Offer] = []
        repeated: list[_Offer] = []
        for place, offer in enumerate(batch):
            try:
                made = await self._take_one(offer)
            except PeerError as error:
                offer.author.refuse(error, offer.offered)
                made = None
            except BaseException as error:
                if not is_panic(error):
                    raise
                what = " ".join(str(error).split())[:200]
                refusal = LinkRefused(f"the document can't take the update in: {what}")
                offer.author.refuse(refusal, offer.offered)
                # It is torn now. What it took before is good, the rest is for the next one.
                self._offers.extendleft(reversed(batch[place + 1 :]))
                offer.author.settled(offer.offered)
                break
            if made:
                payloads += made
                written.append(offer)
            elif made is not None:
                repeated.append(offer)
            else:
                offer.author.settled(offer.offered)
        if not payloads:
            self._say_stored(repeated)
            return []
        self._is_committing = True
        try:
            await self._replica.scribe.append_foreign(self.name, payloads)
        except WeftError as error:
            live.is_torn = True
            for offer in (*written, *repeated):
                offer.author.try_again(f"it could not be stored: {error.message}")
                offer.author.settled(offer.offered)
            _LOG.error("room %r could not store what its clients sent: %s", self.name, error)
            return []
        finally:
            self._is_committing = False
        for offer in written:
            offer.author.settled(offer.offered)
        self._say_stored(repeated)
        return payloads + (await live.follow() if not live.is_torn else [])

    async def _take_one(self, offer: _Offer) -> Sequence[bytes] | None:
        """The payloads to be written for it: none if the document has all of it already; None if
        it is not taken."""
        live, author, found = self._live, offer.author, offer.offered
        if found.is_empty:
            return None
        wanted: Offered | None = found
        part: Part | None = None
        if not offer.is_step2:
            wanted = author.permitted(found, live, is_step2=False)
        if wanted is not None and await live.lacks(wanted):
            part = await live.part(wanted, time.thread_time)
            wanted = part.offered
        self._note_lacks(offer, part)
        if wanted is not None and offer.is_step2:
            # What the client can't show itself is not its word.
            wanted = author.permitted(wanted, live, is_step2=True)
        if wanted is None or wanted.is_empty:
            return None
        made = await live.offer(wanted)
        if made or part is None:
            self._unready.stored(author.member)
        # Only all of it may be said to be stored.
        return made if made or part is None else None

    def _note_lacks(self, offer: _Offer, part: Part | None) -> None:
        author, unready = offer.author, self._unready
        if author.member not in self._circle:
            return
        if part is None:
            if offer.is_step2:
                unready.is_ready(author.member)
        elif offer.is_step2:
            unready.answered(author.member, part)
        elif (why := unready.written(author.member, part)) is not None:
            _LOG.warning("a Yjs client in room %r is sent away: %s", self.name, why)
            author.try_again(why)

    def _say_stored(self, repeated: Sequence[_Offer]) -> None:
        """Echo what was said again and is on disk: it may have come twice in the batch that was
        committed just now."""
        for offer in repeated:
            member = offer.author.member
            if not offer.is_step2 and self._circle.is_in_step(member):
                member.write(frame(wire.edited(offer.offered.sent)))
            offer.author.settled(offer.offered)
