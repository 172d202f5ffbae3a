"""Tasks that nobody waits for: a failure is told in the moment it happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from weft_engine.background import begin


async def fail() -> None:
    raise ValueError("by a fault of ours")


async def last() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_failure_is_logged_at_once_though_its_owner_keeps_the_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = begin(fail(), name="weft-some-work")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert "weft-some-work has failed" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_who_wants_to_hear_of_it_does_and_nobody_else() -> None:
    told: list[BaseException] = []
    others: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: others.append(about))
    task = begin(fail(), name="weft-some-work", failed=told.append)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert [str(error) for error in told] == ["by a fault of ours"]
    assert not others


async def test_an_end_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    told: list[BaseException] = []
    cancelled = begin(last(), name="weft-cancelled", failed=told.append)
    done = begin(asyncio.sleep(0), name="weft-done", failed=told.append)
    await done
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await asyncio.sleep(0)
    assert not told
    assert not caplog.records
