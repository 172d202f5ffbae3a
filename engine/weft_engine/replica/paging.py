"""Walking through a history in pages, as it is now or as it was: what both have in common.

Must never know: where a page comes from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol

from weft_engine.events.event import Message
from weft_engine.formats.openai_chat import export_message
from weft_engine.names import EventId
from weft_engine.replica import history
from weft_engine.replica.history import Said
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.reading import ContextState

PAGE: Final = 200

Ask = Callable[[Callable[[EventTable, ContextState], list[Said]]], Awaitable[Sequence[Said] | None]]
"""Puts a question to an event index; None if there is nothing to ask."""


class PageOf(Protocol):
    """Gives messages of a reading order, oldest first, up to PAGE of them."""

    def __call__(
        self, *, after: EventId | None, before: EventId | None, newest: bool
    ) -> Awaitable[Sequence[Said]]: ...


async def messages(
    page_of: PageOf, *, after: EventId | None, before: EventId | None, newest_first: bool
) -> AsyncIterator[Said]:
    """From the oldest, or from behind `after` on; or else from the newest, or from in front of
    `before`, back."""
    backwards = newest_first or before is not None
    at = before if backwards else after
    while True:
        page = await page_of(
            after=None if backwards else at,
            before=at if backwards else None,
            newest=backwards and at is None,
        )
        for said in reversed(page) if backwards else page:
            yield said
        if len(page) < PAGE:
            return
        at = page[0].id if backwards else page[-1].id


async def events(ask: Ask, *, after: EventId | None, newest_first: bool) -> AsyncIterator[Said]:
    """Every event by (time, id): from behind `after` on, or from the newest back."""
    at = after
    while True:
        page = await ask(partial(_events_page, at, newest_first)) or ()
        for said in reversed(page) if newest_first else page:
            yield said
        if len(page) < PAGE:
            return
        at = page[0].id if newest_first else page[-1].id


async def exported(said: AsyncIterator[Said]) -> list[str]:
    """These messages as JSON texts of the OpenAI chat format."""
    return [
        text
        async for one in said
        if isinstance(one.event.body, Message)
        for text in export_message(one.event.body)
    ]


def _events_page(
    at: EventId | None, backwards: bool, table: EventTable, _: ContextState
) -> list[Said]:
    if backwards:
        return history.events(table, after=None, before=at, newest=at is None, limit=PAGE)
    return history.events(table, after=at, before=None, limit=PAGE)
