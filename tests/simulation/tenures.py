"""Who wrote under which name: an incarnation and an epoch belong to one session of one file, and go
on in another only after a clean close of that very file, on a machine that has not been restarted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from weft_engine.names import Incarnation
from weft_engine.storage.journal import Identity

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass(slots=True, eq=False)
class Tenure:
    """One process on one file. `generation`: how often the machine was given other files."""

    machine: str
    generation: int
    boots: int
    before: Tenure | None
    """Who wrote last in the file that it found."""
    was_empty: bool
    """There was no record in it, so nobody knows it yet."""
    is_clean: bool = False
    has_written: bool = False
    incarnations: set[Incarnation] = field(default_factory=set)
    identities: set[Identity] = field(default_factory=set)
    met: dict[Incarnation, int] = field(default_factory=dict)
    """Its names under which somebody else has written, and its own commits since it heard of it."""

    def follows(self, other: Tenure) -> bool:
        """Whether it may go on where the other one ended."""
        if self.before is None:
            return False
        here = self.machine, self.generation, self.boots
        if any((one.machine, one.generation, one.boots) != here for one in self.before.line()):
            return False
        return other in self.before.line()

    def line(self) -> list[Tenure]:
        """This one and those before it that it may have gone on from; none if it ended badly."""
        found: list[Tenure] = []
        at: Tenure | None = self
        while at is not None and at.is_clean:
            found.append(at)
            at = at.before
            if at is not None and (at.generation, at.boots, at.machine) != (
                self.generation,
                self.boots,
                self.machine,
            ):
                break
        return found


_UNDER_WAY_MAX: Final = 3
"""Commits that may have been handed over before a name was given up."""


class Tenures:
    """Hears of all that is committed. `may_fork`: names that were copied with everything that
    proves that they were not."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._writers: dict[Incarnation, Tenure] = {}
        self._holders: dict[Identity, Tenure] = {}
        self.may_fork: set[Incarnation] = set()
        self.copied: set[bytes] = set()
        """Store ids of such copies."""

    def met(self, tenure: Tenure, origins: set[Incarnation]) -> None:
        """A link has brought records of these writers."""
        for incarnation in origins & tenure.incarnations:
            tenure.met.setdefault(incarnation, 0)

    def wrote(self, tenure: Tenure, identity: Identity, incarnations: set[Incarnation]) -> None:
        """A commit; `incarnations` are those of its own records."""
        tenure.has_written = True
        if identity not in tenure.identities:
            tenure.identities.add(identity)
            before = self._holders.get(identity)
            self._holders[identity] = tenure
            if before is not None and tenure.was_empty:
                # Copied before it held anything: either may go on in it until they hear of it.
                self.copied.add(identity.store)
            elif (
                before is not None
                and not tenure.follows(before)
                and identity.store not in self.copied
            ):
                self._world.fail(
                    f"{tenure.machine} goes on in an epoch of {before.machine} that did not end"
                    " well"
                )
        for incarnation in incarnations & tenure.met.keys():
            tenure.met[incarnation] += 1
            if tenure.met[incarnation] > _UNDER_WAY_MAX:
                self._world.fail(
                    f"{tenure.machine} goes on under a name that somebody else writes under, too"
                )
        for incarnation in incarnations - tenure.incarnations:
            tenure.incarnations.add(incarnation)
            before = self._writers.get(incarnation)
            self._writers[incarnation] = tenure
            self._world.counts["incarnations"] += before is None
            if before is None or incarnation in self.may_fork:
                continue
            self._world.counts["incarnations that went on"] += 1
            if not tenure.follows(before):
                self._world.fail(
                    f"{tenure.machine} writes under a name of {before.machine} that did not end"
                    " well"
                )
