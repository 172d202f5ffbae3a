"""How the differences between two views read to people.

Must never know: receipts, stores, where it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from weft_server.cli.output import one_line
from weft_server.cli.wording import message_text

if TYPE_CHECKING:
    from weft_engine.events.event import Message
    from weft_engine.replica.explaining import Explained
    from weft_engine.views.comparison import Absent, Change, Difference, Side, SpecChange
    from weft_engine.views.shown import Shown

_SAID_CHARS: Final = 60
_MARKS: Final[Mapping[str, str]] = {
    "dropped": "-",
    "added": "+",
    "changed": "~",
    "moved": ">",
    "same": "=",
    "absent": "?",
}
_RULES: Final[Mapping[str, str]] = {
    "skipped": "the policy left out some of its parts",
    "replaced": "a policy put another text in its place",
    "interrupted": "its call has no result yet, so a remark of ours stands for it",
    "orphaned": "its call is not shown, so its result stands as text",
    "late": "it came late, and the summary does not cover it",
    "pinned": "it is pinned",
    "carried": "it is critical or persistent, so it is taken along from before the window",
    "recalled": "the policy chose it from before the window",
    "opening": "it opens the turn in which the window begins",
    "facts": "facts",
    "summary": "the summary",
}


def mark(change: Change) -> str:
    return _MARKS[change.value]


def grouped(differences: Iterable[Difference]) -> list[list[Difference]]:
    """Those of one kind and for one reason together: what was forgotten first."""
    groups: dict[tuple[int, str, str], list[Difference]] = {}
    for difference in differences:
        why = _why(difference)
        order = [*_MARKS].index(difference.change.value)
        groups.setdefault((order, difference.change.value, why), []).append(difference)
    return [groups[key] for key in sorted(groups)]


def group_title(group: Sequence[Difference], explained: Explained) -> str:
    """Such as ``DROPPED 12 messages, 3,402 tokens: older than the window of B, ...``."""
    first = group[0]
    tokens = sum(difference.tokens or 0 for difference in group)
    count = f"{len(group):,} message{'s' if len(group) > 1 else ''}, {tokens:,} tokens"
    match first.change.value:
        case "dropped":
            why = f"in B {fate_text(first.b, first, explained.b)}"
        case "added":
            why = f"in A {fate_text(first.a, first, explained.a)}"
        case "changed":
            here = f"in A {fate_text(first.a, first, explained.a)}"
            there = f"in B {fate_text(first.b, first, explained.b)}"
            why = f"{here}; {there}" if len(group) == 1 else _why(first)
        case _:
            why = "the same in both, but at another place among the rest"
    return f"{first.change.value.upper()} {count}: {why}"


def fate_text(fate: Shown | Absent, difference: Difference, side: Side) -> str:
    """What a view did with a message, and by which rule."""
    from weft_engine.views.comparison import Absent

    return _absent(fate, side) if isinstance(fate, Absent) else _shown(fate, difference)


def spec_text(change: SpecChange) -> str:
    return f"{change.name}: {_value(change.a)} in A, {_value(change.b)} in B"


def said_text(message: Message | None, *, full: bool) -> str:
    """Role and first words, in one line."""
    if message is None:
        return "(not here any more)"
    said = message_text(message.parts)
    if not full and len(said) > _SAID_CHARS:
        said = f"{said[:_SAID_CHARS].rstrip()}…"
    return f"{message.role.value}: {one_line(said)}"


def _why(difference: Difference) -> str:
    """What those of one group have in common."""
    from weft_engine.views.comparison import Absent

    match difference.a, difference.b:
        case (_, Absent() as absent) | (Absent() as absent, _):
            return f"{absent.reason.value} {absent.by or ''}"
        case a, b:
            assert not isinstance(a, Absent)
            assert not isinstance(b, Absent)
            return f"{_how(a)} in A, {_how(b)} in B"


def _how(shown: Shown) -> str:
    rules = " and ".join(sorted(rule.value for rule in shown.rules)) or "as it was said"
    return f"{rules} in the {shown.area.value}"


def _absent(absent: Absent, side: Side) -> str:
    spec = side.spec
    match absent.reason.value:
        case "erased":
            return "not shown: it was erased"
        case "not_yet":
            return "not shown: it was not said yet, or had not arrived"
        case "hidden":
            return f"not shown: hidden by {absent.by}"
        case "summarised":
            return f"not shown: covered by the summary {absent.by}"
        case "before_window" if absent.by is None:
            return "not shown: nothing of the history fits into the window"
        case "before_window":
            tokens = sum(one.tokens for one in side.shown if one.area.value == "window")
            return (
                f"not shown: older than the window, which begins at {absent.by} and holds"
                f" {tokens:,} tokens (budget {spec.budget:,}, {spec.reserved:,} of it reserved)"
            )
        case _:
            policy = spec.policy
            return f"not shown: left out by the policy {policy.name} {policy.config}"


def _shown(shown: Shown, difference: Difference) -> str:
    where = {"head": "at the head", "preamble": "before the window", "window": "in the window"}
    whole = difference.tokens
    together = " together with its results" if len(shown.ids) > 1 else ""
    text = f"shown {where[shown.area.value]}{together}, {shown.tokens:,} tokens"
    names = {rule.value for rule in shown.rules}
    if "shortened" in names:
        size = f" from {whole:,}" if whole is not None and not together else ""
        text += f": shortened{size} to {shown.tokens:,} tokens, its middle was left out"
    told = [_RULES[name] for name in sorted(names - {"shortened"})]
    return f"{text}: {'; '.join(told)}" if told else text


def _value(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else one_line(json.dumps(value, ensure_ascii=False))
