"""Five real regions under load while the network breaks and processes die: the benchmark's run,
made short, for what must hold on any machine."""

from __future__ import annotations

import pytest

from tests.bench.regions.chaos import chaos
from tests.stores import folder
from weft_server.local_mesh.topology import Topology


@pytest.mark.deep
@pytest.mark.parametrize("topology", [Topology.RING, Topology.FULL])
async def test_regions_agree_and_nothing_acknowledged_is_lost(topology: Topology) -> None:
    with folder() as place:
        one = await chaos(place, seconds=20.0, appends_per_s=200.0, topology=topology)
    assert one.appended > 0
    assert one.lost == 0
    assert one.sound
