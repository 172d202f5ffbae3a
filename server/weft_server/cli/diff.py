"""``weft diff``: why one view shows what another does not, message by message."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft_server.cli.difference_wording import (
    fate_text,
    group_title,
    grouped,
    mark,
    said_text,
    spec_text,
)
from weft_server.cli.input_file import STDIN
from weft_server.cli.output import Output, one_line
from weft_server.cli.replay import find_receipt, read_receipt
from weft_server.cli.store_file import add_store, open_to_read

if TYPE_CHECKING:
    from weft_engine.replica.explaining import Explained
    from weft_engine.replica.replica import Replica
    from weft_engine.views.comparison import Difference, Side
    from weft_engine.views.receipt import Receipt

NAME: Final = "diff"
HELP: Final = "explain what is different between two views"

_LISTED_MAX: Final = 10
"""Of one kind, without --full."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for side in "ab":
        parser.add_argument(
            side,
            metavar=f"RECEIPT_{side.upper()}",
            help="a file with a receipt, or with all that `weft view --json` prints; - for stdin;"
            " or the trace id of a view that this store made",
        )
    add_store(parser)
    parser.add_argument("--event", metavar="ID", help="tell about this message only")
    parser.add_argument("--full", action="store_true", help="list all messages, and whole")
    parser.epilog = (
        "Both views are replayed first, so both are proved to be what was sent. With --json: the"
        " two sides, spec (what was asked otherwise) and messages, each with its change (dropped,"
        " added, changed, moved), both states and the rule behind each."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    from weft_engine.errors import CallerError

    if arguments.a == arguments.b == STDIN:
        raise CallerError("only one receipt can come from stdin", hint="give the other as a file")
    receipts = [_read(name) for name in (arguments.a, arguments.b)]
    return asyncio.run(_run(arguments, receipts, output))


def _read(name: str) -> Receipt | None:
    return read_receipt(name) if name == STDIN or Path(name).is_file() else None


async def _run(
    arguments: argparse.Namespace, read: Sequence[Receipt | None], output: Output
) -> int:
    from weft_engine.names import EventId
    from weft_engine.replica.explaining import explain

    async with await open_to_read(arguments.store) as replica:
        names = (arguments.a, arguments.b)
        a, b = [
            await _receipt(replica, name, receipt)
            for name, receipt in zip(names, read, strict=True)
        ]
        event = None if arguments.event is None else EventId(_event_id(arguments.event))
        explained = await explain(replica, a, b, event=event)
    if output.as_json:
        output.data(_data(explained, a, b))
    elif event is None:
        _show(explained, a, b, output, full=arguments.full)
    else:
        _show_one(explained, explained.differences[0], output)
    return 0


async def _receipt(replica: Replica, name: str, read: Receipt | None) -> Receipt:
    return await find_receipt(replica, name) if read is None else read


def _event_id(text: str) -> str:
    from weft_engine.errors import InvalidName
    from weft_engine.names import is_event_id

    if not is_event_id(text):
        raise InvalidName(f"{text!r} is no event id", hint="weft history shows them")
    return text


# ---- for people ---------------------------------------------------------------------------------


def _show(explained: Explained, a: Receipt, b: Receipt, output: Output, *, full: bool) -> None:
    from weft_engine.views.comparison import spec_changes

    output.say(one_line(a.context))
    for name, receipt, side in (("A", a, explained.a), ("B", b, explained.b)):
        output.say(f"  {name}  {one_line(receipt.trace_id)}: {_summary(side)}")
    for change in spec_changes(explained.a.spec, explained.b.spec):
        output.say(f"asked otherwise: {spec_text(change)}")
    between = explained.b.total - explained.a.total
    if between:
        output.say(f"the history of B has {abs(between):,} {'more' if between > 0 else 'fewer'}")
    for group in grouped(explained.differences):
        output.say()
        output.say(f"{group_title(group, explained)}")
        shown = group if full else group[-_LISTED_MAX:]
        if len(shown) < len(group):
            output.say(f"    ... {len(group) - len(shown):,} older ones (--full lists them)")
        for difference in shown:
            output.say(f"  {_line(difference, explained, full=full)}")
    output.say()
    beside = _beside(explained, a, b)
    for line in beside:
        output.say(line)
    same = explained.same()
    nothing = "" if explained.differences or beside else ": the views show the same"
    output.say(f"{same:,} messages are the same in both{nothing}")


def _beside(explained: Explained, a: Receipt, b: Receipt) -> list[str]:
    """What is different in what no message says: facts, notices, the summary."""
    old, new = _ours(explained.a), _ours(explained.b)
    lines = [
        f"{name}: {old.get(name, 0):,} tokens in A, {new.get(name, 0):,} in B"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if (
        not lines
        and not explained.differences
        and a.fingerprint != b.fingerprint
        and a.spec == b.spec
    ):
        lines.append("what stands beside the messages, such as facts, says other things")
    return lines


def _ours(side: Side) -> dict[str, int]:
    """By rule, the tokens of what stands for no message."""
    tokens: dict[str, int] = {}
    for one in side.shown:
        if not one.ids:
            name = ", ".join(sorted(rule.value for rule in one.rules)) or "remarks"
            tokens[name] = tokens.get(name, 0) + one.tokens
    return tokens


def _summary(side: Side) -> str:
    shown = len({id_ for one in side.shown for id_ in one.ids})
    return (
        f"{shown:,} of {side.total:,} messages, {side.used_tokens:,} tokens used and"
        f" {side.spec.reserved:,} reserved of {side.spec.budget:,}"
    )


def _line(difference: Difference, explained: Explained, *, full: bool) -> str:
    tokens = "" if difference.tokens is None else f" · {difference.tokens:,} tokens"
    said = said_text(explained.said.get(difference.id), full=full)
    return f"{mark(difference.change)} {said}{tokens}  {difference.id}"


def _show_one(explained: Explained, difference: Difference, output: Output) -> None:
    output.say(_line(difference, explained, full=True))
    for name, fate, side in (
        ("A", difference.a, explained.a),
        ("B", difference.b, explained.b),
    ):
        output.say(f"  in {name}: {fate_text(fate, difference, side)}")


# ---- for programs -------------------------------------------------------------------------------


def _data(explained: Explained, a: Receipt, b: Receipt) -> dict[str, object]:
    from weft_engine.views.comparison import spec_changes

    return {
        "context": a.context,
        "a": _side_data(a, explained.a),
        "b": _side_data(b, explained.b),
        "spec": [
            {"field": change.name, "a": change.a, "b": change.b}
            for change in spec_changes(explained.a.spec, explained.b.spec)
        ],
        "messages": [*_messages_data(explained)],
        "beside": {"a": _ours(explained.a), "b": _ours(explained.b)},
        "same": explained.same(),
    }


def _side_data(receipt: Receipt, side: Side) -> dict[str, object]:
    return {
        "trace_id": receipt.trace_id,
        "fingerprint": receipt.fingerprint,
        "used_tokens": side.used_tokens,
        "shown": len({id_ for one in side.shown for id_ in one.ids}),
        "total": side.total,
        "window_start": side.window_start(),
    }


def _messages_data(explained: Explained) -> Iterator[dict[str, object]]:
    for difference in explained.differences:
        said = explained.said.get(difference.id)
        yield {
            "id": difference.id,
            "role": None if said is None else said.role.value,
            "tokens": difference.tokens,
            "change": difference.change.value,
            "a": _fate_data(difference, explained.a, first=True),
            "b": _fate_data(difference, explained.b, first=False),
        }


def _fate_data(difference: Difference, side: Side, *, first: bool) -> dict[str, object]:
    from weft_engine.views.comparison import Absent

    fate = difference.a if first else difference.b
    why = fate_text(fate, difference, side)
    if isinstance(fate, Absent):
        return {"shown": False, "reason": fate.reason.value, "by": fate.by, "why": why}
    rules = sorted(rule.value for rule in fate.rules)
    return {
        "shown": True,
        "area": fate.area.value,
        "tokens": fate.tokens,
        "rules": rules,
        "why": why,
    }
