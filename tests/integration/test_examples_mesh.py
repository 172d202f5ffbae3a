"""`examples/mesh`: what stands there is read by what will read it, and links three real relays."""

from __future__ import annotations

import configparser
import json
import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

import weft as client
from tests.command_line import weft
from tests.running_relay import RunningRelay, until
from weft_server.config_file import read_config
from weft_server.local_mesh.agreement import holding
from weft_server.local_mesh.mesh import with_ports
from weft_server.local_mesh.plan import MeshPlan
from weft_server.local_mesh.topology import Topology
from weft_server.relay_limits import DEFAULTS

MESH = Path(__file__).parents[2] / "examples" / "mesh"
REGIONS = ("eu", "us", "ap")


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_is_linked_with_the_others(region: str) -> None:
    config = read_config(MESH / region / "weft.toml")
    assert config.region == region
    assert not config.insecure
    assert config.listen == "127.0.0.1:7300"
    assert {peer.name for peer in config.peers} == {*REGIONS} - {region}
    for peer in config.peers:
        assert peer.url == f"wss://{peer.name}.example.com/v1/sync"
        assert peer.token_file == MESH / region / "peer.token"


def test_units_and_compose_file_can_be_read() -> None:
    for unit in (MESH / "systemd").iterdir():
        parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(unit.read_text())
        assert "Unit" in parser
    relay = (MESH / "systemd" / "weft-relay.service").read_text()
    words = re.search(r"^ExecStart=/opt/weft/bin/weft (.*)$", relay, re.M)
    assert words is not None
    compose = yaml.safe_load((MESH / "compose.yaml").read_text())
    command = compose["services"]["relay"]["command"]
    image = re.search(r"^CMD (\[.*\])$", (MESH / "Dockerfile").read_text(), re.M)
    assert image is not None
    # All begin a relay with words that it knows.
    for given in (words[1].split(), command, json.loads(image[1])):
        mine = [word.replace("/etc/weft", str(MESH / "eu")) for word in given]
        run = weft(*mine, "--print-config")
        assert run.code == 0, run.err
        assert 'region = "eu"' in run.out


def test_the_caddyfile_has_no_line_that_debians_caddy_refuses() -> None:
    """2.6.2 in Debian 12 and 13. One that it does not know keeps all of Caddy from starting."""
    told = [
        line.split()[0]
        for line in (MESH / "Caddyfile").read_text().splitlines()
        if line.strip() and not line.strip().startswith(("#", "}"))
    ]
    known = {"{$DOMAIN}", "@inside", "respond", "reverse_proxy", "transport", "dial_timeout"}
    assert set(told) <= known


def test_nginx_is_told_to_take_the_links_of_a_relay() -> None:
    """Its own file can't say it: Debian's nginx.conf has room for some 380."""
    text = (MESH / "nginx.conf").read_text()
    room = re.search(r"worker_connections (\d+);", text)
    assert room is not None
    assert int(room[1]) >= 2 * DEFAULTS.links
    # Tokens stand in the addresses of Yjs clients, and so would in its log.
    links = text.partition("location ~ ^/(v1/sync$|yjs/) {")[2].partition("\n    }\n")[0]
    assert "access_log off;" in links


@pytest.mark.deep
async def test_the_regions_of_the_example_agree(tmp_path: Path) -> None:
    """With the keys and tokens of its README, on one machine and without TLS."""
    ports = with_ports(MeshPlan(REGIONS, Topology.FULL, {})).ports
    key = tmp_path / "token.key"
    assert weft("keys", "new", key).code == 0
    with ExitStack() as relays:
        running: list[RunningRelay] = []
        for region in REGIONS:
            folder = tmp_path / region
            shutil.copytree(MESH / region, folder)
            shutil.copy(f"{key}.pub", folder)
            minted = weft("token", "--key", key, "--read", "--append", "--peer")
            (folder / "peer.token").write_text(minted.out)
            text = (folder / "weft.toml").read_text()
            for name, port in ports.items():
                text = text.replace(f"wss://{name}.example.com", f"ws://127.0.0.1:{port}")
            (folder / "weft.toml").write_text(text)
            relay = RunningRelay(
                folder / "store",
                region=region,
                listen=f"127.0.0.1:{ports[region]}",
                key=folder / "token.key.pub",
                more=["--config", str(folder / "weft.toml")],
            )
            relays.callback(relay.end)
            running.append(relay)
        token = weft("token", "--key", key, "--context", "acme/").out.strip()
        async with client.open(tmp_path / "a.db") as store:
            await store.context("acme/chat").append("hello")
            store.connect(running[0].url, token=token)
            await store.synced(timeout=30)

        async def are_equal() -> bool:
            held = [await holding(relay.store) for relay in running]
            return len(set(held)) == 1 and held[0].records == 1

        await until(are_equal, what="all regions hold the record")
