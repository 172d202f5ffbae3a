"""What the relay does for Yjs clients as time passes, on virtual time: signs of life, awareness
that is over, and who does not answer."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from tests.yjs_clients.on_virtual_time import VirtualClient, play, virtual_relay
from weft_engine.limits import LINK_DEAD_MS, PRESENCE_LASTS_MS
from weft_engine.sync.framing.messages import PresenceState

CLIENTS_LEAVE_S = 30.0
"""y-websocket closes a connection on which no data message has come for so long."""
PROMISED_S = 20.0
RENEWED_S = 15.0
"""Clients say anew who they are so often."""
A_LOOK_S = 1.5
"""What the relay's look at the time may add, and the way to a client."""


def longest_silence_s(client: VirtualClient, now_s: float) -> float:
    at_s = [client.opened_s, *(one.at_s for one in client.heard), now_s]
    return max(later - earlier for earlier, later in pairwise(at_s))


def test_an_idle_client_hears_something_every_20_s(tmp_path: Path) -> None:
    """Whether it came first or at any time between two signs of life, alone or beside others."""

    async def story() -> None:
        async with virtual_relay(tmp_path) as place:
            async with place.client("a") as first:
                await asyncio.sleep(33.3)
                async with place.client("a") as second, place.client("b") as elsewhere:
                    await asyncio.sleep(100.0)
                    now_s = asyncio.get_running_loop().time()
                    for client in (first, second, elsewhere):
                        assert client.ended_s is None
                        silence_s = longest_silence_s(client, now_s)
                        assert silence_s < CLIENTS_LEAVE_S
                        assert silence_s <= PROMISED_S + 0.5
                    # It says nothing: an awareness of nobody, after its step 1 and its step 2.
                    said = [one.message.hex() for one in second.heard]
                    assert said[:2] == ["00000100", "0001020000"]
                    assert set(said[2:]) == {"010100"}
                    assert len(said) >= 7

    play(story)


def test_who_is_not_told_anew_in_30_s_is_over_and_who_is_stays(tmp_path: Path) -> None:
    """The connection that told it stays open all the while, and answers."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with (
            virtual_relay(tmp_path) as place,
            place.client("a") as hears,
            place.client("a") as renews,
            place.client("a") as forgets,
        ):
            await asyncio.sleep(3.0)
            told_s = loop.time()
            await forgets.show(7, 4, '{"is":"soon over"}')
            for clock in range(8):
                # As y-websocket: every 15 s with a higher clock; some send the same one again.
                await renews.show(8, clock // 2, '{"is":"here"}')
                await asyncio.sleep(RENEWED_S)
            assert (forgets.ended_s, renews.ended_s, hears.ended_s) == (None, None, None)
            of_7 = [(at_s, state) for at_s, state in hears.states() if state.client == 7]
            assert [state for _, state in of_7] == [
                PresenceState(7, 4, '{"is":"soon over"}'),
                PresenceState(7, 4, None),
            ]
            lasted_s = of_7[1][0] - told_s
            assert PRESENCE_LASTS_MS / 1000 <= lasted_s <= PRESENCE_LASTS_MS / 1000 + A_LOOK_S
            assert all(state.state for _, state in hears.states() if state.client == 8)
            async with place.client("a") as late:
                await asyncio.sleep(1.0)
                assert [state.client for _, state in late.states()] == [8] * len(late.states())
                assert late.states()
            # Who is over may come back with a higher clock.
            await forgets.show(7, 5, '{"is":"back"}')
            await asyncio.sleep(1.0)
            assert hears.states()[-1][1] == PresenceState(7, 5, '{"is":"back"}')

    play(story)


def test_who_does_not_answer_is_ended_and_has_left(tmp_path: Path) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with (
            virtual_relay(tmp_path) as place,
            place.client("a") as hears,
            place.client("a") as dead,
        ):
            await asyncio.sleep(3.0)
            await dead.show(7, 1, "{}")
            dead.is_alive = False
            silent_s = loop.time()
            await asyncio.sleep(2 * LINK_DEAD_MS / 1000)
            assert dead.closing_code == 1013
            assert dead.ended_s is not None
            assert LINK_DEAD_MS / 1000 <= dead.ended_s - silent_s <= LINK_DEAD_MS / 1000 + 7
            left_s, left = hears.states()[-1]
            assert left == PresenceState(7, 1, None)
            assert left_s - dead.ended_s < 0.5, "others hear of it then, not when it is forgotten"
            assert hears.ended_s is None

    play(story)
