"""One context in use: append, view, history, watch. What applications call a chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from weft_engine.document.left_out import LeftOut
from weft_engine.errors import CallerError, NotFound, ReplayMismatch
from weft_engine.events.event import (
    Criticality,
    Event,
    Hide,
    Lifetime,
    Message,
    Pin,
    Role,
)
from weft_engine.events.part import Result
from weft_engine.events.streams import is_quiet
from weft_engine.formats.openai_chat import SupportsModelDump
from weft_engine.formats.shapes import read_messages
from weft_engine.limits import SEEN_MAX, STREAMS_LISTED_MAX
from weft_engine.names import ContextName, EventId, NoteName, Position, is_event_id, note_name
from weft_engine.records.envelope import Kind
from weft_engine.records.frontier import EMPTY, Frontier, fingerprint
from weft_engine.replica import history, paging
from weft_engine.replica.branches import BranchInfo, branches
from weft_engine.replica.branching import Branching
from weft_engine.replica.compacting import Compacting, SummaryInfo
from weft_engine.replica.drafting import message_drafts, with_pins
from weft_engine.replica.facts import KnownFact, weighted
from weft_engine.replica.history import Said
from weft_engine.replica.importing import Import
from weft_engine.replica.loading import Loaded, load_source
from weft_engine.replica.marking import Marking
from weft_engine.replica.note import Note, Notes
from weft_engine.replica.open_calls import LOOK_BACK, OpenCalls, farther
from weft_engine.replica.past import Past, When
from weft_engine.replica.presence import ContextPresence
from weft_engine.replica.problems import left_out_texts, reason
from weft_engine.replica.search_hit import Hit, Order
from weft_engine.replica.sent import SentViews
from weft_engine.replica.settings import Settings, difference, resolve, wanted
from weft_engine.replica.stream import Stream
from weft_engine.replica.stream_writer import Plan
from weft_engine.replica.streams import OpenStream, open_streams, told_of
from weft_engine.replica.summarizing import Summarizer
from weft_engine.replica.timeline import Timeline
from weft_engine.replica.unsynced import Unsynced, unsynced
from weft_engine.replica.viewing import Asked, build_from_source, lasting_spec, replay, resolve_spec
from weft_engine.replica.watching import Change, Watcher
from weft_engine.storage import tail
from weft_engine.storage.erasures import ErasureRow
from weft_engine.storage.ledger import Stored
from weft_engine.storage.lineage import Lineage, ReadingOrder, no_branch
from weft_engine.storage.stated import EventMemo
from weft_engine.views.cache import ViewCache
from weft_engine.views.entry import Entry
from weft_engine.views.policy import Policy
from weft_engine.views.receipt import Receipt
from weft_engine.views.spec import ViewSpec
from weft_engine.views.start import NeedMore
from weft_engine.views.tokenizer import Tokenizer
from weft_engine.views.view import View
from weft_engine.yjs.reader import read_update

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica
    from weft_engine.replica.scribe import Draft, Written

T = TypeVar("T")
Appendable: TypeAlias = str | Mapping[str, object] | Message | SupportsModelDump
"""User text; a `Message`; a dict or an SDK's object of the OpenAI chat or Responses API, of the
Anthropic API or of the Vercel AI SDK, told apart by its shape (`formats.shapes`). An answer of an
API is one message; a UIMessage may be several."""
_NOTHING_ASKED = Asked()


class Context:
    """Made by `Replica.context`. Nothing is read or written until a method is awaited."""

    def __init__(
        self,
        replica: Replica,
        name: ContextName,
        branch: EventId | None = None,
        main: Context | None = None,
    ) -> None:
        self.name = name
        self.branch_id = branch
        """The id of the branch event whose line of the conversation this is; None for main."""
        self._replica = replica
        self._timeline: Timeline | None = None
        self._arrived: list[tuple[Stored, Written | None]] = []
        self._is_loading = False
        self._loading = asyncio.Lock()
        self._watchers: set[Watcher] = set()
        self._notes: Notes = Notes(replica, name) if main is None else main._notes
        self._main = self if main is None else main
        self._branches: dict[EventId, Context] = {}
        """Of main: the contexts of its branches that are in use."""
        self._stands = branch is None
        self._compacting = Compacting(replica, name, branch)
        self._marking = Marking(replica, name, branch)
        self._branching = Branching(replica, name, branch)
        self._resolved: tuple[Asked, Settings, ViewSpec] | None = None
        self._cache = ViewCache()
        self._memo = EventMemo()
        self._sent = SentViews()

    # ---- writing ------------------------------------------------------------------------------

    async def append(
        self,
        messages: Appendable | Sequence[Appendable],
        *,
        view: View | None = None,
        author: str | None = None,
        crit: Criticality | str | None = None,
        life: Lifetime | str | None = None,
        expires: int | None = None,
        pin: bool = False,
    ) -> list[EventId]:
        """Append one message or several, durably; their ids.

        `view` is the view that an answer was made from: it says what the answer had seen.
        `author` is shown and tells agents apart; by default a message's name or role.
        A tool result is linked to the unanswered call of its provider id.

        `crit` (critical, important, enhancing, optional), `life` (immediate, session, persistent),
        `expires` (milliseconds since 1970) and `pin` say what of it views take along when the
        conversation has outgrown them. Raises InvalidMessage, LimitExceeded, ContextClosed, or
        Conflict on a branch that was revoked.
        """
        if isinstance(messages, (str, bytes, Message, Mapping)) or not isinstance(
            messages, Sequence
        ):
            messages = [messages]
        said = [weighted(message, crit, life, expires) for message in read_messages(messages)]
        await self._check_open()
        self._check_view(view)
        # A cut too wide for the field is left out: then the record's whole past counts as seen.
        seen = view.cut if view is not None and len(view.cut) <= SEEN_MAX else None
        calls: OpenCalls | None = None
        if any(type(part) is Result for message in said for part in message.parts):
            calls = OpenCalls(await self._before_results())
        drafts = message_drafts(said, seen=seen, author=author, calls=calls, branch=self.branch_id)
        if pin:
            drafts = with_pins(drafts, author, self.branch_id)
        return (await self._replica.scribe.append(self.name, drafts))[: len(said)]

    def stream(
        self,
        *,
        role: Role | str = Role.ASSISTANT,
        view: View | None = None,
        author: str | None = None,
        name: str | None = None,
    ) -> Stream:
        """A message that grows while it is generated, on every replica:

            async with chat.stream(view=view) as s:
                async for delta in ...:
                    await s.write(delta)

        When the block is left it becomes one message, under `s.id`; if it is left by an exception,
        an `interrupted` event with what there was of it. `view`, `author` as in `append`; to
        open it raises ContextClosed as that does, to end it never.
        """
        if role not in tuple(Role) or role == Role.TOOL:
            raise CallerError(
                f"no stream is of role {role!r}", hint="use assistant, user or system"
            )
        self._check_view(view)
        plan = Plan(
            self.name,
            Role(role),
            author if author is not None else name or Role(role).value,
            name,
            self.branch_id,
            None if view is None else view.cut,
        )
        return self._replica.streams.make(plan, allowed=self._check_open)

    async def interrupt(self, stream: EventId) -> EventId:
        """End a stream as interrupted, as far as it came, for whoever wrote it can't any more; the
        id of the event that says so. If the whole message turns up later, it takes that place.
        NotFound if no such stream is open."""
        return await self._replica.streams.interrupt(self.name, stream)

    async def configure(
        self,
        *,
        budget: int | None = None,
        reserved: int | None = None,
        trigger: float | None = None,
        clear_at_least: int | None = None,
        policy: Policy | None = None,
        tokenizer: str | None = None,
        format: str | None = None,  # noqa: A002 - the field's word
        metadata: str | None = None,
    ) -> bool:
        """Set what the views of this context use on every replica. `budget`, `reserved` and
        `clear_at_least` in tokens, `trigger` as a share of the budget, `metadata` as JSON text.
        Writes only what differs; returns whether anything did. Raises InvalidMessage,
        TokenizerMissing, ContextClosed."""
        await self._check_open()
        settings = await self.settings()
        config = difference(
            settings,
            wanted(
                settings,
                budget=budget,
                reserved=reserved,
                trigger=trigger,
                clear_at_least=clear_at_least,
                policy=policy,
                tokenizer=tokenizer,
                form=format,
                metadata=metadata,
            ),
        )
        if config is None:
            return False
        await self._replica.scribe.append(
            self.name, [lambda _: Event("config", config, branch=self.branch_id)]
        )
        return True

    async def import_messages(self, messages: Sequence[Message]) -> int:
        """Import the messages of a conversation, each with its place in the file as `ext`, in that
        order. Those that are on this branch already are left out; returns how many were new."""
        if not messages:
            return 0
        await self._check_open()
        importing = Import(messages, self.branch_id)
        await self._ask(importing.find_known)
        new = importing.unknown
        drafts: list[Draft] = [partial(importing.draft, index) for index in new]
        await self._replica.scribe.append(self.name, drafts)
        return len(new)

    # ---- branches -----------------------------------------------------------------------------

    async def branch(
        self,
        name: str,
        *,
        at: EventId | None = None,
        before: EventId | None = None,
        author: str | None = None,
    ) -> Context:
        """Begin a branch of this one, durably; the context of it, in which everything that is
        appended, read and viewed is of that branch. Nothing is copied.

        It shares what is here now; or with `at`, that message and all its author had seen; or with
        `before`, what the author of that message had seen, without it. So to answer again, or to
        change what was asked:

            again = await chat.branch("try again", before=answer)
            view = await again.view()

            edited = await chat.branch("other question", before=question)
            await edited.append("What I meant is this")

        `author` is shown. Raises NotFound if the message is not of this branch, LimitExceeded if
        there are too many branches on the way to main.
        """
        if at is not None and before is not None:
            raise CallerError("at and before are given", hint="give one of them, or neither")
        await self._check_stands()
        return self._begun(
            await self._branching.begin(
                name, at=at, before=before, author="branch" if author is None else author
            )
        )

    async def edit(
        self, event: EventId, said: Appendable, *, name: str = "edited", author: str | None = None
    ) -> Context:
        """Say something else in place of the message `event`: a branch from before it, on which
        `said` is appended. Text takes the role that the message had. The context of the branch."""
        if isinstance(said, str):
            said = {"role": await self._branching.role_of(event), "content": said}
        checked = read_messages([said])
        context = await self.branch(name, before=event, author=author)
        await context.append(checked, author=author)
        return context

    def on(self, branch: EventId | None) -> Context:
        """The context of another branch, by its id; of main for None. Reads nothing. Its methods
        raise NotFound if there is no such branch (`branches` lists them)."""
        main = self._main
        if branch is None:
            return main
        if not is_event_id(branch):
            raise no_branch(branch)
        found = main._branches.get(branch)
        if found is None:
            found = main._branches[branch] = Context(self._replica, self.name, branch, main)
        return found

    async def branches(self) -> list[BranchInfo]:
        """All branches of the context but main, by (time, id)."""
        return await self._replica.ask(self.name, lambda table, _: branches(table)) or []

    async def siblings(self) -> list[tuple[EventId, ...]]:
        """Answers of this branch that were given side by side, such as by two devices that were
        offline: groups of ids, each of two or more that had seen the same turns and not each other.
        Keep all of them (there is nothing to do), `choose` one, `merge` them, or `set_aside` one.
        """
        return await self._branching.siblings()

    async def choose(self, event: EventId) -> list[EventId]:
        """Hide the siblings of this answer, and what only they led to in that turn; the ids of the
        hides, which can be revoked. NotFound if it has no siblings."""
        await self._check_open()
        return await self._branching.choose(event)

    async def merge(
        self, event: EventId, said: Appendable, *, author: str | None = None
    ) -> EventId:
        """Put `said` in place of this answer and all its siblings: it is appended and they are
        hidden, in one commit. The id of the message. NotFound if it has no siblings."""
        await self._check_open()
        return await self._branching.merge(event, read_messages([said]), author)

    async def set_aside(self, event: EventId, name: str = "set aside") -> Context:
        """Keep this answer on a branch of its own and hide it here; the context of that branch.
        NotFound if it has no siblings."""
        await self._check_open()
        return self._begun(await self._branching.set_aside(event, name))

    def _begun(self, branch: EventId) -> Context:
        context = self.on(branch)
        context._stands = True
        return context

    # ---- notes, erasing, compacting -----------------------------------------------------------

    def note(self, name: str) -> Note:
        """The note of this name: text that people and agents edit together."""
        return Note(self._notes, note_name(name))

    async def erase(
        self,
        *,
        reason: str,
        event: EventId | None = None,
        events: Sequence[EventId] | None = None,
        note: str | None = None,
        everything: bool = False,
    ) -> list[ErasureRow]:
        """Erase one event, several `events`, a whole note, or `everything` in this context, for
        good and on every replica. Returns when nothing of it is left in this store's files; the
        other replicas follow when they hear of it (`Store.erasures` tells who has).

        `reason` is kept and shown, so it must not repeat what is erased. What other replicas wrote
        meanwhile into a note or the context survives, and can be erased again. Raises NotFound,
        LimitExceeded, InvalidMessage.
        """
        named = [event] if event is not None else list(events or ())
        given = [event is not None, events is not None, note is not None, everything]
        if sum(given) != 1 or (events is not None and not named):
            raise CallerError(
                "say which of event, events, note and everything is to be erased",
                hint='such as erase(event=id, reason="...")',
            )
        if named:
            # Who tells of a stream tells what stands in its pieces.
            named += await self._replica.ask(self.name, partial(told_of, named)) or []
        hashes = await self._replica.erasing.erase(
            self.name,
            reason,
            events=named,
            note=None if note is None else note_name(note),
        )
        return [row for row in await self._replica.erasing.all() if row.eraser in hashes]

    async def compact(
        self, summarizer: Summarizer, *, keep: int | None = None, by: str | None = None
    ) -> EventId | None:
        """Let `summarizer` write a summary of older messages and record it; views show it in their
        place from then on. The id of its event, or None if there is nothing to summarize.

        At least `keep` tokens of the newest messages stay as they are (default: about half of what
        a view holds), from the beginning of a turn on where one begins about there, else from the
        end of a tool call's results or another answer on; the newest of these stays in any case.
        On a branch it covers what the branch shows, and stands there and on what comes of it. `by`
        names who wrote the text, such as a model. The summarizer is called once, or, if the
        messages are more than the context's budget holds, several times, each time with the text
        so far as `previous`. Nothing is recorded until it is done, and nothing if it raises.

        Raises what it raises; InvalidMessage for no text, LimitExceeded for too much; Conflict if
        what it summarized was erased or revoked meanwhile; ContextClosed.
        """
        await self._check_open()
        return await self._compacting.compact(summarizer, await self.settings(), keep=keep, by=by)

    async def summaries(self) -> list[SummaryInfo]:
        """Every summary of this branch, oldest first, and which of them stands. Costs a look at
        all messages' places."""
        return await self._compacting.summaries()

    # ---- facts, pins, hides, closing ----------------------------------------------------------

    async def fact(
        self,
        name: str,
        value: object,
        *,
        rule: str | None = None,
        crit: Criticality | str | None = None,
        expires: int | None = None,
        author: str | None = None,
    ) -> EventId:
        """Say that `name` is `value`, any JSON value but None, in the place of what is known of it
        here; the id of the fact.

        `rule` decides between facts that don't know of each other: last, first, max, min, union,
        keep_all or a registered one; by default that of the fact before, else last. `crit` is its
        rank in views, which leave it out from `expires` (milliseconds since 1970) on. None as the
        value withdraws it as `forget_fact`. Raises InvalidMessage, PolicyMissing, ContextClosed.
        """
        return await self._marking.fact(
            name, value, rule=rule, crit=crit, expires=expires, author=author
        )

    async def facts(self) -> Mapping[str, KnownFact]:
        """What is known now, by name. Concurrent facts that the rule did not choose are shown."""
        return await self._marking.facts()

    async def forget_fact(self, name: str, *, author: str | None = None) -> EventId | None:
        """Withdraw what is known under `name`; None if that was nothing. It stays in the history,
        and what another replica says of it without knowing of this survives. (`revoke` of a fact
        is another thing: as if it had never been said, so what it replaced holds again.)"""
        return await self._marking.forget_fact(name, author=author)

    async def pin(self, event: EventId, *, author: str | None = None) -> EventId:
        """Keep a message, with the results of its calls, in every view; the id of the pin. Raises
        NotFound."""
        return await self._marking.mark(Pin, event, author)

    async def unpin(self, event: EventId, *, author: str | None = None) -> list[EventId]:
        """Take back whatever pins the message; the ids of the revokes, none if nothing did."""
        return await self._marking.unmark(Pin, event, author)

    async def hide(self, event: EventId, *, author: str | None = None) -> EventId:
        """Leave a message, with the whole group of calls and results it belongs to, out of every
        view; the id of the hide. The history keeps it. Raises NotFound."""
        return await self._marking.mark(Hide, event, author)

    async def unhide(self, event: EventId, *, author: str | None = None) -> list[EventId]:
        """Take back whatever hides the message; the ids of the revokes, none if nothing did."""
        return await self._marking.unmark(Hide, event, author)

    async def revoke(
        self, event: EventId, *, reason: str | None = None, author: str | None = None
    ) -> EventId:
        """Make an event that is no message as if it had never been: a pin, a hide, a fact, a
        summary, a close, a branch, a setting, or a revoke, which brings back what that took back.
        On a branch it has effect there and on what comes of it. A branch whose beginning is
        revoked is set aside: listed so and readable as it was, but Conflict for who writes on it;
        branches that come of it go on. The id of the revoke. Raises NotFound, Conflict."""
        return await self._marking.revoke(event, reason=reason, author=author)

    async def close(self, reason: str | None = None, *, author: str | None = None) -> EventId:
        """End this branch: appends and facts raise ContextClosed on it, here and on every replica
        that hears of it, until it is reopened. Other branches go on, those that come of it, too.
        What others wrote meanwhile is taken all the same."""
        return await self._marking.close(reason, author=author)

    async def reopen(
        self, *, reason: str | None = None, author: str | None = None
    ) -> list[EventId]:
        """Revoke whatever closes this branch; the ids of the revokes, none if it is open."""
        return await self._marking.reopen(reason=reason, author=author)

    # ---- views --------------------------------------------------------------------------------

    async def view(
        self,
        *,
        budget: int | None = None,
        reserved: int | None = None,
        policy: Policy | None = None,
        tokenizer: str | None = None,
        tools: Sequence[Mapping[str, object]] | None = None,
        format: str | None = None,  # noqa: A002 - the field's word
        as_of: int | None = None,
        trace_id: str | None = None,
    ) -> View:
        """What to send to the model now. What is not given is as the context is configured.

        `tools` are counted and must fit into what is reserved, or more is reserved for them.
        `format` is the one that it is counted in: openai, responses, anthropic, ui or text.
        `as_of` is the moment, in milliseconds since 1970, by which things expire and decay; by
        default that of the message at the window's start (of the newest fact, if there is none),
        so that a view changes by itself never.
        The receipt of the view is kept under `trace_id` (by default a random one).
        Raises BudgetTooSmall, OverBudget, TokenizerMissing, PolicyMissing.
        """
        asked = Asked(budget, reserved, policy, tokenizer, tools, format, as_of)
        timeline = await self._current(asked)
        trace = trace_id or self._replica.random_hex(16)
        while True:
            spec = self._resolve(asked, timeline.settings)
            made = build_from_source(
                timeline.source,
                self.name,
                spec,
                cut=timeline.frontier,
                settings=timeline.settings,
                trace_id=trace,
                cache=self._cache,
                before=self._sent.before(spec),
            )
            if isinstance(made, View):
                break
            timeline = await self._more(asked, made)
        self._sent.keep(made)
        self._replica.receipts.keep(made.receipt)
        return made

    def _check_view(self, view: View | None) -> None:
        if view is not None and not isinstance(view, View):
            raise CallerError(
                f"{type(view).__name__} is no view", hint="give what view() returned, or nothing"
            )
        if view is not None and view.context != self.name:
            raise CallerError(
                f"the view is of context {view.context!r}, the message goes to {self.name!r}",
                hint="append an answer to the context its view was made of",
            )

    def _resolve(self, asked: Asked, settings: Settings) -> ViewSpec:
        """The spec of a view; most calls ask for the same as the one before."""
        known = self._resolved
        if known is not None and known[0] == asked and known[1] is settings:
            return known[2]
        spec = resolve_spec(asked, settings, self.branch_id)
        # Tools are the caller's to change: what was counted must not be taken for what is.
        self._resolved = (asked, settings, spec) if not asked.tools else None
        return spec

    async def replay(self, receipt: Receipt) -> View:
        """The view that `receipt` was given for, byte for byte, from what the history was then.
        Raises MissingRecords, RendererMismatch, ReplayMismatch, ErasedContent."""
        try:
            return await self._replica.ask_at(
                self.name,
                receipt.cut,
                lambda table, _: replay(Lineage(table, receipt.spec.branch), receipt),
            )
        except (ReplayMismatch, NotFound) as error:
            # Its branch may have gone with everything.
            erased = await self._replica.erasing.explain(receipt)
            if erased is None:
                raise
            raise erased from error

    async def settings(self) -> Settings:
        """What the views of this context use."""
        return (await self._current()).settings

    # ---- reading ------------------------------------------------------------------------------

    def at(self, when: When) -> Past:
        """This context as it was: at a moment (an aware `datetime` or milliseconds since 1970), at
        a cut (hashes of records), or when a view was made (its receipt or trace id)."""
        return Past(self._replica, self.name, when, self.branch_id)

    def history(
        self,
        *,
        after: EventId | None = None,
        before: EventId | None = None,
        newest_first: bool = False,
    ) -> AsyncIterator[Said]:
        """Every message of this branch in reading order, from the oldest on, or from behind
        the event `after`; with `newest_first` or `before` from the newest (or from in front of
        that event) back to the oldest. Reads in pages; what is committed meanwhile is seen."""
        return paging.messages(self.page, after=after, before=before, newest_first=newest_first)

    async def page(
        self,
        *,
        after: EventId | None = None,
        before: EventId | None = None,
        newest: bool = False,
        limit: int = paging.PAGE,
    ) -> list[Said]:
        """Up to `limit` messages in reading order, oldest first: those behind `after`, those right
        in front of `before`, the newest, or else the oldest."""
        if newest:
            found = await self._ask(partial(history.newest, limit=limit))
        else:
            found = await self._ask(
                partial(history.messages, after=after, before=before, limit=limit)
            )
        return found or []

    def events(
        self, *, after: EventId | None = None, newest_first: bool = False
    ) -> AsyncIterator[Said]:
        """Every event of every kind and branch, imports once for each id, by (time, id): from the
        oldest or from behind `after` on, or with `newest_first` from the newest back."""
        return paging.events(
            partial(self._replica.ask, self.name), after=after, newest_first=newest_first
        )

    async def search(
        self,
        query: str,
        *,
        kind: str | None = None,
        role: str | None = None,
        author: str | None = None,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
        order: Order = "relevance",
        limit: int = 20,
        offset: int = 0,
    ) -> list[Hit]:
        """What matches `query`: on main in all of this context, messages of every branch, facts,
        summaries and notes; on a branch what that shows of it, and the notes, which all branches
        share. A hit's `branch` says where it was written. As it was when this was called or later.

        All words must be there; `"some words"` one behind the other, `wor*` a beginning, `OR`
        between choices, `-word` not there. Case and accents do not matter. `order` is
        ``"relevance"`` or ``"newest"``; `since` and `until` are aware datetimes or milliseconds
        since 1970. The first search of a store makes its index. Raises CallerError, LimitExceeded.
        """
        return await self._replica.searching.find(
            query,
            context=self.name,
            branch=self.branch_id,
            kind=kind,
            role=role,
            author=author,
            since=since,
            until=until,
            order=order,
            limit=limit,
            offset=offset,
        )

    async def note_texts(self) -> tuple[dict[NoteName, str], Position]:
        """Every note that holds some text, and the position in the journal they are as of."""
        return await self._notes.texts()

    async def streams(self, *, limit: int = STREAMS_LISTED_MAX) -> list[OpenStream]:
        """The messages that are being generated now, wherever that is, with all that is known here
        of each; in the order in which they were opened, the newest `limit` of them."""
        return await self._replica.ask(self.name, partial(open_streams, limit)) or []

    async def problems(self) -> list[tuple[str, str]]:
        """(key, reason) of everything that looks like an event and is none, and of what the losing
        side of an equivocation wrote into notes (key ``note:`` and its name)."""
        found = await self._replica.ask(self.name, lambda table, _: table.problems())
        return [
            *((key, reason) for _, key, reason in found or []),
            *((f"note:{lost.note}", reason(lost)) for lost in await self.left_out()),
        ]

    async def left_out(self) -> list[LeftOut]:
        """What the losing sides of equivocations wrote into notes, by time. Costs one question
        where there was none."""
        return await self._replica.journal.read(
            lambda connection: left_out_texts(connection, self.name)
        )

    async def kept_out(self) -> list[tuple[str, str]]:
        """(record hash in hex, reason) of every record whose payload the notes' document leaves
        out, whole or in part, because no document can hold it. Its events, if any, are not touched
        by that."""
        found = await self._notes.problems()
        return [(hash_.hex(), reason) for hash_, reason in sorted(found.items())]

    async def export(self) -> list[str]:
        """The messages of this branch as JSON texts of the OpenAI chat format, as they were
        imported where they were."""
        return await paging.exported(self.history())

    async def frontier(self) -> Frontier:
        """The newest version of this context, as the hashes of its maximal records."""
        state = await self._replica.state(self.name)
        return EMPTY if state is None else state.frontier

    async def fingerprint(self) -> str:
        """In hex; equal on two replicas if and only if they hold the same records."""
        return fingerprint(await self.frontier()).hex()

    async def watch(self) -> AsyncIterator[Change]:
        """A change for every commit in this context from now on, whoever wrote it, until the store
        closes. A slow listener gets fewer and larger changes, never a growing queue."""
        watcher = Watcher(self.name)
        self._watchers.add(watcher)
        try:
            while (change := await watcher.next()) is not None:
                yield change
        finally:
            self._watchers.discard(watcher)

    async def unsynced(self) -> Unsynced:
        """What was written here, in any branch, and is not known to be durable at a relay: what
        would be lost with this file. Of what others wrote a relay has told us. True if there is
        something: ``if await chat.unsynced(): ...``"""
        return await unsynced(self._replica, self.name)

    @property
    def presence(self) -> ContextPresence:
        """Who is in this context now, and what we show of ourselves there."""
        return ContextPresence(self._replica.showings, self.name)

    # ---- what the replica tells ---------------------------------------------------------------

    @property
    def is_resident(self) -> bool:
        """Whether it wants to know what exactly is written, or one of its branches does."""
        return self._holds or (
            bool(self._branches) and any(branch._holds for branch in self._branches.values())
        )

    @property
    def _holds(self) -> bool:
        return self._timeline is not None or self._is_loading

    def committed(self, stored: Stored, written: Written | None) -> None:
        self._marking.notice(stored)
        if written is None and self.is_resident and _is_quiet(stored):
            written = ()
        if self._holds:
            self._arrived.append((stored, written))
        for watcher in self._watchers:
            watcher.tell(stored)
        for branch in self._branches.values():
            branch.committed(stored, written)

    def moved(self) -> None:
        if self._timeline is not None:
            self._timeline.stale = True
        for branch in self._branches.values():
            branch.moved()

    def let_go(self) -> None:
        """Forget what is held in memory for views and notes."""
        self._notes.let_go()
        self._marking.forget()
        if not self._is_loading:
            self._timeline = None
            self._cache = ViewCache()
            self._memo = EventMemo()
            self._arrived.clear()

    async def forget(self) -> None:
        """Forget all that is held in memory: some of it was erased."""
        for context in (self, *self._branches.values()):
            context._timeline = None
            context._cache = ViewCache()
            context._memo = EventMemo()
            context._sent = SentViews()
            context._arrived.clear()
            context._marking.forget()
        await self._notes.forget()

    def end_watching(self) -> None:
        for watcher in self._watchers:
            watcher.end()
        for branch in self._branches.values():
            branch.end_watching()

    async def close_notes(self) -> None:
        """Let go of the notes' document and of what is done for it in the background."""
        await self._notes.close()

    # ---- inside -------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[ReadingOrder], T]) -> T | None:
        """What `question` answers from the order of this branch; None if the context holds
        nothing. NotFound if the branch does not stand."""
        return await self._replica.ask(
            self.name, lambda table, _: question(Lineage(table, self.branch_id))
        )

    async def _check_open(self) -> None:
        """ContextClosed, Conflict if it was revoked, or NotFound if this is no branch here."""
        await self._check_stands()
        await self._marking.check_open()

    async def _check_stands(self) -> None:
        """NotFound if this is no branch of the context: what is written there nobody would see."""
        if not self._stands:
            branch = self.branch_id
            if await self._ask(lambda _: True) is None and branch is not None:
                raise no_branch(branch)
            self._stands = True

    # ---- the timeline -------------------------------------------------------------------------

    async def _current(self, asked: Asked = _NOTHING_ASKED, *, rows: int = 0) -> Timeline:
        """The newest messages, with everything in it that was committed before this was called:
        enough for a view as `asked`, mostly, and at least `rows`, if there are so many."""
        timeline = self._timeline
        if timeline is not None and not self._replica.journal.readonly:
            self._take_arrived(timeline)
            if not timeline.stale and (timeline.complete or len(timeline.tail) >= rows):
                return timeline
        async with self._loading:
            return await self._load(asked, None, rows)

    async def _newest(self, count: int) -> Sequence[Entry]:
        """The newest `count` messages, whether views show them or not."""
        timeline = await self._current(rows=count)
        if timeline.source.marks.summary is None or len(timeline.tail) >= count:
            return timeline.tail
        return await self._ask(lambda o: tail.entries(o, o.placed_before(None, count))) or []

    async def _before_results(self) -> Sequence[Entry]:
        """The newest messages, as many as are looked at for the calls that results answer."""
        count: int | None = LOOK_BACK
        while count is not None:
            looked_at = (await self._newest(count))[-count:]
            count = farther(looked_at, count)
        return looked_at

    async def _more(self, asked: Asked, need: NeedMore) -> Timeline:
        """The newest messages, with as many as a view needs."""
        async with self._loading:
            return await self._load(asked, need, 0)

    async def _load(self, asked: Asked, need: NeedMore | None, rows: int) -> Timeline:
        cache = self._cache

        def question(order: ReadingOrder) -> tuple[Timeline, Loaded]:
            settings = resolve(tail.configs(order))
            spec = lasting_spec(asked, settings, self.branch_id)
            shelf = cache.shelf(Tokenizer(spec.tokenizer), spec.media, spec.format)
            loaded = load_source(order, spec, shelf, need=need, rows=rows, memo=self._memo)
            timeline = Timeline(
                source=loaded.source,
                frontier=order.frontier,
                position=order.position,
                settings=settings,
                branch=self.branch_id,
            )
            return timeline, loaded

        self._timeline = None
        self._arrived.clear()
        self._is_loading = True
        try:
            found = await self._ask(question)
        finally:
            self._is_loading = False
        if found is None:
            timeline = Timeline.empty()
            timeline.branch = self.branch_id
        else:
            timeline, loaded = found
            if loaded.hint is not None:
                self._replica.hints.keep(self.name, loaded.hint)
        self._timeline = timeline
        self._take_arrived(timeline)
        self._replica.used(self)
        return timeline

    def _take_arrived(self, timeline: Timeline) -> None:
        """Follow our own appends. Whatever else came makes the timeline stale; as it is, it still
        is the state at its frontier."""
        arrived, self._arrived = self._arrived, []
        for stored, written in arrived:
            if timeline.stale or stored.position <= timeline.position:
                continue
            if written is None:
                timeline.stale = True
                continue
            count = self._replica.projector.count
            timeline.extend(
                stored.position,
                stored.record,
                [
                    (id_, event, count(id_, event.body) if isinstance(event.body, Message) else 0)
                    for id_, event in written
                ],
            )


def _is_quiet(stored: Stored) -> bool:
    record = stored.record
    return record.envelope.kind is Kind.NATIVE and is_quiet(read_update(record.payload))
