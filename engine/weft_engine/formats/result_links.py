"""Which call a tool result answers, found by position.

Providers use call ids again within one conversation, so an id alone can't tell; a result
belongs to a call that stands before it and has no answer yet. Must never know: any format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from weft_engine.events.event import Message
from weft_engine.events.part import Call, CallRef, Part, Result
from weft_engine.names import EventId


def link_results(message: Message, find_call: Callable[[str], CallRef | None]) -> Message:
    """`message` with the call of each result that names none, as `find_call` gives it for the
    provider's id, asked once per result, in order. None leaves the result without."""
    if not any(isinstance(part, Result) and part.call is None for part in message.parts):
        return message
    return replace(message, parts=tuple(_linked(part, find_call) for part in message.parts))


def link_conversation(entries: Iterable[tuple[EventId, Message]]) -> list[Message]:
    """The messages of one conversation, in its order, with their results linked.

    A result goes to the nearest message before it that has an unanswered call of that id, there
    to the earliest such call. (The nearest, for a call that was broken off stays unanswered, and
    must not take the answer to a later call that uses its id again.)
    """
    unanswered: dict[str, list[list[CallRef]]] = {}

    def find_call(provider_id: str) -> CallRef | None:
        messages = unanswered.get(provider_id)
        if not messages:
            return None
        call = messages[-1].pop(0)
        if not messages[-1]:
            messages.pop()
        return call

    linked: list[Message] = []
    for event, message in entries:
        linked.append(link_results(message, find_call))
        own: dict[str, list[CallRef]] = {}
        for index, part in enumerate(message.parts):
            if isinstance(part, Call):
                own.setdefault(part.id, []).append(CallRef(event, index))
            elif isinstance(part, Result) and part.call is not None:
                _answer(unanswered, part.id, part.call)
        for provider_id, calls in own.items():
            unanswered.setdefault(provider_id, []).append(calls)
    return linked


def _linked(part: Part, find_call: Callable[[str], CallRef | None]) -> Part:
    if isinstance(part, Result) and part.call is None:
        call = find_call(part.id)
        return part if call is None else replace(part, call=call)
    return part


def _answer(unanswered: dict[str, list[list[CallRef]]], provider_id: str, call: CallRef) -> None:
    """Takes a call that a result named by itself off the list."""
    messages = unanswered.get(provider_id, [])
    for calls in messages:
        if call in calls:
            calls.remove(call)
            if not calls:
                messages.remove(calls)
            return
