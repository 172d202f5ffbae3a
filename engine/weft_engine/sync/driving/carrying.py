"""Frames between a session and its transport, both ways; without a task where that is direct.

Must never know: stores, what frames mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeAlias

from weft_engine.limits import BURST_BODY_BYTES, CLOSING_S, FLUSH_BYTES
from weft_engine.sync.driving.burst import Burst
from weft_engine.sync.driving.traffic import Traffic
from weft_engine.sync.driving.transport import DirectTransport, Hearer, Transport
from weft_engine.sync.end.live import Body
from weft_engine.sync.end.session import Session
from weft_engine.sync.faults import LinkLost

Lane: TypeAlias = Coroutine[object, object, None]


class Carrying:
    """`begin` runs a lane that ends with the link, `failed` ends it. Links of one store share
    `burst`."""

    def __init__(
        self,
        transport: Transport,
        session: Session,
        traffic: Traffic,
        burst: Burst,
        *,
        begin: Callable[[Lane], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._transport = transport
        self._direct = transport if isinstance(transport, DirectTransport) else None
        self._session = session
        self._traffic = traffic
        self._burst = burst
        self._begin = begin
        self._failed = failed
        self._hearer: Hearer | None = None
        self._is_over = False
        self._is_sending = False
        """Whether the lane runs that does that."""
        self._is_level = False
        """Something was pushed, and since then nothing has happened to the session but pushes and
        acknowledgements that call for nothing: so it is as settled as it was, and has no frames."""

    def start(self, hearer: Hearer) -> None:
        """From now on tell `hearer` of what happens."""
        self._hearer = hearer
        if self._direct is not None:
            self._direct.attach(hearer)
        else:
            self._begin(self._receive(hearer))

    def stop(self) -> None:
        """The link is over: nothing new is begun."""
        self._is_over = True

    @property
    def is_congested(self) -> bool:
        """What was written has not left yet, where that can be said."""
        return self._direct is not None and self._direct.is_congested

    @property
    def has_more(self) -> bool:
        """Something has not left yet."""
        return self._session.sending.has_frames or self._is_sending

    # ---- what goes ----------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what there is to send; due whenever something has happened to the session."""
        self._is_level = False
        session, direct, hearer = self._session, self._direct, self._hearer
        if hearer is None:
            return
        if direct is None:
            if not self._is_sending and not self._is_over:
                frames = session.frames_to_send()
                if frames:
                    self._is_sending = True
                    self._begin(self._send(frames, hearer))
            return
        self._burst.end()
        size = 0
        while not direct.is_congested and size < FLUSH_BYTES:
            pieces = session.pieces_to_send(bytes_max=FLUSH_BYTES)
            if not pieces:
                return
            for frame in pieces:
                direct.write(*frame)
                length = sum([len(piece) for piece in frame])
                size += length
                self._traffic.bytes_out += length
        if not direct.is_congested:
            asyncio.get_running_loop().call_soon(hearer.transport_drained)

    def unsettle(self) -> None:
        """The session may be changed in a moment."""
        self._is_level = False

    def push(self, body: Body) -> bool:
        """Send what is new, as it was made ready for many links, with the next burst; False if
        something is in front of it or there is no room (`sync.driving.hub.Ear`)."""
        following, direct, shared = self._session.following, self._direct, body.shared
        if not shared:
            return shared is not None and following.is_settled
        is_large = len(shared) > BURST_BODY_BYTES
        if is_large:
            self._burst.end()
        if not self._is_level and not self._is_settled():
            return False
        if self._session.sending.is_full if direct is None else direct.is_congested:
            return False
        head = following.push(body)
        if head is None:
            return False
        if direct is None:
            self._session.sending.outbox.put_encoded(head + shared)
            self.flush()
        else:
            self._burst.add(direct.ready(head, shared), self._failed)
            if is_large:
                self._burst.end()
            self._traffic.bytes_out += len(head) + len(shared)
            # What is spared between regions counts, too.
            self._is_level = not self._session.is_between_regions
        return True

    def _is_settled(self) -> bool:
        """Whether what is new may leave now, behind what is to leave already."""
        sending = self._session.sending
        if sending.has_frames:
            self.flush()
            if self._direct is not None and sending.has_frames:
                return False
        return self._session.following.is_settled

    async def send_rest(self) -> None:
        """What is left, if it leaves within CLOSING_S. LinkLost, OSError or TimeoutError if not."""
        async with asyncio.timeout(CLOSING_S):
            for frame in self._session.frames_to_send():
                await self._transport.send(frame)

    async def _send(self, frames: list[bytes], hearer: Hearer) -> None:
        while frames:
            try:
                for frame in frames:
                    await self._transport.send(frame)
                    self._traffic.bytes_out += len(frame)
            except (LinkLost, OSError) as error:
                self._session.lost(f"the connection failed: {error}")
                break
            # What has left makes room for the next question.
            hearer.transport_drained()
            frames = self._session.frames_to_send()
        self._is_sending = False
        hearer.transport_drained()

    # ---- what comes ---------------------------------------------------------------------------

    def hold_reading(self) -> None:
        """Hear nothing for now, where that can be said."""
        if self._direct is not None:
            self._direct.hold_reading()

    def go_on_reading(self) -> None:
        if self._direct is not None:
            self._direct.go_on_reading()

    async def _receive(self, hearer: Hearer) -> None:
        while not self._is_over:
            try:
                frame = await self._transport.receive()
            except (LinkLost, OSError) as error:
                self._session.lost(f"the connection failed: {error}")
                break
            if frame is None:
                self._session.lost("the connection was closed")
                break
            hearer.frame_received(frame)
        hearer.transport_drained()
