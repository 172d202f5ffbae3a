"""What a search finds, and the questions that can be put beside its words.

Must never know: the index.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from weft_engine.errors import CallerError, LimitExceeded
from weft_engine.events.event import Role
from weft_engine.events.row import INVALID, KINDS, ROLES
from weft_engine.limits import SEARCH_HITS_MAX
from weft_engine.names import ContextName, EventId, NoteName
from weft_engine.storage.search_steps import (
    NOTE,
    label_of_author,
    label_of_kind,
    label_of_role,
)

Order = Literal["relevance", "newest"]

KIND_NAMES: Final = {
    NOTE: "note",
    **{number: body.__name__.lower() for body, number in KINDS.items() if number != INVALID},
}
_KINDS: Final = {name: number for number, name in KIND_NAMES.items()}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Hit:
    """An event or a note that a search found. `kind`: ``message``, ``fact``, ``summary``,
    ``note`` ...; an event has an `id`, a note its name in `note`. `time_ms`: milliseconds since
    1970; of a note, when notes of its context last changed. `score`: higher fits better; compare it
    within one search only. `marks`: (start, end) of what matches in `snippet`."""

    context: ContextName
    kind: str
    id: EventId | None
    note: NoteName | None
    role: Role | None
    author: str | None
    branch: EventId | None
    time_ms: int
    snippet: str
    marks: tuple[tuple[int, int], ...]
    score: float


def labels(kind: str | None, role: str | None, author: str | None) -> tuple[tuple[str, ...], ...]:
    """The words of the index that say this of an entry. CallerError if there is no such thing."""
    found: list[tuple[str, ...]] = []
    if kind is not None:
        if kind not in _KINDS:
            raise CallerError(
                f"there is no kind {kind!r} of what can be found",
                hint=f"one of {', '.join(_KINDS)}",
            )
        found.append((label_of_kind(_KINDS[kind]),))
    if role is not None:
        if role not in {known.value for known in Role}:
            raise CallerError(
                f"there is no role {role!r}", hint=f"one of {', '.join(map(str, Role))}"
            )
        found.append((label_of_role(ROLES[Role(role)]),))
    if author is not None:
        if not isinstance(author, str):
            raise CallerError(f"author {author!r} is no text", hint="give the name that is shown")
        found.append((label_of_author(author),))
    return tuple(found)


def milliseconds(when: datetime | int | None) -> int | None:
    """`when` since 1970. CallerError if it says nothing of its time zone."""
    if when is not None and type(when) is not int and not isinstance(when, datetime):
        raise CallerError(
            f"{when!r} is no time", hint="give an aware datetime or milliseconds since 1970"
        )
    if not isinstance(when, datetime):
        return when
    if when.tzinfo is None or when.utcoffset() is None:
        raise CallerError(
            f"the time {when.isoformat()} says nothing of its time zone",
            hint="give an aware datetime, such as datetime.now(UTC)",
        )
    return (when - _EPOCH) // timedelta(milliseconds=1)


def check_page(order: str, limit: int, offset: int) -> None:
    """CallerError or LimitExceeded if there is no such page of hits."""
    if order not in ("relevance", "newest"):
        raise CallerError(f"hits have no order {order!r}", hint="relevance or newest")
    for number in (limit, offset):
        if type(number) is not int:
            raise CallerError(f"{number!r} is no number of hits", hint="give whole numbers")
    if limit < 1 or offset < 0:
        raise CallerError(
            f"hits {offset} to {offset + limit} are none", hint="a limit of 1 or more, offset 0"
        )
    if limit > SEARCH_HITS_MAX:
        raise LimitExceeded(
            f"{limit:,} hits at once are more than {SEARCH_HITS_MAX:,}", hint="use offset"
        )
