"""``weft mesh status``: how the regions of a local mesh are, and the links between them."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, Final

from weft_engine.errors import StoreError
from weft_server.cli import mesh_status
from weft_server.cli.mesh_folder import add_folder, ask_mesh
from weft_server.cli.output import Output


class _Status:
    NAME: Final = "status"
    HELP: Final = "show how regions are, and the links between them"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_folder(parser)
        mesh_status.add_arguments(parser)

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        if arguments.url is not None:
            return mesh_status.run(arguments, output)
        status = ask_mesh(arguments, "status")
        asyncio.run(_add_holdings(status["regions"]))
        _show(status, output)
        output.data(status)
        return 0


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
    regions = status["regions"]
    output.say(
        f"{status['topology']}, {status['delay_ms']:g} ms one way, loss {status['loss']:g}, in"
        f" {status['folder']}"
    )
    output.say(
        f"{'region':<10} {'state':<7} {'process':>8} {'contexts':>9} {'records':>11}"
        f"  {'fingerprint':<17} address"
    )
    for region in regions:
        fingerprint = region.get("fingerprint")
        shown = f"{fingerprint[:16]}…" if fingerprint else region.get("store_error", "")
        output.say(
            f"{region['name']:<10} {region['state']:<7} {region['pid'] or '-':>8}"
            f" {region.get('contexts', 0):>9,} {region.get('records', 0):>11,}"
            f"  {shown:<17} {region['url']}"
        )
    held = {region.get("fingerprint") for region in regions}
    if len(regions) > 1:
        output.say("all hold the same" if len(held) == 1 else "not all hold the same")
    if status["links"]:
        output.say(f"{'link':<17} {'state':<20} {'connections':>11} {'arrived':>14} {'back':>14}")
    for link in status["links"]:
        there, back = link["bytes"].values()
        output.say(
            f"{link['link']:<17} {_link_state(link):<20} {link['connections']:>11}"
            f" {there:>12,} B {back:>12,} B"
        )


def _link_state(link: dict[str, Any]) -> str:
    if not link["cut"]:
        return "open"
    if len(link["cut"]) == 1:
        return f"cut {link['cut'][0]}"
    return "cut, refusing" if link["refusing"] else "cut"


STATUS: Final = _Status()
