"""A Yjs client says again, with more, what was erased before it did."""

from __future__ import annotations

from pathlib import Path

import pycrdt

from tests.integration.test_live_document import NAME, room


async def test_new_words_beside_an_erased_event_are_kept(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        context = found.replica.context(NAME)
        (gone,) = await context.append("burn this")
        await found.follow()
        client: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=9)
        client.apply_update(found.live.encoded())
        await context.erase(event=gone, reason="asked to")
        await found.live.load()
        again = client.get_update()
        await found.take(again)
        assert found.payloads == [], "it would be blank"
        text = client.get("note:n", type=pycrdt.Text)
        text += "new"
        await found.take(client.get_update())
        await found.live.load()
        assert await context.note("n").text() == "new"
