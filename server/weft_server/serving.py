"""Running a relay as a process: its socket, its web server, its signals.

Order of the end: no new links, goodbyes, finished commits, closed store. Must never know: what a
link says.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import uvicorn

from weft_engine.errors import CallerError, MachineError, PortInUse
from weft_server.app import relay_app
from weft_server.door.doorstep import doorstep_of
from weft_server.relay import Relay
from weft_server.websocket_protocol import WeftProtocol

_BACKLOG: Final = 4096
"""Connections that wait to be accepted, as far as the system allows: after a restart everybody
comes while the store is being opened, and who finds no room then is let in by the system's own
repetitions after up to 31 s."""
_GRACE_S: Final = 1


@dataclass(frozen=True, slots=True)
class Address:
    """Where a relay listens."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it. Of the address that the system has bound, never of
        a name; an address of IPv6 that stands for one of IPv4 is that one."""
        address = ipaddress.ip_address(self.host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            return address.ipv4_mapped.is_loopback
        return address.is_loopback

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ws://{host}:{self.port}"


def read_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[v6]:PORT``; port 0 is a free one. CallerError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise CallerError(
            f"{text!r} is no address to listen on", hint="write HOST:PORT, such as 127.0.0.1:7300"
        )
    return host, int(port)


def read_proxies(texts: Iterable[str]) -> frozenset[str]:
    """Addresses of proxies, as the system writes them: one of IPv4 otherwise on a socket that
    takes both families. CallerError if one is none."""
    found: set[str] = set()
    for text in texts:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise CallerError(
                f"{text!r:.60} is no address of a proxy", hint="write it in numbers: 10.0.0.7"
            ) from None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        found.add(str(address))
        if isinstance(address, ipaddress.IPv4Address):
            found.add(f"::ffff:{address}")
    return frozenset(found)


def listen(host: str, port: int) -> tuple[socket.socket, Address]:
    """A socket that listens there already. PortInUse if another program does, or MachineError."""
    try:
        family, _, _, _, name = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise CallerError(
            f"the host {host!r} is not known here: {error}", hint="give an address of this machine"
        ) from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(name)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"another program listens on {host}:{port}",
                hint="choose another port, or 0 for a free one",
            ) from error
        raise MachineError(
            f"{host}:{port} can't be listened on: {error}",
            hint="give an address of this machine, and a port that you may use",
        ) from error
    bound = listener.getsockname()
    return listener, Address(bound[0], bound[1])


async def serve(
    relay: Relay,
    listener: socket.socket,
    *,
    announce: Callable[[], None],
    refresh: Callable[[], bool] = lambda: False,
    proxies: Iterable[str] = (),
    takes_any_page: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is called once links are really accepted.
    `refresh` says whether other tokens are good than when it was last asked. `proxies`: addresses
    that are believed what they say about whom they speak for. `takes_any_page`: whether web pages
    of other machines may open links; where no token is asked for, they should not."""
    up, stop = asyncio.Event(), asyncio.Event()
    trusted = sorted(proxies)

    async def notify() -> None:
        up.set()

    server = uvicorn.Server(
        uvicorn.Config(
            relay_app(relay),
            backlog=_BACKLOG,
            http=doorstep_of(relay.guests, takes_any_page=takes_any_page),
            # Sessions have heartbeats; compression costs 34-90 KB a link.
            ws=WeftProtocol,
            ws_max_size=relay.limits.frame_bytes,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # By default uvicorn believes everybody on this machine.
            proxy_headers=bool(trusted),
            forwarded_allow_ips=trusted,
            timeout_graceful_shutdown=_GRACE_S,
            # Called in the first turn of its main loop, when it accepts.
            callback_notify=notify,
        )
    )
    await relay.mesh.recall()
    # Before, so that uvicorn restores these when it ends; again after it has put in its own.
    _on_signals(stop.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="weft-relay-server")
    watching = asyncio.create_task(relay.guests.keep_watch(refresh), name="weft-relay-watch")
    watching.add_done_callback(lambda _: stop.set())
    bounding = (
        asyncio.create_task(relay.keep_memory_bounded(), name="weft-relay-memory"),
        asyncio.create_task(relay.keep_contexts_bounded(), name="weft-relay-contexts"),
        asyncio.create_task(relay.keep_rooms(), name="weft-relay-rooms"),
    )
    dialling: asyncio.Task[None] | None = None
    for task in bounding:
        task.add_done_callback(lambda _: stop.set())
    serving.add_done_callback(lambda _: stop.set())
    serving.add_done_callback(lambda _: up.set())
    try:
        await up.wait()
        _on_signals(stop.set)
        if not serving.done():
            announce()
            dialling = asyncio.create_task(relay.mesh.keep(), name="weft-relay-mesh")
            dialling.add_done_callback(lambda _: stop.set())
        await stop.wait()
    finally:
        for accepting in server.servers if server.started else ():
            accepting.close()
        watching.cancel()
        background = (*bounding, *([] if dialling is None else [dialling]))
        for task in background:
            task.cancel()
        await relay.close()
        server.should_exit = True
        await serving
        with suppress(asyncio.CancelledError):
            await watching
        await asyncio.wait(background)
    for task in background:
        if not task.cancelled():
            task.result()


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, stop)
