"""A check is kept until it is compared, one at a time, and only another region may send one."""

from __future__ import annotations

import asyncio

import pytest

from tests.linked import link, settle, stores
from weft_engine.names import ContextName
from weft_engine.sync.end.regions.checking import Checking
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import ByeCode, Check

ENTRY = (ContextName("acme/plan"), bytes(32), bytes([1]) * 32)
OTHER = (ContextName("acme/chat"), bytes(32), bytes([2]) * 32)


def test_what_comes_before_the_last_was_taken_is_passed_over() -> None:
    checking = Checking()
    assert not checking.has_received
    checking.receive(Check((ENTRY,)))
    checking.receive(Check((OTHER,)))
    assert checking.has_received
    assert checking.take() == (ENTRY,)
    assert not checking.has_received
    assert checking.take() == ()


@pytest.mark.parametrize("regions", [(None, "eu"), ("eu", None), (None, None), ("eu", "us")])
def test_only_regions_tell_each_other(regions: tuple[str | None, str | None]) -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            pair = link(a, b, regions=regions)
            await settle(pair)
            near, far = pair
            near.session.between.tell_check([ENTRY])
            if None in regions:
                assert not near.flush(far)
                far.receive(encode(Check((ENTRY,))))
                end = far.session.end
                assert end is not None
                assert end.code == ByeCode.MALFORMED
                assert "a check came where none is due" in end.reason
            else:
                await settle(pair)
                assert far.session.end is None
                assert far.session.between.checking.take() == (ENTRY,)

    asyncio.run(run())


def test_nothing_is_told_before_the_hello_nor_after_the_end() -> None:
    async def run() -> None:
        async with stores(2) as (a, b):
            near, far = link(a, b, regions=("eu", "us"))
            near.session.between.tell_check([ENTRY])
            far.receive(encode(Check((ENTRY,))))
            end = far.session.end
            assert end is not None
            assert "before the hello" in end.reason
            far.session.between.tell_check([ENTRY])
            assert not any(isinstance(one, Check) for one in (*near.sent, *far.sent))

    asyncio.run(run())
