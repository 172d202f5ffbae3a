"""The configuration of a relay: the file weft.toml, the command line over it, and both as text.

Everything is checked here, once, with the name of what is wrong. Must never know: relays, what a
setting does.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from weft_engine.errors import CallerError, NotFound
from weft_engine.limits import KIB, MIB
from weft_server.mesh.peer_config import PeerConfig, read_peers, with_named
from weft_server.relay_limits import DEFAULTS, LIMITS, RelayLimits, Unit

_FILE_BYTES_MAX: Final = MIB
_BYTES: Final = {
    "B": 1,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": 1024 * MIB,
    "TiB": 1024 * 1024 * MIB,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
}
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600}
_UNITS: Final[Mapping[Unit, Mapping[str, int]]] = {
    Unit.BYTES: _BYTES,
    Unit.SECONDS: _SECONDS,
    Unit.COUNT: {},
}
_QUANTITY: Final = re.compile(r"([0-9][0-9_]{0,20})\s*([A-Za-z]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """What `weft serve` is told. None: nothing was said."""

    data: Path | None = None
    listen: str | None = None
    region: str | None = None
    token_key: Path | None = None
    revoked: Path | None = None
    insecure: bool = False
    force: bool = False
    region_key: Path | None = None
    trust_region: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    limits: RelayLimits = DEFAULTS
    peers: tuple[PeerConfig, ...] = ()
    """Other regions that it keeps links with."""

    def over(
        self,
        given: Mapping[str, Any],
        limits: Iterable[str] = (),
        *,
        peers: Iterable[str] = (),
        peer_token_files: Iterable[str] = (),
    ) -> RelayConfig:
        """This, with what was `given` on the command line in its place. Who says there how clients
        are let in says all about it. A peer that is named there goes before that of its name."""
        changed = {name: value for name, value in given.items() if value not in (None, False, ())}
        if "insecure" in changed or "token_key" in changed:
            changed = {"insecure": False, "token_key": None, **changed}
        return replace(
            self,
            **changed,
            limits=_with_limits(self.limits, _named(limits)),
            peers=with_named(self.peers, peers, peer_token_files),
        )

    def as_toml(self) -> str:
        """The file that says the same, but for tokens of peers that are in none of their own."""
        lines = ["[relay]"]
        for name in _KEYS:
            value = getattr(self, name)
            if value not in (None, False, ()):
                lines.append(f"{name} = {_toml(value)}")
        lines += ["", "[limits]"]
        for name, limit in LIMITS.items():
            lines += [
                f"# {limit.about}",
                f"{name} = {_shown(getattr(self.limits, name), limit.unit)}",
            ]
        for peer in self.peers:
            lines += ["", *peer.as_toml(_toml)]
        return "\n".join(lines) + "\n"


def read_config(path: Path) -> RelayConfig:
    """What a file says. Paths in it are beside the file. NotFound or CallerError with the key."""
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {path}", hint="weft serve --print-config prints one to begin with"
        ) from None
    except OSError as error:
        raise CallerError(
            f"{path} can't be read: {error.strerror}", hint="give a readable file"
        ) from None
    if len(data) > _FILE_BYTES_MAX:
        raise CallerError(
            f"{path} is larger than {_FILE_BYTES_MAX} bytes", hint="that is no config"
        )
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise CallerError(f"{path} is no TOML: {error}", hint="see docs/RELAY.md") from None
    _check_keys(path, "", found, ("relay", "limits", "peer"))
    relay, limits = _table(path, found, "relay"), _table(path, found, "limits")
    _check_keys(path, "relay.", relay, _KEYS)
    _check_keys(path, "limits.", limits, LIMITS)
    try:
        settings: dict[str, Any] = {
            name: _KEYS[name](name, value, path.parent) for name, value in relay.items()
        }
        return RelayConfig(
            **settings,
            limits=_with_limits(DEFAULTS, limits),
            peers=read_peers(found.get("peer", []), path.parent),
        )
    except CallerError as error:
        raise CallerError(f"{path}: {error.message}", hint=error.hint) from None


def quantity(name: str, value: object, unit: Unit) -> int:
    """A number in the limit's own unit, or a text with another one, such as "16 MiB"."""
    known = _UNITS[unit]
    hint = "write a whole number"
    if known:
        hint += f" of {unit.value}, or one with a unit: {', '.join(known)}"
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, str):
        found = _QUANTITY.fullmatch(value.strip())
        if found is not None and (found[2] in known or not found[2]):
            return int(found[1]) * (known[found[2]] if found[2] else 1)
    raise CallerError(f"the limit {name} can't be {value!r:.60}", hint=hint)


# ---- inside ---------------------------------------------------------------------------------


def _with_limits(limits: RelayLimits, given: Mapping[str, object]) -> RelayLimits:
    values = {name: quantity(name, value, LIMITS[name].unit) for name, value in given.items()}
    return replace(limits, **values)


def _named(given: Iterable[str]) -> dict[str, str]:
    """``NAME=VALUE`` each."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise CallerError(f"{text!r:.60} is no limit", hint="write NAME=VALUE, links=500")
        name = name.strip()
        if name not in LIMITS:
            raise CallerError(f"there is no limit {name!r:.60}", hint=_nearest(name, LIMITS))
        found[name] = value
    return found


def _check_keys(path: Path, where: str, found: Iterable[str], known: Iterable[str]) -> None:
    for key in found:
        if key not in known:
            raise CallerError(
                f"{path}: there is no setting {where}{key:.60}", hint=_nearest(key, known)
            )


def _nearest(key: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(key, names, n=1, cutoff=0.0)
    return f"the nearest is {near[0]}" if near else f"there are {', '.join(names)}"


def _table(path: Path, found: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = found.get(name, {})
    if not isinstance(table, dict):
        raise CallerError(f"{path}: {name} is no table", hint=f"begin it with [{name}]")
    return table


def _text(name: str, value: object, _: Path) -> str:
    if not isinstance(value, str):
        raise CallerError(f"{name} can't be {value!r:.60}", hint="write a text in quotes")
    return value


def _path(name: str, value: object, beside: Path) -> Path:
    return beside / _text(name, value, beside)


def _flag(name: str, value: object, _: Path) -> bool:
    if not isinstance(value, bool):
        raise CallerError(f"{name} can't be {value!r:.60}", hint="write true or false")
    return value


def _texts(name: str, value: object, _: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise CallerError(f"{name} can't be {value!r:.60}", hint='write a list of texts: ["..."]')
    return tuple(value)


_KEYS: Final[Mapping[str, Callable[[str, object, Path], object]]] = {
    "data": _path,
    "listen": _text,
    "region": _text,
    "token_key": _path,
    "revoked": _path,
    "insecure": _flag,
    "force": _flag,
    "region_key": _path,
    "trust_region": _texts,
    "proxies": _texts,
}


def _toml(value: object) -> str:
    """A value of TOML: its strings are written as those of JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _shown(value: int, unit: Unit) -> str:
    """A limit with the largest unit that it is a whole number of."""
    if unit is Unit.BYTES:
        for name in ("TiB", "GiB", "MiB", "KiB"):
            if value and value % _BYTES[name] == 0:
                return f'"{value // _BYTES[name]} {name}"'
        return f'"{value} B"'
    return f'"{value} s"' if unit is Unit.SECONDS else str(value)
