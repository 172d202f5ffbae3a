"""Files of keys: made secret, read strictly, rotated without a moment in which tokens fail."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from weft_engine.errors import CallerError, NotFound
from weft_server.door.token_keys import (
    EDDSA,
    HS256,
    KEYS_MAX,
    KeyRing,
    as_json,
    make_key_file,
    new_key,
    public_path,
    read_keys,
    retire,
    rotate,
)
from weft_server.door.tokens import check, mint


def signed(keys: KeyRing) -> str:
    return mint(keys, prefixes=[""], rights=["read"], expires_s=None, now_s=0)


@pytest.mark.parametrize("algorithm", [EDDSA, HS256])
def test_a_key_file_is_secret_and_never_overwritten(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "key"
    made = make_key_file(path, algorithm=algorithm)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path) == KeyRing((made,))
    with pytest.raises(CallerError, match="exists already"):
        make_key_file(path)
    assert read_keys(path) == KeyRing((made,))
    assert {file.name for file in tmp_path.iterdir()} <= {"key", "key.pub"}


def test_the_public_file_has_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = make_key_file(path)
    assert key.secret is not None
    text = public_path(path).read_text()
    assert [set(entry) for entry in json.loads(text)["keys"]] == [
        {"kid", "alg", "use", "kty", "crv", "x"}
    ]
    assert check(read_keys(public_path(path)), signed(read_keys(path)), 0)


def test_keys_are_rotated_and_retired(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = make_key_file(path, id_="first")
    old = signed(read_keys(path))
    second = rotate(path)
    new = signed(read_keys(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    public = read_keys(public_path(path))
    assert [key.id for key in public.keys] == [second.id, first.id]
    assert check(public, old, 0) == check(public, new, 0)
    retire(path, "first")
    with pytest.raises(CallerError, match="only key"):
        retire(path, str(second.id))
    assert [key.id for key in read_keys(public_path(path)).keys] == [second.id]
    with pytest.raises(NotFound, match="no key first"):
        retire(path, "first")
    with pytest.raises(CallerError, match="already"):
        rotate(path, id_=second.id)
    with pytest.raises(CallerError, match="no id of a key"):
        rotate(path, id_="two words")
    with pytest.raises(CallerError, match="public"):
        rotate(public_path(path))


def test_a_plain_secret_is_one_of_hs256(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"s" * 32 + b" \n")
    (key,) = read_keys(path).keys
    assert (key.id, key.algorithm, key.secret, key.can_sign) == (None, HS256, b"s" * 32, True)


GOOD = json.loads(as_json(KeyRing((new_key(EDDSA, seed=b"p" * 32),))))["keys"][0]
OTHER = json.loads(as_json(KeyRing((new_key(EDDSA, seed=b"q" * 32),))))["keys"][0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"short\n", "5 bytes"),
        (b"", "0 bytes"),
        (b"x" * 10_000, "larger"),
        (b"{" * 100_000, "larger"),
        (b"{" * 10_000, "no JSON"),
        (b'{"a":' * 10_000, "no JSON"),
        (b"{}", "no list"),
        (b'{"keys": []}', "no list"),
        (json.dumps({"keys": [GOOD] * (KEYS_MAX + 1)}).encode(), "no list"),
        (json.dumps({"keys": [GOOD, GOOD]}).encode(), "one id"),
        (b'{"keys": [7]}', "no object"),
        (json.dumps({"keys": [GOOD | {"kid": 7}]}).encode(), "kid"),
        (json.dumps({"keys": [GOOD | {"x": "AAAA"}]}).encode(), "member x"),
        (json.dumps({"keys": [GOOD | {"x": "*"}]}).encode(), "member x"),
        (json.dumps({"keys": [GOOD | {"d": OTHER["d"]}]}).encode(), "do not belong together"),
        (json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]}).encode(), "at least 32"),
        (json.dumps({"keys": [{"kty": "RSA"}]}).encode(), "neither"),
        (b"-----BEGIN PUBLIC KEY-----\n" + b"A" * 60, "another format"),
        (b"ssh-ed25519 " + b"A" * 60, "another format"),
    ],
)
def test_a_key_file_that_is_none(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(CallerError, match=why) as caught:
        read_keys(path)
    assert str(path) in caught.value.message


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no key file"):
        read_keys(tmp_path / "key")
    with pytest.raises(CallerError, match="can't be read"):
        read_keys(tmp_path)
    with pytest.raises(CallerError, match="can't be written"):
        make_key_file(tmp_path / "no" / "key")
