"""A relay that is dialled, spoken for byte by byte: however frames are cut, nothing changes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.utils import apply_mask

from weft.dialing import dial as dial_of_client
from weft_engine.errors import LinkRefused
from weft_engine.limits import FRAME_BYTES_MAX, FRAMES_PER_TURN
from weft_engine.sync.driving.transport import DirectTransport
from weft_engine.sync.faults import LinkLost
from weft_server.dialing import DialledTransport, dial
from weft_server.mesh.asking import ask
from weft_server.websocket_frames import PIECES_MAX, binary_header

DEADLINE_S = 20
BINARY, TEXT, CONTINUED, CLOSE, PING, PONG = 0x82, 0x81, 0x80, 0x88, 0x89, 0x8A


class _Relay:
    """The other end, which sends the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, behind: bytes = b"", *, cut: int = 0) -> None:
        """Accept, with `behind` in the same piece; of the answer, the last `cut` bytes later."""
        request = await self.reader.readuntil(b"\r\n\r\n")
        key = next(
            line.split(b": ")[1]
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key: ")
        )
        accept = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n" + behind
        )
        at = len(answer) - cut
        for piece in (answer[:at], answer[at:]):
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def read(self) -> tuple[int, bytes]:
        """First byte and payload of the next frame, which is masked."""
        first, second = await self.reader.readexactly(2)
        assert second & 0x80, "who has dialled masks"
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        mask = await self.reader.readexactly(4)
        return first, apply_mask(await self.reader.readexactly(size), mask)


class _Hearer:
    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.why: str | None = None
        self.drained = 0
        self._changed = asyncio.Event()

    def frame_received(self, frame: bytes, /) -> None:
        self.frames.append(frame)
        self._changed.set()

    def transport_lost(self, why: str = "closed", /) -> None:
        assert self.why is None, "it is said once"
        self.why = why
        self._changed.set()

    def transport_drained(self) -> None:
        self.drained += 1
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            await self._changed.wait()


def frame(payload: bytes, first: int = BINARY) -> bytes:
    return bytes((first,)) + binary_header(len(payload))[1:] + payload


@asynccontextmanager
async def _listening(
    play: Callable[[_Relay], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A relay that does with each connection what `play` does; its faults are raised here."""
    playing: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        playing.append(task)
        try:
            await play(_Relay(reader, writer))
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        async with asyncio.timeout(DEADLINE_S):
            scheme = "ws" if tls is None else "wss"
            yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/sync"
            await asyncio.gather(*playing)
    finally:
        server.close()
        for task in playing:
            task.cancel()


@asynccontextmanager
async def _dialled(
    play: Callable[[_Relay], Awaitable[None]],
) -> AsyncIterator[tuple[DialledTransport, _Hearer]]:
    async with _listening(play) as url, dial(url, "secret") as transport:
        hearer = _Hearer()
        transport.attach(hearer)
        yield transport, hearer


async def _until_closed(relay: _Relay) -> int:
    """Read to the end; the code that it was closed with."""
    while True:
        first, payload = await relay.read()
        if first == CLOSE:
            with suppress(ConnectionError):
                relay.writer.write(frame(payload, CLOSE))
                await relay.writer.drain()
            return int.from_bytes(payload[:2], "big")


MESSAGES = [b"", b"a", b"b" * 125, b"c" * 126, os.urandom(70_000), b"\r\n\r\n"]


@pytest.mark.parametrize("cut", [0, 1, 3])
@pytest.mark.parametrize("piece", [1, 7, 1000, 1 << 20])
async def test_frames_come_whole_however_they_are_cut(piece: int, cut: int) -> None:
    sent = b"".join(map(frame, MESSAGES if piece > 1 else MESSAGES[:4]))

    async def play(relay: _Relay) -> None:
        await relay.answer(sent[:piece], cut=cut)
        for at in range(piece, len(sent), piece):
            relay.writer.write(sent[at : at + piece])
            await relay.writer.drain()
        assert await _until_closed(relay) == 1000

    async with _dialled(play) as (transport, hearer):
        assert isinstance(transport, DirectTransport)
        expected = MESSAGES if piece > 1 else MESSAGES[:4]
        await hearer.until(lambda: len(hearer.frames) == len(expected))
        assert hearer.frames == expected
        assert hearer.why is None


async def test_fragments_and_pings_come_between() -> None:
    async def play(relay: _Relay) -> None:
        await relay.answer()
        relay.writer.write(frame(b"one") + frame(b"t", 0x02) + frame(b"", PING) + frame(b"w", 0x00))
        relay.writer.write(frame(b"o", CONTINUED) + frame(b"x", PONG) + frame(b"three"))
        assert await relay.read() == (PONG, b"")
        assert await _until_closed(relay) == 1000

    async with _dialled(play) as (_, hearer):
        await hearer.until(lambda: len(hearer.frames) == 3)
        assert hearer.frames == [b"one", b"two", b"three"]


async def test_what_is_written_comes_whole() -> None:
    got: list[bytes] = []
    large = os.urandom(FRAME_BYTES_MAX - 1)

    async def play(relay: _Relay) -> None:
        await relay.answer()
        for _ in range(4):
            first, payload = await relay.read()
            assert first == BINARY
            got.append(payload)
        relay.writer.write(frame(large))
        assert await _until_closed(relay) == 1000

    async with _dialled(play) as (transport, hearer):
        transport.write(b"head", b"body")
        transport.write(b"")
        transport.write(b"x", large)
        await transport.send(b"y" * 300)
        await hearer.until(lambda: bool(hearer.frames))
        assert hearer.frames == [large]
    assert got == [b"headbody", b"", b"x" + large, b"y" * 300]


async def test_many_small_frames_leave_turns_to_others() -> None:
    count = 20 * FRAMES_PER_TURN

    async def play(relay: _Relay) -> None:
        await relay.answer(b"".join(frame(b"%d" % number) for number in range(count)))
        relay.writer.close()

    async with _dialled(play) as (_, hearer):
        await hearer.until(lambda: len(hearer.frames) >= FRAMES_PER_TURN)
        assert len(hearer.frames) < count
        await hearer.until(lambda: hearer.why is not None)
        assert hearer.frames == [b"%d" % number for number in range(count)]


async def test_nothing_comes_while_reading_is_held() -> None:
    may_end = asyncio.Event()

    async def play(relay: _Relay) -> None:
        await relay.answer()
        for number in range(100):
            relay.writer.write(frame(b"%d" % number))
            assert await relay.read() == (BINARY, b"more")
        await may_end.wait()

    async with _dialled(play) as (transport, hearer):
        for number in range(100):
            await hearer.until(lambda number=number: len(hearer.frames) == number + 1)  # type: ignore[misc]
            transport.hold_reading()
            transport.write(b"more")
            for _ in range(3):
                await asyncio.sleep(0)
            assert len(hearer.frames) == number + 1
            transport.go_on_reading()
        assert hearer.frames == [b"%d" % number for number in range(100)]
        may_end.set()
        await hearer.until(lambda: hearer.why is not None)


async def test_the_same_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = _self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    body = os.urandom(FRAME_BYTES_MAX)

    async def play(relay: _Relay) -> None:
        await relay.answer(frame(b"one"))
        assert await relay.read() == (BINARY, b"head" + body)
        relay.writer.write(frame(body) + frame(b"two"))
        assert await _until_closed(relay) == 4000

    async with _listening(play, tls=context) as url:
        with pytest.raises(LinkLost, match=r"certificate is not trusted .*SSL_CERT_FILE"):
            async with dial(url, None):
                pass
        with pytest.raises(LinkLost, match="certificate is not trusted"):
            await asyncio.to_thread(ask, url, None)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with dial(url, None) as transport:
            hearer = _Hearer()
            transport.attach(hearer)
            transport.write(b"head", body)
            await hearer.until(lambda: len(hearer.frames) == 3)
            assert hearer.frames == [b"one", body, b"two"]
            transport.closing_code = 4000
            await transport.close("closed", "enough")


def _self_signed(folder: Path) -> tuple[Path, Path]:
    """Files with a key and a certificate of 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, plain))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    return folder / "key.pem", folder / "certificate.pem"


async def test_who_does_not_read_is_seen_and_does_not_hold_up_the_end() -> None:
    reads, closed = asyncio.Event(), asyncio.Event()

    async def play(relay: _Relay) -> None:
        await relay.answer()
        await reads.wait()
        total = 0
        while total < 64 * len(body):
            _, payload = await relay.read()
            total += len(payload)
        await closed.wait()  # And does not read again.

    body = os.urandom(1 << 18)
    async with _dialled(play) as (transport, hearer):
        for _ in range(64):
            transport.write(b"", body)
        assert transport.is_congested
        assert hearer.drained == 0
        reads.set()
        await hearer.until(lambda: hearer.drained > 0)
        assert not transport.is_congested
        for _ in range(64):
            transport.write(body)
        assert transport.is_congested
        await transport.close("closed", "enough")
        assert hearer.why is None, "who has closed knows"
        transport.write(b"into the void")
        with pytest.raises(LinkLost, match="gone"):
            await transport.send(b"into the void")
        closed.set()


@pytest.mark.parametrize("is_reset", [False, True])
async def test_an_abrupt_end_is_told_once_after_what_came_whole(is_reset: bool) -> None:
    async def play(relay: _Relay) -> None:
        await relay.answer(frame(b"one") + frame(b"two")[:-1])
        assert await relay.read() == (BINARY, b"go")
        if is_reset:
            relay.writer.transport.abort()

    async with _dialled(play) as (transport, hearer):
        await hearer.until(lambda: bool(hearer.frames))
        transport.write(b"go")
        await hearer.until(lambda: hearer.why is not None)
        assert hearer.frames == [b"one"]


async def test_a_relay_that_closes_is_answered() -> None:
    async def play(relay: _Relay) -> None:
        await relay.answer(frame(b"bye") + frame((4004).to_bytes(2, "big"), CLOSE) + b"\xff\xff")
        assert await relay.read() == (CLOSE, (4004).to_bytes(2, "big"))

    async with _dialled(play) as (_, hearer):
        await hearer.until(lambda: hearer.why is not None)
        assert hearer.frames == [b"bye"]


WRONG = {
    "text": (frame(b"hello", TEXT), 1003),
    "text in fragments": (frame(b"he", 0x01) + frame(b"llo", CONTINUED), 1003),
    "too large": (binary_header(FRAME_BYTES_MAX + 1), 1009),
    "too many fragments": (frame(b"", 0x02) + frame(b"", 0x00) * (PIECES_MAX + 1), 1009),
    "masked": (b"\x82\x81\0\0\0\0a", 1002),
    "a reserved bit": (frame(b"a", 0xC2), 1002),
    "no such kind": (frame(b"a", 0x83), 1002),
    "a message in a message": (frame(b"a", 0x02) + frame(b"b"), 1002),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_no_frame_of_a_relay_closes_the_connection(wrong: str) -> None:
    said, code = WRONG[wrong]
    codes: list[int] = []

    async def play(relay: _Relay) -> None:
        await relay.answer(frame(b"fine") + said)
        codes.append(await _until_closed(relay))

    async with _dialled(play) as (transport, hearer):
        await hearer.until(lambda: hearer.why is not None)
        assert hearer.frames == [b"fine"]
        assert hearer.why is not None
        assert ("sent text" in hearer.why) == ("text" in wrong)
        await transport.close("closed", "")
    assert codes == [code]


async def test_it_can_be_received_without_a_hearer() -> None:
    async def play(relay: _Relay) -> None:
        await relay.answer(frame(b"one") + frame(b"two"))
        assert await relay.read() == (BINARY, b"three")

    async with _listening(play) as url, dial(url, None) as transport:
        assert await transport.receive() == b"one"
        assert await transport.receive() == b"two"
        await transport.send(b"three")
        assert await transport.receive() is None


@pytest.mark.parametrize("status", [b"403 Forbidden", b"500 Internal Server Error"])
async def test_who_turns_us_away_is_quoted(status: bytes) -> None:
    async def play(relay: _Relay) -> None:
        await relay.reader.readuntil(b"\r\n\r\n")
        relay.writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 12\r\n\r\nnot\r\n\r\n")
        await relay.writer.drain()
        relay.writer.write(b"today")

    error = LinkRefused if status.startswith(b"403") else LinkLost
    async with _listening(play) as url:
        with pytest.raises(error, match=r"(?s)not.*today"):
            async with dial(url, "secret"):
                pass


@pytest.mark.parametrize(
    ("status", "page"),
    [
        (
            b"502 Bad Gateway",
            b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n",
        ),
        (b"404 Not Found", b"<html>\r\n<center><h1>404 Not Found</h1></center>\r\n</html>\r\n"),
        (b"502 Bad Gateway", b""),
    ],
)
async def test_the_page_of_a_proxy_is_not_quoted(status: bytes, page: bytes) -> None:
    """nginx answers with a page, Caddy with nothing: neither says that it is not the relay."""

    async def play(proxy: _Relay) -> None:
        await proxy.reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
        proxy.writer.write(head % (status, len(page)) + page)
        await proxy.writer.drain()

    async def asked(url: str, token: str | None) -> None:
        await asyncio.to_thread(ask, url, token)

    async def linked(url: str, token: str | None) -> None:
        async with dial(url, token):
            pass

    async def linked_as_client(url: str, token: str | None) -> None:
        async with dial_of_client(url, token):
            pass

    for reach in (linked, linked_as_client, asked):
        async with _listening(play) as url:
            with pytest.raises((LinkRefused, LinkLost)) as refused:
                await reach(url, None)
        phrase = status.partition(b" ")[2].decode()
        assert f"{phrase}, said by a proxy or web server" in refused.value.message
        assert "<" not in refused.value.message


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "ended the connection without an answer"),
        (b"HTTP/1.1 101", "ended the connection without an answer"),
        (b"SSH-2.0 hello\r\n", "does not speak the websocket protocol: .*SSH"),
    ],
)
async def test_who_gives_no_answer_is_told_from_who_speaks_otherwise(
    answer: bytes, why: str
) -> None:
    async def play(relay: _Relay) -> None:
        await relay.reader.readuntil(b"\r\n\r\n")
        relay.writer.write(answer)
        await relay.writer.drain()

    for dialling in (dial, dial_of_client):
        async with _listening(play) as url:
            with pytest.raises(LinkLost, match=why):
                async with dialling(url, None):
                    pass
