"""The clients in a room and what each has been told, so that nobody misses anything.

Whoever is in step is told what is new as soon as it is on disk. Whoever is not, because it has just
come or because it does not read, is told nothing until it has read what was written to it, and then
what it lacks of the document as it is then. So nothing is left out, and nothing is kept for anyone.

`told` is a state vector of which everybody in step has all. Must never know: what clients send,
journals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from weft_engine.limits import YJS_FRAGMENT_BYTES, YJS_UNSENT_BYTES_MAX
from weft_engine.names import ContextName
from weft_engine.replica.live import LiveDocument
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.sync.interest import Interest
from weft_engine.sync.presence import Presence
from weft_server.yjs import wire
from weft_server.yjs.awareness import NOBODY, awareness_messages
from weft_server.yjs.everybody import Everybody
from weft_server.yjs.first_state import FirstState
from weft_server.yjs.framing import fragments, frame
from weft_server.yjs.member import Member

Making: TypeAlias = Callable[[bytes], bytes]
"""Makes a message of an update: `wire.step2` or `wire.edited`."""
_TOLD_BYTES: Final = 64 * 1024
"""After so much that was told the state vector of what was told is taken anew."""
_OLD_PART: Final = 4
"""A first state is made anew when a quarter of it has come since."""


class Circle:
    """`ask` is called with a member, what it has, and how it is to be told the rest: it calls
    `answer` when the document may be shown."""

    def __init__(
        self,
        name: ContextName,
        live: LiveDocument,
        presence: Presence,
        *,
        ask: Callable[[Member, bytes, Making], None],
    ) -> None:
        self._live = live
        self._ask = ask
        self._members: dict[Member, bool] = {}
        """With whether each was asked for what is not known here."""
        self._in_step: dict[Member, None] = {}
        self._first: FirstState | None = None
        self._told = wire.EMPTY_STATE
        self._told_bytes = 0
        self._news: dict[int, PresenceState] = {}
        self._everybody = Everybody(partial(presence.of, name))
        self._end_listening = presence.listen(self._aware_of, Interest.of(contexts=[name]))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: Member) -> bool:
        return member in self._members

    @property
    def has_new(self) -> bool:
        """Whether somebody is to be greeted."""
        return not all(self._members.values())

    def is_in_step(self, member: Member) -> bool:
        return member in self._in_step

    def close(self) -> None:
        """It, its room and the document go with the last word of them, without being collected."""
        self._end_listening()
        self._end_listening = _end_nothing
        self._everybody.forget()
        self._ask = _ask_nobody

    # ---- who is in it -------------------------------------------------------------------------

    def join(self, member: Member) -> None:
        self._members[member] = False
        self._show_others(member)

    def leave(self, member: Member) -> None:
        self._members.pop(member, None)
        self._in_step.pop(member, None)
        member.leave()
        if self._first is not None:
            self._first.readers.discard(member)

    def greet(self) -> None:
        """Ask those who have come for what is not known here."""
        new = [member for member, is_greeted in self._members.items() if not is_greeted]
        if new:
            asked = frame(wire.step1(self._live.state_vector()))
            for member in new:
                self._members[member] = True
                member.write(asked)

    def sign_of_life(self, frames: bytes) -> None:
        """Write something harmless to everybody to whom something can be written."""
        for member in self._members:
            if not member.is_pouring and member.keeps_up:
                member.write(frames)

    # ---- the document -------------------------------------------------------------------------

    def start_again(self) -> None:
        """The document was made anew: what anybody has of it is not known."""
        self._first = None
        self._told = wire.EMPTY_STATE
        self._fall_behind(list(self._in_step))

    def tell(self, updates: Sequence[bytes]) -> None:
        """Tell everybody who is in step."""
        if not updates:
            return
        size = sum(map(len, updates))
        if size > YJS_UNSENT_BYTES_MAX:
            self._fall_behind(list(self._in_step))
            return
        frames = b"".join([frame(wire.edited(update)) for update in updates])
        slow: list[Member] = []
        for member in self._in_step:
            if member.keeps_up:
                member.write(frames)
            else:
                slow.append(member)
        self._fall_behind(slow)
        self._told_bytes += size
        if self._told_bytes > _TOLD_BYTES:
            self._told, self._told_bytes = self._live.state_vector(), 0

    def answer(self, member: Member, since: bytes, making: Making) -> None:
        """Send a member what it lacks. It is in step then, or as soon as it has read it."""
        if member not in self._members or member.is_pouring:
            # Who asks again while it is being answered is told what is new when it has read that.
            return
        # Who came in the middle of a turn asks before it was: not in the middle of its answer.
        self.greet()
        if not member.keeps_up:
            # Who asks and does not read is answered when it has read what was written.
            self._in_step.pop(member, None)
            member.pour((), lambda: self._ask(member, since, making))
            return
        update = None
        if since != wire.EMPTY_STATE:
            update = self._live.encoded(since)
        elif self._live.is_small:
            update = self._live.encoded()
        if update is not None and len(update) <= YJS_FRAGMENT_BYTES:
            member.write(frame(making(update)))
            if member not in self._in_step:
                # Who was in step has heard of everybody.
                self._in_step[member] = None
                self._show_others(member)
            return
        self._in_step.pop(member, None)
        if update is None or len(update) > YJS_UNSENT_BYTES_MAX:
            self._pour_all(member, making)
            return
        at, version = self._live.state_vector(), self._live.version
        member.pour(
            fragments(making(update)), lambda: self._go_on(member, at, version, wire.edited)
        )

    def _fall_behind(self, members: Sequence[Member]) -> None:
        """They get nothing until they have read what was written, and then what they lack."""
        for member in members:
            del self._in_step[member]
            self._catch_up(member, self._told)

    def _catch_up(self, member: Member, since: bytes) -> None:
        member.pour((), lambda: self._ask(member, since, wire.edited))

    def _pour_all(self, member: Member, making: Making) -> None:
        first = self._first_state()
        first.readers.add(member)
        is_step2 = making is wire.step2
        is_newest = first.version == self._live.version
        pieces = partial(first.pieces, is_step2=is_step2 and is_newest)
        # Who has had an update of what is old now still waits for its step 2.
        then = wire.step2 if is_step2 and not is_newest else wire.edited

        def poured() -> None:
            first.readers.discard(member)
            self._go_on(member, first.state_vector, first.version, then)

        member.pour(pieces, poured)

    def _go_on(self, member: Member, at: bytes, version: int, making: Making) -> None:
        """A member has been sent all of an earlier version."""
        if version == self._live.version and making is wire.edited and not self._live.is_torn:
            self._in_step[member] = None
            self._show_others(member)
        else:
            self._ask(member, at, making)

    def _first_state(self) -> FirstState:
        """One that is good enough: of this version, or being read by others and not too old."""
        live, first = self._live, self._first
        if first is not None and first.has_failed:
            first = None
        if first is not None and first.version != live.version:
            grown = len(live.encoded(first.state_vector))
            if not first.readers or grown * _OLD_PART > first.size:
                first = None
        if first is None:
            first = FirstState(live.version, live.state_vector(), live.encoded())
            self._first = first
        return first

    # ---- awareness ----------------------------------------------------------------------------

    def show_awareness(self, member: Member) -> None:
        """Tell a member who asks who is here."""
        frames = self._everybody.frames()
        self._write(member, frames or [frame(wire.aware(NOBODY))])

    def show(self, member: Member, states: Sequence[PresenceState]) -> None:
        """Tell one member of these; of whom it does not read it hears when they say it anew."""
        self._write(member, [frame(wire.aware(one)) for one in awareness_messages(states)])

    def _write(self, member: Member, frames: Sequence[bytes]) -> None:
        for one in frames:
            if member.is_pouring or not member.keeps_up:
                return
            member.write(one)

    def _show_others(self, member: Member) -> None:
        """Tell a member of those who are here, if anybody is."""
        self._write(member, self._everybody.frames())

    def _aware_of(self, _: ContextName, states: tuple[PresenceState, ...], __: object) -> None:
        self._everybody.change(states)
        if not self._news:
            asyncio.get_running_loop().call_soon(self._tell_news)
        self._news.update((one.client, one) for one in states)

    def _tell_news(self) -> None:
        states = sorted(self._news.values(), key=lambda one: one.client)
        self._news.clear()
        for message in awareness_messages(states):
            frames = frame(wire.aware(message))
            for member in self._in_step:
                if member.keeps_up:
                    member.write(frames)


def _end_nothing() -> None:
    """It has ended already."""


def _ask_nobody(member: Member, since: bytes, making: Making) -> None:
    """The room is closed: nobody is in it."""
