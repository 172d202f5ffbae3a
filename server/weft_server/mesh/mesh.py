"""The mesh as one relay knows it: its peers, its links with other regions, how far they are.

Must never know: frames, sockets, how it is shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from weft_engine.errors import LinkRefused, MachineError
from weft_engine.limits import CHECK_EVERY_S
from weft_engine.names import Position
from weft_engine.replica.checking import Difference
from weft_engine.replica.replica import Replica
from weft_engine.storage.known_regions import load_regions, save_regions
from weft_engine.storage.ledger import Stored
from weft_engine.storage.reading import last_position
from weft_engine.sync.driving.link import Link
from weft_engine.sync.framing.messages import ByeCode, Hello
from weft_engine.sync.interest import EVERYTHING
from weft_server.mesh.audit import Audit
from weft_server.mesh.clocks import alarm, offset_ms
from weft_server.mesh.memory import Memory
from weft_server.mesh.peer_config import PeerConfig
from weft_server.mesh.peers import Make, Peers, Run
from weft_server.mesh.region_links import RegionLinks, Via
from weft_server.mesh.standing import Standings
from weft_server.mesh.timeline import Timeline
from weft_server.operator_log import LOGGER

_LOG: Final = logging.getLogger(LOGGER)
LOOK_S: Final = 1.0
SAVE_EVERY_S: Final = 10.0
"""What is known of other regions is saved so often at most, if one holds more;"""
SAVE_AT_LEAST_S: Final = 60.0
"""and so often in any case: when they were heard of last."""


def _say_difference(found: Difference) -> None:
    _LOG.error("regions compared what they show: %s: %s", found.context, found.text)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that its operator has to look after."""

    kind: str
    text: str


class Mesh:
    """Of one relay, whose `region` and `peers` these are; `make` and `run` are its. `keep` it up
    while the relay serves."""

    def __init__(
        self,
        replica: Replica,
        region: str,
        peers: Sequence[PeerConfig],
        *,
        make: Make,
        run: Run,
        random: Callable[[], float],
    ) -> None:
        self.region = region
        self.replica = replica
        self.links = RegionLinks(region, [peer.name for peer in peers])
        self.standings = Standings()
        self.peers = Peers(peers, replica, self.links, make=make, run=run, random=random)
        self.timeline: Timeline | None = None
        """None before `recall`."""
        self.memory = Memory()
        self._saved: dict[str, tuple[Position | None, bytes]] = {}
        self._saved_s = float("-inf")
        self.audit = Audit(replica.path)
        self._clock_alarm: str | None = None
        self._began_s = asyncio.get_running_loop().time()

    def up_s(self) -> float:
        """For how long this has been."""
        return asyncio.get_running_loop().time() - self._began_s

    @property
    def clock_offset_ms(self) -> int | None:
        """By how much our clock is ahead of the median of the linked regions' clocks."""
        return offset_ms(self.clock_offsets())

    def clock_offsets(self) -> list[int]:
        """By how much the clock of each linked region is ahead of ours."""
        return [
            standing.clock_offset_ms
            for standing in self.standings
            if standing.current is not None and standing.clock_offset_ms is not None
        ]

    def alarms(self) -> list[Alarm]:
        """What is wrong now."""
        found = [] if self._clock_alarm is None else [Alarm("clock", self._clock_alarm)]
        differences = self.replica.checks.differences
        return found + [Alarm("check", f"{one.context}: {one.text}") for one in differences]

    def why_wrong(self, ours: Hello, theirs: Hello, via: Via) -> LinkRefused | None:
        """As `RegionLinks.why_wrong`."""
        return self.links.why_wrong(ours, theirs, via, now_ms=self.replica.now_ms())

    def greeted(self, link: Link, via: Via) -> None:
        """As `RegionLinks.greeted`."""
        self.links.greeted(link, via, now_ms=self.replica.now_ms())
        if via.only_region is not None:
            self.replica.reach.vouch(via.only_region)
        peer = link.session.peer
        assert peer is not None, "it has said hello"
        for one in self.links:
            if one.link is link:
                offset = peer.now_ms - self.replica.now_ms()
                self.standings.begin(one, clock_offset_ms=offset)
                how = "was dialled" if one.is_dialled else "has dialled"
                _LOG.info("region %s is linked, it %s: %s", one.region, how, via.place)
                self._check_clock()

    def left(self, link: Link) -> None:
        """A link is over, whosever it was."""
        one = self.links.left(link)
        if one is not None:
            self.standings.end(one)
            standing = self.standings.of(one.region)
            if (
                standing is not None
                and standing.current is None
                and one.link.session.interest == EVERYTHING
            ):
                now_ms = self.replica.now_ms()
                self.memory.left(standing, since_ms=self._since_ms, now_ms=now_ms)
            end = link.session.end
            why = "the relay has left it" if end is None else end.reason
            if end is not None and end.code == ByeCode.FAULT and not end.by_peer:
                why = "this relay's disk or connection failed"  # The reason is for the other end.
            _LOG.info("the link with region %s is over: %s", one.region, why)

    async def recall(self) -> None:
        """Begin with what was known before this relay began, before anybody asks."""
        store = self.replica.identity.store
        found = await self.replica.journal.read(partial(load_regions, store=store))
        began = await self.replica.journal.read(last_position)
        now_s, now_ms = asyncio.get_running_loop().time(), self.replica.now_ms()
        configured = {peer.config.name for peer in self.peers.all}
        self.memory.recall(found, configured=configured, now_ms=now_ms)
        for one in self.memory:
            if one.store and self.standings.of(one.name) is None:
                self.standings.recall(one)
        self.replica.reach.recall(name for name in self.memory.names if name != self.region)
        self.timeline = Timeline(
            began,
            now_s,
            [
                (one.upto, now_s - (now_ms - one.since_ms) / 1000)
                for one in self.memory
                if one.upto is not None
            ],
        )

    async def keep(self) -> None:
        """Dial the peers and look after all links, until this is cancelled. After `recall`."""
        stop = self.replica.journal.listen(self._committed)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.peers.keep(), name="weft-mesh-peers")
                group.create_task(self._look(), name="weft-mesh-look")
                group.create_task(self.audit.keep(), name="weft-mesh-audit")
                group.create_task(self.check(), name="weft-mesh-check")
        finally:
            stop()
            await self._save()

    def remember(self) -> None:
        """Bring `memory` up to date."""
        self.memory.look(
            self.replica.reach.holders(EVERYTHING),
            self.standings.of,
            since_ms=self._since_ms,
            now_ms=self.replica.now_ms(),
        )

    async def check(self, *, every_s: float = CHECK_EVERY_S) -> None:
        """Compare our event indexes with those of the linked regions, until this is cancelled."""
        await self.replica.checks.keep(
            lambda: [one.link for one in self.links], say=_say_difference, every_s=every_s
        )

    # ---- inside -------------------------------------------------------------------------------

    async def _save(self) -> None:
        """Keep what is known for when this relay begins anew. A disk that is full now may have
        room later, and whoever writes then is told of it."""
        self.remember()
        store = self.replica.identity.store
        try:
            await self.replica.journal.write(
                partial(save_regions, regions=tuple(self.memory), store=store)
            )
        except MachineError as error:
            _LOG.warning("what is known of other regions can't be saved: %s", error)

    async def _save_in_time(self) -> None:
        now_s = asyncio.get_running_loop().time()
        known = {one.name: (one.upto, one.store) for one in self.memory}
        every_s = SAVE_AT_LEAST_S if known == self._saved else SAVE_EVERY_S
        if known and now_s - self._saved_s >= every_s:
            self._saved, self._saved_s = known, now_s
            await self._save()

    def _since_ms(self, upto: Position) -> int:
        """When the oldest record behind `upto` came; now if there is none."""
        waits_s = 0.0
        if self.timeline is not None:
            waits_s = self.timeline.waits_s(upto, asyncio.get_running_loop().time())
        return self.replica.now_ms() - round(waits_s * 1000)

    def _committed(self, stored: Sequence[Stored], _: bytes) -> None:
        if stored and self.timeline is not None:
            self.timeline.grew(stored[-1].position, asyncio.get_running_loop().time())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.standings.look(asyncio.get_running_loop().time())
            self._check_clock()
            self.remember()
            await self._save_in_time()

    def _check_clock(self) -> None:
        """Say once that our clock is wrong, and once that it is right again."""
        offsets = self.clock_offsets()
        if not offsets:
            return  # Nobody says anything else than before.
        found = alarm(offset_ms(offsets), len(offsets))
        if found is not None and self._clock_alarm is None:
            _LOG.error("%s", found)
        elif found is None and self._clock_alarm is not None:
            _LOG.info("this relay's clock agrees with its peers' again")
        self._clock_alarm = found
