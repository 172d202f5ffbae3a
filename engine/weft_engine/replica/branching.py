"""Beginning branches of a branch, and what to do about answers that came about side by side.

Must never know: how branches are ordered, views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from weft_engine.errors import NotFound
from weft_engine.events.event import Message
from weft_engine.limits import DEPS_MAX
from weft_engine.names import ContextName, EventId, branch_name
from weft_engine.records.frontier import EMPTY, Frontier
from weft_engine.replica.branches import Cut, before_event, begin, message_of, up_to
from weft_engine.replica.drafting import hide_drafts, message_drafts
from weft_engine.replica.siblings import Answer, group_of, siblings
from weft_engine.storage.lineage import Lineage, ReadingOrder

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica

T = TypeVar("T")


class Branching:
    """Of one branch of a context; None is main."""

    def __init__(self, replica: Replica, name: ContextName, branch: EventId | None) -> None:
        self._replica = replica
        self._name = name
        self._branch = branch

    async def begin(
        self,
        name: str,
        *,
        at: EventId | None = None,
        before: EventId | None = None,
        author: str = "branch",
    ) -> EventId:
        """The id of a new branch: from now, or up to `at`, or from `before` an event."""
        branch_name(name)
        event = begin(name, await self._cut(at, before), author=author, parent=self._branch)
        (id_,) = await self._replica.scribe.append(self._name, [lambda _: event])
        return id_

    async def role_of(self, event: EventId) -> str:
        message = await self._ask(lambda order: message_of(order, event))
        if message is None:
            raise _no_event(event)
        return message.role.value

    # ---- siblings -----------------------------------------------------------------------------

    async def siblings(self) -> list[tuple[EventId, ...]]:
        groups = await self._ask(siblings) or []
        return [tuple(answer.id for answer in group) for group in groups]

    async def choose(self, event: EventId) -> list[EventId]:
        group = await self._group(event)
        return await self._hide([answer for answer in group if answer.id != event])

    async def merge(self, event: EventId, said: Sequence[Message], author: str | None) -> EventId:
        targets = _led_to(await self._group(event))
        drafts = message_drafts(said, author=author, branch=self._branch)
        drafts += hide_drafts(targets, self._branch)
        return (await self._replica.scribe.append(self._name, drafts))[0]

    async def set_aside(self, event: EventId, name: str) -> EventId:
        """The id of the branch."""
        group = await self._group(event)
        (answer,) = [answer for answer in group if answer.id == event]
        branch = await self.begin(name, at=answer.led_to[-1])
        await self._hide([answer])
        return branch

    async def _group(self, event: EventId) -> tuple[Answer, ...]:
        group = await self._ask(lambda order: group_of(order, event))
        if group is None:
            raise _no_event(event)
        return group

    async def _hide(self, answers: Sequence[Answer]) -> list[EventId]:
        drafts = hide_drafts(_led_to(answers), self._branch)
        return await self._replica.scribe.append(self._name, drafts)

    # ---- inside -------------------------------------------------------------------------------

    async def _cut(self, at: EventId | None, before: EventId | None) -> Cut:
        event = before if at is None else at
        if event is None:
            frontier = await self._frontier()
            if len(frontier) > DEPS_MAX:
                await self._replica.scribe.join(self._name)
                frontier = await self._frontier()
            return Cut(frontier)
        find = before_event if at is None else up_to
        found = await self._replica.ask(
            self._name, lambda table, _: find(table, Lineage(table, self._branch), event)
        )
        if found is None:
            raise _no_event(event)
        return found

    async def _frontier(self) -> Frontier:
        state = await self._replica.state(self._name)
        return EMPTY if state is None else state.frontier

    async def _ask(self, question: Callable[[ReadingOrder], T]) -> T | None:
        return await self._replica.ask(
            self._name, lambda table, _: question(Lineage(table, self._branch))
        )


def _led_to(answers: Sequence[Answer]) -> list[EventId]:
    return [target for answer in answers for target in answer.led_to]


def _no_event(event: EventId) -> NotFound:
    return NotFound(f"the context has no event {event}", hint="use an id that history gave")
