"""Rules of links, with clients and with regions, each broken once; `tests.simulation.mutants` runs
them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.simulation.breaking import patch
from weft_engine.limits import CURSOR_TAIL_RECORDS_MAX, TREE_DIGEST_BYTES
from weft_engine.names import Position
from weft_engine.records.envelope import Record
from weft_engine.records.gate import Outcome
from weft_engine.storage import (
    cursors,
)
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.ledger import Stored
from weft_engine.storage.reading import last_position
from weft_engine.sync.driving import hub, inspection
from weft_engine.sync.driving.hub import Ear
from weft_engine.sync.end import asking, confirming, cursor_questions
from weft_engine.sync.end.acks import Acks
from weft_engine.sync.end.comparison import Comparison
from weft_engine.sync.end.cursors import Keeping
from weft_engine.sync.end.following import Following
from weft_engine.sync.end.incoming import Incoming
from weft_engine.sync.end.link_cursors import LinkCursors
from weft_engine.sync.end.live import Body
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.pages import Pages
from weft_engine.sync.end.reaching import Reaching
from weft_engine.sync.end.receiving import Receiving
from weft_engine.sync.end.regions import repeating, together
from weft_engine.sync.end.regions.between_regions import BetweenRegions
from weft_engine.sync.end.regions.claims import Claims
from weft_engine.sync.end.regions.repeating import Doubts, Repeating
from weft_engine.sync.end.regions.resting import Resting
from weft_engine.sync.end.sending import Sending
from weft_engine.sync.end.tickets import Tickets
from weft_engine.sync.framing.messages import Ack, Cursor, Frontiers, Zoom, Zooms
from weft_engine.sync.interest import EVERYTHING, NOTHING, Interest
from weft_engine.sync.reach import Reach
from weft_engine.sync.tree import ROOT, root_digest

# ---- comparing again ------------------------------------------------------------------------


def compare_nothing_again() -> None:
    """Two roots are always equal."""
    compare = Repeating._compare

    def alike(self: Repeating, root: bytes, theirs: Any) -> None:
        compare(self, root, replace(theirs, digest=root_digest(root, theirs.salt)))

    patch(Repeating, "_compare", alike)


def compare_while_something_moves() -> None:
    patch(repeating, "STILL_MS", 0)


def compare_what_was_read_meanwhile() -> None:
    """A tree counts that was read while the journal moved."""
    supply = Repeating.supply

    def any_tree(self: Repeating, answer: Any, *, head: Position, is_idle: bool) -> Any:
        self._asked = head
        return supply(self, answer, head=head, is_idle=True)

    patch(Repeating, "supply", any_tree)


def end_at_the_first_difference() -> None:
    patch(repeating, "_DIFFERENT_TWICE", 1)


def never_doubt() -> None:
    """Who never agrees is linked anew as often as who agreed so far."""
    patch(Doubts, "differ", lambda self, peer: None)


def answer_answers() -> None:
    """A root that answers one of ours, which was not waited for any more, is answered, too."""
    supply = Repeating.supply

    def told(self: Repeating, answer: Any, *, head: Position, is_idle: bool) -> Any:
        found = supply(self, answer, head=head, is_idle=is_idle)
        self._quiet_until_ms = 0
        return found

    patch(Repeating, "supply", told)


def compare_any_interest_again() -> None:
    greeted = Repeating.greeted

    def all_are_kept(self: Repeating, peer: bytes, interest: Any) -> None:
        greeted(self, peer, interest)
        self._interest = interest

    patch(Repeating, "greeted", all_are_kept)


def compare_nothing_that_rests() -> None:
    """On a link on which something always moves."""
    patch(Resting, "_compare", lambda self, ours, levels, theirs: None)


def take_all_for_resting() -> None:
    """What moves is told and compared as if it rested."""
    rested = Resting._rested

    def all_of_it(self: Resting, tree: Any, base: Any, levels: int, salted: Any) -> Any:
        joined, size = salted.nodes(tree.values(ROOT, levels)), TREE_DIGEST_BYTES
        count = len(rested(self, tree, base, levels, salted))
        return [joined[at * size : at * size + size] for at in range(count)]

    patch(Resting, "_rested", all_of_it)


# ---- what goes together ---------------------------------------------------------------------


def lose_the_last_frontier() -> None:
    """Of several that go out together."""
    frontiers = together._frontiers

    def without(messages: Iterable[Any]) -> Iterator[Any]:
        for one in frontiers(messages):
            yield replace(one, entries=one.entries[:-1]) if isinstance(one, Frontiers) else one

    patch(together, "_frontiers", without)


def zooms_overtake() -> None:
    """What is said of a frontier goes out ahead of it."""
    at_once = together.together

    def sorted_by_kind(messages: Iterable[Any]) -> Iterator[Any]:
        return at_once(sorted(messages, key=lambda one: not isinstance(one, Zoom)))

    for module in (together, asking):
        patch(module, "together", sorted_by_kind)


def hear_the_first_frontier() -> None:
    """Of several that come together."""
    receive = Receiving.receive

    def heard(self: Receiving, message: Any, *rest: Any, **options: Any) -> None:
        if isinstance(message, Frontiers):
            message = replace(message, entries=message.entries[:1])
        receive(self, message, *rest, **options)

    patch(Receiving, "receive", heard)


def hear_the_first_zoom() -> None:
    receive = BetweenRegions.receive

    def heard(self: BetweenRegions, message: Any) -> None:
        if isinstance(message, Zooms):
            message = replace(message, entries=message.entries[:1])
        receive(self, message)

    patch(BetweenRegions, "receive", heard)


# ---- acknowledging --------------------------------------------------------------------------


def gather_over_gaps() -> None:
    """What is gathered acknowledges what lies between, too."""

    def all_in_one(self: Acks) -> list[Ack]:
        taken = take(self)
        return [replace(taken[-1], first=taken[0].first)] if taken else []

    take = Acks.take
    patch(Acks, "take", all_in_one)


def acknowledge_what_waits() -> None:
    """Parked records count as journaled."""
    admitted = Incoming.admitted

    def closed(self: Incoming, serial: int, outcome: Any) -> Any:
        wants = admitted(self, serial, outcome)
        self._open[serial].left.clear()
        return wants

    patch(Incoming, "admitted", closed)


def confirm_early() -> None:
    """An erasure is confirmed to who does not hold its eraser."""
    take = confirming.Confirming.take

    def at_once(self: Any, read: Any, durable: Position | None) -> Any:
        return take(self, read, Position(1 << 60))

    patch(confirming.Confirming, "take", at_once)


# ---- cursors, tickets, rounds ---------------------------------------------------------------


def forget_what_came_from_elsewhere() -> None:
    """A client that got something over another link goes on as if the peer held that."""

    def all_of_it(connection: Any, place: Any, theirs: Any, covers: Any) -> Position:
        rows = connection.execute(
            "SELECT max(position) FROM (SELECT position FROM records WHERE position >= ?"
            " ORDER BY position LIMIT ?)",
            (place.met, CURSOR_TAIL_RECORDS_MAX),
        )
        (last,) = rows.fetchone()
        return Position(last or place.met)

    patch(cursors, "met", all_of_it)


def keep_cursors_of_another() -> None:
    """A store that goes by another id keeps what it knew under the former one."""
    patch(LinkCursors, "renewed", lambda self: None)
    patch(cursors, "forget", lambda connection: None)


def send_before_the_ticket() -> None:
    greeted = Tickets.greeted

    def at_once(self: Tickets, peer: Any) -> None:
        greeted(self, peer)
        self.may_send = True

    patch(Tickets, "greeted", at_once)


def count_before_the_lists() -> None:
    """Positions count that were told of what the link was about before."""
    receive = Reaching.receive
    patch(Reaching, "receive", lambda self, message, *, counts: receive(self, message, counts=True))


# ---- regions --------------------------------------------------------------------------------


def let_nobody_wait_in_vain() -> None:
    """Who is asked for something keeps it, whether it brings that or not."""
    patch(Claims, "tick", lambda self, claimant, now_ms, *, passed_ms, is_slow: None)
    patch(Claims, "give_way", lambda self, claimant: None)


def keep_what_was_lost() -> None:
    """A region that comes back with another store is said to hold what the former one held."""
    patch(Reach, "lost", lambda self, region: None)


# ---- what a link is about -------------------------------------------------------------------


def answer_any_want() -> None:
    """What is asked for is sent, whatever the link is about."""
    read = Sending.wanted_read

    def sent(self: Sending, answer: Any, question: Any, interest: Interest) -> None:
        read(self, answer, question, EVERYTHING)

    patch(Sending, "wanted_read", sent)


def take_any_context() -> None:
    """What comes is taken, whatever the link is about."""
    inspected = inspection._inspected

    def taken(envelope: bytes, payload: bytes, erasures: Any, interest: Interest) -> Any:
        return inspected(envelope, payload, erasures, EVERYTHING)

    patch(inspection, "_inspected", taken)


def ask_for_everything() -> None:
    """A link is about what one end asks for, and not only what the other end permits."""
    patch(Interest, "intersection", lambda self, other: self.union(other))


# ---- sending, and cursors -------------------------------------------------------------------


def pages_outlive() -> None:
    """What was read for many links is given after something of it was erased."""
    patch(Pages, "forget", lambda self, context: None)


def send_back() -> None:
    committed = Outgoing.committed

    def always(self: Outgoing, context: Any, position: Any, *_: Any, **__: Any) -> None:
        committed(self, context, position, from_peer=False)

    patch(Outgoing, "committed", always)
    patch(Body, "without", lambda self, hashes: self)


def overflow_skips() -> None:
    """Who can't take what is new when it is handed out does not hear of it."""

    def give(ear: Ear, bodies: Sequence[Body]) -> None:
        for body in bodies:
            ear.push(body.without(ear.session.following.came))

    patch(hub, "_give", give)


def push_first() -> None:
    admit = SqliteJournal.admit

    async def told_before(
        self: SqliteJournal, records: Sequence[Record], items: Any, **options: Any
    ) -> Outcome:
        last = await self.read(last_position)
        some = [Stored(Position(last + 1 + at), record, 0) for at, record in enumerate(records)]
        for hear in tuple(self._commit_listeners):
            hear(some, items)
        return await admit(self, records, items, **options)

    patch(SqliteJournal, "admit", told_before)


def push_to_all() -> None:
    """What is new goes out in front of what is still to be sent."""
    settled = property(lambda self: not self._has_ended and self._subject.comparison is not None)
    patch(Following, "is_settled", settled)


def resume_without_the_row() -> None:
    """A cursor stands if its position does."""

    def any_row(connection: sqlite3.Connection, interest: Any, cursor: Cursor) -> Any:
        row = cursors.row_at(connection, cursor.position)
        return behind(connection, interest, cursor if row is None else replace(cursor, row=row))

    behind = cursor_questions._behind
    patch(cursor_questions, "_behind", any_row)


def outlive_epochs() -> None:
    """A cursor is good for ever, although positions may have been used again since."""

    def ever(connection: sqlite3.Connection, between: Any) -> Any:
        if not cursors._is_made(connection):
            return None
        row = connection.execute(
            "SELECT position, row, sent, met FROM cursors WHERE peer = ? AND interest = ?",
            (between.peer, between.interest),
        ).fetchone()
        return None if row is None else cursors.Place(*row)

    patch(cursors, "held", ever)


def join_without_catching_up() -> None:
    """What is newly covered is pushed from then on, and what was there before is not compared."""

    def joined(self: Comparison, interest: Any, without: Any) -> None:
        begin(self, interest, without)
        self._without = interest

    def nothing(*_: Any) -> Any:
        return NOTHING

    begin = Comparison.begin
    patch(Comparison, "begin", joined)
    patch(Interest, "beyond", nothing)


def keep_cursors_at_once() -> None:
    """Before the records that came before them are durable."""
    move = Keeping._move
    patch(Keeping, "_move", lambda self, oldest: move(self, 1 << 60))
