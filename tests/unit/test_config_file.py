"""weft.toml: what it may say, and what is told about everything else."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.command_line import weft as run_weft
from weft_engine.errors import CallerError, NotFound
from weft_server.config_file import RelayConfig, quantity, read_config
from weft_server.relay_limits import DEFAULTS, LIMITS, RelayLimits, Unit

WHOLE = """
[relay]
data = "store"
listen = "127.0.0.1:0"
region = "eu"
token_key = "/etc/weft/token.key.pub"
revoked = "revoked"
trust_region = ["ab", "cd"]
proxies = ["10.0.0.7"]

[limits]
record_bytes = "1 MiB"
context_bytes = "2GB"
links = 500
hello_s = "1 min"
unauthenticated_s = 5
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "weft.toml"
    path.write_text(text)
    return path


def test_it_says_what_the_command_line_says(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, WHOLE))
    assert config == RelayConfig(
        data=tmp_path / "store",
        listen="127.0.0.1:0",
        region="eu",
        token_key=Path("/etc/weft/token.key.pub"),
        revoked=tmp_path / "revoked",
        trust_region=("ab", "cd"),
        proxies=("10.0.0.7",),
        limits=RelayLimits(
            record_bytes=1 << 20,
            context_bytes=2_000_000_000,
            links=500,
            hello_s=60,
            unauthenticated_s=5,
        ),
    )
    assert read_config(written(tmp_path, "")) == RelayConfig()


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("[relay", "no TOML", ""),
        ("\x00", "no TOML", ""),
        ("a = " + "[" * 5000, "no TOML", ""),
        ("[realy]", "no setting realy", "nearest is relay"),
        ("relay = 1", "relay is no table", "[relay]"),
        ("[relay]\nregio = 'eu'", "no setting relay.regio", "nearest is region"),
        ("[relay]\ntoken-key = 'k'", "no setting relay.token-key", "nearest is token_key"),
        ("[limits]\nlink = 1", "no setting limits.link", "nearest is links"),
        ("[limits]\nRecord_Bytes = 1", "no setting limits.Record_Bytes", "record_bytes"),
        ("[relay]\nregion = 7", "region can't be 7", "in quotes"),
        ("[relay]\ndata = ['a']", "data can't be", "in quotes"),
        ("[relay]\ninsecure = 'yes'", "insecure can't be 'yes'", "true or false"),
        ("[relay]\nproxies = '10.0.0.1'", "proxies can't be", "list"),
        ("[limits]\nlinks = '5 MiB'", "links can't be '5 MiB'", "whole number"),
        ("[limits]\nlinks = 1.5", "links can't be 1.5", "whole number"),
        ("[limits]\nlinks = true", "links can't be True", "whole number"),
        ("[limits]\nlinks = -1", "links can't be -1", "whole number"),
        ("[limits]\nlinks = 0", "links is 0", "open links"),
        ("[limits]\nrecord_bytes = '1 mb'", "record_bytes can't be '1 mb'", "MiB"),
        ("[limits]\nrecord_bytes = '1.5 MiB'", "record_bytes can't be", "MiB"),
        ("[limits]\nrecord_bytes = '100 MiB'", "it has to be from 1024 to", "one record"),
        ("[limits]\nframe_bytes = '1 KiB'", "frame_bytes is 1024", "256 KiB"),
        ("[limits]\nhello_s = '10 ms'", "hello_s can't be '10 ms'", "min"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str, hint: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(CallerError) as caught:
        read_config(path)
    assert told in caught.value.message
    assert str(path) in caught.value.message
    assert hint in caught.value.hint
    assert len(caught.value.message) < 400 + len(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        read_config(tmp_path / "weft.toml")
    with pytest.raises(CallerError, match="can't be read"):
        read_config(tmp_path)


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, WHOLE))
    over = config.over(
        {"region": "us", "listen": None, "insecure": True, "trust_region": ()},
        ["links=7", "record_bytes=2 MiB"],
    )
    assert (over.region, over.listen, over.trust_region) == ("us", "127.0.0.1:0", ("ab", "cd"))
    assert (over.insecure, over.token_key) == (True, None), "the door is said as a whole"
    assert over.limits == replace(config.limits, links=7, record_bytes=2 << 20)
    for wrong in ("links", "link=7", "links=many"):
        with pytest.raises(CallerError, match="link"):
            config.over({}, [wrong])


limits = st.builds(
    lambda values: RelayLimits(**values),
    st.fixed_dictionaries(
        {name: st.integers(limit.least, limit.most) for name, limit in LIMITS.items()}
    ),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(limits, texts, st.lists(texts, max_size=3))
def test_what_is_printed_says_the_same(limits: RelayLimits, text: str, many: list[str]) -> None:
    import tomllib

    config = RelayConfig(region=text, force=True, trust_region=tuple(many), limits=limits)
    found = tomllib.loads(config.as_toml())
    assert found["relay"].get("region", "") == text
    assert tuple(found["relay"].get("trust_region", ())) == tuple(many)
    assert limits == RelayLimits(
        **{name: quantity(name, v, LIMITS[name].unit) for name, v in found["limits"].items()}
    )


def test_the_printed_configuration_is_one(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    told = run_weft("serve", "--config", path, "--print-config", "--limit", "links=9")
    assert told.code == 0, told.err
    again = tmp_path / "again.toml"
    again.write_text(told.out)
    assert read_config(again) == read_config(path).over({}, ["links=9"])
    bare = run_weft("serve", "--print-config", "--json")
    assert "[limits]" in json.loads(bare.out)["toml"]


def test_every_limit_has_a_default_within_its_range() -> None:
    assert [field.name for field in fields(RelayLimits)] == list(LIMITS)
    for name, limit in LIMITS.items():
        assert limit.least <= getattr(DEFAULTS, name) <= limit.most
        assert {Unit.BYTES: "_bytes", Unit.SECONDS: "_s"}.get(limit.unit, "") in name


def test_the_documentation_has_every_limit() -> None:
    text = (Path(__file__).parents[2] / "docs/RELAY.md").read_text()
    printed = RelayConfig().as_toml().partition("[limits]\n")[2].splitlines()
    for line in printed:
        if not line.startswith("#"):
            name, _, value = line.partition(" = ")
            assert f"| `{name}` | {value.strip(chr(34))} |" in text
