"""A view: what the model is sent, as a pure function of the history and a spec.

    | reserved | 3 | head | older ... | the window: the newest whole units that fit |

The head is the leading system and developer messages, kept whole. The window is what the policy
selects, from the newest back, as far as whole units fit in what the budget leaves; if the newest
alone does not fit, it is shortened. used + reserved <= budget, always. Must never know: where
entries are stored, what time it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from weft_engine.errors import BudgetTooSmall, TokenizerMissing
from weft_engine.events.event import Message
from weft_engine.formats.registry import render_view
from weft_engine.names import ContextName, EventId, RecordHash
from weft_engine.views.cache import Shelf, ViewCache
from weft_engine.views.count import VIEW_TOKENS, Counter
from weft_engine.views.entry import Entry
from weft_engine.views.policy import Policy, find_policy
from weft_engine.views.receipt import Receipt
from weft_engine.views.shorten import shorten
from weft_engine.views.spec import ViewSpec
from weft_engine.views.unit import Unit
from weft_engine.views.walk import Walk

PERSON: Final = b"weft-view"
DEFAULT_TRIGGER: Final = 700
# Results mostly stand close behind their calls, so this much more finds the calls.
_MARGIN: Final = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """When a context asks to be compacted; no part of the spec, for it changes nothing that is
    sent. `trigger` in thousandths of the budget, `clear_at_least` in tokens."""

    trigger: int = DEFAULT_TRIGGER
    clear_at_least: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """What the model is sent. `ids`: the entries it shows, oldest first; `left_out`: how many
    messages it does not show, None if that is not known; `fingerprint` in hex; `trace_id`: the
    application's name for this call."""

    context: ContextName
    cut: tuple[RecordHash, ...]
    spec: ViewSpec
    used_tokens: int
    needs_compaction: bool
    fingerprint: str
    ids: tuple[EventId, ...] = field(repr=False)
    left_out: int | None = field(compare=False)
    _sent: bytes = field(repr=False)
    trace_id: str = field(default="", compare=False)
    _shown: tuple[Message, ...] = field(default=(), repr=False, compare=False)

    def openai(self) -> list[dict[str, object]]:
        """The messages for the OpenAI chat API. A fresh copy each time, safe to change."""
        messages: list[dict[str, object]] = json.loads(self._sent)
        return messages

    def anthropic(self) -> dict[str, object]:
        """``system`` and ``messages`` for the Anthropic Messages API."""
        sent = self.rendered("anthropic")
        assert isinstance(sent, dict)
        return sent

    def responses(self) -> list[dict[str, object]]:
        """The ``input`` for the OpenAI Responses API."""
        sent = self.rendered("responses")
        assert isinstance(sent, list)
        return sent

    def ui_messages(self) -> list[dict[str, object]]:
        """UIMessages for a client of the Vercel AI SDK."""
        sent = self.rendered("ui")
        assert isinstance(sent, list)
        return sent

    def text(self) -> str:
        """A plain transcript."""
        sent = self.rendered("text")
        assert isinstance(sent, str)
        return sent

    def rendered(self, format: str) -> object:  # noqa: A002 - the field's word
        """The messages in the format of this name. A fresh copy each time, safe to change."""
        return render_view(self._shown, format)

    @property
    def messages(self) -> tuple[dict[str, object], ...]:
        return tuple(self.openai())

    @property
    def first(self) -> EventId | None:
        """The oldest entry it shows, None if it is empty."""
        return self.ids[0] if self.ids else None

    @property
    def receipt(self) -> Receipt:
        """What it can be rebuilt from."""
        return Receipt(
            trace_id=self.trace_id,
            context=self.context,
            cut=self.cut,
            spec=self.spec,
            fingerprint=self.fingerprint,
        )


@dataclass(frozen=True, slots=True)
class NeedMore:
    """The view may depend on messages before those given. Ask again with more (twice as many), or
    name in `absent` those of `calls` that are no messages of this reading order."""

    given: int
    calls: tuple[EventId, ...]


@dataclass(frozen=True, slots=True)
class _Window:
    units: tuple[Unit, ...]
    tokens: int
    needs_compaction: bool


def build(
    *,
    head: Sequence[Entry],
    tail: Sequence[Entry],
    complete: bool,
    cut: Sequence[RecordHash],
    context: ContextName,
    spec: ViewSpec,
    tokenizer: Counter,
    settings: Settings | None = None,
    cache: ViewCache | None = None,
    absent: Set[EventId] = frozenset(),
    total: int | None = None,
    trace_id: str = "",
) -> View | NeedMore:
    """The view of a reading order by `spec`, or NeedMore.

    `head`: its leading system and developer messages. `tail`: its newest messages after those,
    oldest first; `complete` if these are all. `absent`: events that are known not to be among its
    messages. `total`: how many messages it has, if known. `tokenizer` is the spec's, and `tokens`
    of each entry are counted with it. Takes time by the size of the window, not of `tail`.

    Raises BudgetTooSmall, PolicyMissing, TokenizerMissing.
    """
    if tokenizer.id != spec.tokenizer:
        raise TokenizerMissing(
            f"the spec counts with {spec.tokenizer.name!r}, the tokenizer given is another",
            hint="views are never counted with another tokenizer than their spec names",
        )
    shelf = (ViewCache() if cache is None else cache).shelf(tokenizer, spec.media)
    top = tuple(Walk(head, shelf, complete=True))[::-1]
    top_tokens = VIEW_TOKENS + sum(unit.tokens for unit in top)
    room = spec.budget - spec.reserved - top_tokens
    if room < 0:
        raise _no_room(spec, top, top_tokens)
    found = _find_window(
        tail,
        complete=complete,
        absent=absent,
        shelf=shelf,
        policy=find_policy(spec.policy),
        room=room,
        demand=_Demand.of(spec, top_tokens, settings or Settings()),
    )
    if isinstance(found, NeedMore):
        return found
    units = (*top, *found.units)
    ids = tuple(dict.fromkeys(id_ for unit in units for id_ in unit.ids))
    if total is None and complete:
        total = len(head) + len(tail)
    sent = b",".join([said for unit in units for piece in unit.pieces if (said := piece.sent())])
    return View(
        context=context,
        cut=tuple(sorted(cut)),
        spec=spec,
        used_tokens=top_tokens + found.tokens,
        needs_compaction=found.needs_compaction,
        fingerprint=_fingerprint(sent, spec),
        ids=ids,
        left_out=None if total is None else total - len(ids),
        _sent=b"[%b]" % sent,
        trace_id=trace_id,
        _shown=tuple(piece.message for unit in units for piece in unit.pieces),
    )


@dataclass(frozen=True, slots=True)
class _Demand:
    """When what the policy selects, whether it fits or not, calls for compaction: from `least`
    tokens on."""

    least: int

    @staticmethod
    def of(spec: ViewSpec, top_tokens: int, settings: Settings) -> _Demand:
        above = spec.budget * settings.trigger // 1_000 - top_tokens
        return _Demand(max(above + 1, settings.clear_at_least))


def _no_room(spec: ViewSpec, top: Sequence[Unit], top_tokens: int) -> BudgetTooSmall:
    if not top:
        return BudgetTooSmall(
            needed=spec.reserved + VIEW_TOKENS, budget=spec.budget, culprit="what is reserved"
        )
    return BudgetTooSmall(
        needed=top_tokens,
        budget=spec.budget - spec.reserved,
        culprit=max(top, key=lambda unit: unit.tokens).label,
    )


def _find_window(
    tail: Sequence[Entry],
    *,
    complete: bool,
    absent: Set[EventId],
    shelf: Shelf,
    policy: Policy,
    room: int,
    demand: _Demand,
) -> _Window | NeedMore:
    """Looks at the newest entries only, twice as many each time that was not enough."""
    size = min(len(tail), _enough(tail, max(room, demand.least)) + _MARGIN)
    while True:
        whole = size == len(tail)
        walk = Walk(tail[len(tail) - size :], shelf, complete=complete and whole, absent=absent)
        window = _window(walk, shelf, policy, room, demand)
        if not walk.ran_out:
            return window
        if whole:
            return NeedMore(given=len(tail), calls=walk.unknown)
        size = min(len(tail), 2 * size)


def _enough(tail: Sequence[Entry], tokens: int) -> int:
    """How many of the newest entries make more than `tokens`."""
    for count, entry in enumerate(reversed(tail)):
        if tokens < 0:
            return count
        tokens -= entry.tokens
    return len(tail)


def _window(walk: Walk, shelf: Shelf, policy: Policy, room: int, demand: _Demand) -> _Window:
    """Worth nothing if the walk ran out."""
    chosen: list[Unit] = []
    used = 0
    selected = 0
    full = False
    for unit in policy.select(iter(walk)):
        selected += unit.tokens
        if not full:
            if used + unit.tokens <= room:
                chosen.append(unit)
                used += unit.tokens
            elif used == 0:
                cut = shelf.shortened(unit, room, partial(shorten, unit, room, shelf))
                chosen.append(cut)
                used = cut.tokens
            else:
                full = True
        if full and selected >= demand.least:
            break
    chosen.reverse()
    return _Window(tuple(chosen), used, selected >= demand.least)


def _fingerprint(sent: bytes, spec: ViewSpec) -> str:
    """BLAKE2b-256 of the RFC 8785 JSON of {messages, spec}."""
    digest = hashlib.blake2b(digest_size=32, person=PERSON)
    digest.update(b'{"messages":[%b],"spec":%b}' % (sent, spec.canonical()))
    return digest.hexdigest()
