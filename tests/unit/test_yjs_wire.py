"""The y-websocket dialect byte by byte: what real clients were seen to send, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pycrdt
import pytest

from weft_engine.errors import MalformedFrame
from weft_engine.limits import PRESENCE_BYTES_MAX, YJS_FRAGMENT_BYTES, YJS_PORTION_BYTES
from weft_engine.sync.framing.messages import PresenceState
from weft_server.yjs import wire
from weft_server.yjs.awareness import NOBODY, read_awareness, write_awareness
from weft_server.yjs.first_state import FirstState
from weft_server.yjs.framing import fragments, frame

EDIT = bytes.fromhex("0101010028" + "01016d016b0177017600")

SEEN = {
    # By y-websocket 3.1.0.
    "00000100": wire.Step1(b"\x00"),
    "0001020000": wire.Step2(b"\x00\x00"),
    "0106010100027b7d": wire.Aware(bytes.fromhex("010100027b7d")),
    "0108010100046e756c6c": wire.Aware(bytes.fromhex("010100046e756c6c")),
    "00020f010101002801016d016b0177017600": wire.Edited(EDIT),
    "03": wire.QueryAwareness(),
}


@pytest.mark.parametrize("data", SEEN)
def test_what_clients_send_is_read(data: str) -> None:
    assert list(wire.messages(bytes.fromhex(data))) == [SEEN[data]]


def test_what_a_server_sends_has_these_bytes() -> None:
    assert wire.step1(b"\x00").hex() == "00000100"
    assert wire.step2(wire.EMPTY_UPDATE).hex() == "0001020000"
    assert wire.edited(EDIT).hex() == "00020f010101002801016d016b0177017600"
    assert wire.aware(bytes.fromhex("010100027b7d")).hex() == "0106010100027b7d"
    assert wire.denied("no").hex() == "0200026e6f"
    assert wire.aware(NOBODY).hex() == "010100"


def test_a_reason_is_counted_in_bytes() -> None:
    assert wire.denied("ä") == b"\x02\x00\x02" + "ä".encode()


def test_several_messages_in_one_are_all_read() -> None:
    data = bytes.fromhex("00000100" + "03" + "0001020000")
    assert [type(one) for one in wire.messages(data)] == [
        wire.Step1,
        wire.QueryAwareness,
        wire.Step2,
    ]


def test_an_unknown_type_ends_a_message_without_an_error() -> None:
    assert list(wire.messages(bytes.fromhex("03" + "7f" + "ffff"))) == [wire.QueryAwareness()]


@pytest.mark.parametrize(
    "data",
    {
        "nothing": "",
        "a sync message without a kind": "00",
        "an unknown sync message": "00030100",
        "a length beyond the end": "000105",
        "a number without an end": "80",
        "a state vector that promises more": "00000105",
        "bytes after a state vector": "0000020000",
        "a clock above 32 bits": "000008" + "01" + "01" + "808080808010",
        "awareness cut off": "0106010100",
    }.values(),
)
def test_what_can_not_be_read_is_refused(data: str) -> None:
    with pytest.raises(MalformedFrame):
        list(wire.messages(bytes.fromhex(data)))


def test_awareness_passes_as_it_came() -> None:
    text = '{ "user" : {"name":"ä👍"}, "x":1.50 }'
    states = [PresenceState(2**53 - 1, 7, text), PresenceState(3, 0, None)]
    assert read_awareness(write_awareness(states)) == states
    assert write_awareness([PresenceState(1, 0, "{}")]).hex() == "010100027b7d"
    assert write_awareness([PresenceState(1, 0, None)]).hex() == "010100046e756c6c"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", "1", '"a"', "{}x", '{"a":NaN}', "[" * 70 + "]" * 70],
)
def test_awareness_that_a_client_could_fail_at_is_refused(text: str) -> None:
    with pytest.raises(MalformedFrame):
        read_awareness(write_awareness([PresenceState(1, 0, text)]))


def test_awareness_has_limits() -> None:
    large = '{"a":"' + "x" * PRESENCE_BYTES_MAX + '"}'
    with pytest.raises(MalformedFrame, match="more than"):
        read_awareness(write_awareness([PresenceState(1, 0, large)]))
    with pytest.raises(MalformedFrame, match="clients"):
        read_awareness(b"\xff\xff\x03" + b"\x01\x00\x02{}" * 10)
    with pytest.raises(MalformedFrame, match="after an awareness"):
        read_awareness(b"\x00\x00")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_has_the_header_of_its_size(size: int) -> None:
    data = frame(b"x" * size)
    assert data[0] == 0x82
    assert len(data) == size + (2 if size < 126 else 4 if size < 65_536 else 10)


def test_fragments_are_one_message() -> None:
    message = bytes(range(256)) * (2 * YJS_FRAGMENT_BYTES // 256) + b"end"
    pieces = fragments(message)
    assert [piece[0] for piece in pieces] == [0x02, 0x00, 0x80]
    assert b"".join(piece[10 if len(piece) > 70_000 else 2 :] for piece in pieces) == message


@pytest.mark.parametrize("size", [5, 3 * YJS_FRAGMENT_BYTES])
async def test_a_first_state_goes_as_step_2_or_as_an_update(size: int) -> None:
    update = b"u" * size
    first = FirstState(1, b"\x00", update)
    assert await first.pieces(is_step2=True) == fragments(wire.step2(update))
    assert await first.pieces(is_step2=False) == fragments(wire.edited(update))


async def test_a_large_first_state_goes_as_messages_with_a_step_2_at_the_end() -> None:
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    note = document.get("note:n", type=pycrdt.Text)
    note.insert(0, "🙂 letters " * (2 * YJS_PORTION_BYTES // 12 + 1))
    first = FirstState(1, document.get_state(), document.get_update())
    for is_step2 in (True, False):
        said = list(messages_in(await first.pieces(is_step2=is_step2)))
        assert len(said) == 3
        assert [type(one) for one in said[:2]] == [wire.Edited] * 2
        assert type(said[2]) is (wire.Step2 if is_step2 else wire.Edited)
        rebuilt: pycrdt.Doc[Any] = pycrdt.Doc()
        for one in said:
            assert isinstance(one, wire.Edited | wire.Step2)
            assert len(one.update) < YJS_PORTION_BYTES + 100
            rebuilt.apply_update(one.update)
        assert rebuilt.get_state() == document.get_state()
        assert str(rebuilt.get("note:n", type=pycrdt.Text)) == str(note)


async def test_what_can_t_be_cut_goes_whole() -> None:
    update = b"u" * (YJS_PORTION_BYTES + 1)
    first = FirstState(1, b"\x00", update)
    assert await first.pieces(is_step2=True) == fragments(wire.step2(update))


def messages_in(pieces: list[bytes]) -> Iterator[wire.Message]:
    """What is said in the fragments of a server."""
    message = b""
    for piece in pieces:
        message += piece[{126: 4, 127: 10}.get(piece[1], 2) :]
        if piece[0] & 0x80:
            yield from wire.messages(message)
            message = b""
