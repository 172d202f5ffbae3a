"""Tokens say what they were minted for, to whoever has the key, until they expire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import jwt
import pytest

from weft_engine.errors import CallerError, LinkRefused
from weft_server.door.token_keys import EDDSA, HS256, KeyRing, TokenKey, new_key
from weft_server.door.tokens import TOKEN_BYTES_MAX, Grant, check, mint, peek

PLAIN = KeyRing((TokenKey(None, HS256, b"k" * 32, None),))
PAIR = KeyRing((new_key(EDDSA, seed=b"p" * 32),))
SECRET = KeyRing((new_key(HS256, seed=b"s" * 32),))
RINGS = {"plain": PLAIN, "pair": PAIR, "secret": SECRET}
NOW_S = 1_700_000_000

each_ring = pytest.mark.parametrize("ring", RINGS.values(), ids=RINGS)


def minted(
    ring: KeyRing = PLAIN, *, expires_s: int | None = 60, token_id: str | None = None
) -> str:
    return mint(
        ring,
        prefixes=["acme/"],
        rights=["read"],
        expires_s=expires_s,
        now_s=NOW_S,
        token_id=token_id,
    )


@each_ring
def test_a_token_says_what_it_was_minted_for(ring: KeyRing) -> None:
    grant = check(ring, minted(ring, token_id="t1"), NOW_S)
    assert grant == Grant(("acme/",), frozenset({"read"}), NOW_S + 60, "t1")
    assert grant.covers("acme/chat")
    assert not grant.covers("other/acme/")
    assert check(ring, minted(ring, expires_s=None), NOW_S * 2).expires_s is None


def test_a_token_for_a_region_says_its_name() -> None:
    def for_region(region: str, *rights: str) -> str:
        return mint(PLAIN, prefixes=[""], rights=rights, expires_s=60, now_s=NOW_S, region=region)

    assert check(PLAIN, for_region("eu-1", "read", "peer"), NOW_S).region == "eu-1"
    assert check(PLAIN, minted(), NOW_S).region is None
    with pytest.raises(CallerError, match="right peer"):
        for_region("eu-1", "read", "append")
    with pytest.raises(CallerError, match="no region name"):
        for_region("EU west", "read", "peer")


def test_the_public_side_verifies_and_does_not_sign() -> None:
    assert check(PAIR.public, minted(PAIR), NOW_S).prefixes == ("acme/",)
    with pytest.raises(CallerError, match="public"):
        minted(PAIR.public)
    assert SECRET.public == KeyRing(())


def test_no_prefix_covers_nothing_and_the_empty_one_all() -> None:
    assert not Grant((), frozenset(), None).covers("a")
    assert Grant(("",), frozenset(), None).covers("a")


def claims_of(**claims: object) -> str:
    key = PLAIN.signer
    return jwt.encode(
        {"ctx": [""], "rights": ["read"], **claims},
        key.to_sign_with(),
        algorithm=key.algorithm,
    )


def by_hand(header: object, payload: bytes, secret: bytes) -> str:
    """A token of HS256 that no library would make."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (text, payload)]
    signature = hmac.digest(secret, b".".join(parts), hashlib.sha256)
    return b".".join((*parts, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


OTHER = KeyRing((TokenKey(None, HS256, b"x" * 32, None),))


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (minted(OTHER), "another key"),
        (minted() + "x", "another key"),
        (minted(PAIR), "another key"),
        ("", "malformed"),
        ("a.b.c", "malformed"),
        ("é.é.é", "malformed"),
        ("x" * 70_000, "longer than"),
        ("." * TOKEN_BYTES_MAX, "malformed"),
        (jwt.encode({"ctx": [""], "rights": []}, "", algorithm="none"), "signed with 'none'"),
        (by_hand({"alg": "HS512"}, b"{}", b"k" * 32), "signed with 'HS512'"),
        (by_hand({"alg": None}, b"{}", b"k" * 32), "None"),
        (by_hand({"alg": ["HS256"]}, b"{}", b"k" * 32), "signed with"),
        (by_hand({"alg": "HS256", "kid": 7}, b"{}", b"k" * 32), "malformed"),
        (by_hand([1], b"{}", b"k" * 32), "malformed"),
        (by_hand(b"[" * 4000, b"{}", b"k" * 32), "malformed"),
        (by_hand({"alg": "HS256"}, b"[" * 4000, b"k" * 32), "malformed"),
        (by_hand({"alg": "HS256"}, b"[]", b"k" * 32), "malformed"),
        (by_hand({"alg": "HS256"}, b"\xff", b"k" * 32), "malformed"),
        (claims_of(ctx="acme/"), "ctx"),
        (claims_of(ctx=[1]), "ctx"),
        (claims_of(rights=None), "rights"),
        (claims_of(exp="soon"), "exp"),
        (claims_of(exp=True), "exp"),
        (claims_of(exp=-1), "exp"),
        (claims_of(exp=10**400), "exp"),
        (claims_of(nbf=1.5), "nbf"),
        (claims_of(nbf=NOW_S + 3600), "good in 3600 seconds"),
        (claims_of(jti=7), "jti"),
        (claims_of(jti="two words"), "jti"),
        (claims_of(jti=""), "jti"),
        (claims_of(region=7), "region"),
        (claims_of(region=""), "region"),
        (claims_of(region="EU west"), "region"),
    ],
)
def test_what_is_refused_says_why(token: str, why: str) -> None:
    with pytest.raises(LinkRefused, match=why) as refused:
        check(PLAIN, token, NOW_S)
    assert refused.value.hint
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "claims", [{"aud": "elsewhere"}, {"iss": "x"}, {"iat": 10**12}, {"sub": "me"}, {"nbf": NOW_S}]
)
def test_what_a_token_says_to_others_does_no_harm(claims: dict[str, object]) -> None:
    assert check(PLAIN, claims_of(**claims), NOW_S).rights == {"read"}


def test_a_clock_that_is_a_little_ahead_mints_good_tokens() -> None:
    assert check(PLAIN, claims_of(nbf=NOW_S + 29), NOW_S)


def test_a_token_does_not_choose_how_it_is_verified() -> None:
    """The public side is no secret of HS256, although everybody knows it."""
    public = PAIR.signer.public
    assert public is not None
    for id_ in (None, PAIR.signer.id):
        header = {"alg": "HS256"} | ({} if id_ is None else {"kid": id_})
        with pytest.raises(LinkRefused, match="another key" if id_ is None else "key it names"):
            check(PAIR, by_hand(header, b'{"ctx": [""], "rights": ["read"]}', public), NOW_S)


def test_a_token_that_was_changed_is_not_said_to_be_of_another_key() -> None:
    head, _, signature = minted(PAIR).split(".")
    changed = minted(PAIR, expires_s=6_000).split(".")[1]
    with pytest.raises(LinkRefused, match=f"the key it names .{PAIR.signer.id}."):
        check(PAIR, ".".join((head, changed, signature)), NOW_S)


def test_one_ring_takes_what_each_of_its_keys_has_signed() -> None:
    both = KeyRing((*PAIR.keys, *SECRET.keys, *PLAIN.keys))
    for ring in RINGS.values():
        assert check(both, minted(ring), NOW_S)
    named = minted(PAIR)
    assert peek(named)[0]["kid"] == PAIR.signer.id
    with pytest.raises(LinkRefused, match=f"another key .{PAIR.signer.id}."):
        check(KeyRing((*SECRET.keys, *PLAIN.keys)), named, NOW_S)


def test_a_token_without_a_key_id_is_tried_with_each_key() -> None:
    two = KeyRing((new_key(EDDSA, seed=b"q" * 32), *PAIR.keys))
    token = jwt.encode(
        {"ctx": [""], "rights": ["read"]}, PAIR.signer.to_sign_with(), algorithm="EdDSA"
    )
    assert check(two, token, NOW_S)


def test_a_token_ends_with_its_time() -> None:
    check(PLAIN, minted(), NOW_S + 59.9)
    with pytest.raises(LinkRefused, match="expired 5 seconds ago"):
        check(PLAIN, minted(), NOW_S + 65)


def test_rights_of_later_versions_mean_nothing() -> None:
    assert check(PLAIN, claims_of(rights=["read", "fly"]), NOW_S).rights == {"read"}
    with pytest.raises(CallerError, match="fly"):
        mint(PLAIN, prefixes=[], rights=["fly"], expires_s=None, now_s=NOW_S)


def test_a_token_too_long_to_be_sent_is_not_minted() -> None:
    with pytest.raises(CallerError, match="at most 8000"):
        mint(PLAIN, prefixes=["p" * 6000], rights=[], expires_s=None, now_s=NOW_S)


def test_anybody_may_look_at_a_token() -> None:
    header, claims = peek(minted(PAIR, token_id="t1"))
    assert (header["alg"], claims["jti"], claims["exp"]) == ("EdDSA", "t1", NOW_S + 60)
    for bad in ("", "a.b.c", "x" * 10_000, by_hand(b"[" * 4000, b"{}", b"k")):
        with pytest.raises(LinkRefused, match="refused"):
            peek(bad)
