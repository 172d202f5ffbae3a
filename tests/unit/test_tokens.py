"""Tokens say what they were minted for, to whoever has the key, until they expire."""

from __future__ import annotations

import stat
from pathlib import Path

import jwt
import pytest

from weft_engine.errors import CallerError, LinkRefused, NotFound
from weft_server.tokens import Grant, check, make_key_file, mint, read_key

KEY = b"k" * 32
NOW_S = 1_700_000_000


def minted(expires_s: int | None = 60) -> str:
    return mint(KEY, prefixes=["acme/"], rights=["read"], expires_s=expires_s, now_s=NOW_S)


def test_a_token_says_what_it_was_minted_for() -> None:
    grant = check(KEY, minted(), NOW_S)
    assert grant == Grant(("acme/",), frozenset({"read"}), NOW_S + 60)
    assert grant.covers("acme/chat")
    assert not grant.covers("other/acme/")
    assert check(KEY, minted(None), NOW_S * 2).expires_s is None


def test_no_prefix_covers_nothing_and_the_empty_one_all() -> None:
    assert not Grant((), frozenset(), None).covers("a")
    assert Grant(("",), frozenset(), None).covers("a")


def claims_of(**claims: object) -> str:
    return jwt.encode({"ctx": [""], "rights": ["read"], **claims}, KEY, algorithm="HS256")


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (mint(b"x" * 32, prefixes=[""], rights=["read"], expires_s=None, now_s=0), "another key"),
        (minted() + "x", "another key"),
        ("", "malformed"),
        ("a.b.c", "malformed"),
        ("x" * 70_000, "longer than"),
        (jwt.encode({"ctx": [""], "rights": []}, "", algorithm="none"), "malformed"),
        (claims_of(ctx="acme/"), "ctx"),
        (claims_of(ctx=[1]), "ctx"),
        (claims_of(rights=None), "rights"),
        (claims_of(exp="soon"), "exp"),
        (claims_of(exp=True), "exp"),
    ],
)
def test_what_is_refused_says_why(token: str, why: str) -> None:
    with pytest.raises(LinkRefused, match=why) as refused:
        check(KEY, token, NOW_S)
    assert refused.value.hint


def test_a_token_ends_with_its_time() -> None:
    check(KEY, minted(60), NOW_S + 59.9)
    with pytest.raises(LinkRefused, match="expired 5 seconds ago"):
        check(KEY, minted(60), NOW_S + 65)


def test_rights_of_later_versions_mean_nothing() -> None:
    assert check(KEY, claims_of(rights=["read", "fly"]), NOW_S).rights == {"read"}
    with pytest.raises(CallerError, match="fly"):
        mint(KEY, prefixes=[], rights=["fly"], expires_s=None, now_s=NOW_S)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(LinkRefused, match="at least 32"):
        check(b"k" * 31, minted(), NOW_S)
    with pytest.raises(LinkRefused, match="at least 32"):
        mint(b"", prefixes=[], rights=[], expires_s=None, now_s=NOW_S)


def test_a_key_file_is_secret_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = read_key(path)
    assert len(key) >= 32
    with pytest.raises(CallerError, match="exists already"):
        make_key_file(path)
    assert read_key(path) == key


def test_a_key_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(NotFound, match="no key file"):
        read_key(path)
    with pytest.raises(CallerError, match="can't be read"):
        read_key(tmp_path)
    path.write_bytes(b"short\n")
    with pytest.raises(LinkRefused, match="5 bytes"):
        read_key(path)
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(CallerError, match="larger"):
        read_key(path)
