"""Regions that link with each other: relays as processes, on loopback."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import weft
from tests.command_line import weft as run_weft
from tests.running_relay import DEADLINE_S, RunningRelay, regions, running_relay, until
from weft_server.mesh.asking import ask


async def mesh_of(relay: RunningRelay) -> dict[str, Any]:
    return await asyncio.to_thread(ask, relay.url, None)


async def peer_of(relay: RunningRelay, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        peer for peer in (await mesh_of(relay))["peers"] if peer["name"] == name
    )
    return found


async def test_a_region_that_was_away_and_one_that_comes_late_get_all(tmp_path: Path) -> None:
    """Two regions dial each other and have one link; one is killed while the other is written to,
    comes back and catches up; then a third one joins."""
    both = [("eu", "us"), ("us", "eu")]
    with regions(tmp_path, ["eu", "us"], both) as relays, ExitStack() as again:
        eu, us = relays["eu"], relays["us"]

        async def are_level() -> bool:
            at_eu, at_us = await peer_of(eu, "us"), await peer_of(us, "eu")
            return (
                at_eu["state"] == at_us["state"] == "live"
                and at_eu["lag_records"] == at_us["lag_records"] == 0
                and at_eu["rtt_ms"] is not None
                and at_us["rtt_ms"] is not None
            )

        async with weft.open(tmp_path / "a.db") as store:
            link = store.connect(eu.url)
            for number in range(5):
                await store.context(f"acme/{number}").append(f"one in {number}")
            await link.synced(timeout=DEADLINE_S)
            await until(are_level, what="both regions are level")
            at_eu, at_us = await peer_of(eu, "us"), await peer_of(us, "eu")
            assert {at_eu["direction"], at_us["direction"]} == {"dialled", "accepted"}
            assert at_eu["records_out"] == at_us["records_in"] == 5
            assert at_us["copies_in"] == 0
            assert at_eu["bytes_in"] > 0
            assert at_us["bytes_in"] > at_eu["bytes_in"]
            assert abs(at_eu["clock_offset_ms"]) < 5_000  # one machine, however busy
            assert (await mesh_of(eu))["alarms"] == []

            await asyncio.to_thread(us.kill)
            for number in range(5, 10):
                await store.context(f"acme/{number}").append(f"one in {number}")
            await link.synced(timeout=DEADLINE_S)

            async def lags() -> bool:
                peer = await peer_of(eu, "us")
                return peer["state"] == "connecting" and peer["why"] is not None

            await until(lags, what="it is seen that a region is away")
            away = await peer_of(eu, "us")
            assert away["lag_records"] == 5
            assert away["lag_ms"] > 0
            assert away["direction"] is None

            # Who begins anew while it is away knows what it lacks.
            await asyncio.to_thread(eu.end)
            eu = await asyncio.to_thread(eu.again)
            again.callback(eu.end)
            still = await peer_of(eu, "us")
            assert still["lag_records"] == 5
            assert still["lag_ms"] >= away["lag_ms"]
            (known,) = (await mesh_of(eu))["regions"]
            assert (known["name"], known["lag_records"]) == ("us", 5)
            assert known["heard_ms"] < (await mesh_of(eu))["now_ms"]
            shown = await asyncio.to_thread(run_weft, "mesh", "status", "--url", eu.url)
            assert shown.out.splitlines()[-1].startswith("us          5")
            assert shown.out.rstrip().endswith((" ago", "now"))

            us = await asyncio.to_thread(us.again)
            try:
                await until(are_level, what="the region that was away has caught up")
                assert (await mesh_of(us))["position"] == 10
                at_us = await peer_of(us, "eu")
                assert at_us["records_in"] == 5
                # The limits of clients do not end it.
                more = ["--peer", f"us={us.url}", "--limit", "link_contexts=5"]
                with running_relay(tmp_path / "ap", region="ap", more=more) as ap:

                    async def has_all() -> bool:
                        return bool((await mesh_of(ap))["position"] == 10)

                    await until(has_all, what="the region that came late has all")
                    found = await mesh_of(ap)
                    compared = (await peer_of(us, "ap"))["anti_entropy"]
                    assert compared["differed"] == 10
                    assert compared["messages"] > 0
                    assert 0 < compared["bytes"] < found["peers"][0]["bytes_in"]

                    async def knows_of_both() -> bool:
                        regions = (await mesh_of(ap))["regions"]
                        lags = {one["name"]: one["lag_records"] for one in regions}
                        return lags == {"eu": 0, "us": 0}

                    await until(knows_of_both, what="it knows how far each region is")
                    words = ("mesh", "status", "--url", ap.url)
                    shown = await asyncio.to_thread(run_weft, *words)
                    assert shown.code == 0
                    told = shown.out.splitlines()
                    assert told[0].startswith("region ap, store ")
                    assert "10 records in 10 contexts" in told[0]
                    assert told[4].split()[:3] == ["us", "live", "dialled"]
                    as_json = await asyncio.to_thread(run_weft, *words, "--json")
                    assert as_json.json().keys() == found.keys()
            finally:
                await asyncio.to_thread(us.end)
