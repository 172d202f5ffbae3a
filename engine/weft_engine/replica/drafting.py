"""The events that messages, pins and hides become, when their ids are known.

Must never know: records, what else a context does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from weft_engine.events.event import Event, Hide, Message, Pin, Role
from weft_engine.formats.openai_chat import link_results
from weft_engine.names import EventId
from weft_engine.records.frontier import Frontier
from weft_engine.replica.open_calls import OpenCalls

if TYPE_CHECKING:
    from weft_engine.replica.scribe import Draft


def message_drafts(
    said: Iterable[Message],
    *,
    seen: Frontier | None = None,
    author: str | None,
    calls: OpenCalls | None = None,
    branch: EventId | None,
) -> list[Draft]:
    """Results are linked to `calls`; `seen` is what answers had seen, if that is told; `author` is
    by default a message's name or role."""
    return [partial(_message, message, seen, author, calls, branch) for message in said]


def hide_drafts(targets: Iterable[EventId], branch: EventId | None) -> list[Draft]:
    return [partial(_hide, target, branch) for target in sorted(set(targets))]


def _message(
    message: Message,
    seen: Frontier | None,
    author: str | None,
    calls: OpenCalls | None,
    branch: EventId | None,
    id_: EventId,
) -> Event:
    if calls is not None:
        message = link_results(message, calls.find)
        calls.note(id_, message)
    return Event(
        author if author is not None else message.name or message.role.value,
        message,
        branch=branch,
        seen=seen if message.role is Role.ASSISTANT else None,
    )


def with_pins(drafts: Sequence[Draft], author: str | None, branch: EventId | None) -> list[Draft]:
    """`drafts`, and behind them a pin of each."""
    ids: list[EventId] = []

    def noted(draft: Draft, id_: EventId) -> Event:
        ids.append(id_)
        return draft(id_)

    def pinned(index: int, _: EventId) -> Event:
        return Event(author or "pin", Pin(ids[index]), branch=branch)

    return [
        *(partial(noted, draft) for draft in drafts),
        *(partial(pinned, index) for index in range(len(drafts))),
    ]


def _hide(target: EventId, branch: EventId | None, _: EventId) -> Event:
    return Event("hide", Hide(target), branch=branch)
