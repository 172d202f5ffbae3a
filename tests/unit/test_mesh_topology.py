"""Who is linked with whom in a local mesh, and which links lie between two sides."""

from __future__ import annotations

import pytest

from weft_engine.errors import CallerError, InvalidName, NotFound
from weft_server.local_mesh.topology import (
    REGIONS_MAX,
    Pair,
    Topology,
    Way,
    names_of,
    pairs_between,
    pairs_of,
    ways_between,
)

FIVE = names_of(5, None)


def shown(topology: Topology, count: int) -> list[str]:
    return [str(pair) for pair in pairs_of(topology, names_of(count, None))]


def test_topologies() -> None:
    assert shown(Topology.FULL, 3) == ["r1-r2", "r1-r3", "r2-r3"]
    assert len(shown(Topology.FULL, 7)) == 21
    assert shown(Topology.RING, 4) == ["r1-r2", "r2-r3", "r3-r4", "r1-r4"]
    assert shown(Topology.STAR, 4) == ["r1-r2", "r1-r3", "r1-r4"]
    assert shown(Topology.LINE, 4) == ["r1-r2", "r2-r3", "r3-r4"]


@pytest.mark.parametrize("topology", Topology)
def test_small_meshes_have_each_link_once(topology: Topology) -> None:
    assert shown(topology, 1) == []
    assert shown(topology, 2) == ["r1-r2"]
    assert len(shown(topology, 3)) == len(set(shown(topology, 3)))


def test_names() -> None:
    assert FIVE == ("r1", "r2", "r3", "r4", "r5")
    assert names_of(0, "eu, us,ap") == ("eu", "us", "ap")
    with pytest.raises(CallerError, match="eu is given to two"):
        names_of(0, "eu,us,eu")
    with pytest.raises(InvalidName):
        names_of(0, "eu,,us")
    with pytest.raises(InvalidName):
        names_of(0, "../eu")
    for count in (0, -1, REGIONS_MAX + 1):
        with pytest.raises(CallerError, match="can't have"):
            names_of(count, None)


def test_links_between_two_sides() -> None:
    pairs = pairs_of(Topology.RING, FIVE)
    assert pairs_between(FIVE, pairs, "r2", "r1") == (Pair("r1", "r2"),)
    assert pairs_between(FIVE, pairs, "r1", None) == (Pair("r1", "r2"), Pair("r1", "r5"))
    assert pairs_between(FIVE, pairs, "r1,r2", "r3, r4,r5") == (Pair("r2", "r3"), Pair("r1", "r5"))
    with pytest.raises(NotFound, match="no link between r1 and r3") as info:
        pairs_between(FIVE, pairs, "r1", "r3")
    assert "r1-r2" in info.value.hint
    with pytest.raises(NotFound, match="no region 'r9'") as info:
        pairs_between(FIVE, pairs, "r9", "r1")
    assert "r1, r2" in info.value.hint
    with pytest.raises(CallerError, match="r2 stands on both sides"):
        pairs_between(FIVE, pairs, "r1,r2", "r2,r3")
    with pytest.raises(NotFound, match="the others"):
        pairs_between(("r1",), (), "r1", None)


def test_directions_between_two_sides() -> None:
    pairs = pairs_of(Topology.LINE, FIVE)
    assert set(ways_between(FIVE, pairs, "r2", "r1")) == {Way("r1", "r2"), Way("r2", "r1")}
    assert ways_between(FIVE, pairs, "r2", "r1", one_way=True) == (Way("r2", "r1"),)
    assert set(ways_between(FIVE, pairs, "r2", "r1,r3", one_way=True)) == {
        Way("r2", "r1"),
        Way("r2", "r3"),
    }
