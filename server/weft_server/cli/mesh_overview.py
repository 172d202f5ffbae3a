"""``weft mesh status``: all regions of a local mesh and the links between them; or, with a URL, the
mesh as one relay knows it, wherever that runs.

Must never know: how a relay knows what it answers.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from weft_engine.errors import LinkRefused, StoreError
from weft_server.cli import mesh_status
from weft_server.cli.mesh_folder import add_folder, ask_mesh
from weft_server.cli.output import Output

_UNKNOWN: Final = "-"
_TIMEOUT_S: Final = 5.0


class _Status:
    NAME: Final = "status"
    HELP: Final = "show how regions are, and the links between them"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_folder(parser)
        mesh_status.add_arguments(parser)
        parser.epilog = (
            "Without --url: all regions of the local mesh in the folder. The fingerprint is of all"
            " that a region's store holds: equal fingerprints, equal records. 'lacks' is what the"
            " second region of a link is not known to hold yet of what the first one has; 'back',"
            " the other way."
        )

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        if arguments.url is not None:
            return mesh_status.run(arguments, output)
        status = ask_mesh(arguments, "status")
        for region in status["regions"]:
            if region["pid"] is not None:
                _add_answer(region)
        asyncio.run(_add_holdings(status["regions"]))
        _show(status, output)
        output.data(status)
        return 0


def _add_answer(region: dict[str, Any]) -> None:
    """What the region's relay says of the mesh, or why it says nothing."""
    from weft_engine.sync.faults import LinkLost
    from weft_server.mesh.asking import ask

    try:
        region["mesh"] = ask(region["url"], None, timeout_s=_TIMEOUT_S)
    except (LinkLost, LinkRefused) as error:
        region["mesh_error"] = error.message


async def _add_holdings(regions: list[dict[str, Any]]) -> None:
    """What each region's store holds, read from its file: of those that are down, too."""
    from weft_server.local_mesh.agreement import holding

    for region in regions:
        try:
            held = await holding(Path(region["store"]))
        except StoreError as error:
            region["store_error"] = error.message
        else:
            region["contexts"] = held.contexts
            region["records"] = held.records
            region["fingerprint"] = held.fingerprint


def _show(status: dict[str, Any], output: Output) -> None:
    regions = {region["name"]: region for region in status["regions"]}
    output.say(
        f"{status['topology']}, {status['delay_ms']:g} ms one way, loss {status['loss']:g}, in"
        f" {status['folder']}"
    )
    output.say(
        f"{'region':<10} {'state':<7} {'process':>8} {'contexts':>9} {'records':>11}"
        f"  {'fingerprint':<17} address"
    )
    for region in regions.values():
        fingerprint = region.get("fingerprint")
        shown = f"{fingerprint[:16]}…" if fingerprint else _UNKNOWN
        output.say(
            f"{region['name']:<10} {region['state']:<7} {region['pid'] or _UNKNOWN:>8}"
            f" {region.get('contexts', 0):>9,} {region.get('records', 0):>11,}"
            f"  {shown:<17} {region['url']}"
        )
    if status["links"]:
        output.say(
            f"{'link':<17} {'network':<18} {'state':<20} {'lacks':>7} {'back':>7} {'rtt':>7}"
            f" {'arrived':>14} {'back':>14}"
        )
    for link in status["links"]:
        first, second = link["between"]
        there, back = _peer(regions[first], second), _peer(regions[second], first)
        bytes_there, bytes_back = link["bytes"].values()
        states = dict.fromkeys(str(end.get("state", _UNKNOWN)) for end in (there, back))
        rtt = there.get("rtt_ms")
        output.say(
            f"{link['link']:<17} {_network(link):<18} {'/'.join(states):<20}"
            f" {_count(there.get('lag_records')):>7} {_count(back.get('lag_records')):>7}"
            f" {_UNKNOWN if rtt is None else f'{rtt:.0f} ms':>7}"
            f" {bytes_there:>12,} B {bytes_back:>12,} B"
        )
    for region in regions.values():
        for what in ("mesh_error", "store_error"):
            if what in region:
                output.say(f"{region['name']}: {region[what]}")
        for alarm in (region.get("mesh") or {}).get("alarms", ()):
            output.say(f"{region['name']}: {alarm.get('text')}")
    if len(regions) > 1:
        held = {region.get("fingerprint") for region in regions.values()}
        is_equal = len(held) == 1 and None not in held
        output.say("all regions hold the same" if is_equal else "not all regions hold the same")


def _peer(region: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What a region says of its link with another; nothing if it was not reached."""
    peers = (region.get("mesh") or {}).get("peers", ())
    return next((peer for peer in peers if peer.get("name") == name), {})


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else _UNKNOWN


def _network(link: dict[str, Any]) -> str:
    if not link["cut"]:
        return "open"
    if len(link["cut"]) == 1:
        return f"cut {link['cut'][0]}"
    return "cut, refusing" if link["refusing"] else "cut"


STATUS: Final = _Status()
