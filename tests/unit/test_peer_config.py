"""[[peer]] of weft.toml and --peer: what they may say, and what is told about everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import weft as run_weft
from weft_engine.errors import CallerError
from weft_server.config_file import RelayConfig, read_config
from weft_server.mesh.peer_config import PEERS_MAX, PeerConfig, check_own_name

TWO = """
[relay]
region = "eu"

[[peer]]
name = "us"
url = "wss://us.example.com/weft"
token_file = "us.token"

[[peer]]
name = "ap-1"
url = "http://10.0.0.7:7300"
token = " secret "
"""
PEERS = (
    PeerConfig("us", "wss://us.example.com/weft/v1/sync", token_file=Path("us.token")),
    PeerConfig("ap-1", "ws://10.0.0.7:7300/v1/sync", token="secret"),
)


def written(folder: Path, text: str) -> Path:
    path = folder / "weft.toml"
    path.write_text(text)
    return path


def test_peers_are_read_and_shown_without_their_tokens(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, TWO))
    us, ap = config.peers
    assert us == PeerConfig("us", PEERS[0].url, token_file=tmp_path / "us.token")
    assert ap == PEERS[1]
    shown = config.as_toml()
    assert "secret" not in shown
    assert "secret" not in repr(config)
    again = read_config(written(tmp_path, shown))
    assert again.peers == (us, PeerConfig("ap-1", PEERS[1].url))
    run = run_weft(
        "serve", "--config", tmp_path / "weft.toml", "--peer", "x=ws://h", "--print-config"
    )
    assert '[[peer]]\nname = "x"\nurl = "ws://h/v1/sync"' in run.out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("peer = 1", "peer is no list of tables"),
        ("[peer]\nname = 'us'", "peer is no list of tables"),
        ("[[peer]]\nurl = 'ws://h'", "peer 1 has no name"),
        ("[[peer]]\nname = 'us'", "peer us has no url"),
        ("[[peer]]\nname = 'US'\nurl = 'ws://h'", "'US' is no region name"),
        ("[[peer]]\nname = 7\nurl = 'ws://h'", "name can't be 7"),
        ("[[peer]]\nname = 'us'\nurl = 'ftp://h'", "peer us: 'ftp://h' is no address of a relay"),
        ("[[peer]]\nname = 'us'\nurl = 'ws://h?token=x'", "holds more than an address"),
        ("[[peer]]\nname = 'us'\nurl = 'ws://h'\ntokenfile = 'x'", "no setting tokenfile"),
        ("[[peer]]\nname = 'us'\nurl = 'ws://h'\ntoken = ''", "its token is none"),
        (
            "[[peer]]\nname = 'us'\nurl = 'ws://h'\ntoken = 'x'\ntoken_file = 'y'",
            "peer us has a token and a token_file",
        ),
        (
            "[[peer]]\nname = 'us'\nurl = 'ws://h'\n[[peer]]\nname = 'us'\nurl = 'ws://i'",
            "two peers with the name us",
        ),
        (
            "[[peer]]\nname = 'us'\nurl = 'ws://h'\n[[peer]]\nname = 'ap'\nurl = 'http://h/'",
            "peers us and ap have one address",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CallerError, match=r"weft\.toml: ") as caught:
        read_config(written(tmp_path, text))
    assert told in caught.value.message
    assert caught.value.hint


def test_there_is_a_limit(tmp_path: Path) -> None:
    many = "".join(
        f"[[peer]]\nname = 'r{n}'\nurl = 'ws://h:{n + 1}'\n" for n in range(PEERS_MAX + 1)
    )
    with pytest.raises(CallerError, match=f"there are {PEERS_MAX + 1} peers, at most {PEERS_MAX}"):
        read_config(written(tmp_path, many))


def test_the_command_line_goes_before_the_file() -> None:
    config = RelayConfig(peers=PEERS)
    given = config.over(
        {}, peers=["us=ws://127.0.0.1:1", "sa=https://sa"], peer_token_files=["ap-1=t", "sa=u"]
    )
    assert given.peers == (
        PeerConfig("us", "ws://127.0.0.1:1/v1/sync"),
        PeerConfig("ap-1", PEERS[1].url, token_file=Path("t")),
        PeerConfig("sa", "wss://sa/v1/sync", token_file=Path("u")),
    )
    assert config.over({}).peers == PEERS


@pytest.mark.parametrize(
    ("peers", "files", "told"),
    [
        (["us"], [], "'us' is no peer"),
        (["us="], [], "is no peer"),
        (["us=ws://h", "us=ws://i"], [], "--peer us is given twice"),
        ([], ["sa=t"], "no peer 'sa' for the token file t"),
        (["u s=ws://h"], [], "no region name"),
    ],
)
def test_what_is_wrong_there_is_named(peers: list[str], files: list[str], told: str) -> None:
    with pytest.raises(CallerError) as caught:
        RelayConfig(peers=PEERS).over({}, peers=peers, peer_token_files=files)
    assert told in caught.value.message


def test_a_token_is_read_when_it_is_needed(tmp_path: Path) -> None:
    peer = PeerConfig("us", "ws://h", token_file=tmp_path / "us.token")
    with pytest.raises(CallerError, match=r"peer us: the token file .* can't be read"):
        peer.read_token()
    (tmp_path / "us.token").write_text("\n")
    with pytest.raises(CallerError, match="is empty"):
        peer.read_token()
    (tmp_path / "us.token").write_text("one\n")
    assert peer.read_token() == "one"
    (tmp_path / "us.token").write_text("another\n")
    assert peer.read_token() == "another"
    assert PEERS[1].read_token() == "secret"
    assert PeerConfig("us", "ws://h").read_token() is None


def test_a_relay_does_not_start_with_wrong_peers(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="peer eu is this region itself"):
        check_own_name([PeerConfig("eu", "ws://h")], "eu")
    check_own_name(PEERS, "eu")
    words = [
        "serve",
        "--data",
        str(tmp_path),
        "--listen",
        "127.0.0.1:0",
        "--region",
        "eu",
        "--insecure",
    ]
    run = run_weft(*words, "--peer", "eu=ws://127.0.0.1:1")
    assert run.code == 1
    assert "peer eu is this region itself" in run.err
    run = run_weft(*words, "--peer", "us=ws://h", "--peer-token-file", f"us={tmp_path}/none")
    assert run.code == 1
    assert "peer us: the token file" in run.err
