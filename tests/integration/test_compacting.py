"""Compacting a context: what the summarizer gets, what is recorded, and what each mishap leaves."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.command_line import opened as opened_file
from tests.stores import Clock, all_records, folder, give, open_replica
from tests.summaries import stands, stands_at
from weft_engine.errors import (
    BudgetTooSmall,
    CallerError,
    Conflict,
    InvalidMessage,
    LimitExceeded,
    StoreClosed,
)
from weft_engine.events.event import Body, Event, Hide, Message, Revoke, Role, Summary
from weft_engine.events.part import CallRef, Result
from weft_engine.events.row import id_bytes
from weft_engine.events.summaries import covered_digest
from weft_engine.formats.openai_chat import Conversation, import_conversation
from weft_engine.limits import SUMMARY_BYTES_MAX
from weft_engine.names import EventId, RecordHash
from weft_engine.replica.compacting import SummaryState
from weft_engine.replica.context import Context
from weft_engine.replica.covering import ENDS_MAX
from weft_engine.replica.replica import Replica
from weft_engine.replica.summarizing import ToSummarize
from weft_engine.storage.verify import verify
from weft_engine.views.marks import StandingSummary
from weft_engine.views.summarize import Summarize

CHAT = "acme/chat"
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


@asynccontextmanager
async def opened(place: Path, *names: str) -> AsyncIterator[list[Replica]]:
    """Replicas on one clock, so that what comes later is later."""
    clock = Clock()
    replicas = [open_replica(place / f"{name}.db", clock=clock) for name in names]
    try:
        yield replicas
    finally:
        for replica in replicas:
            await replica.close()


def on_one(test: Callable[[Replica, Context], Awaitable[None]], place: Path) -> None:
    async def run() -> None:
        async with opened(place, "a") as (replica,):
            await test(replica, replica.context(CHAT))

    asyncio.run(run())


async def turn(chat: Context, question: str, answer: str) -> list[EventId]:
    asked = await chat.append(question)
    view = await chat.view(budget=100_000)
    return [*asked, *await chat.append({"role": "assistant", "content": answer}, view=view)]


async def turns(chat: Context, count: int, first: int = 0) -> list[EventId]:
    return [
        id_
        for n in range(first, first + count)
        for id_ in await turn(chat, f"question {n}", f"answer {n}")
    ]


async def put(replica: Replica, body: Body) -> EventId:
    chat = replica.context(CHAT)
    (id_,) = await replica.scribe.append(chat.name, [lambda _: Event("test", body)])
    return id_


async def standing(replica: Replica) -> StandingSummary:
    found = await stands(replica, CHAT)
    assert found is not None
    assert found == await stands_at(replica, replica.context(CHAT))
    return found


class Model:
    """A summarizer that remembers what it was given."""

    def __init__(self, *answers: object) -> None:
        self.given: list[ToSummarize] = []
        self._answers = list(answers)

    async def __call__(self, what: ToSummarize) -> str:
        self.given.append(what)
        answer = self._answers.pop(0) if self._answers else f"summary {len(self.given)}"
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    @property
    def said(self) -> list[object]:
        return [message["content"] for what in self.given for message in what.messages]


# ---- what is covered ----------------------------------------------------------------------------


def test_older_turns_are_covered_and_the_newest_stay(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        ids = await turns(chat, 6)
        model = Model()
        id_ = await chat.compact(model, keep=20, by="model-1")
        found = await standing(replica)
        assert (found.id, found.count, found.last, found.late) == (id_, 8, ids[7], frozenset())
        assert found.text == "summary 1"
        (what,) = model.given
        assert what.previous is None
        assert what.count == 8
        assert what.messages[0] == {"role": "user", "content": "question 0"}
        assert what.text.startswith("user: question 0\n\nassistant: answer 0\n\nuser: question 1")
        assert [said.id async for said in chat.history()] == ids, "every message is where it was"
        (info,) = await chat.summaries()
        assert (info.by, info.state, info.late) == ("model-1", SummaryState.STANDS, 0)

    on_one(test, place)


def test_the_newest_unit_is_never_covered(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        model = Model()
        assert await chat.compact(model, keep=0) is None, "nothing is there"
        ids = await turns(chat, 1)
        assert await chat.compact(model, keep=0) is None
        ids += await turns(chat, 1, first=1)
        await chat.append("and one more thing")
        assert await chat.compact(model, keep=0) is not None
        assert (await standing(replica)).last == ids[3]
        assert await chat.compact(model, keep=0) is None, "nothing new"
        assert len(model.given) == 1

    on_one(test, place)


def test_by_default_half_of_the_window_stays(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        for n in range(40):
            await turn(chat, f"question {n} " + "word " * 40, "answer " * 50)
        await chat.configure(budget=2_000)
        assert await chat.compact(Model()) is not None
        found = await standing(replica)
        tokens = [said.tokens or 0 async for said in chat.history()]
        room = 2_000 - 250 - 3
        half = (room - room // 8) // 2
        assert half <= sum(tokens[found.count :]) < half + tokens[-1] + tokens[-2]

        await chat.configure(policy=Summarize())
        await put(replica, Revoke(found.id))
        model = Model()
        await chat.compact(model)
        assert model.given[0].token_budget == room // 4
        found = await standing(replica)
        half = (room - room // 4) // 2
        assert half <= sum(tokens[found.count :]) < half + tokens[-1] + tokens[-2]

        await chat.configure(policy=Summarize(keep=0))
        await chat.compact(model)
        assert (await standing(replica)).count == 78

    on_one(test, place)


async def steps(chat: Context, count: int, first: int = 0) -> list[EventId]:
    """Tool calls, two at a time, with their results."""
    ids: list[EventId] = []
    for n in range(first, first + count):
        calls = [CALL | {"id": f"c{n}"}, CALL | {"id": f"d{n}"}]
        ids += await chat.append({"role": "assistant", "content": None, "tool_calls": calls})
        for call in calls:
            result = {"role": "tool", "tool_call_id": call["id"], "content": f"found {n} " * 20}
            ids += await chat.append(result)
    return ids


def test_a_long_turn_is_compacted_between_its_units(place: Path) -> None:
    """An agent's work on one question, never split within a group of calls and results."""

    async def test(replica: Replica, chat: Context) -> None:
        await chat.configure(budget=2_000)
        asked = await chat.append(["You are an agent", "find it"])
        ids = [*asked, *await steps(chat, 20)]
        tokens = {said.id: said.tokens or 0 async for said in chat.history()}
        model = Model()
        assert await chat.compact(model) is not None
        found = await standing(replica)
        assert (found.count - len(asked)) % 3 == 0
        assert found.last == ids[found.count - 1]
        left = sum(tokens[id_] for id_ in ids[found.count :])
        room = 2_000 - 250 - 3
        half = (room - room // 8) // 2
        group = sum(tokens[id_] for id_ in ids[-3:])
        assert half <= left < half + group
        assert "find it" in str(model.given[0].messages)
        # It goes on so, and the newest group stays in any case.
        ids += await steps(chat, 5, first=20)
        assert await chat.compact(model, keep=0) is not None
        assert (await standing(replica)).count == len(ids) - 3
        assert model.given[-1].previous is not None
        assert await chat.compact(model, keep=0) is None

    on_one(test, place)


def test_what_waits_in_a_long_turn_is_not_covered(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        ids = [*await chat.append("find it"), *await steps(chat, 3)]
        calls = [CALL, CALL | {"id": "c2"}]
        ids += await chat.append({"role": "assistant", "content": None, "tool_calls": calls})
        ids += await chat.append({"role": "tool", "tool_call_id": "c1", "content": "one of two"})
        # Another agent goes on meanwhile.
        for n in range(2 * ENDS_MAX):
            ids += await chat.append({"role": "assistant", "content": f"{n}"}, author="other")
        await chat.compact(Model(), keep=0)
        assert (await standing(replica)).last == ids[9], "what came before the calls that wait"
        await chat.append({"role": "tool", "tool_call_id": "c2", "content": "two of two"})
        await chat.append({"role": "assistant", "content": "done"})
        await chat.compact(Model(), keep=0)
        assert (await standing(replica)).count == len(ids) + 1

    on_one(test, place)


def test_a_turn_that_begins_about_there_goes_before_an_end_within_one(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await chat.configure(budget=2_000)
        early = [*await chat.append("first"), *await steps(chat, 10)]
        late = [*await chat.append("second"), *await steps(chat, 6, first=10)]
        tokens = [said.tokens or 0 async for said in chat.history()]
        behind = sum(tokens[len(early) :])
        assert await chat.compact(Model(), keep=behind - 300) is not None
        assert (await standing(replica)).last == early[-1]
        await put(replica, Revoke((await standing(replica)).id))
        # The turn leaves far more than that, so it ends within it.
        assert await chat.compact(Model(), keep=100) is not None
        assert (await standing(replica)).last in late
        await put(replica, Revoke((await standing(replica)).id))
        # It leaves less, so it ends within the one before.
        assert await chat.compact(Model(), keep=behind + 100) is not None
        assert (await standing(replica)).last in early[:-1]

    on_one(test, place)


def test_a_question_stays_with_what_it_led_to(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await chat.append(["a question", "and another"])
        await chat.append({"role": "assistant", "content": "an answer"})
        assert await chat.compact(Model(), keep=0) is None
        await chat.append({"role": "assistant", "content": "more of it"})
        assert await chat.compact(Model(), keep=0) is not None
        assert (await standing(replica)).count == 3

    on_one(test, place)


def test_a_call_that_waits_is_not_covered_and_one_given_up_is(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        ids = await turns(chat, 2)
        await chat.append("look it up")
        await chat.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
        await chat.append("well?")
        model = Model()
        await chat.compact(model, keep=0)
        assert (await standing(replica)).last == ids[3]
        await turn(chat, "forget it", "so be it")
        await chat.append("next")
        await chat.compact(model, keep=0)
        found = await standing(replica)
        assert found.count == 4 + 5
        assert "interrupted" in str(model.given[-1].messages), "a placeholder where it had waited"
        # Its result comes after all: the summary stands, for the call was given up.
        await chat.append({"role": "tool", "tool_call_id": "c1", "content": "late"})
        assert (await standing(replica)).id == found.id

    on_one(test, place)


def test_tool_calls_go_with_their_results(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        for _ in range(3):
            await chat.append("look it up")
            await chat.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
            await chat.append({"role": "tool", "tool_call_id": "c1", "content": "blue"})
            await chat.append({"role": "assistant", "content": "It is blue."})
        model = Model()
        await chat.compact(model, keep=0)
        assert (await standing(replica)).count == 8
        roles = [message["role"] for message in model.given[0].messages]
        assert roles == ["user", "assistant", "tool", "assistant"] * 2
        assert 'assistant calls look({"at": 1})\n\nresult: blue' in model.given[0].text

    on_one(test, place)


def test_a_summary_that_cuts_a_call_from_its_result_does_not_apply(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await chat.append("look it up")
        await chat.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
        (call,) = [s.id for s in await chat.page() if s.event.author == "assistant"]
        cut = await chat.frontier()
        ids = [said.id for said in await chat.page()]
        digest = covered_digest(map(id_bytes, ids))
        id_ = await put(replica, Summary(cut, 2, digest, "cut"))
        assert (await standing(replica)).id == id_, "nothing is cut off yet"
        await chat.append({"role": "tool", "tool_call_id": "c1", "content": "blue"})
        assert await stands(replica, CHAT) is None
        assert await stands_at(replica, chat) is None
        (info,) = await chat.summaries()
        assert info.state is SummaryState.DOES_NOT_APPLY
        assert "result" in (info.reason or "")
        assert call in ids

    on_one(test, place)


@pytest.mark.parametrize("settled", ["answered", "given up", "given up by another"])
def test_a_result_behind_a_call_that_is_settled_takes_nothing_away(
    place: Path, settled: str
) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        result = {"role": "tool", "tool_call_id": "c1", "content": "blue"}
        await chat.append("look it up")
        calling = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        (call,) = await chat.append(calling, author="one")
        if settled == "answered":
            await chat.append(result)
        else:
            author = "one" if settled == "given up" else "two"
            await chat.append({"role": "assistant", "content": "never mind"}, author=author)
        ids = [said.id for said in await chat.page()]
        digest = covered_digest(map(id_bytes, ids))
        id_ = await put(replica, Summary(await chat.frontier(), 3, digest, "said"))
        late = Message(Role.TOOL, (Result("c1", "red", CallRef(call, 0)),))
        await chat.append(late)
        found = await stands(replica, CHAT)
        assert found == await stands_at(replica, chat)
        assert (found is None) is (settled == "given up by another")
        assert found is None or found.id == id_

    on_one(test, place)


def test_a_summary_that_says_what_is_not_so_does_not_apply(place: Path) -> None:
    async def run() -> None:
        async with opened(place, "a", "b") as (one, other):
            chat = one.context(CHAT)
            ids = await turns(chat, 2)
            await give(one, other)
            theirs = await other.context(CHAT).append("from elsewhere")
            cut = await chat.frontier()
            true = Summary(cut, 4, covered_digest(map(id_bytes, ids)), "said", None, ids[3])
            mine = await put(one, true)
            assert (await standing(one)).id == mine
            await put(one, Revoke(mine))

            unseen = await other.context(CHAT).frontier()
            both = covered_digest(map(id_bytes, [*ids, *theirs]))
            lies = {
                "not in its past": [
                    replace(true, covers=(RecordHash(b"x" * 32),), upto=None),
                    Summary(unseen, 5, both, "not seen"),
                ],
                "in none of the records": [replace(true, upto=ids[0])],
                "of the 5 messages it covers 4 are here": [replace(true, count=5)],
                "of the 0 messages": [Summary((), 0, covered_digest([]), "nothing")],
                "other messages": [replace(true, digest=both)],
            }
            for body in (body for some in lies.values() for body in some):
                await put(one, body)
            await give(other, one)
            assert await stands(one, CHAT) is None
            assert await stands_at(one, chat) is None
            infos = await chat.summaries()
            reasons = [info.reason or "" for info in infos[1:]]
            expected = [why for why, some in lies.items() for _ in some]
            assert all(why in said for why, said in zip(expected, reasons, strict=True)), reasons

    asyncio.run(run())


def test_instructions_that_lead_and_hidden_messages_are_not_summarized(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await chat.append({"role": "system", "content": "Be brief."})
        ids = await turns(chat, 4)
        await put(replica, Hide(ids[2]))
        taken_back = await put(replica, Hide(ids[4]))
        await put(replica, Revoke(taken_back))
        model = Model()
        await chat.compact(model, keep=0)
        assert model.said == [
            "question 0", "answer 0", "answer 1", "question 2", "answer 2",
        ]  # fmt: skip
        found = await standing(replica)
        assert found.count == 7, "all of them are covered"
        await put(replica, Hide(ids[0]))
        assert await standing(replica) == found, "hiding takes nothing away from a summary"

    on_one(test, place)


def test_an_imported_conversation_is_cut_inside_its_record(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        texts = [
            f'{{"role":"{role}","content":"{role} {n}"}}'
            for n in range(5)
            for role in ("user", "assistant")
        ]
        await chat.import_messages(import_conversation(Conversation("file", tuple(texts))))
        assert len(await all_records(replica)) == 1
        await chat.compact(Model(), keep=0)
        assert (await standing(replica)).count == 8

    on_one(test, place)


def test_a_second_import_of_what_is_covered_changes_nothing(place: Path) -> None:
    async def run() -> None:
        texts = [
            f'{{"role":"{role}","content":"{role} {n}"}}'
            for n in range(5)
            for role in ("user", "assistant")
        ]
        file = import_conversation(Conversation("file", tuple(texts)))
        async with opened(place, "a", "b") as (one, other):
            await other.context(CHAT).import_messages(file)  # under earlier ids
            await one.context(CHAT).import_messages(file)
            await one.context(CHAT).compact(Model(), keep=0)
            before = await standing(one)
            await give(other, one)
            found = await standing(one)
            assert (found.id, found.count, found.late) == (before.id, 8, frozenset())
            assert found.last != before.last, "the same message under its lesser id"
            await give(one, other)
            assert await standing(other) == found

            # And with both here, one is made that ends inside each of the two records.
            await put(other, Revoke(found.id))
            assert await stands(other, CHAT) is None
            assert await other.context(CHAT).compact(Model(), keep=0) is not None
            assert (await standing(other)).count == 8

    asyncio.run(run())


def test_what_was_said_while_the_model_answered_is_not_covered_with_the_answer(
    place: Path,
) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        (first,) = await chat.append("first")
        view = await chat.view()
        await chat.append("meanwhile")
        # Its record has "meanwhile" in its past, behind which it ends.
        answer = {"role": "assistant", "content": "answer"}
        await chat.append([answer, "thanks"], view=view)
        said = [one.event.body for one in await chat.page()]
        assert [p.text for b in said if isinstance(b, Message) for p in b.parts] == [  # type: ignore[union-attr]
            "first", "answer", "meanwhile", "thanks",
        ]  # fmt: skip
        await chat.compact(Model(), keep=0)
        found = await standing(replica)
        assert (found.count, found.last) == (1, first)
        await turns(chat, 1)
        await chat.compact(Model(), keep=0)
        assert (await standing(replica)).count == 1, "the question is asked in the newest turn"
        await turns(chat, 1, first=1)
        await chat.compact(Model(), keep=0)
        found = await standing(replica)
        assert (found.count, found.late) == (6, frozenset())

    on_one(test, place)


# ---- several, and several replicas --------------------------------------------------------------


def test_the_next_summary_takes_in_the_one_before(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 3)
        model = Model()
        first = await chat.compact(model, keep=0)
        before = await standing(replica)
        await turns(chat, 2, first=3)
        second = await chat.compact(model, keep=0)
        assert model.given[1].previous == "summary 1"
        assert model.said[4:] == ["question 2", "answer 2", "question 3", "answer 3"]
        found = await standing(replica)
        assert (found.id, found.count) == (second, 8)
        states = {info.id: info.state for info in await chat.summaries()}
        assert states == {first: SummaryState.BEATEN, second: SummaryState.STANDS}

        assert second is not None
        revoked = await put(replica, Revoke(second))
        assert await standing(replica) == before, "revoking brings back what was beaten"
        await put(replica, Revoke(revoked))
        assert await standing(replica) == found, "and so does revoking the revoke"

    on_one(test, place)


def test_revoking_gives_back_the_view_byte_for_byte(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 30)
        await chat.configure(budget=1_000, policy=Summarize())
        before = await chat.view()
        made = await chat.compact(Model(), keep=50)
        assert made is not None
        await chat.view()
        await put(replica, Revoke(made))
        after = await chat.view()
        assert after.fingerprint == before.fingerprint
        assert after.openai() == before.openai()
        assert (await chat.replay(before.receipt)).openai() == before.openai()

    on_one(test, place)


def test_a_revoke_takes_back_only_what_is_older(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 3)
        made = await chat.compact(Model(), keep=0)
        assert made is not None
        await put(replica, Revoke(made))
        assert await stands(replica, CHAT) is None
        again = await chat.compact(Model("again"), keep=0)
        assert (await standing(replica)).id == again
        states = [info.state for info in await chat.summaries()]
        assert states == [SummaryState.REVOKED, SummaryState.STANDS]

    on_one(test, place)


def test_what_was_written_offline_surfaces_as_late(place: Path) -> None:
    async def run() -> None:
        async with opened(place, "laptop", "phone") as (laptop, phone):
            chat = laptop.context(CHAT)
            start = await turns(chat, 1)
            await give(laptop, phone)
            # More was said on the phone, so that is read first.
            late = await turns(phone.context(CHAT), 5, first=50)
            said = await turns(chat, 3, first=1)
            made = await chat.compact(Model(), keep=0)
            before = await standing(laptop)
            assert (before.count, before.last, before.late) == (6, said[3], frozenset())
            await give(phone, laptop)
            await give(laptop, phone)
            for replica in (laptop, phone):
                order = [one.id for one in await replica.context(CHAT).page()]
                assert order == [*start, *late, *said]
                found = await standing(replica)
                assert (found.id, found.count, found.last) == (made, 6, said[3])
                assert found.late == frozenset(late)

            # The next summary takes them in.
            await turns(chat, 2, first=7)
            model = Model()
            await chat.compact(model, keep=0)
            assert model.given[0].previous == "summary 1"
            assert "question 50" in model.said
            assert "question 1" not in model.said, "that is in the summary it goes on from"
            after = await standing(laptop)
            assert (after.count, after.late) == (2 + 10 + 6 + 2, frozenset())

    asyncio.run(run())


def test_a_message_alone_that_was_written_offline_is_late_too(place: Path) -> None:
    async def run() -> None:
        async with opened(place, "laptop", "phone") as (laptop, phone):
            chat = laptop.context(CHAT)
            first = await turns(chat, 1)
            await give(laptop, phone)
            view = await phone.context(CHAT).view()
            (late,) = await phone.context(CHAT).append("from the phone")
            said = await turns(chat, 3, first=1)
            await chat.compact(Model(), keep=0)
            await give(phone, laptop)
            assert (await standing(laptop)).late == frozenset(), "it stands behind all that"
            # An answer that had seen more than those on the laptop moves it in front of them.
            await phone.context(CHAT).append(
                [{"role": "assistant", "content": "unseen"}, "a", "b", "c", "d", "e", "f"]
            )
            await phone.context(CHAT).append({"role": "assistant", "content": "seen"})
            await give(phone, laptop)
            assert view.ids == tuple(first)
            found = await standing(laptop)
            assert found.count == 6
            assert found.last == said[3]
            assert late in found.late

    asyncio.run(run())


def test_a_message_that_finds_a_gap_among_what_is_covered_is_late(place: Path) -> None:
    async def run() -> None:
        async with opened(place, "laptop", "phone") as (laptop, phone):
            chat = laptop.context(CHAT)
            await chat.append("look it up")
            calls = [CALL, {**CALL, "id": "c2"}]
            await chat.append({"role": "assistant", "content": None, "tool_calls": calls})
            await chat.append({"role": "tool", "tool_call_id": "c1", "content": "blue"})
            (late,) = await phone.context(CHAT).append("from the phone")
            result = {"role": "tool", "tool_call_id": "c2", "content": "red"}
            (last,) = await chat.append(result)
            await chat.append("and now?")
            await chat.compact(Model(), keep=0)
            before = await standing(laptop)
            assert (before.last, before.late) == (last, frozenset())
            await give(phone, laptop)
            known = await laptop.journal.read(remembered)
            after = await standing(laptop)
            assert (after.last, after.late) == (last, frozenset({late}))
            assert known == await laptop.journal.read(remembered), "followed, not found anew"
            assert verified(laptop) == []

    asyncio.run(run())


def remembered(connection: sqlite3.Connection) -> list[object]:
    return connection.execute("SELECT rowid, key, place FROM summaries").fetchall()


def verified(replica: Replica) -> Sequence[object]:
    return list(verify(replica.path, progress=lambda *_: None).findings)


@pytest.mark.parametrize("change", ["late = x''", "place = place - 16", "key = x''"])
def test_verify_sees_a_remembered_summary_that_is_wrong(place: Path, change: str) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 1)
        other = open_replica(place / "b.db", clock=Clock(1_700_000_001_000))
        await give(replica, other)
        await turns(other.context(CHAT), 6, first=50)
        await turns(chat, 3, first=1)
        await chat.compact(Model(), keep=0)
        await give(other, replica)
        await other.close()
        assert (await standing(replica)).late
        assert verified(replica) == []
        with opened_file(replica.path) as connection:
            connection.execute(f"UPDATE summaries SET {change}")
        assert "summary" in str(verified(replica))

    on_one(test, place)


def test_concurrent_compactions_converge(place: Path) -> None:
    async def run() -> None:
        async with opened(place, "a", "b") as (one, other):
            await turns(one.context(CHAT), 4)
            await give(one, other)
            same = await one.context(CHAT).compact(Model("from a"), keep=0)
            await other.context(CHAT).compact(Model("from b"), keep=0)
            await give(one, other)
            await give(other, one)
            assert (await standing(one)).id == same, "of two that cover the same, the lesser id"
            assert await standing(one) == await standing(other)

            await turns(one.context(CHAT), 1, first=4)
            await turns(other.context(CHAT), 3, first=14)
            await one.context(CHAT).compact(Model("less"), keep=0)
            more = await other.context(CHAT).compact(Model("more"), keep=0)
            await give(one, other)
            await give(other, one)
            assert (await standing(one)).id == more
            assert await standing(one) == await standing(other)

    asyncio.run(run())


def test_two_at_once_wait_for_each_other(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 4)
        model = Model()
        found = await asyncio.gather(chat.compact(model, keep=0), chat.compact(model, keep=0))
        assert found[0] is not None
        assert found[1] is None
        assert len(model.given) == 1

    on_one(test, place)


# ---- pieces -------------------------------------------------------------------------------------


def test_what_does_not_fit_into_the_budget_comes_in_pieces(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        for n in range(30):
            await turn(chat, f"question {n} " + "word " * 60, f"answer {n} " + "more " * 60)
        await turn(chat, "a long one " + "word " * 4_000, "short")
        await turns(chat, 1, first=90)
        await chat.configure(budget=2_000)
        model = Model()
        await chat.compact(model, keep=0)
        assert [what.previous for what in model.given] == [
            None, *(f"summary {n}" for n in range(1, len(model.given))),
        ]  # fmt: skip
        assert len(model.given) > 3
        found = await standing(replica)
        assert found.text == f"summary {len(model.given)}"
        assert sum(what.count for what in model.given) == found.count == 62
        texts = "\n".join(what.text for what in model.given)
        assert all(f"question {n} " in texts and f"answer {n} " in texts for n in range(30))
        from weft_engine.views.count import count_sent
        from weft_engine.views.media import DEFAULT_MEDIA
        from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, Tokenizer

        tokenizer = Tokenizer(DEFAULT_TOKENIZER)
        for what in model.given:
            used = count_sent(what.messages, tokenizer, DEFAULT_MEDIA)
            assert used + what.token_budget <= 1_750

    on_one(test, place)


# ---- mishaps ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ValueError("no quota"), ValueError),
        ("", InvalidMessage),
        (" \n", InvalidMessage),
        (None, InvalidMessage),
        (b"bytes", InvalidMessage),
        ("half a \ud83d", InvalidMessage),
        ("x" * (SUMMARY_BYTES_MAX + 1), LimitExceeded),
        ("x" * 10_000_000, LimitExceeded),
    ],
)
def test_no_usable_answer_records_nothing(
    place: Path, answer: object, error: type[Exception]
) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 3)
        before = await all_records(replica)
        with pytest.raises(error):
            await chat.compact(Model(answer), keep=0)
        assert await all_records(replica) == before
        assert await chat.compact(Model(), keep=0) is not None, "and it can be asked again"

    on_one(test, place)


def test_one_that_is_cancelled_records_nothing(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 3)
        before = await all_records(replica)

        async def never(_: ToSummarize) -> str:
            await asyncio.Event().wait()
            raise AssertionError

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await chat.compact(never, keep=0)
        assert await all_records(replica) == before
        assert await chat.compact(Model(), keep=0) is not None

    on_one(test, place)


async def meanwhile(chat: Context, act: Callable[[], Awaitable[object]]) -> EventId | None:
    """Compact, with `act` done while the summarizer is at it."""

    async def summarizer(_: ToSummarize) -> str:
        await act()
        return "made meanwhile"

    return await chat.compact(summarizer, keep=0)


def test_messages_and_hides_that_come_meanwhile_change_nothing(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        ids = await turns(chat, 3)

        async def act() -> None:
            await turns(chat, 2, first=8)
            await put(replica, Hide(ids[0]))

        assert await meanwhile(chat, act) is not None
        found = await standing(replica)
        assert (found.count, found.last, found.late) == (4, ids[3], frozenset())

    on_one(test, place)


def test_what_is_erased_meanwhile_is_in_no_summary(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        ids = await turns(chat, 3)
        with pytest.raises(Conflict, match="erased"):
            await meanwhile(chat, lambda: chat.erase(event=ids[1], reason="test"))
        assert await chat.summaries() == []
        model = Model()
        await chat.compact(model, keep=0)
        assert "answer 0" not in model.said

    on_one(test, place)


def test_a_summary_that_goes_on_from_a_revoked_one_is_not_recorded(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 3)
        first = await chat.compact(Model(), keep=0)
        assert first is not None
        await turns(chat, 2, first=3)
        with pytest.raises(Conflict, match="revoked"):
            await meanwhile(chat, lambda: put(replica, Revoke(first)))
        assert [info.id for info in await chat.summaries()] == [first]

    on_one(test, place)


def test_another_compaction_that_comes_meanwhile_decides_by_the_rule(place: Path) -> None:
    async def run() -> None:
        async with opened(place, "a", "b") as (one, other):
            await turns(one.context(CHAT), 3)
            await give(one, other)

            async def act() -> None:
                await other.context(CHAT).compact(Model("theirs"), keep=0)
                await give(other, one)

            mine = await meanwhile(one.context(CHAT), act)
            assert mine is not None
            infos = await one.context(CHAT).summaries()
            assert [info.state for info in infos] == [SummaryState.STANDS, SummaryState.BEATEN]
            assert (await standing(one)).text == "theirs"

    asyncio.run(run())


def test_erasing_a_covered_message_ends_the_summary_everywhere(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        ids = await turns(chat, 4)
        await chat.compact(Model(), keep=0)
        await chat.erase(event=ids[1], reason="private")
        assert await stands(replica, CHAT) is None
        (info,) = await chat.summaries()
        assert info.state is SummaryState.DOES_NOT_APPLY
        assert info.reason is not None
        assert "of the 6 messages it covers 5 are here" in info.reason
        assert "erased" in info.reason
        assert await chat.compact(Model(), keep=0) is not None, "and a new one can be made"
        assert (await standing(replica)).count == 5

    on_one(test, place)


def test_bad_requests_ask_nobody(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 3)
        model = Model()
        for keep in (-1, 1.5, True):
            with pytest.raises(CallerError):
                await chat.compact(model, keep=keep)  # type: ignore[arg-type]
        async with open_replica(replica.path, readonly=True) as reader:
            with pytest.raises(StoreClosed):
                await reader.context(CHAT).compact(model, keep=0)
            assert await reader.context(CHAT).summaries() == []
        lead = replica.context("acme/lead")
        await lead.append({"role": "system", "content": "word " * 9_000})
        await turns(lead, 2)
        with pytest.raises(BudgetTooSmall):
            await lead.compact(model)
        assert model.given == []

    on_one(test, place)


# ---- what is remembered -------------------------------------------------------------------------


def test_a_reopened_and_a_read_only_store_know_the_summary(place: Path) -> None:
    async def run() -> None:
        async with opened(place, "a") as (replica,):
            chat = replica.context(CHAT)
            await turns(chat, 4)
            await chat.compact(Model(), keep=0)
            found = await standing(replica)
            async with open_replica(replica.path, readonly=True) as reader:
                assert await stands(reader, CHAT) == found
                await chat.append("more")
                assert await stands(reader, CHAT) == found
        async with opened(place, "a") as (replica,):
            assert await standing(replica) == found

    asyncio.run(run())


def test_views_ask_for_one_body_however_much_is_covered(place: Path) -> None:
    async def test(replica: Replica, chat: Context) -> None:
        await turns(chat, 40)
        await chat.compact(Model(), keep=0)
        await turns(chat, 2, first=40)
        await standing(replica)

        def question(table: object, _: object) -> int:
            from weft_engine.storage.event_table import EventTable
            from weft_engine.storage.summaries import standing_summary

            assert isinstance(table, EventTable)
            read = 0
            bodies = table.bodies

            def counted(rows: list[object]) -> object:
                nonlocal read
                read += len(rows)
                return bodies(rows)  # type: ignore[arg-type]

            table.bodies = counted  # type: ignore[assignment, method-assign]
            assert standing_summary(table) is not None
            return read

        read = await replica.ask(chat.name, question)
        assert read is not None
        assert read <= 1 + 8

    on_one(test, place)
