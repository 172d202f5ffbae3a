"""`weft keys` and `weft token` as a user has them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from weft_server.cli import main
from weft_server.door.token_keys import read_keys
from weft_server.door.tokens import check


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "token.key"
    assert main(["keys", "new", str(path)]) == 0
    return path


class Said:
    """What a command wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str | Path, code: int = 0) -> tuple[str, str]:
        self._capsys.readouterr()
        assert main([str(word) for word in words]) == code
        said = self._capsys.readouterr()
        return said.out, said.err

    def json(self, *words: str | Path, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code)[0])


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


def test_a_new_key_tells_what_goes_where(said: Said, tmp_path: Path) -> None:
    path = tmp_path / "k"
    out, err = said("keys", "new", path, "--id", "mine")
    assert f"{path}.pub" in err
    assert "--token-key" in err
    assert out.startswith("mine ")
    secret = read_keys(path).signer.secret
    assert secret is not None
    assert secret.hex() not in out
    assert said.json("keys", "show", f"{path}.pub")["keys"][0]["signs"] is False
    assert "exists already" in said("keys", "new", path, code=1)[1]
    assert not Path(f"{tmp_path / 'h'}.pub").exists()
    out, err = said("keys", "new", tmp_path / "h", "--hs256")
    assert "HS256" in out
    assert ".pub" not in err


def test_keys_needs_something_to_do(said: Said) -> None:
    assert "weft keys new FILE" in said("keys", code=1)[1]


def test_a_token_comes_alone_on_stdout_with_its_id_beside(said: Said, key: Path) -> None:
    out, err = said("token", "--key", key, "--context", "acme/", "--append", "--expires", "1h")
    (token,) = out.split()
    grant = check(read_keys(Path(f"{key}.pub")), token, time.time())
    assert grant.prefixes == ("acme/",)
    assert grant.rights == {"append"}
    assert grant.token_id is not None
    assert f"id {grant.token_id}" in err
    assert "needs a key" in said("token", code=1)[1]
    assert "public" in said("token", "--key", f"{key}.pub", code=1)[1]


def test_a_token_is_looked_at(said: Said, key: Path, tmp_path: Path) -> None:
    token = said("token", "--key", key, "--expires", "30d")[0].strip()
    out, _ = said("token", "show", token)
    assert "'read', 'write'" in out
    assert "not verified" in out
    assert said.json("token", "show", token)["good"] is None
    assert "good now" in said("token", "show", token, "--key", f"{key}.pub")[0]
    other = tmp_path / "other"
    said("keys", "new", other)
    told = said.json("token", "show", token, "--key", other, code=1)
    assert told["good"] is False
    assert "another key" in told["verdict"]
    assert "malformed" in said("token", "show", "nonsense", code=1)[1]


def test_a_token_for_a_region_has_its_rights_and_says_its_name(said: Said, key: Path) -> None:
    token = said("token", "--key", key, "--region", "eu")[0].strip()
    grant = check(read_keys(key), token, time.time())
    assert grant.rights == {"read", "append", "peer"}
    assert grant.region == "eu"
    assert "region      eu" in said("token", "show", token)[0]
    assert "no region name" in said("token", "--key", key, "--region", "EU!", code=1)[1]
    refused = said("token", "--key", key, "--region", "eu", "--read", "--append", code=1)[1]
    assert "a token for region eu needs the right peer" in refused


def test_a_token_is_revoked_by_its_id_or_itself(said: Said, key: Path, tmp_path: Path) -> None:
    made = said.json("token", "--key", key)
    assert "is revoked" in said("token", "revoke", made["token"], "--data", tmp_path)[0]
    assert "already" in said("token", "revoke", made["id"], "--data", tmp_path)[0]
    listed = tmp_path / "list"
    told = said.json("token", "revoke", "by-hand", "--revoked", listed, "--because", "lost")
    assert told == {"id": "by-hand", "file": str(listed), "changed": True}
    assert listed.read_text() == "by-hand  # lost\n"
    assert "no id of a token" in said("token", "revoke", "two words", "--data", tmp_path, code=1)[1]
    with pytest.raises(SystemExit):
        main(["token", "revoke", "x"])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--data", "d", "--listen", "127.0.0.1:0", "--region", "eu"], "who may link"),
        (["--data", "d", "--region", "eu", "--insecure"], "--listen is missing"),
        (["--insecure"], "--data and --listen and --region are missing"),
        (["--listen", "127.0.0.1:0", "--region", "eu", "--insecure"], "--data is missing"),
        (["--config", "no.toml"], "there is no file no.toml"),
        (["--limit", "links=0"], "limit links"),
        (["--limit", "lnks=5"], "nearest is links"),
        (["--proxy", "example.org"], "no address of a proxy"),
        (["--token-key", "no.key"], "no key file no.key"),
    ],
)
def test_serve_says_what_is_missing_or_wrong(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    base = ["--data", "d", "--listen", "127.0.0.1:0", "--region", "eu"]
    if words[0] in ("--limit", "--proxy"):
        words = [*base, "--insecure", *words]
    elif words[0] == "--token-key":
        words = [*base, *words]
    assert complaint in said("serve", *words, code=1)[1]
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("command", ["keys", "token", "serve"])
def test_help_names_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    wanted = {
        "keys": ["new", "rotate", "show", "retire", "--store"],
        "token": ["show", "revoke", "--write", "--append", "--expires"],
        "serve": ["--config", "--print-config", "--limit", "--proxy", "--revoked", "--force"],
    }
    assert [word for word in wanted[command] if word not in out] == []


def test_no_token_is_minted_that_no_relay_takes(said: Said, key: Path) -> None:
    many = [word for number in range(65) for word in ("--context", f"team-{number:02}/")]
    out, err = said("token", "--key", key, *many, code=1)
    assert out == ""
    assert "65 prefixes exceeds 64" in err
    assert "common prefix" in err


def test_a_token_that_no_relay_takes_is_not_called_good(said: Said, key: Path) -> None:
    """One that another program has signed with the key."""
    signer = read_keys(key).signer
    claims = {"ctx": [f"team-{number:02}/" for number in range(65)], "rights": ["read"]}
    token = jwt.encode(claims, signer.to_sign_with(), signer.algorithm, headers={"kid": signer.id})
    shown = said.json("token", "show", token, "--key", key, code=1)
    assert "65 prefixes exceeds 64" in shown["verdict"]
