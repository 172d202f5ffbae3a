"""Views of real stores, with everything that stands beside the messages: what is shown, where, and
why it changed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.stores import Clock, folder, give, open_replica
from weft_engine.errors import OverBudget, PolicyMissing
from weft_engine.events.event import Config, Fact, Hide, Message, Pin, Role, Summary
from weft_engine.events.part import Text
from weft_engine.formats.registry import FORMAT_NAMES
from weft_engine.names import EventId
from weft_engine.replica.context import Context
from weft_engine.replica.explaining import explain
from weft_engine.replica.replica import Replica
from weft_engine.storage.verify import verify
from weft_engine.views.comparison import Absent, Reason
from weft_engine.views.custom_policy import Chosen, Custom, Selection, register_policy
from weft_engine.views.decay import Decay
from weft_engine.views.policies import LastN, Manual, SkipParts
from weft_engine.views.policy import LOOK_BACK, Policy
from weft_engine.views.policy import POLICIES as ALL
from weft_engine.views.shown import Area, Rule, Shown
from weft_engine.views.summarize import Summarize
from weft_engine.views.view import View

LONG = "word " * 30
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


@asynccontextmanager
async def one(place: Path) -> AsyncIterator[Context]:
    async with open_replica(place / "s.db") as replica:
        yield replica.context("acme/chat")


async def turns(chat: Context, count: int, text: str = LONG) -> list[EventId]:
    ids: list[EventId] = []
    for number in range(count):
        ids += await chat.append(f"question {number} {text}")
        ids += await chat.append({"role": "assistant", "content": f"answer {number} {text}"})
    return ids


def texts(view: View) -> list[str]:
    return [str(said["content"]) for said in view.openai()]


def rules(view: View, event: EventId) -> frozenset[Rule]:
    (found,) = [shown.rules for shown in view.shown if event in shown.ids]
    return found


def is_begun_by(view: View, before: View) -> bool:
    return view.openai()[: len(before.openai())] == before.openai()


# ---- facts ------------------------------------------------------------------------------------


async def test_facts_stand_before_the_window_or_in_it_by_when_they_were_said(place: Path) -> None:
    async with one(place) as chat:
        await chat.fact("seat", "aisle")
        await chat.append("Hi")
        first = await chat.view(budget=1_000)
        assert texts(first) == ['[facts]\nseat: "aisle"', "Hi"]
        await chat.fact("seat", "window")
        second = await chat.view(budget=1_000)
        assert texts(second) == [*texts(first), '[fact] seat: "window"']
        assert second.changed_because == ()
        await chat.append("Go on")
        await chat.forget_fact("seat")
        third = await chat.view(budget=1_000)
        assert texts(third) == [*texts(second), "Go on", "[fact] seat no longer holds"]
        assert third.changed_because == ()
        # At the next step what was said in the window goes before it, as it stands then.
        await chat.fact("meal", "fish")
        view = third
        while view.ids[0] == third.ids[0]:
            await turns(chat, 1)
            view = await chat.view(budget=1_000)
        assert "step" in view.changed_because
        assert texts(view)[0] == '[facts]\nmeal: "fish"'
        assert not any(text.startswith("[fact]") for text in texts(view))


async def test_no_fact_is_lost_however_many_are_told_in_a_window(place: Path) -> None:
    async with one(place) as chat:
        await chat.append("Hi")
        before = await chat.view(budget=8_000)
        kept = 0
        for number in range(130):
            await chat.fact(f"key {number}", number)
            view = await chat.view(budget=8_000)
            kept += is_begun_by(view, before)
            before = view
            told = "\n".join(texts(view)) + "\n"
            assert all(f"key {n}: {n}\n" in told for n in range(number + 1))
        assert 120 < kept < 130, "they leave the window in blocks"


async def test_a_window_that_begins_earlier_has_not_stepped(place: Path) -> None:
    clock = Clock()
    async with (
        open_replica(place / "a.db", clock=clock) as ann,
        open_replica(place / "b.db", clock=clock) as bob,
    ):
        await bob.context("acme/chat").append("written on a plane")
        chat = ann.context("acme/chat")
        await chat.append("Hi")
        await chat.view(budget=1_000, policy=Manual())
        await give(bob, ann)
        view = await chat.view(budget=1_000, policy=Manual())
        assert texts(view) == ["written on a plane", "Hi"]
        assert view.changed_because == ("late message",)


# ---- pins, hides, summaries -------------------------------------------------------------------


async def test_a_pinned_message_comes_along_and_a_hidden_one_is_gone(place: Path) -> None:
    async with one(place) as chat:
        (told,) = await chat.append("The code is 4711.")
        await turns(chat, 12)
        view = await chat.view(budget=900)
        assert told not in view.ids
        pin = await chat.pin(told)
        pinned = await chat.view(budget=900)
        assert "pin" in pinned.changed_because
        assert rules(pinned, told) == {Rule.PINNED}
        assert pinned.shown[0].area is Area.PREAMBLE
        await chat.revoke(pin)
        assert (await chat.view(budget=900)).openai() == view.openai()
        newest = view.ids[-1]
        hide = await chat.hide(newest)
        hidden = await chat.view(budget=900)
        assert newest not in hidden.ids
        assert "hide" in hidden.changed_because
        await chat.revoke(hide)
        again = await chat.view(budget=900)
        assert again.openai() == view.openai()
        assert again.changed_because == (), "it only goes on where the one before ended"


async def test_what_was_critical_is_taken_along_and_what_is_over_is_not(place: Path) -> None:
    async with one(place) as chat:
        (critical,) = await chat.append("Never call Bob.", crit="critical")
        (stays,) = await chat.append("I live in Bonn.", life="persistent")
        (today,) = await chat.append("Today I am tired.", life="session")
        (gone,) = await chat.append("Be quick.", crit="critical", life="immediate")
        await turns(chat, 12)
        view = await chat.view(budget=900)
        assert view.ids[:3] == (critical, stays, today)
        assert rules(view, today) == {Rule.CARRIED}
        assert gone not in view.ids
        await chat.close("done")
        await chat.reopen()
        assert (await chat.view(budget=900)).ids[:3] == (critical, stays, today)
        await turns(chat, 220, "so")
        for _ in range(20):
            view = await chat.view(budget=900)
            start = next(shown.ids[0] for shown in view.shown if shown.area is Area.WINDOW)
            order = [said.id async for said in chat.history()]
            is_near = order.index(start) - order.index(today) <= LOOK_BACK
            assert view.ids[:3] == (
                (critical, stays, today) if is_near else (critical, stays, start)
            )
            # The same from a store that has less of it in memory.
            assert (await chat.at(view.cut).view(budget=900)).fingerprint == view.fingerprint
            await turns(chat, 5, "so")
        assert not is_near


async def test_what_an_empty_window_is_told_of_follows_the_clock_of_the_next(place: Path) -> None:
    async with one(place) as chat:
        await chat.fact("seat", "aisle", expires=Clock()() + 40)
        for _ in range(40):
            (hidden,) = await chat.append("Hi")
            await chat.hide(hidden)
        assert texts(await chat.view()) == ['[facts]\nseat: "aisle"']
        await chat.append("Well")
        view = await chat.view()
        assert texts(view) == ["Well"]
        assert (await chat.at(view.cut).view()).fingerprint == view.fingerprint


async def test_a_summary_stands_and_its_revoke_gives_back_the_same_bytes(place: Path) -> None:
    async with one(place) as chat:
        await chat.append({"role": "system", "content": "Be brief."})
        await turns(chat, 6)
        before = await chat.view(budget=4_000)
        assert before.left_out == 0
        summary = await chat.compact(lambda _: "They talked.", keep=200)
        assert summary is not None
        view = await chat.view(budget=4_000)
        assert texts(view)[0] == "Be brief."
        assert texts(view)[1].startswith("[summary of ")
        assert texts(view)[1].endswith("\nThey talked.")
        assert view.changed_because[0] == "summary"
        assert len(view.ids) < len(before.ids)
        await chat.revoke(summary)
        after = await chat.view(budget=4_000)
        assert after.openai() == before.openai()
        assert after.changed_because[0] == "revoke"
        assert (await chat.replay(view.receipt)).openai() == view.openai()
        assert (await chat.replay(before.receipt)).fingerprint == before.fingerprint


async def test_what_comes_late_is_marked_and_stands_behind_the_summary(place: Path) -> None:
    clock = Clock()
    async with (
        open_replica(place / "a.db", clock=clock) as here,
        open_replica(place / "b.db", clock=clock) as there,
    ):
        chat, phone = here.context("acme/chat"), there.context("acme/chat")
        await turns(chat, 1)
        await give(here, there)
        # More was said on the phone, so that is read first.
        late = await turns(phone, 5, "on the phone")
        covered = await turns(chat, 3)
        assert await chat.compact(lambda _: "They talked.", keep=0)
        before = await chat.view(budget=4_000)
        await give(there, here)
        view = await chat.view(budget=4_000)
        assert view.ids == (*late, *before.ids)
        assert covered[-1] in before.ids
        assert all(Rule.LATE in rules(view, id_) for id_ in late)
        assert texts(view)[0] == texts(before)[0] == "[summary of 6 earlier messages]\nThey talked."
        assert texts(view)[1].startswith("[late]\n")
        assert texts(view)[2:-2] == texts(await phone.view(budget=4_000))[-10:]
        assert view.changed_because == ("summary", "step")


async def test_a_result_is_linked_to_a_call_that_a_summary_covers(place: Path) -> None:
    async with one(place) as chat:
        await chat.append("Look it up")
        await chat.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
        await turns(chat, 4)
        await chat.append("And now?")
        assert await chat.compact(lambda _: "They looked it up.", keep=1)
        (result,) = await chat.append({"role": "tool", "tool_call_id": "c1", "content": "blue"})
        (said,) = [said for said in await chat.page(newest=True) if said.id == result]
        assert isinstance(said.event.body, Message)
        assert getattr(said.event.body.parts[0], "call", None) is not None
        assert Rule.ORPHANED in rules(await chat.view(budget=4_000), result)


# ---- branches ---------------------------------------------------------------------------------


async def test_a_branch_has_a_view_of_its_own(place: Path) -> None:
    async with one(place) as chat:
        ids = await turns(chat, 8)
        await chat.fact("seat", "aisle")
        branch = await chat.branch("try", before=ids[10])
        await branch.append("Something else")
        await branch.fact("seat", "window")
        await branch.hide(ids[0])
        await chat.pin(ids[1])
        main, other = await chat.view(budget=8_000), await branch.view(budget=8_000)
        assert main.ids == tuple(ids)
        assert other.ids[:-1] == tuple(ids[1:10])
        assert texts(main)[-1] == '[fact] seat: "aisle"'
        assert texts(other)[-2:] == ["Something else", '[fact] seat: "window"']
        assert other.spec.branch == branch.branch_id
        small = await branch.view(budget=700)
        assert small.ids[-1] == other.ids[-1]
        for view in (main, other, small):
            assert (await chat.replay(view.receipt)).fingerprint == view.fingerprint
        await branch.append({"role": "assistant", "content": "Well"}, view=other)
        assert (await branch.view(budget=8_000)).ids[-2] == other.ids[-1]
        assert (await chat.view(budget=8_000)).openai() == main.openai()


async def test_a_long_branch_steps_as_main_does(place: Path) -> None:
    async with one(place) as chat:
        await chat.append({"role": "system", "content": "Be brief. " + LONG * 6})
        await turns(chat, 15)
        branch = await chat.branch("try")
        causes = []
        before = await branch.view(budget=900)
        for _ in range(15):
            await turns(branch, 1)
            await turns(chat, 1)
            view = await branch.view(budget=900)
            assert view.changed_because or is_begun_by(view, before)
            causes.append(view.changed_because)
            before = view
            again = await branch.at(view.cut).view(budget=900)
            assert again.fingerprint == view.fingerprint
        assert {(), ("step",)} == set(causes)
        fresh = await chat.at(await chat.frontier()).view(budget=900)
        assert fresh.fingerprint == (await chat.view(budget=900)).fingerprint
        assert before.fingerprint == (await chat.replay(before.receipt)).fingerprint


# ---- policies ---------------------------------------------------------------------------------


async def test_summarize_keeps_more_room_for_what_stands_before_the_window(place: Path) -> None:
    async with one(place) as chat:
        await chat.configure(budget=1_200, policy=Summarize(keep=200), trigger=0.7)
        await turns(chat, 30)
        view = await chat.view()
        assert view.needs_compaction
        long = " ".join(f"They said {number}." for number in range(60))
        assert await chat.compact(lambda _: long)
        after = await chat.view()
        assert not after.needs_compaction
        (summary,) = [shown for shown in after.shown if Rule.SUMMARY in shown.rules]
        assert 1_050 // 8 < summary.tokens <= 1_050 // 4
        plain = await chat.view(policy=LastN())
        (cut,) = [shown for shown in plain.shown if Rule.SUMMARY in shown.rules]
        assert cut.tokens < summary.tokens


async def test_decay_recalls_what_weighs_most(place: Path) -> None:
    async with one(place) as chat:
        (heavy,) = await chat.append("I have two cats.", crit="important")
        await turns(chat, 12)
        policy = Decay(half_life_ms=3_600_000)
        assert heavy not in (await chat.view(budget=900)).ids
        view = await chat.view(budget=900, policy=policy)
        assert rules(view, heavy) == {Rule.RECALLED}
        late = await chat.view(budget=900, policy=policy, as_of=view_ms(view) + 10**12)
        assert heavy not in late.ids, "it has decayed to nothing"
        assert "spec" in late.changed_because


def view_ms(view: View) -> int:
    return int(view.ids[-1][:12], 16)


async def test_a_policy_of_the_application_chooses_and_rewrites(place: Path) -> None:
    def cats(selection: Selection) -> Chosen:
        kept = [item for item in selection.items if "cats" in item.text]
        return Chosen([i.id for i in kept], {i.id: f"[{i.author} has cats]" for i in kept})

    register_policy("cats", 1, cats)
    async with one(place) as chat:
        (cat,) = await chat.append("I have two cats.", author="ann")
        await turns(chat, 12)
        await chat.configure(budget=900, policy=Custom("cats", 1))
        view = await chat.view()
        assert texts(view)[0] == "[ann has cats]"
        assert rules(view, cat) == {Rule.RECALLED, Rule.REPLACED}
        assert (await chat.replay(view.receipt)).openai() == view.openai()


async def test_who_lacks_a_policy_can_still_write(place: Path) -> None:
    def nothing(_: Selection) -> Chosen:
        return Chosen([])

    register_policy("only here", 1, nothing)
    async with one(place) as chat:
        await chat.configure(policy=Custom("only here", 1))
    maker = ALL._makers.pop(("only here", 1))
    try:
        async with one(place) as chat:
            await chat.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
            await chat.append({"role": "tool", "tool_call_id": "c1", "content": "blue"})
            assert (await chat.settings()).policy.name == "only here"
            with pytest.raises(PolicyMissing, match="only here"):
                await chat.view()
            assert len((await chat.view(policy=LastN())).ids) == 2
    finally:
        ALL._makers["only here", 1] = maker


async def test_skipping_spares_a_running_loop_of_tools(place: Path) -> None:
    async with one(place) as chat:
        policy = SkipParts(("tool",))
        await chat.append("Look it up")
        await chat.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
        running = await chat.view(policy=policy)
        assert running.openai()[-1]["role"] == "tool", "it waits for its result"
        await chat.append({"role": "tool", "tool_call_id": "c1", "content": "blue"})
        found = await chat.view(policy=policy)
        assert found.changed_because == ("result",)
        assert found.openai()[-1]["content"] == "blue"
        await chat.append({"role": "assistant", "content": "It is blue."})
        assert is_begun_by(await chat.view(policy=policy), found)
        await chat.append("Thanks")
        view = await chat.view(policy=policy)
        assert texts(view) == ["Look it up", "It is blue.", "Thanks"]
        assert view.changed_because == ("skipped",)


async def test_manual_says_when_it_is_too_much(place: Path) -> None:
    async with one(place) as chat:
        ids = await turns(chat, 4)
        assert (await chat.view(policy=Manual(), budget=1_000)).ids == tuple(ids)
        ids = await turns(chat, 12)
        with pytest.raises(OverBudget):
            await chat.view(policy=Manual(), budget=1_000)
        assert await chat.compact(lambda _: "They talked.", keep=100)
        view = await chat.view(policy=Manual(), budget=1_000)
        assert texts(view)[0].startswith("[summary of ")
        assert view.ids[-1] == ids[-1]


# ---- formats ----------------------------------------------------------------------------------


async def test_every_format_is_kept_to_its_budget(place: Path) -> None:
    async with one(place) as chat:
        await chat.append({"role": "system", "content": "Be brief."})
        await turns(chat, 10)
        await chat.append("Look it up")
        await chat.append({"role": "assistant", "content": None, "tool_calls": [CALL]})
        await chat.append({"role": "tool", "tool_call_id": "c1", "content": "blue"})
        fingerprints = set()
        for name in FORMAT_NAMES:
            view = await chat.view(budget=900, format=name)
            assert view.used_tokens + view.spec.reserved <= 900
            assert view.spec.format == name
            fingerprints.add(view.fingerprint)
            assert view.rendered(name)
            assert (await chat.replay(view.receipt)).fingerprint == view.fingerprint
            past = await chat.at(view.cut).view(budget=900, format=name)
            assert past.fingerprint == view.fingerprint
        assert len(fingerprints) == len(FORMAT_NAMES)
        await chat.configure(format="anthropic")
        view = await chat.view(budget=4_000)
        assert view.anthropic()["system"] == [{"type": "text", "text": "Be brief."}]
        assert view.responses()[-1]["type"] == "function_call_output"
        assert "blue" in view.text()
        assert view.ui_messages()[0]["role"] == "system"


async def test_a_view_in_another_format_is_counted_again(place: Path) -> None:
    async with one(place) as chat:
        for _ in range(40):
            await chat.append("a")
        view = await chat.view(policy=Manual(), reserved=0)
        budget = view.used_tokens
        while True:
            try:
                view = await chat.view(policy=Manual(), reserved=0, budget=budget)
                break
            except OverBudget:
                budget += 1
        assert len(view.responses()) == 40
        # In text it is said who speaks, which chat does not count.
        with pytest.raises(OverBudget, match="format='text'"):
            view.text()
        assert (await chat.view(policy=Manual(), reserved=0, budget=2 * budget)).text()


# ---- why it changed ---------------------------------------------------------------------------


async def test_every_cause_is_named(place: Path) -> None:
    async with one(place) as chat:
        ids = await turns(chat, 6)
        first = await chat.view(budget=2_000)
        assert first.changed_because == ()
        tools = [{"type": "function", "function": {"name": "x" * 2_000}}]
        assert (await chat.view(budget=2_000, tools=tools)).changed_because == ("tools",)
        assert (await chat.view(budget=2_000)).changed_because == ("tools",)
        await chat.configure(policy=LastN(4))
        assert set((await chat.view(budget=2_000)).changed_because) == {"spec", "step"}
        await chat.configure(policy=LastN())
        assert (await chat.view(budget=2_000)).changed_because == (), "that one is known"
        await chat.erase(event=ids[3], reason="asked to")
        assert (await chat.view(budget=2_000)).changed_because == ()
        assert ids[3] not in (await chat.view(budget=2_000)).ids


async def test_a_revoked_setting_has_no_effect(place: Path) -> None:
    async with one(place) as chat:
        await turns(chat, 3)
        assert await chat.configure(budget=500)
        (said,) = [said async for said in chat.events() if isinstance(said.event.body, Config)]
        assert (await chat.view()).spec.budget == 500
        await chat.revoke(said.id)
        assert (await chat.view()).spec.budget == 8_000


async def test_a_difference_names_the_rules_that_really_applied(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("acme/chat")
        ids = await turns(chat, 8)
        branch = await chat.branch("try")
        before = await branch.view(budget=8_000)
        assert await chat.compact(lambda _: "They talked.", keep=300)
        hide, pin = await chat.hide(ids[-1]), await chat.pin(ids[0])
        view = await chat.view(budget=8_000)
        explained = await explain(replica, before.receipt, view.receipt)
        became = {one.id: one.b for one in explained.differences}
        assert became[ids[-1]] == Absent(Reason.HIDDEN, hide)
        assert isinstance(covered := became[ids[1]], Absent)
        assert covered.reason is Reason.SUMMARISED
        assert isinstance(pinned := became[ids[0]], Shown)
        assert pinned.rules == {Rule.PINNED}
        assert pin != ids[0]
        assert explained.b.total == len(ids)


# ---- at the same time, and on every replica ---------------------------------------------------


async def test_views_while_others_append(place: Path) -> None:
    async with one(place) as chat:
        await turns(chat, 4)

        async def write() -> None:
            for number in range(30):
                await chat.append(f"message {number} {LONG}")
                await chat.fact("number", number)

        async def look() -> list[View]:
            return [await chat.view(budget=1_000) for _ in range(40)]

        _, views = await asyncio.gather(write(), look())
        for view in views:
            assert view.used_tokens + view.spec.reserved <= 1_000
            assert (await chat.replay(view.receipt)).fingerprint == view.fingerprint
        last = await chat.view(budget=1_000)
        assert any("number: 29" in text for text in texts(last))


POLICIES: list[Policy] = [
    LastN(),
    LastN(9),
    Summarize(),
    SkipParts(("tool",), 40),
    Decay(half_life_ms=50),
]


async def act(rng: random.Random, chat: Context) -> None:
    """Something that changes views."""
    ids = [said.id for said in await chat.page(newest=True, limit=60)]
    words: dict[str, Any] = {
        "crit": rng.choice([None, None, None, "critical", "optional"]),
        "life": rng.choice([None, None, None, "session", "persistent", "immediate"]),
    }
    match rng.randrange(12):
        case 0 if ids:
            await chat.pin(rng.choice(ids))
        case 1 if ids:
            await chat.hide(rng.choice(ids))
        case 2:
            await chat.fact(rng.choice("abc"), rng.randrange(99), rule=rng.choice([None, "max"]))
        case 3:
            await chat.compact(lambda given: f"{given.count} messages", keep=rng.choice([0, 300]))
        case 4:
            marks = [
                said.id
                async for said in chat.events()
                if isinstance(said.event.body, (Pin, Hide, Summary, Fact))
                and said.event.branch == chat.branch_id
            ]
            if marks:
                await chat.revoke(rng.choice(marks))
        case 5:
            await chat.append({"role": "assistant", "content": "", "tool_calls": [CALL]})
        case 6:
            await chat.append({"role": "tool", "tool_call_id": "c1", "content": LONG}, **words)
        case n:
            role = Role.USER if n % 2 else Role.ASSISTANT
            await chat.append(Message(role, (Text(f"{n} " + LONG * (n - 6)),)), **words)


@pytest.mark.parametrize("seed", range(4))
async def test_replicas_that_hold_the_same_show_the_same(place: Path, seed: int) -> None:
    """Two write at once and exchange now and then; a third gets all of it at the end."""
    rng = random.Random(seed)
    clock = Clock()
    paths = [place / f"{name}.db" for name in "abc"]
    replicas = [open_replica(path, seed=seed, clock=clock) for path in paths]
    try:
        chats = [replica.context("acme/chat") for replica in replicas]
        await chats[0].append("Hi")
        await give(replicas[0], replicas[1])
        branch = await chats[0].branch("try")
        on_branch = [chat.on(branch.branch_id) for chat in chats]
        await give(replicas[0], replicas[1])
        for _ in range(70):
            side = rng.randrange(2)
            chat = rng.choice([chats[side], chats[side], on_branch[side]])
            await act(rng, chat)
            await check(rng, chat)
            if rng.random() < 0.15:
                await exchange(replicas[0], replicas[1])
        await exchange(replicas[0], replicas[1])
        await give(replicas[0], replicas[2])
        for policy in POLICIES:
            for lines in (chats, on_branch):
                for form in FORMAT_NAMES:
                    budget = rng.choice([700, 1_500, 6_000])
                    views = [
                        await chat.view(budget=budget, policy=policy, format=form) for chat in lines
                    ]
                    assert len({view.fingerprint for view in views}) == 1
                    receipt = views[0].receipt
                    assert (await lines[2].replay(receipt)).openai is not None
    finally:
        for replica in replicas:
            await replica.close()
    assert all(verify(path, progress=lambda *_: None).is_sound for path in paths)


async def check(rng: random.Random, chat: Context) -> None:
    """Views with one spec, the one after the other, keep their promises."""
    budget, policy = rng.choice([700, 1_500]), rng.choice(POLICIES)
    first = await chat.view(budget=budget, policy=policy)
    await chat.append("and")
    second = await chat.view(budget=budget, policy=policy)
    for view in (first, second):
        assert view.used_tokens + view.spec.reserved <= budget
        assert view.used_tokens == 3 + sum(shown.tokens for shown in view.shown)
    assert second.changed_because or is_begun_by(second, first)
    areas = [shown.area for shown in second.shown]
    order = list(Area)
    assert all(order.index(a) <= order.index(b) for a, b in pairwise(areas))
    assert (await chat.replay(second.receipt)).fingerprint == second.fingerprint


async def exchange(one: Replica, other: Replica) -> None:
    await give(one, other)
    await give(other, one)
