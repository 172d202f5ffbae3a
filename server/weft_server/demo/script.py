"""What the two devices of the demo write while they are offline: whole turns with tool calls.

Both use the same provider ids for their calls, as real providers do. Must never know: stores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TURNS_MIN: Final = 60
"""Turns that a device writes at least, however few contexts there are: a sync that is over at once
has no middle to kill a relay in."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, a tool call, its result, an answer."""

    context: str
    messages: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class _Line:
    asks: str
    tool: str
    arguments: dict[str, object]
    result: dict[str, object]
    answers: str


_LINES: Final = {
    "laptop": (
        _Line(
            "We are in a tunnel without a network. Where did we stop?",
            "read_notes",
            {"last": 3},
            {"notes": ["asked for details", "checked the options", "waiting for a yes"]},
            "The last three notes: details asked, options checked, and we wait for a yes.",
        ),
        _Line(
            "Draft the reply now, I send it when we are out of the tunnel.",
            "draft",
            {"to": "customer", "tone": "friendly", "lines": 4},
            {"draft": "d-7", "characters": 412},
            "Draft d-7 is ready: four friendly lines. It waits here until there is a network.",
        ),
        _Line(
            "What is still open in this one?",
            "open_points",
            {"include_done": False},
            {"open": ["price", "date"]},
            "Two points are open: the price and the date.",
        ),
    ),
    "phone": (
        _Line(
            "I am on the plane. Remind me of this when we land.",
            "set_reminder",
            {"when": "landing", "minutes_after": 10},
            {"reminder": "r-12", "kept": "on this phone"},
            "Reminder r-12 is kept on this phone, ten minutes after landing.",
        ),
        _Line(
            "Sum it up in one line for the person at the gate.",
            "summarise",
            {"lines": 1, "for": "gate"},
            {"line": "One request, checked, one decision missing."},
            "For the gate: one request, checked, one decision missing.",
        ),
        _Line(
            "Mark it as urgent, please.",
            "set_priority",
            {"priority": "urgent", "because": "the person waits"},
            {"priority": "urgent", "was": "normal"},
            "It is urgent now. Everybody sees that as soon as we are back.",
        ),
    ),
}


def turns(device: str, contexts: Sequence[str], *, round_number: int) -> list[Turn]:
    """What `device` writes in a round: in every context at least one turn."""
    per_context = max(1, -(-TURNS_MIN // len(contexts)))
    lines = _LINES[device]
    return [
        _turn(context, lines[(place + number + round_number) % len(lines)], number)
        for place, context in enumerate(contexts)
        for number in range(per_context)
    ]


def _turn(context: str, line: _Line, number: int) -> Turn:
    call_id = f"call_{number}"
    call = {
        "id": call_id,
        "type": "function",
        "function": {"name": line.tool, "arguments": json.dumps(line.arguments)},
    }
    return Turn(
        context,
        [
            {"role": "user", "content": line.asks},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": json.dumps(line.result)},
            {"role": "assistant", "content": line.answers},
        ],
    )
