"""What is pushed to many links: made ready first, then written in order, each for itself."""

from __future__ import annotations

from functools import partial

from weft_engine.limits import LINKS_PER_BURST
from weft_engine.sync.driving.burst import Burst


def test_what_waits_is_written_in_order_when_the_burst_ends_or_is_full() -> None:
    burst, written = Burst(), list[tuple[int, bytes]]()

    def write(link: int, frame: bytes) -> None:
        written.append((link, frame))

    def failed(error: BaseException) -> None:
        raise error

    for link in range(LINKS_PER_BURST + 1):
        assert written == []
        burst.add((partial(write, link), b"%d and more" % link), failed)
        if link == LINKS_PER_BURST - 1:
            assert written == [(one, b"%d and more" % one) for one in range(LINKS_PER_BURST)]
            written.clear()
    burst.end()
    assert written == [(LINKS_PER_BURST, b"%d and more" % LINKS_PER_BURST)]
    burst.end()
    assert len(written) == 1, "nothing is written twice"


def test_a_link_that_can_not_be_written_to_ends_alone() -> None:
    burst, written, failures = Burst(), list[bytes](), list[tuple[int, str]]()

    def write(frame: bytes) -> None:
        if frame == b"1":
            raise RuntimeError("it is gone")
        written.append(frame)

    for link in range(3):
        burst.add((write, b"%d" % link), lambda e, link=link: failures.append((link, str(e))))  # type: ignore[misc]
    burst.end()
    assert written == [b"0", b"2"]
    assert failures == [(1, "it is gone")]
