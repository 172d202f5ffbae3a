"""A connection before it is a link: counted, timed and measured from its first byte.

uvicorn waits for a request for ever and takes a head of any size. Here whoever opens a connection
and says nothing, or says it byte by byte, is cut off; and who is too many is told so at once. After
the upgrade a connection is counted by its token, too, and timed by its session.
Must never know: what is asked for, tokens.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from weft_engine.sync.driving.turns import Turns
from weft_server.door.guests import Guests, Knock, TurnedAway
from weft_server.door.pages import is_page_of_this_machine
from weft_server.operator_log import LOGGER

_LOG: Final = logging.getLogger(LOGGER)
LINE_BYTES_MAX: Final = 8192
"""One header, or the request line, of an upgrade: the websocket library reads no more."""
_FORWARDED: Final = b"x-forwarded-for"
AGAIN_S: Final = 5
"""When who was turned away for want of room may try again."""
_READ_PER_TURN: Final = 8
"""Of a third of a millisecond each, in a turn of the event loop: a thousand connections that come
at once are upgraded one after the other, and who is inside is heard in between."""
_LINGER_S: Final = 1.0
"""What who was turned away has to read why. Closing at once would reset the connection, and the
answer with it, if anything has come that nobody read."""


class Doorstep(HttpToolsProtocol):
    """What uvicorn makes for each connection, by way of `doorstep_of`."""

    def __init__(
        self,
        guests: Guests,
        turns: Turns,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        takes_any_page: bool,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guests = guests
        self._takes_any_page = takes_any_page
        self._turns = turns
        self._unread = b""
        """What waits for its turn; nothing more is taken from the system meanwhile."""
        self._knock: Knock | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_in_head = True
        self._longest_line = 0
        self._is_refused = False

    # ---- what the event loop calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            address = None if self.client is None else self.client[0]
            self._knock = self._guests.knock(address, self._make_way)
        except TurnedAway as error:
            self._refuse(error.status, str(error))
            return
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._turns.may_step():
            self._read(data)
        else:
            self._unread += data
            self.transport.pause_reading()
            self._turns.later(self._take_turn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unread = b""
        self._leave()
        super().connection_lost(exc)

    # ---- what uvicorn and its parser call -----------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True
        self._longest_line = 0
        self._start_clock()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._longest_line = max(self._longest_line, len(self.url) + len(b"GET  HTTP/1.1\r\n"))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._longest_line = max(self._longest_line, len(name) + len(value) + len(b": \r\n"))

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self.client is not None and any(name == _FORWARDED for name, _ in self.headers):
            self._guests.tell_forwarded(self.client[0])
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_in_head = True  # of the next one
        self._head_bytes = 0
        self._stop_clock()

    def handle_websocket_upgrade(self) -> None:
        if self._longest_line > LINE_BYTES_MAX:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"a line of the head has {self._longest_line} bytes, at most {LINE_BYTES_MAX} may"
                " be; the token is too long",
            )
            return
        foreign = self._foreign_page()
        if foreign is not None:
            self._refuse(
                HTTPStatus.FORBIDDEN,
                "this relay asks for no token, so it takes no web page of elsewhere:"
                f" {foreign!r:.80} (serve it on this machine, ask for tokens, or give --force)",
            )
            return
        self._leave()
        super().handle_websocket_upgrade()
        # It has done its work; and the two know each other, so they would stay until they are
        # collected, as long as the link does.
        del self.parser

    def send_400_response(self, msg: str) -> None:
        if not self._is_refused:
            super().send_400_response(msg)

    # ---- inside -------------------------------------------------------------------------------

    def _foreign_page(self) -> str | None:
        """The origin of the web page that asks, if that may not."""
        if self._takes_any_page:
            return None
        origins = (value.decode("latin-1") for name, value in self.headers if name == b"origin")
        return next((origin for origin in origins if not is_page_of_this_machine(origin)), None)

    def _take_turn(self) -> None:
        data, self._unread = self._unread, b""
        if data and not self.transport.is_closing():
            self.transport.resume_reading()
            self._read(data)

    def _read(self, data: bytes) -> None:
        limit = self._guests.limits.unauthenticated_bytes
        while data and not self._is_refused:
            some, data = data, b""
            if self._is_in_head:
                room = limit - self._head_bytes
                if room <= 0:
                    self._refuse(
                        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                        f"the head of a request has at most {limit} bytes"
                        " (limit unauthenticated_bytes)",
                    )
                    return
                # No more is parsed than a head may have.
                some, data = some[:room], some[room:]
                self._head_bytes += len(some)
            super().data_received(some)
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                return

    def _start_clock(self) -> None:
        if self._deadline is None:
            after_s = self._guests.limits.unauthenticated_s
            self._deadline = self.loop.call_later(after_s, self._be_too_late)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _be_too_late(self) -> None:
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT,
            f"no whole request came in {self._guests.limits.unauthenticated_s} s"
            " (limit unauthenticated_s)",
        )

    def _leave(self) -> None:
        self._stop_clock()
        if self._knock is not None:
            self._guests.knocked(self._knock)
            self._knock = None

    def _make_way(self) -> None:
        self._leave()
        self._refuse(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the relay needs the room for others, from where fewer connections without a request"
            f" come (limit unauthenticated, {self._guests.limits.unauthenticated})",
        )

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Say why and close; what comes meanwhile is read and thrown away."""
        self._is_refused = True
        _LOG.warning("a connection is refused, %d: %s", status, reason)
        self._stop_clock()
        if self.transport.is_closing():
            return
        body = reason.encode()
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            head.append(f"retry-after: {AGAIN_S}")
        self.transport.write("\r\n".join((*head, "", "")).encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.abort)


def doorstep_of(guests: Guests, *, takes_any_page: bool) -> type[Doorstep]:
    """The class that uvicorn makes connections of: it passes no more than its own arguments.
    `takes_any_page`: whether web pages of other machines may open links, too."""
    turns = Turns(steps=_READ_PER_TURN)

    class OfGuests(Doorstep):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(
                guests,
                turns,
                config,
                server_state,
                app_state,
                _loop,
                takes_any_page=takes_any_page,
            )

    return OfGuests
