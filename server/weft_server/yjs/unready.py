"""Clients that have sent what builds on what is not here: when each is asked for it, and when it
is sent away.

Tabs of one browser share updates behind the relay's back, and stores bring what is theirs by
themselves, so what is lacking mostly comes soon. A client's answer to a question holds all that it
has; what that lacks, the client lacks itself, and is asked for nothing until something of it has
come. Only who goes on writing upon what does not come is sent away, and told why: nothing of that
is stored. Must never know: websockets, journals.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from itertools import islice
from typing import Final

from weft_engine.limits import YJS_ASK_AGAIN_S, YJS_LACKED_KEPT, YJS_UNREADY_S
from weft_engine.names import ClientId, ContextName
from weft_engine.replica.live import LiveDocument, Part
from weft_server.yjs import wire
from weft_server.yjs.framing import frame
from weft_server.yjs.member import Member

_LOG: Final = logging.getLogger("weft.relay")


class Unready:
    """`live` is its room's document."""

    def __init__(self, name: ContextName, live: LiveDocument) -> None:
        self._name = name
        self._live = live
        self._lacked: dict[Member, Mapping[ClientId, int]] = {}
        """What the updates of each lack, as far as it is kept."""
        self._writing_since_s: dict[Member, float] = {}
        """Since when nothing was stored of what each writes."""
        self._told: set[Member] = set()
        """Whose answers the operator has been told of."""
        self._asking: asyncio.TimerHandle | None = None

    def leave(self, member: Member) -> None:
        self._lacked.pop(member, None)
        self._writing_since_s.pop(member, None)
        self._told.discard(member)

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def stored(self, member: Member) -> None:
        """Something that it has sent is being stored."""
        self._writing_since_s.pop(member, None)

    def is_ready(self, member: Member) -> None:
        """Its answer to a question, which is all that it has, lacks nothing."""
        self._writing_since_s.pop(member, None)
        self._lacked.pop(member, None)

    def answered(self, member: Member, part: Part) -> None:
        """Its answer to a question lacks something."""
        self._lacked[member] = _some(part.lacks)
        if member not in self._told:
            self._told.add(member)
            _LOG.warning(
                "a Yjs client in room %r has %d structs that are not stored: %s is not here",
                *(self._name, part.left, _what(part.lacks)),
            )

    def written(self, member: Member, part: Part) -> str | None:
        """It has written what lacks something: it is asked for that. Why it is to be sent away, if
        nothing of it was stored for too long."""
        now_s = asyncio.get_running_loop().time()
        since_s = self._writing_since_s.setdefault(member, now_s)
        before = self._lacked.get(member, {})
        lacks = _some({**before, **part.lacks, **before})
        if now_s >= since_s + YJS_UNREADY_S:
            return f"not stored: it builds on {_what(lacks)}, which is not here"
        self._lacked[member] = lacks
        self._ask(member)
        return None

    def has_come(self) -> None:
        """The document has changed: who lacks something of what has come is asked again soon, if it
        is quiet, too."""
        if self._lacked and self._asking is None:
            loop = asyncio.get_running_loop()
            self._asking = loop.call_later(YJS_ASK_AGAIN_S, self._ask_all)

    # ---- inside -------------------------------------------------------------------------------

    def _ask_all(self) -> None:
        self._asking = None
        is_due = False
        for member, lacks in tuple(self._lacked.items()):
            if self._live.has(lacks):
                if self._ask(member):
                    del self._lacked[member]
                else:
                    is_due = True
        if is_due:
            self.has_come()

    def _ask(self, member: Member) -> bool:
        """At most so often; whether it was asked."""
        now_s = asyncio.get_running_loop().time()
        if now_s < member.asked_again_s + YJS_ASK_AGAIN_S or member.is_pouring:
            return False
        member.asked_again_s = now_s
        member.write(frame(wire.step1(self._live.state_vector())))
        return True


def _some(lacks: Mapping[ClientId, int]) -> dict[ClientId, int]:
    return dict(islice(lacks.items(), YJS_LACKED_KEPT))


def _what(lacks: Mapping[ClientId, int]) -> str:
    client, end = next(iter(lacks.items()))
    more = f", and what {len(lacks) - 1} others wrote" if len(lacks) > 1 else ""
    return f"what client {client} wrote before its clock {end}{more}"
