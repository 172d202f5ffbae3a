"""What one end of a link asks its store, one question at a time, and what it makes of the answers.

Must never know: frames, how the store finds its answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from weft_engine.sync.end.confirming import Confirming
from weft_engine.sync.end.cursor_questions import BehindRead, CursorKept, CursorRead, RowRead
from weft_engine.sync.end.following import Following
from weft_engine.sync.end.incoming import Incoming
from weft_engine.sync.end.link_cursors import LinkCursors
from weft_engine.sync.end.progress import Progress
from weft_engine.sync.end.questions import (
    Answer,
    ConfirmationsRead,
    FrontiersRead,
    LackingRead,
    Listed,
    Question,
)
from weft_engine.sync.end.record_questions import ReadWanted, RecordsRead
from weft_engine.sync.end.regions.held_questions import HeldRead
from weft_engine.sync.end.regions.together import together
from weft_engine.sync.end.regions.tree_questions import NamesRead, TreeRead
from weft_engine.sync.end.regions.zoom_questions import ChainsRead, SharedRead
from weft_engine.sync.end.regions.zooming import Zooming
from weft_engine.sync.end.sending import Sending
from weft_engine.sync.end.subject import Subject
from weft_engine.sync.end.ticket_questions import IdentityRenewed
from weft_engine.sync.end.tickets import Tickets
from weft_engine.sync.framing.messages import Frontier, Hello


@dataclass(slots=True)
class Asking:
    """`round_began` is told when the link is about something else from now on."""

    subject: Subject
    sending: Sending
    incoming: Incoming
    following: Following
    cursors: LinkCursors
    confirming: Confirming
    tickets: Tickets
    progress: Progress
    round_began: Callable[[Hello], None]
    _is_asking: bool = False
    _is_zooming: bool = False
    """The question was what both hold."""

    def next(self, peer: Hello) -> Question | None:
        """None while there is nothing to ask, the last answer is not here, or what was read has
        not left yet."""
        if self._is_asking or self.sending.is_full:
            return None
        question = self._choose(peer)
        self._is_asking = question is not None
        return question

    def _choose(self, peer: Hello) -> Question | None:
        """Tickets and lists first, then frontiers, then cursors, then records: those asked for
        before the others."""
        subject, sending = self.subject, self.sending
        comparison = subject.comparison
        assert comparison is not None, "there is one from the peer's hello on"
        ticket_question = self.tickets.next_question()
        if ticket_question is not None:
            return ticket_question
        cursor_question = subject.resuming.next_question()
        if cursor_question is not None or not subject.resuming.is_settled:
            return cursor_question
        if subject.listing is not None:
            return subject.listing
        if not comparison.was_listed:
            return None
        announcement = comparison.to_announce()
        if announcement is not None:
            return announcement
        if subject.zooming is not None:
            zoom_question = subject.zooming.next_question()
            self._tell(subject.zooming)
            self._is_zooming = zoom_question is not None
            if zoom_question is not None:
                return zoom_question
        subscribe = subject.next_round(peer)
        if subscribe is not None:
            sending.outbox.put(subscribe)
            self.round_began(peer)
            return subject.listing
        if not self.tickets.may_send:
            return comparison.to_settle()
        # What a peer lacks is computed when there is little else to send: the lists can be long.
        return (
            self.cursors.next(self.progress.durable_upto() if self.cursors.keeps else None)
            or self.incoming.next_held()
            or sending.next_wanted()
            or (comparison.to_settle() if not sending.outgoing.ready else None)
            or self._repeated()
            or sending.next_read()
            or self._confirmations()
        )

    def _repeated(self) -> Question | None:
        repeating = self.subject.repeating
        if repeating is None:
            return None
        return repeating.next_question(head=self.sending.outgoing.head)

    def _confirmations(self) -> Question | None:
        # Up to where all is durable takes a look at all that is not: not with every message.
        if not self.confirming.is_due:
            return None
        durable = self.sending.outgoing.durable_upto()
        return self.confirming.next_read(self.subject.interest, durable)

    def supply(self, answer: Answer) -> None:
        """The store's answer. LimitBroken if the link is about too much."""
        self._is_asking = False
        subject, sending = self.subject, self.sending
        outbox, outgoing = sending.outbox, sending.outgoing
        comparison = subject.comparison
        assert comparison is not None, "nothing is asked before the peer's hello"
        zooming = subject.zooming
        if self._is_zooming and zooming is not None:
            assert isinstance(answer, SharedRead | ChainsRead | FrontiersRead), "what it asks for"
            self._is_zooming = False
            zooming.supply(answer)
            self._tell(zooming)
            return
        match answer:
            case Listed():
                for page in subject.listed(answer):
                    subject.say(page)
            case TreeRead():
                repeating = subject.repeating
                if repeating is None or not repeating.is_asking:
                    subject.tree_read(answer)
                    return
                is_idle = self.progress.is_synced
                tree = repeating.supply(answer, head=outgoing.head, is_idle=is_idle)
                if tree is not None:
                    outbox.put(tree)
            case NamesRead():
                subject.named(answer)
            case FrontiersRead():
                if zooming is not None:
                    for context, frontier, _ in answer.frontiers:
                        zooming.announced(context, frontier)
                frontiers = [Frontier(*one) for one in answer.frontiers]
                for told in frontiers if zooming is None else together(frontiers):
                    subject.say(told)
                comparison.answered()
            case LackingRead():
                comparison.answered()
                for some in answer.contexts:
                    self.incoming.held(some.held)
                    waits = zooming is not None and not some.is_all
                    departed = subject.departed.upto(some.context)
                    positions = [position for position in some.positions if position > departed]
                    where = (positions, max(some.after, departed), some.upto)
                    outgoing.lacking(some.context, *where, waits=waits)
                    if zooming is not None:
                        zooming.lacks(some.context, some.frontier, is_all=some.is_all)
            case SharedRead() | ChainsRead():
                raise AssertionError("only zooming asks for these")
            case HeldRead(asked, held, position):
                # Before anything is said of it: what is held may be newer than all we heard of.
                outgoing.saw(position)
                self.incoming.looked_up(asked.hashes, held)
                self.following.answered()
                if sending.neighbour is not None:
                    for hash_ in held:
                        sending.neighbour.holds(hash_)
            case RecordsRead(question) if isinstance(question, ReadWanted):
                sending.wanted_read(answer, question, subject.interest)
            case RecordsRead():
                known = self.following.came.union(self.incoming.offered)
                sending.records_read(answer, known, states=comparison.is_done)
            case CursorRead() | BehindRead():
                if isinstance(answer, BehindRead) and not self.tickets.peer_is_current:
                    # It shows what we don't know of: we were set back, and what is at the
                    # position of its cursor may have come there anew.
                    answer = replace(answer, contexts=None)
                outbox.put(subject.resuming.supply(answer))
                self.cursors.resumed(subject.begin())
            case RowRead(cursor):
                newest = self.cursors.row_read(cursor)
                if newest is not None:
                    outbox.put(newest)
            case CursorKept(met):
                self.cursors.kept(met)
            case ConfirmationsRead():
                for message in self.confirming.take(answer, outgoing.durable_upto()):
                    outbox.put(message)
            case _:
                if isinstance(answer, IdentityRenewed):
                    self.cursors.renewed()
                said = self.tickets.supply(answer)
                if said is not None:
                    outbox.put(said)

    def _tell(self, zooming: Zooming) -> None:
        for message in together(zooming.messages()):
            self.subject.say(message)
