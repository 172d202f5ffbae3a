"""``weft token``: tokens that say what a client of a relay may do: made, shown, revoked."""

from __future__ import annotations

import argparse
import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from weft_engine.errors import CallerError, LinkRefused
from weft_server.cli.output import Output, one_line
from weft_server.door.tokens import RIGHTS

NAME: Final = "token"
HELP: Final = "mint a token for a relay's clients, look at one, or revoke one"

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])", re.ASCII)
_DEFAULT_RIGHTS: Final = ("read", "write")
_REGION_RIGHTS: Final = ("read", "append", "peer")
_ID_BYTES: Final = 8
_YEAR_10000_S: Final = 253_402_300_800


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="the secret key file (weft keys new FILE); the relay has it, or FILE.pub, as"
        " --token-key",
    )
    parser.add_argument(
        "--new-key",
        action="store_true",
        help="make the key file first, as weft keys new does; never overwrites one",
    )
    parser.add_argument(
        "--context",
        action="append",
        metavar="PREFIX",
        help="contexts whose names begin so; may be repeated (default: all contexts)",
    )
    for right in RIGHTS:
        parser.add_argument(
            f"--{right}", action="append_const", const=right, dest="rights", help=_HELP[right]
        )
    parser.add_argument(
        "--region",
        metavar="NAME",
        help="for a link from the relay of this region alone, which no other can use",
    )
    parser.add_argument(
        "--expires",
        type=duration_s,
        metavar="TIME",
        help="such as 12h or 30d; s, m, h, d (default: never)",
    )
    parser.epilog = (
        "Without any of --read, --append, --write, --admin, --peer: read and write; with --region:"
        " read, append and peer. Prints the token, and beside it the id by which it can be revoked."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser(
        "show",
        help="say what a token allows",
        description="Say what a token allows. With --key also whether a relay with that key takes"
        " it now; without, nothing of it is verified.",
    )
    show.add_argument("token", metavar="TOKEN")
    show.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        dest="verify_with",
        help="a key file, secret or public, to verify it with",
    )
    revoke = actions.add_parser(
        "revoke",
        help="refuse a token from now on, and end its links within seconds",
        description="Add a token to the list of a relay, which refuses it from then on and ends its"
        " links within seconds.",
    )
    revoke.add_argument("id", metavar="ID", help="the id of the token, or the token itself")
    where = revoke.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--data", type=Path, metavar="DIR", help="the folder of the relay's store (weft serve)"
    )
    where.add_argument(
        "--revoked", type=Path, metavar="FILE", help="the list, if the relay names one of its own"
    )
    revoke.add_argument("--because", default="", metavar="TEXT", help="a remark for the list")
    for parser_of in (show, revoke):
        parser_of.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


_HELP: Final = {
    "read": "may read; a link needs it",
    "append": "may append events, and erase what its bearer's own store wrote",
    "write": "as append, and may edit notes",
    "admin": "may erase what others wrote, notes and whole contexts",
    "peer": "may carry records of others, as another region does",
}


def run(arguments: argparse.Namespace, output: Output) -> int:
    match arguments.action:
        case "show":
            return _show(arguments, output)
        case "revoke":
            return _revoke(arguments, output)
    return _mint(arguments, output)


def _mint(arguments: argparse.Namespace, output: Output) -> int:
    from weft_server.door.token_keys import make_key_file, read_keys
    from weft_server.door.tokens import mint

    if arguments.key is None:
        raise CallerError(
            "a token needs a key to be signed with", hint="--key FILE; weft keys new FILE makes one"
        )
    if arguments.new_key:
        make_key_file(arguments.key)
        output.note(f"made the key {arguments.key}; keep it secret")
    prefixes = tuple(arguments.context or ("",))
    default = _DEFAULT_RIGHTS if arguments.region is None else _REGION_RIGHTS
    rights = tuple(dict.fromkeys(arguments.rights or default))
    now_s = int(time.time())
    token_id = secrets.token_hex(_ID_BYTES)
    keys = read_keys(arguments.key)
    token = mint(
        keys,
        prefixes=prefixes,
        rights=rights,
        expires_s=arguments.expires,
        now_s=now_s,
        token_id=token_id,
        region=arguments.region,
    )
    output.say(token)
    output.note(f"id {token_id}")
    expires = None if arguments.expires is None else now_s + arguments.expires
    output.data(
        {
            "token": token,
            "id": token_id,
            "key": keys.signer.id,
            "ctx": prefixes,
            "rights": rights,
            "region": arguments.region,
            "exp": expires,
        }
    )
    return 0


def _show(arguments: argparse.Namespace, output: Output) -> int:
    from weft_server.door.doorkeeping import permission_of
    from weft_server.door.token_keys import read_keys
    from weft_server.door.tokens import check, peek

    header, claims = peek(arguments.token)
    verdict, code = "not verified: no --key was given", 0
    if arguments.verify_with is not None:
        keys = read_keys(arguments.verify_with)
        try:
            permission_of(check(keys, arguments.token, time.time()), arguments.token)
        except LinkRefused as error:
            verdict, code = error.message, 1
        else:
            verdict = "good now, unless it was revoked"
    for name, value in (
        ("id", claims.get("jti")),
        ("contexts", claims.get("ctx")),
        ("rights", claims.get("rights")),
        ("region", claims.get("region")),
        ("not before", _date(claims.get("nbf"))),
        ("expires", _date(claims.get("exp")) or "never"),
        ("signed", f"{header.get('alg')}, key {header.get('kid') or '(no id)'}"),
        ("verdict", verdict),
    ):
        if value is not None:
            shown = ", ".join(map(repr, value)) if isinstance(value, list) else str(value)
            output.say(f"{name:<10}  {one_line(shown)}")
    is_good = None if arguments.verify_with is None else code == 0
    output.data({"header": header, "claims": claims, "verdict": verdict, "good": is_good})
    return code


def _revoke(arguments: argparse.Namespace, output: Output) -> int:
    from weft_server.door.revoked import revoke, revoked_file
    from weft_server.door.tokens import is_token_id, peek

    token_id = arguments.id
    if token_id.count(".") == 2:
        token_id = peek(token_id)[1].get("jti")
        if token_id is None:
            raise CallerError(
                "this token has no id by which it could be revoked",
                hint="retire the key that signed it: weft keys retire",
            )
    if not isinstance(token_id, str) or not is_token_id(token_id):
        raise CallerError(f"{token_id!r:.80} is no id of a token", hint="weft token show tells it")
    path = arguments.revoked or revoked_file(arguments.data)
    is_new = revoke(path, token_id, remark=arguments.because)
    output.say(f"{token_id} is revoked" if is_new else f"{token_id} was revoked already")
    output.data({"id": token_id, "file": str(path), "changed": is_new})
    return 0


def _date(value: object) -> str | None:
    """A claim of seconds since 1970 as a date, or as it is if it is none."""
    if value is None:
        return None
    if isinstance(value, int) and 0 <= value < _YEAR_10000_S:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return str(value)


def duration_s(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 45m, 12h or 30d")
    return int(found[1]) * _SECONDS[found[2]]
