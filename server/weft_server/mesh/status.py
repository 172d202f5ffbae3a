"""What a relay says of the mesh: GET /v1/mesh, as JSON. docs/MESH.md tells what the fields mean.

Must never know: HTTP, how people are shown it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from weft_engine.names import Position
from weft_engine.storage.totals import totals
from weft_engine.sync.end.ending import State
from weft_engine.sync.interest import EVERYTHING
from weft_server.mesh.mesh import Mesh
from weft_server.mesh.peers import Peer
from weft_server.mesh.region_links import Refused
from weft_server.mesh.standing import Compared, Standing


async def status(mesh: Mesh, *, links: int) -> dict[str, Any]:
    """All of it at one moment. `links`: the relay's open connections of all kinds."""
    found = await mesh.replica.journal.read(totals)
    now_ms = mesh.replica.now_ms()
    offset = mesh.clock_offset_ms
    return {
        "region": mesh.region,
        "store": mesh.replica.identity.store.hex(),
        "now_ms": now_ms,
        "up_ms": round(mesh.up_s() * 1000),
        "position": found.position,
        "contexts": found.contexts,
        "links": links,
        "waiting": {"records": found.waiting, "bytes": found.waiting_bytes},
        "quarantine": {"entries": found.quarantined, "bytes": found.quarantined_bytes},
        "equivocations": {
            "contexts": len(mesh.audit.forked),
            "looked_at": round(mesh.audit.looked_at, 3),
        },
        "skewed": {"contexts": len(mesh.audit.skewed)},
        "clock": {"offset_ms": offset, "peers": len(mesh.clock_offsets())},
        "alarms": [{"kind": alarm.kind, "text": alarm.text} for alarm in mesh.alarms()],
        "peers": _peers(mesh, found.position),
        "regions": _regions(mesh, found.position),
        "refused": [_refused(one) for one in mesh.links.refused],
    }


def _peers(mesh: Mesh, head: Position) -> list[dict[str, Any]]:
    """Those that are configured, in that order, then the others that have linked."""
    configured = {peer.config.name: peer for peer in mesh.peers.all}
    names = [*configured, *(one.region for one in mesh.standings if one.region not in configured)]
    return [
        _peer(mesh, name, configured.get(name), mesh.standings.of(name), head) for name in names
    ]


def _peer(
    mesh: Mesh, name: str, peer: Peer | None, standing: Standing | None, head: Position
) -> dict[str, Any]:
    one = None if standing is None else standing.current
    state, why, hint = _state(mesh, name, peer, standing)
    known = standing or Standing(name)
    carried = known.carried()
    now_s = asyncio.get_running_loop().time()
    upto = known.acknowledged_now()
    return {
        "name": name,
        "configured": peer is not None,
        "url": None if peer is None else peer.config.url,
        "direction": None if one is None else "dialled" if one.is_dialled else "accepted",
        "place": None if one is None else one.via.place,
        "state": state,
        "why": why,
        "hint": hint,
        "store": known.store.hex() or None,
        "since_ms": None if one is None else one.since_ms,
        "lag_records": None if upto is None else max(0, head - upto),
        "lag_ms": None if upto is None else _waits_ms(mesh, upto),
        "behind_records": None if one is None else known.behind,
        "behind_ms": None if one is None else round(known.behind_s(now_s) * 1000),
        "acknowledged": upto,
        "bytes_in": carried.bytes_in,
        "bytes_out": carried.bytes_out,
        "records_in": carried.records_in,
        "records_out": carried.records_out,
        "copies_in": carried.copies_in,
        "rtt_ms": None if one is None else one.link.session.between.timing.rtt_ms,
        "clock_offset_ms": known.clock_offset_ms,
        "anti_entropy": _compared(known.compared()),
    }


def _regions(mesh: Mesh, head: Position) -> list[dict[str, Any]]:
    """How far every region is of which anybody tells or told, over whichever regions between."""
    mesh.remember()
    found: list[dict[str, Any]] = []
    for name, upto in sorted(mesh.replica.reach.holders(EVERYTHING).items()):
        known = mesh.memory.of(name)
        # 0: nothing is known of it now, unless there is nothing to know.
        held = upto if upto or not head else None if known is None else known.upto
        found.append(
            {
                "name": name,
                "lag_records": None if held is None else max(0, head - held),
                "lag_ms": None if held is None else _waits_ms(mesh, held),
                "heard_ms": None if known is None else known.heard_ms,
            }
        )
    return found


def _waits_ms(mesh: Mesh, upto: Position) -> int | None:
    if mesh.timeline is None:
        return None
    return round(mesh.timeline.waits_s(upto, asyncio.get_running_loop().time()) * 1000)


def _compared(found: Compared | None) -> dict[str, Any] | None:
    if found is None:
        return None
    cost = found.cost
    return {
        "at_ms": found.at_ms,
        "messages": cost.messages_sent + cost.messages_received,
        "bytes": cost.bytes_sent + cost.bytes_received,
        "differed": cost.contexts,
    }


def _state(
    mesh: Mesh, name: str, peer: Peer | None, standing: Standing | None
) -> tuple[str, str | None, str | None]:
    """Of the link with a region, with why it is not better and what to do about that."""
    one = None if standing is None else standing.current
    if one is not None:
        return one.link.state.value, None, None
    refused = next((one for one in mesh.links.refused if one.region == name), None)
    if peer is None:
        ended = None if standing is None else standing.ended
        return State.CLOSED.value, ended, None
    if peer.state is State.REFUSED and refused is not None:
        return State.REFUSED.value, refused.why, refused.hint
    error = peer.error
    if error is None:
        return State.CONNECTING.value, None, None
    return State.CONNECTING.value, str(error), getattr(error, "hint", None) or None


def _refused(one: Refused) -> dict[str, Any]:
    return {
        "region": one.region,
        "place": one.via.place,
        "why": one.why,
        "hint": one.hint,
        "at_ms": one.at_ms,
    }
