"""Another region that a relay keeps a link with: its name, its address, and a token for it.

One table `[[peer]]` of weft.toml each, or `--peer NAME=URL` of the command line. Must never know:
links, what a token says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from weft_engine.errors import CallerError
from weft_engine.names import region_name
from weft_engine.sync.binding import sync_url
from weft_server.door.token_file import read_token

PEERS_MAX: Final = 63
"""Regions that one relay dials: with its own, as many as an acknowledgement names."""
_SCHEMES: Final = {"http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """One of them. `url` is the address of its links. At most one of `token` and `token_file` is
    given; none, if it lets everybody in."""

    name: str
    url: str
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None

    def read_token(self) -> str | None:
        """The token as it is now: the file may have been replaced. CallerError if it can't be
        read."""
        if self.token_file is None:
            return self.token
        try:
            return read_token(self.token_file)
        except CallerError as error:
            raise CallerError(f"peer {self.name}: {error.message}", hint=error.hint) from None

    def as_toml(self, quoted: Callable[[object], str]) -> Sequence[str]:
        """The lines of its table, `quoted` making strings of TOML; a token itself is not shown."""
        lines = ["[[peer]]", f"name = {quoted(self.name)}", f"url = {quoted(self.url)}"]
        if self.token_file is not None:
            lines.append(f"token_file = {quoted(self.token_file)}")
        if self.token is not None:
            lines.append("# token = ...  (it is given, and not shown)")
        return lines


def read_peers(found: object, beside: Path) -> tuple[PeerConfig, ...]:
    """What the tables `[[peer]]` of a file say; paths are `beside` it. CallerError with the peer
    and its setting."""
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise CallerError("peer is no list of tables", hint="begin each peer with [[peer]]")
    return _checked(
        [_read_peer(number, table, beside) for number, table in enumerate(found, start=1)]
    )


def with_named(
    peers: Iterable[PeerConfig], urls: Iterable[str], token_files: Iterable[str]
) -> tuple[PeerConfig, ...]:
    """These, and over them ``NAME=URL`` and ``NAME=FILE`` each. CallerError."""
    of = {peer.name: peer for peer in peers}
    given: set[str] = set()
    for text in urls:
        name, url = _pair(text, "peer", "NAME=URL, such as us=wss://us.example.com")
        if name in given:
            raise CallerError(f"--peer {name} is given twice", hint="a region has one address")
        given.add(name)
        of[name] = _peer(name, url)
    for text in token_files:
        name, path = _pair(text, "token file of a peer", "NAME=FILE, such as us=us.token")
        if name not in of:
            raise CallerError(
                f"there is no peer {name!r:.60} for the token file {path}",
                hint="name it with --peer NAME=URL, or as a [[peer]] of --config",
            )
        of[name] = replace(of[name], token=None, token_file=Path(path))
    return _checked(list(of.values()))


def check_own_name(peers: Iterable[PeerConfig], region: str) -> None:
    """CallerError if a region is its own peer."""
    for peer in peers:
        if peer.name == region:
            raise CallerError(
                f"peer {peer.name} is this region itself",
                hint="a [[peer]] is another region; leave this one out here",
            )


# ---- inside ---------------------------------------------------------------------------------


def _read_peer(number: int, table: Mapping[str, Any], beside: Path) -> PeerConfig:
    name = table.get("name")
    who = f"peer {name}" if isinstance(name, str) else f"peer {number}"
    for key, value in table.items():
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1, cutoff=0.0)[0]
            raise CallerError(f"{who} has no setting {key:.60}", hint=f"the nearest is {near}")
        if not isinstance(value, str):
            raise CallerError(f"{who}: {key} can't be {value!r:.60}", hint="write a text in quotes")
    for key in ("name", "url"):
        if key not in table:
            raise CallerError(f"{who} has no {key}", hint="each [[peer]] has a name and a url")
    peer = _peer(table["name"], table["url"])
    token, file = table.get("token"), table.get("token_file")
    if token is not None and file is not None:
        raise CallerError(
            f"{who} has a token and a token_file", hint="leave one of them out, best the token"
        )
    if token is not None and not (token.isascii() and token.strip()):
        raise CallerError(f"{who}: its token is none", hint="write what weft token printed")
    return replace(
        peer,
        token=None if token is None else token.strip(),
        token_file=None if file is None else beside / file,
    )


def _peer(name: str, url: str) -> PeerConfig:
    region = region_name(name)
    scheme, mark, rest = url.partition("://")
    try:
        return PeerConfig(region, sync_url(_SCHEMES.get(scheme, scheme) + mark + rest))
    except CallerError as error:
        raise CallerError(f"peer {name}: {error.message}", hint=error.hint) from None


def _checked(peers: Sequence[PeerConfig]) -> tuple[PeerConfig, ...]:
    """CallerError if two have one name or one address, or if there are too many."""
    names: set[str] = set()
    urls: dict[str, str] = {}
    for peer in peers:
        if peer.name in names:
            raise CallerError(
                f"there are two peers with the name {peer.name}", hint="a region has one address"
            )
        if peer.url in urls:
            raise CallerError(
                f"peers {urls[peer.url]} and {peer.name} have one address, {peer.url}",
                hint="give each region its own",
            )
        names.add(peer.name)
        urls[peer.url] = peer.name
    if len(peers) > PEERS_MAX:
        raise CallerError(
            f"there are {len(peers)} peers, at most {PEERS_MAX} may be",
            hint="a region need not be linked with every other: what it gets it passes on",
        )
    return tuple(peers)


def _pair(text: str, what: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise CallerError(f"{text!r:.60} is no {what}", hint=f"write {form}")
    return name.strip(), value.strip()


_KEYS: Final = ("name", "url", "token", "token_file")
