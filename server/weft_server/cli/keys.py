"""``weft keys``: the public key of a relay's region, and the keys that sign tokens."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError
from weft_server.cli.output import Output

if TYPE_CHECKING:
    from weft_server.door.token_keys import TokenKey

NAME: Final = "keys"
HELP: Final = "make and show the keys that sign tokens; show the key of a relay's region"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", type=Path, metavar="FILE", help="the store of a relay: show its region's key"
    )
    parser.add_argument(
        "--region-key",
        type=Path,
        metavar="FILE",
        help="the region's key, if it is not beside the store (STORE.region-key)",
    )
    parser.epilog = (
        "With --store: the public key of the relay's region, for the relays of other regions (weft"
        " serve --trust-region HEX). The actions are about the keys that sign tokens."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    new = actions.add_parser(
        "new",
        help="make a key file, and FILE.pub with which a relay can verify and not sign",
        description="Make a key. FILE, readable by you only, signs (weft token --key FILE);"
        " FILE.pub is for the relay (weft serve --token-key FILE.pub). Never overwrites one.",
    )
    new.add_argument(
        "--hs256",
        action="store_true",
        help="one secret that signs and verifies, instead of an EdDSA key pair",
    )
    rotate = actions.add_parser(
        "rotate",
        help="put a new key in front; what the others have signed stays good",
        description="Put a new key in front of those in FILE and FILE.pub. Tokens are signed with"
        " the new one; what the others have signed stays good until they are retired. A relay"
        " reads a changed file by itself.",
    )
    for parser_of in (new, rotate):
        parser_of.add_argument(
            "--id", metavar="ID", help="how tokens name the key (default: made from the key)"
        )
    show = actions.add_parser("show", help="show the keys of a file, never their secret side")
    retire = actions.add_parser(
        "retire", help="take a key out: links with its tokens end, where a relay uses the file"
    )
    for parser_of in (new, rotate, show, retire):
        parser_of.add_argument("file", type=Path, metavar="FILE", help="the key file")
        parser_of.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    retire.add_argument("id", metavar="ID", help="which, as weft keys show tells")


def run(arguments: argparse.Namespace, output: Output) -> int:
    from weft_server.door import token_keys

    match arguments.action:
        case None:
            return _region(arguments, output)
        case "new":
            algorithm = token_keys.HS256 if arguments.hs256 else token_keys.EDDSA
            key = token_keys.make_key_file(arguments.file, algorithm=algorithm, id_=arguments.id)
            output.note(f"made {arguments.file}, which signs; keep it secret")
            if key.public is not None:
                public = token_keys.public_path(arguments.file)
                output.note(f"made {public}: give it to the relay, weft serve --token-key {public}")
        case "rotate":
            key = token_keys.rotate(arguments.file, id_=arguments.id)
            output.note(f"tokens are signed with {key.id} now; retire the others in time")
        case "retire":
            token_keys.retire(arguments.file, arguments.id)
            output.note(f"{arguments.id} is taken out; what it signed is refused")
    _show(arguments.file, token_keys.read_keys(arguments.file).keys, output)
    return 0


def _region(arguments: argparse.Namespace, output: Output) -> int:
    from weft_server.door.region_key import key_file_beside, read_region_key

    if arguments.store is None and arguments.region_key is None:
        raise CallerError(
            "neither a store nor an action is given",
            hint="weft keys new FILE makes a key for tokens; --store FILE shows a region's key",
        )
    path = arguments.region_key or key_file_beside(arguments.store)
    public = read_region_key(path).public.hex()
    output.say(public)
    output.data({"region_key": public, "file": str(path)})
    return 0


def _show(path: Path, keys: tuple[TokenKey, ...], output: Output) -> None:
    for key in keys:
        side = "signs" if key.can_sign else "verifies only"
        public = "" if key.public is None else f"  {key.public.hex()}"
        output.say(f"{key.id or '(no id)':<12}  {key.algorithm}  {side}{public}")
    output.data(
        {
            "file": str(path),
            "keys": [
                {
                    "id": key.id,
                    "algorithm": key.algorithm,
                    "signs": key.can_sign,
                    "public_key": None if key.public is None else key.public.hex(),
                }
                for key in keys
            ],
        }
    )
