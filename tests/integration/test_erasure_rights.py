"""What a client without the right to erase could get past a relay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.erasing import linked
from tests.stores import all_records, folder, open_replica
from weft_engine.errors import LinkRefused
from weft_engine.records.envelope import Kind
from weft_engine.sync.driving.inspection import inspect
from weft_engine.sync.end.incoming import Admission
from weft_engine.sync.interest import EVERYTHING
from weft_server.door.erasure_rights import refuse_foreign_erasures


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


@pytest.mark.parametrize("author", ["another", "himself"])
async def test_a_stand_in_needs_the_rights_of_its_eraser(place: Path, author: str) -> None:
    """The eraser that goes beside it does as much as one among the records."""
    async with open_replica(place / "a.db") as a, open_replica(place / "x.db") as x:
        chat = x.context("a/b")
        writer = a if author == "another" else x
        (event,) = await writer.context("a/b").append("not for x to erase")
        async with linked(a, x) as link:
            await link.settled()
        await chat.erase(event=event, reason="none of x's business")
        stored = await all_records(x)
        items = {item.tip: item for item in await x.signature_items(stored)}
        said = next(one.record for one in stored if one.record.envelope.kind is Kind.NATIVE)
        eraser = next(one.record for one in stored if one.record.envelope.kind is Kind.ERASE)
        offered = inspect(
            Admission(
                1,
                ((said.envelope_bytes, said.payload),),
                (items[said.hash],),
                EVERYTHING,
                ((eraser.envelope_bytes, eraser.payload, items[eraser.hash]),),
            ),
        )
        if author == "himself":
            refuse_foreign_erasures(offered)
        else:
            with pytest.raises(LinkRefused, match="admin"):
                refuse_foreign_erasures(offered)
