"""When a peer counts as gone though the connection stands."""

from __future__ import annotations

import asyncio

from tests.linked import End, stores
from weft_engine.limits import ANSWER_MS, LINK_DEAD_MS
from weft_engine.sync.end.pulse import Beat, Pulse
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import ByeCode, Heartbeat


def test_a_relay_that_never_answers_is_left() -> None:
    """It hears and lives, and keeps whoever waits for it from trying another one."""

    async def run() -> None:
        async with stores(2) as (a, b):
            client, relay = End(a), End(b, region="r")
            relay.flush(client)
            while client.read_one():
                pass
            while await client.ask_one():
                pass
            client.session.frames_to_send()
            last_ms = 0
            for now_ms in range(0, 2 * ANSWER_MS, 1000):
                client.receive(encode(Heartbeat()))
                client.session.tick(now_ms)
                if client.session.end is None:
                    last_ms = now_ms
            end = client.session.end
            assert end is not None
            assert end.code == ByeCode.SILENT
            assert "no issue came" in end.reason
            assert ANSWER_MS - 2000 <= last_ms <= ANSWER_MS + 1000

    asyncio.run(run())


def test_what_is_answered_in_time_is_not_counted_together() -> None:
    pulse = Pulse()
    for now_ms in range(0, 10 * ANSWER_MS, 1000):
        pulse.was_heard = True
        awaited = ("resumed", "issue", None)[now_ms // (ANSWER_MS // 2) % 3]
        assert pulse.tick(now_ms, awaited) is not Beat.DEAD


def test_silence_is_told_first() -> None:
    pulse = Pulse()
    beats = [pulse.tick(now_ms, "issue") for now_ms in range(0, 2 * LINK_DEAD_MS, 1000)]
    assert Beat.DEAD in beats
    assert pulse.why.startswith("nothing was heard")
