"""A bad network between two regions: all TCP connections between them go through here.

A direction that is cut delivers nothing and loses nothing: bytes, ends and resets wait, connections
stay open, as under TCP when a cable is pulled; when it is healed, what waits arrives. Must never
know: what the bytes mean, processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from weft_engine.background import begin
from weft_server.local_mesh.flow import End, Ended, Flow, WayState, Wish
from weft_server.local_mesh.topology import Pair, Way
from weft_server.local_mesh.wire import Conditions, Wire

HOST: Final = "127.0.0.1"
CONNECTIONS_MAX: Final = 64
"""Of one link; more are reset. Two regions need one."""


class LinkProxy:
    """The connections between two regions, whichever of them opens one."""

    def __init__(
        self,
        pair: Pair,
        conditions: Conditions,
        *,
        ports: Mapping[str, int],
        random: Callable[[], float],
    ) -> None:
        """`ports`: where each of the two regions listens, on the loopback address."""
        self.pair = pair
        self.ways = {way: WayState() for way in pair.ways}
        self.listens: dict[Way, int] = {}
        """The port for connections that the source of the way opens to its target."""
        self.is_refusing = False
        """Whether connections are reset and refused, after a cut that was made so."""
        self._conditions = conditions
        self._ports = ports
        self._random = random
        self._servers: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()

    @property
    def connections(self) -> int:
        """How many have been taken and are not over."""
        return len(self._connections)

    @property
    def bytes_waiting(self) -> int:
        """What is on its way, both ways."""
        return sum(connection.bytes_waiting for connection in self._connections)

    async def open(self) -> None:
        """Listen, on a free port for each of the two."""
        loop = asyncio.get_running_loop()
        for way in self.pair.ways:
            server = await loop.create_server(
                partial(self._accepted, way), host=HOST, port=0, backlog=CONNECTIONS_MAX
            )
            self._servers.append(server)
            self.listens[way] = server.sockets[0].getsockname()[1]

    def cut(self, way: Way, *, reset: bool = False) -> None:
        """Deliver nothing that way from now on; with `reset`, end all connections at once and
        refuse new ones, whichever of the two opens them."""
        self.ways[way].is_cut = True
        if reset:
            self.is_refusing = True
            for connection in tuple(self._connections):
                connection.reset()

    def heal(self) -> None:
        """Deliver again, both ways; what waits arrives now."""
        self.is_refusing = False
        for state in self.ways.values():
            state.is_cut = False
        for connection in tuple(self._connections):
            connection.go_on()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.reset()
        for server in self._servers:
            await server.wait_closed()

    def _accepted(self, way: Way) -> End:
        # Looked at only when the connection is made, which is soon.
        connection = _Connection(
            way,
            self._conditions,
            self.ways,
            port=self._ports[way.target],
            random=self._random,
            enter=self._enter,
            leave=self._connections.discard,
        )
        return connection.near

    def _enter(self, connection: _Connection) -> bool:
        if self.is_refusing or len(self._connections) >= CONNECTIONS_MAX:
            return False
        self._connections.add(connection)
        return True


class _Connection:
    """From the source of a way to its target: two sockets, and a flow each way."""

    def __init__(
        self,
        way: Way,
        conditions: Conditions,
        states: Mapping[Way, WayState],
        *,
        port: int,
        random: Callable[[], float],
        enter: Callable[[_Connection], bool],
        leave: Callable[[_Connection], None],
    ) -> None:
        self._conditions = conditions
        self._port = port
        self._enter = enter
        self._leave = leave
        self._now_s = asyncio.get_running_loop().time
        # The source may send when its wish has gone there and the answer has come back.
        free_s = self._now_s() + conditions.round_trip_s
        there = Wire(conditions, random=random, free_s=free_s)
        self._state = states[way]
        self._there = Flow(self._state, there)
        self._back = Flow(states[Way(way.target, way.source)], Wire(conditions, random=random))
        self._dialing: asyncio.Task[None] | None = None
        self._has_arrived = False
        self.near = End(self)
        self._far: End | None = None

    @property
    def bytes_waiting(self) -> int:
        return self._there.bytes_waiting + self._back.bytes_waiting

    def go_on(self) -> None:
        self._there.run()
        self._back.run()

    def reset(self) -> None:
        """End both sides now."""
        if self._dialing is not None:
            self._dialing.cancel()
        self.near.reset()
        if self._far is not None:
            self._far.reset()
        self._forget()

    # ---- for its ends -----------------------------------------------------------------------

    def opened(self, end: End) -> None:
        if end is not self.near:
            self._far = end
            end.join(out=self._back, into=self._there)
            self._there.run()
        elif self._enter(self):
            end.join(out=self._there, into=self._back)
            arrives_s = self._now_s() + self._conditions.delay_s
            self._there.put(Wish(self._dial), arrives_s=arrives_s)
        else:
            end.reset()

    def ended(self) -> None:
        """A side has said all it will say, or is gone."""
        if not self._has_arrived:
            # Who says all before the other side has heard of it may wait for an answer; in a cut,
            # it has given up.
            if self.near.is_lost or self._state.is_cut:
                self.reset()
        elif self.near.is_lost and (self._far is None or self._far.is_lost):
            self._forget()

    # ---- inside -----------------------------------------------------------------------------

    def _dial(self) -> None:
        self._has_arrived = True
        self._dialing = begin(self._connect(), name="weft-mesh-connect")

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: End(self), HOST, self._port)
        except OSError:
            # Nobody listens there: that takes its time to be heard of, too.
            self._back.put(Ended(is_reset=True))
            self._there.close()
        finally:
            self._dialing = None

    def _forget(self) -> None:
        self._there.close()
        self._back.close()
        self._leave(self)
