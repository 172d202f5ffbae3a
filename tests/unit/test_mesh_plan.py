"""What a local mesh is made of: its file, and the configuration that each region gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft_engine.errors import CallerError, Conflict
from weft_server.config_file import read_config
from weft_server.local_mesh.lock import locked
from weft_server.local_mesh.mesh import with_ports
from weft_server.local_mesh.plan import MeshFolder, MeshPlan, region_config
from weft_server.local_mesh.topology import Topology

PLAN = MeshPlan(("eu", "us", "ap"), Topology.LINE, {"eu": 7401, "us": 7402, "ap": 7403})


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = MeshFolder(tmp_path / "mesh")
    assert folder.read_plan() is None
    folder.write_plan(PLAN)
    assert folder.read_plan() == PLAN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "regions": ["eu"], "topology": "full", "ports": {}}',
        '{"format": 1, "regions": ["../eu"], "topology": "full", "ports": {}}',
        '{"format": 1, "regions": ["eu"], "topology": "tree", "ports": {}}',
        '{"format": 1, "regions": ["eu"], "topology": "full", "ports": {"eu": "x"}}',
        '{"format": 1, "regions": [], "topology": "full", "ports": {}}',
    ],
)
def test_what_is_no_plan_is_named(tmp_path: Path, text: str) -> None:
    folder = MeshFolder(tmp_path)
    folder.plan.parent.mkdir()
    folder.plan.write_text(text)
    with pytest.raises(CallerError, match=r"plan\.json is not the plan of a mesh"):
        folder.read_plan()


def test_neighbours_stand_in_the_order_of_the_mesh() -> None:
    assert PLAN.neighbours("us") == ["eu", "ap"]
    assert PLAN.neighbours("ap") == ["us"]


def test_free_ports_are_chosen_where_none_is_given() -> None:
    whole = with_ports(MeshPlan(PLAN.names, Topology.FULL, {"us": 7402}))
    assert whole.ports["us"] == 7402
    assert len(set(whole.ports.values())) == 3


def test_a_region_is_told_of_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "weft.toml"
    path.write_text(region_config("us", 7402, {"eu": "ws://127.0.0.1:1", "ap": "ws://127.0.0.1:2"}))
    config = read_config(path)
    assert (config.region, config.listen) == ("us", "127.0.0.1:7402")
    assert config.data == tmp_path / "store"
    assert config.insecure
    assert [peer.name for peer in config.peers] == ["eu", "ap"]


def test_a_folder_has_one_mesh_at_a_time(tmp_path: Path) -> None:
    folder = MeshFolder(tmp_path / "mesh")
    with locked(folder):
        with pytest.raises(Conflict, match="is up in"), locked(folder):
            pass
    with locked(folder):
        pass
