"""Faults of ours beside the connections of Yjs clients: somebody hears of each, and nothing stands
still for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.test_yjs_silent import relay_here
from tests.stores import open_replica
from tests.yjs_client import yjs_client
from weft_engine.limits import YJS_PORTION_BYTES
from weft_server.door.permission import ANYTHING
from weft_server.relay import Relay
from weft_server.serving import listen, serve
from weft_server.yjs import first_state

TIMEOUT_S = 30.0


def broken(*_: object, **__: object) -> None:
    raise ValueError("by a fault of ours")


async def test_the_relay_ends_if_nobody_looks_after_the_rooms_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without heartbeats every client would leave and come back for ever."""
    is_up = asyncio.Event()
    async with open_replica(tmp_path / "relay.db") as replica:
        relay = Relay(replica, region="eu", doorkeeper=lambda *_: ANYTHING)
        listener, address = listen("127.0.0.1", 0)
        with listener:
            serving = asyncio.create_task(serve(relay, listener, announce=is_up.set))
            async with asyncio.timeout(TIMEOUT_S):
                await is_up.wait()
                async with yjs_client(address.url, "a") as client:
                    await client.synced()
                    monkeypatch.setattr(relay.presence, "expire", broken)
                    assert (await client.closed())[0] == 1001
                with pytest.raises(ValueError, match="by a fault of ours"):
                    await serving
    assert "the task weft-yjs-rooms has failed" in caplog.text


async def test_who_can_not_be_told_the_document_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its first state is made anew then, though the document is the same."""
    async with relay_here(tmp_path) as (_, url):
        with monkeypatch.context() as fault:
            fault.setattr(first_state, "portions", broken)
            async with yjs_client(url, "a") as writer:
                await writer.synced()
                for part in range(3):
                    await writer.edit("n", 0, str(part) * (YJS_PORTION_BYTES // 2))
                # What comes back of it is more than it is sent at a time.
                assert (await writer.closed())[0] == 1011
            async with yjs_client(url, "a", document=writer.document) as writer:
                await writer.synced()
            async with yjs_client(url, "a") as late:
                assert (await late.closed())[0] == 1011
        assert caplog.text.count("the task weft-yjs-pour has failed") == 2
        async with yjs_client(url, "a") as again:
            await again.synced()
            assert again.text("n") == writer.text("n")
