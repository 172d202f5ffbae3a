"""Who writes: one incarnation from a clean close to the next, and another one for whatever may be a
copy, a restored file or a machine that was set back."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.machines import (
    HOME,
    NOW_MS,
    TIMEOUT_S,
    Clocks,
    clone,
    incarnations,
    kept,
    linked,
    opened,
    reading,
    relay_house,
)
from tests.running_relay import until
from tests.stores import all_records, folder, give
from weft_engine.errors import StoreClosed
from weft_engine.replica.replica import Replica
from weft_engine.storage.journal import Identity
from weft_engine.storage.lease import write_lease
from weft_engine.storage.machine import Machine, this_machine
from weft_engine.storage.verify import verify
from weft_engine.sync.end.ending import State
from weft_engine.yjs.reader import read_update

ROOT = Path(__file__).parents[2]
CHAT = "acme/chat"


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


@pytest.fixture
def store(place: Path) -> Path:
    """In a folder of its own, which can be moved."""
    (place / "app").mkdir()
    return place / "app" / "s.db"


def lease_of(store: Path) -> Path:
    return store.with_name(store.name + ".lease")


async def write(store: Path, *texts: str, context: str = CHAT, machine: Machine = HOME) -> Identity:
    """A session that appends and closes."""
    async with opened(store, machine=machine) as replica:
        for text in texts:
            await replica.context(context).append(text)
        return replica.identity


async def kill(replica: Replica) -> None:
    """Let go of the file as a process does that ends in the middle."""
    await replica.projector.close()
    await replica.journal.close(None)


def content(store: Path) -> bytes:
    return store.read_bytes()


def is_sound(store: Path) -> bool:
    return verify(store, progress=lambda *_: None).is_sound


# ---- from a clean close to the next open ----------------------------------------------------


async def test_after_a_clean_close_chains_go_on_in_every_context(store: Path) -> None:
    first = await write(store, "1", "2", context="a")
    await write(store, "3", context="b")
    # Not touched in a session in between, and still known afterwards.
    await write(store, "4", context="a")
    again = await write(store, "5", context="b")
    assert again == first
    assert len(set(incarnations(store))) == 1
    async with opened(store) as replica:
        await replica.context("a").note("plan").insert(0, "a plan")
        await replica.context("a").append("6")
        records = [stored.record for stored in await all_records(replica)]
        assert await replica.context("a").note("plan").text() == "a plan"
    for name, count in (("a", 5), ("b", 2)):
        chain = [record for record in records if record.envelope.context == name]
        assert [record.envelope.seq for record in chain] == list(range(1, count + 1))
        assert [r.envelope.prev for r in chain] == [None, *(r.hash for r in chain[:-1])]
        hlcs = [record.envelope.hlc for record in chain]
        assert hlcs == sorted(set(hlcs))
        clock = 0
        for record in chain:
            for struct in read_update(record.payload).structs:
                assert struct.clock == clock
                clock += struct.length
    assert is_sound(store)


class Stopped(Clocks):
    def now(self) -> int:
        return self.wall_ms


async def test_an_incarnation_uses_no_hlc_twice_in_any_context(store: Path) -> None:
    async with opened(store, clocks=Stopped()) as replica:
        ids = await replica.context("a").append(["1", "2", "3"])
    async with opened(store, clocks=Stopped()) as replica:
        ids += await replica.context("b").append(["4", "5"])
    assert len(set(incarnations(store))) == 1
    assert len({id_[:16] for id_ in ids}) == 5


async def test_a_session_that_writes_nothing_changes_nothing(store: Path) -> None:
    await write(store, "1")
    before = content(store)
    lease = os.stat(lease_of(store))
    async with opened(store) as replica:
        view = await replica.context(CHAT).view(trace_id="none")
        assert len(view.messages) == 1
        replica.receipts._pending.clear()
    async with opened(store, readonly=True):
        pass
    assert content(store) == before
    assert os.stat(lease_of(store)).st_ctime_ns == lease.st_ctime_ns
    await write(store, "2")
    assert len(set(incarnations(store))) == 1


async def test_a_new_store_keeps_its_epoch_as_long_as_it_is_empty(store: Path) -> None:
    first = await write(store)
    replica = opened(store)
    await kill(replica)
    assert await write(store, "1") == first
    assert await write(store) == first


async def test_the_lease_is_gone_before_a_record_is_there(store: Path) -> None:
    await write(store, "1")
    async with opened(store) as replica:
        there: list[bool] = []
        replica.journal.listen(lambda *_: there.append(lease_of(store).exists()))
        await replica.context(CHAT).history().__anext__()
        assert lease_of(store).exists()
        await replica.context(CHAT).append("2")
        assert there == [False]
    assert lease_of(store).exists()


async def test_the_lease_is_gone_before_a_record_of_others_is_there(place: Path) -> None:
    await write(place / "s.db", "1")
    async with opened(place / "s.db") as replica, opened(place / "o.db") as other:
        await other.context(CHAT).append("2")
        there: list[bool] = []
        replica.journal.listen(lambda *_: there.append(lease_of(place / "s.db").exists()))
        await give(other, replica)
        assert there == [False]
    await write(place / "s.db", "3")
    # It did not write in between, so it goes on.
    who = incarnations(place / "s.db")
    assert (who[0] == who[2], who[0] == who[1]) == (True, False)


async def test_commands_that_only_read_take_no_lease_and_no_incarnation(store: Path) -> None:
    await write(store, "1")
    replica = opened(store)
    await replica.context(CHAT).append("2")
    await kill(replica)
    with reading(store) as connection:
        before = connection.execute("SELECT * FROM meta").fetchall()
    async with opened(store, readonly=True, machine=Machine("other", "x")) as reader:
        assert len((await reader.context(CHAT).view()).messages) == 2
        with pytest.raises(StoreClosed, match="reading only"):
            await reader.context(CHAT).append("3")
    with reading(store) as connection:
        assert connection.execute("SELECT * FROM meta").fetchall() == before


# ---- everything else ------------------------------------------------------------------------


def append_and_be_killed(store: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.appender", str(store), "100000", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.kill()
    process.communicate()


async def test_a_killed_process_is_followed_by_another_incarnation_and_epoch(store: Path) -> None:
    await write(store, "1", machine=this_machine())
    seen: list[Identity] = []
    for _ in range(2):
        append_and_be_killed(store)
        seen.append(await write(store, machine=this_machine()))
    assert seen[0].store == seen[1].store
    assert seen[0].epoch != seen[1].epoch
    assert len(set(incarnations(store))) == 2
    assert is_sound(store)


async def test_a_crash_before_anything_was_written_costs_nothing(store: Path) -> None:
    first = await write(store, "1")
    replica = opened(store)
    await replica.context(CHAT).history().__anext__()
    await kill(replica)
    assert await write(store, "2") == first
    assert len(set(incarnations(store))) == 1


async def test_a_lease_whose_commit_did_not_come_is_none(store: Path) -> None:
    await write(store, "1")
    replica = opened(store)
    await replica.context(CHAT).append("2")
    incarnation = replica.scribe.incarnation
    await kill(replica)
    # The crash comes after the lease was written and before the store knows it.
    assert write_lease(store, HOME, nonce=bytes(16), incarnation=incarnation) is not None
    assert (await write(store, "3")).epoch != replica.identity.epoch
    assert incarnations(store)[2] != incarnation


@dataclass(frozen=True)
class Disturbance:
    """What happens between a clean close and the next open. It gets the store, and a copy of the
    folder as it was one session earlier; it returns where the store is then."""

    do: Callable[[Path, Path], Path]
    is_another_store: bool = False


def without_lease(store: Path, older: Path) -> Path:
    lease_of(store).unlink()
    return store


def lease_put_back(store: Path, older: Path) -> Path:
    lease = lease_of(store)
    shutil.copy2(lease, lease.with_suffix(".copy"))
    lease.unlink()
    os.rename(lease.with_suffix(".copy"), lease)
    return store


def lease_written_again(store: Path, older: Path) -> Path:
    lease_of(store).write_bytes(lease_of(store).read_bytes())
    return store


def moved(store: Path, older: Path) -> Path:
    os.rename(store.parent, store.parent.with_name("moved"))
    return store.parent.with_name("moved") / store.name


def copied(store: Path, older: Path) -> Path:
    shutil.copytree(store.parent, store.parent.with_name("copied"))
    return store.parent.with_name("copied") / store.name


def replaced_by_its_copy(store: Path, older: Path) -> Path:
    shutil.copy2(store, store.with_suffix(".copy"))
    os.rename(store.with_suffix(".copy"), store)
    return store


def older_restored(store: Path, older: Path) -> Path:
    shutil.copy2(older / store.name, store)
    return store


def older_restored_with_its_lease(store: Path, older: Path) -> Path:
    shutil.copy2(older / store.name, store)
    shutil.copy2(lease_of(older / store.name), lease_of(store))
    return store


def older_restored_without_lease(store: Path, older: Path) -> Path:
    lease_of(store).unlink()
    return older_restored(store, older)


def older_folder_restored(store: Path, older: Path) -> Path:
    shutil.rmtree(store.parent)
    shutil.copytree(older, store.parent)
    return store


@pytest.mark.parametrize(
    "disturbance",
    [
        Disturbance(without_lease),
        Disturbance(lease_put_back),
        Disturbance(lease_written_again),
        Disturbance(moved),
        Disturbance(copied, is_another_store=True),
        Disturbance(replaced_by_its_copy, is_another_store=True),
        Disturbance(older_restored),
        Disturbance(older_restored_with_its_lease),
        Disturbance(older_restored_without_lease),
        Disturbance(older_folder_restored, is_another_store=True),
    ],
    ids=lambda disturbance: disturbance.do.__name__,
)
async def test_what_may_be_a_copy_takes_another_incarnation_and_epoch(
    store: Path, disturbance: Disturbance
) -> None:
    first = await write(store, "1")
    older = Path(shutil.copytree(store.parent, store.parent.with_name("older")))
    await write(store, "2")
    found = disturbance.do(store, older)
    second = await write(found, "3")
    who = incarnations(found)
    assert who[-1] not in who[:-1]
    assert second.epoch != first.epoch
    assert (second.store != first.store) is disturbance.is_another_store
    # From then on it is as good as any.
    assert await write(found, "4") == second
    assert len(set(incarnations(found))) == 2
    assert is_sound(found)


@pytest.mark.parametrize(
    ("machine", "is_another_store"),
    [
        (Machine("home", "boot 2"), False),
        (Machine("work", "boot 1"), True),
        (Machine("home", None), False),
    ],
    ids=["another boot", "another machine", "a boot unknown"],
)
async def test_another_machine_or_boot_is_another_incarnation(
    store: Path, machine: Machine, is_another_store: bool
) -> None:
    first = await write(store, "1")
    second = await write(store, "2", machine=machine)
    assert len(set(incarnations(store))) == 2
    assert second.epoch != first.epoch
    assert (second.store != first.store) is is_another_store


async def test_who_moves_back_and_forth_never_goes_on_as_somebody_it_was(store: Path) -> None:
    await write(store, "1")
    for _ in range(2):
        for machine in (Machine("work", "w"), HOME):
            await write(store, "2", machine=machine)
    assert len(set(incarnations(store))) == 5


def test_the_real_machine_has_an_id_and_stays_the_same() -> None:
    assert this_machine() == this_machine()
    assert this_machine().id


def test_a_forked_process_can_not_write(store: Path) -> None:
    with asyncio.Runner() as runner:

        async def begin() -> Replica:
            replica = opened(store)
            await replica.context(CHAT).append("1")
            return replica

        replica = runner.run(begin())
        child = os.fork()
        if child == 0:
            os._exit(_forked(replica))
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        runner.run(replica.context(CHAT).append("2"))
        runner.run(replica.close())
    assert len(incarnations(store)) == 2


def _forked(replica: Replica) -> int:
    """7 if each way to write raises what it should."""

    async def attempt(context: str) -> bool:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await replica.context(context).append("from the child")
        except StoreClosed as error:
            return "forked" in error.message and "after the fork" in error.hint
        return False

    async def attempts() -> bool:
        found = [await attempt(CHAT), await attempt("acme/other")]
        await replica.close()
        return all(found)

    try:
        with asyncio.Runner() as runner:
            return 7 if runner.run(attempts()) else 1
    except BaseException:  # noqa: BLE001 - the parent reads the code
        return 2


# ---- retiring -------------------------------------------------------------------------------


async def test_a_machine_that_was_suspended_goes_on_as_another_incarnation(store: Path) -> None:
    clocks = Clocks()
    async with opened(store, clocks=clocks, is_monotonic=True) as replica:
        chat = replica.context(CHAT)
        await chat.append("1")
        clocks.wall_ms += 4_000
        await chat.append("2")
        clocks.wall_ms += 6_000
        await chat.append(["3", "4"])
        await chat.append("5")
        await chat.note("plan").insert(0, "x")
        clocks.wall_ms += 6_000
        await chat.note("plan").append("y")
        assert await chat.note("plan").text() == "xy"
    who = incarnations(store)
    assert [who.index(one) for one in who] == [0, 0, 2, 2, 2, 5]
    assert is_sound(store)


async def test_who_was_suspended_before_writing_does_not_go_on(store: Path) -> None:
    await write(store, "1")
    clocks = Clocks()
    async with opened(store, clocks=clocks, is_monotonic=True) as replica:
        clocks.wall_ms += 6_000
        await replica.context(CHAT).append("2")
    assert len(set(incarnations(store))) == 2


async def test_who_was_retired_without_writing_leaves_nobody_to_go_on(store: Path) -> None:
    await write(store, "1")
    async with opened(store) as replica:
        replica.scribe.retire()
    await write(store, "2")
    assert len(set(incarnations(store))) == 2


async def test_the_chains_of_who_was_retired_are_nobody_elses(store: Path) -> None:
    await write(store, "1", context="a")
    async with opened(store) as replica:
        replica.scribe.retire()
        await replica.context("b").append("2")
    await write(store, "3", context="a")
    who = incarnations(store)
    assert [who.index(one) for one in who] == [0, 1, 1]
    assert is_sound(store)


async def test_a_record_of_ours_that_we_did_not_write_retires_us(place: Path) -> None:
    await write(place / "a.db", "1")
    clone(place / "a.db", place / "b.db")
    async with opened(place / "a.db") as a, opened(place / "b.db") as b:
        await a.context(CHAT).append("2")
        await give(a, b)
        await b.context(CHAT).append("3")
        await give(b, a)
        await a.context(CHAT).append("4")
        await give(a, b)
        fingerprints = [await one.context(CHAT).fingerprint() for one in (a, b)]
        assert fingerprints[0] == fingerprints[1]
    who = incarnations(place / "a.db")
    assert [who.index(one) for one in who] == [0, 0, 2, 0]
    assert is_sound(place / "a.db")


async def test_two_clones_that_wrote_both_go_on_as_others(place: Path) -> None:
    """The worst: both have used a sequence number before they hear of each other."""
    await write(place / "a.db", "1")
    clone(place / "a.db", place / "b.db")
    later = Clocks(NOW_MS + 500)
    async with opened(place / "a.db") as a, opened(place / "b.db", clocks=later) as b:
        await a.context(CHAT).append("from a")
        await b.context(CHAT).append("from b")
        await give(a, b)
        await give(b, a)
        await a.context(CHAT).append("later from a")
        await b.context(CHAT).append("later from b")
        await give(a, b)
        await give(b, a)
        texts = [await one.context(CHAT).export() for one in (a, b)]
        assert texts[0] == texts[1]
        assert len(texts[0]) == 5
    who = incarnations(place / "a.db")
    assert len(set(who)) == 3
    assert all(is_sound(place / name) for name in ("a.db", "b.db"))


# ---- at a relay -----------------------------------------------------------------------------


async def test_a_restored_store_has_back_what_it_lost_before_it_writes(place: Path) -> None:
    async with relay_house(place / "relay.db") as house:
        a = place / "a.db"
        async with opened(a) as replica, linked(replica, house) as link:
            await replica.context(CHAT).append("1")
            await link.synced(timeout=TIMEOUT_S)
        clone(a, place / "older.db")
        first = await write(a, "2")
        async with opened(a) as replica, linked(replica, house) as link:
            await replica.context(CHAT).append("3")
            await link.synced(timeout=TIMEOUT_S)
        async with opened(place / "older.db") as restored:
            assert restored.identity == first
            async with linked(restored, house) as link:
                await link.until(lambda: restored.identity != first, timeout=TIMEOUT_S)
                await restored.context(CHAT).append("4")
                records = [stored.record for stored in await all_records(restored)]
                assert [r.envelope.seq for r in records] == [1, 2, 3, 1]
                assert records[3].envelope.deps == (records[2].hash,)
                await link.synced(timeout=TIMEOUT_S)
            assert restored.identity.store != first.store
            assert restored.identity.epoch != first.epoch
        assert (await write(place / "older.db")) == restored.identity
    assert is_sound(place / "older.db")


async def meet(*replicas: Replica) -> None:
    """Wait until they hold the same records."""

    async def agree() -> bool:
        return len({await one.context(CHAT).fingerprint() for one in replicas}) == 1

    await until(agree, what="the replicas hold the same records")


async def test_clones_that_meet_at_a_relay_part_once_and_for_all(place: Path) -> None:
    async with relay_house(place / "relay.db") as house:
        async with opened(place / "a.db") as replica, linked(replica, house) as link:
            await replica.context(CHAT).append("base")
            await link.synced(timeout=TIMEOUT_S)
        clone(place / "a.db", place / "b.db")
        later = Clocks(NOW_MS + 500)
        async with opened(place / "a.db") as a, opened(place / "b.db", clocks=later) as b:
            assert a.identity == b.identity
            async with kept(a, house) as link_a, kept(b, house) as link_b:
                for number in range(20):
                    await a.context(CHAT).append(f"a {number}")
                    await b.context(CHAT).append(f"b {number}")
                await meet(a, b)
                assert a.identity.store != b.identity.store
                made = house.opened
                for number in range(5):
                    await a.context(CHAT).append(f"later a {number}")
                    await b.context(CHAT).append(f"later b {number}")
                    await meet(a, b)
                assert house.opened == made, "they chase each other"
                assert (link_a.status, link_b.status) == (State.LIVE, State.LIVE)
                assert len([said async for said in a.context(CHAT).history()]) == 51
    who = incarnations(place / "a.db")
    assert len(set(who)) <= 3
    assert all(is_sound(place / name) for name in ("a.db", "b.db", "relay.db"))


async def test_a_half_open_link_ends_when_its_store_comes_again(place: Path) -> None:
    async with relay_house(place / "relay.db") as house, opened(place / "a.db") as a:
        async with linked(a, house) as first:
            await a.context(CHAT).append("1")
            await first.synced(timeout=TIMEOUT_S)
            # The relay does not hear that the connection is gone.
            a.guard.left(first)
            async with linked(a, house) as second:
                await a.context(CHAT).append("2")
                await second.synced(timeout=TIMEOUT_S)
                await first.until(lambda: first.session.end is not None, timeout=TIMEOUT_S)
                end = first.session.end
                assert end is not None
                assert (end.code, end.by_peer, end.is_refusal) == ("closed", True, False)
                assert "newer link" in end.reason
                assert second.state is State.LIVE
                await house.until_one_ends(timeout_s=TIMEOUT_S)
                assert house.relay.links == 1
        assert len(set(incarnations(place / "a.db"))) == 1


async def test_a_relay_whose_store_was_moved_takes_nobody_for_a_copy(place: Path) -> None:
    async with relay_house(place / "r.db") as house:
        async with opened(place / "a.db") as a, linked(a, house) as link:
            await a.context(CHAT).append("1")
            await link.synced(timeout=TIMEOUT_S)
    shutil.copy(place / "r.db", place / "copy.db")
    async with relay_house(place / "copy.db") as house, opened(place / "a.db") as a:
        before = a.identity
        async with linked(a, house) as link:
            await a.context(CHAT).append("2")
            await link.synced(timeout=TIMEOUT_S)
        assert a.identity == before
    assert len(set(incarnations(place / "a.db"))) == 1


async def test_two_links_of_one_store_stand_side_by_side(place: Path) -> None:
    async with relay_house(place / "relay.db") as house, opened(place / "a.db") as a:
        async with linked(a, house) as first, linked(a, house) as second:
            await a.context(CHAT).append("1")
            for link in (first, second):
                await link.until_synced(timeout=TIMEOUT_S)
                assert link.state is State.LIVE
            assert house.relay.links == 2


async def test_appends_do_not_wait_for_ever_for_what_a_peer_holds(place: Path) -> None:
    """The link that says so ends at once, and the appends go on."""
    async with relay_house(place / "relay.db") as house:
        async with opened(place / "a.db") as a, linked(a, house) as link:
            await a.context(CHAT).append("1")
            await link.synced(timeout=TIMEOUT_S)
        clone(place / "a.db", place / "b.db")
        async with opened(place / "a.db") as a, linked(a, house) as link:
            await a.context(CHAT).append("2")
            await link.synced(timeout=TIMEOUT_S)
        async with opened(place / "b.db") as b:
            async with linked(b, house) as link:
                await link.until(lambda: b.identity != a.identity, timeout=TIMEOUT_S)
            async with asyncio.timeout(TIMEOUT_S):
                await b.context(CHAT).append("3")
    who = incarnations(place / "b.db")
    assert who[-1] != who[0]


async def test_an_edit_that_comes_while_the_store_closes_leaves_no_trace_in_its_chain(
    store: Path,
) -> None:
    async with opened(store) as replica:
        chat = replica.context(CHAT)
        await chat.append("one")
        await chat.note("plan").append("first")
        # What `close` does first; the end of an edit comes before it is through.
        await replica.scribe.close()
        with pytest.raises(StoreClosed):
            await replica.scribe.append_update(chat.name, b"\x00\x00", 1)
    async with opened(store) as replica:
        await replica.context(CHAT).append("two")
        written = await all_records(replica)
    assert len(set(incarnations(store))) == 1
    hashes = {one.record.hash for one in written}
    assert all(one.record.envelope.prev in {None, *hashes} for one in written)
    assert verify(store, progress=lambda *_: None).is_sound
