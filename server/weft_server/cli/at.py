"""``--at``: the moment at which a command looks at a context, and what people may call it.

A time names everything up to its end, as far as it is told: a day all of it, ``14:03`` that whole
minute. Without a zone it is UTC, as in what `weft history` shows. Must never know: what is shown.
"""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weft_engine.replica.context import Context
    from weft_engine.replica.past import Past, When
    from weft_engine.replica.replica import Replica

_SECOND_MS: Final = 1000
_MINUTE_MS: Final = 60 * _SECOND_MS
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS
_UNITS_MS: Final = {
    "s": _SECOND_MS,
    "m": _MINUTE_MS,
    "h": _HOUR_MS,
    "d": _DAY_MS,
    "w": 7 * _DAY_MS,
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_AGO: Final = re.compile(r"-?(\d{1,9})([smhdw])", re.ASCII)
_MILLISECONDS: Final = re.compile(r"\d{12,15}", re.ASCII)
_CUT: Final = re.compile(r"[0-9a-f]{64}(,[0-9a-f]{64})*", re.ASCII)
_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"([T ]\d\d(?P<minute>:\d\d(?P<second>:\d\d(?P<fraction>\.\d{1,6})?)?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


def add_at(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--at",
        metavar="WHEN",
        help="as it was: at a time (2026-11-20, 2026-11-20T14:03, -2h, yesterday; UTC unless it"
        " says otherwise, and up to its end), at a cut (hashes of records, with commas), or when"
        " a view was made (its trace id)",
    )


def joined(words: Sequence[str]) -> list[str]:
    """The words of a command line with ``--at -2h`` as one word: argparse takes what begins with a
    dash for an option."""
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--at" and _AGO.fullmatch(word):
            found[-1] = f"--at={word}"
        else:
            found.append(word)
    return found


async def look_back(replica: Replica, context: Context, at: str | None) -> Context | Past:
    """The context as it was at the moment `at`, or as it is. CallerError if that is no moment."""
    if at is None:
        return context
    when = moment(at, now_ms=replica.now_ms())
    past = context.at(when)
    try:
        await past.frontier()
    except NotFound as error:
        raise CallerError(
            f"--at {at!r} is no time, no cut and no trace id of this store",
            hint="give a time such as 2026-11-20T14:03 or -2h, whole hashes of records, or the"
            " trace id of a view that this store made",
        ) from error
    return past


def moment(text: str, *, now_ms: int) -> When:
    """What `text` calls a moment; a time in milliseconds since 1970. What is neither a time nor a
    cut is taken for a trace id."""
    if _CUT.fullmatch(text):
        return tuple(bytes.fromhex(hash_) for hash_ in text.split(","))
    time_ms = _time_ms(text, now_ms)
    return text if time_ms is None else time_ms


def _time_ms(text: str, now_ms: int) -> int | None:
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    if ago := _AGO.fullmatch(text):
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    match text:
        case "now" | "today":
            return now_ms
        case "yesterday":
            return now_ms - now_ms % _DAY_MS - 1
    told = _ISO.fullmatch(text)
    if told is None:
        return None
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        return None
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    if told["fraction"]:
        lasts_ms = 1
    elif told["second"]:
        lasts_ms = _SECOND_MS
    elif told["minute"]:
        lasts_ms = _MINUTE_MS
    else:
        lasts_ms = _DAY_MS if len(text) == len("2026-11-20") else _HOUR_MS
    return (start - _EPOCH) // timedelta(milliseconds=1) + lasts_ms - 1
