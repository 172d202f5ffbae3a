"""``weft serve``: a relay as a process, until SIGTERM or SIGINT.

Must never know: what a link says, how a token is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from pathlib import Path
from typing import Final

from weft_engine.errors import CallerError, MissingExtra, StoreError
from weft_server.cli.output import Output
from weft_server.cli.store_file import open_to_write

NAME: Final = "serve"
HELP: Final = "run a relay that devices and regions link to"

_STORE: Final = "relay.db"
_COLLECTED_OBJECTS: Final = 10_000
"""New objects after which the young ones are looked through for circles; by default 700."""
_EXTRA: Final = frozenset({"uvicorn", "starlette", "jwt"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="folder of the relay's store"
    )
    parser.add_argument(
        "--listen",
        required=True,
        metavar="HOST:PORT",
        help="where to listen; port 0 picks a free one",
    )
    parser.add_argument("--region", required=True, metavar="NAME", help="the name of this region")
    door = parser.add_mutually_exclusive_group(required=True)
    door.add_argument(
        "--token-key", type=Path, metavar="FILE", help="the key that tokens are signed with"
    )
    door.add_argument(
        "--insecure", action="store_true", help="take everybody; on a loopback address only"
    )
    parser.add_argument(
        "--region-key",
        type=Path,
        metavar="FILE",
        help="the secret key of this region, made if absent (default: beside the store)",
    )
    parser.add_argument(
        "--trust-region",
        action="append",
        default=[],
        metavar="HEX",
        help="public key of another region (weft keys), whose relays' foreign records clients may"
        " bring; may be repeated",
    )
    parser.add_argument(
        "--force", action="store_true", help="allow --insecure on an address others can reach"
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    try:
        import weft_server.serving  # noqa: F401 - only to see whether it can be imported
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtra(
            f"a relay needs the package {error.name.partition('.')[0]!r}, which is not installed",
            hint="pip install 'weft[server]'",
        ) from error
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(_serve(arguments, output))


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where there is one: it gathers what is written in one turn into one call."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _settle_collector() -> None:
    """What is loaded by now stays, and need not be looked at again in the middle of a commit. What
    a message makes goes by itself, but for what an error leaves in a circle now and then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_OBJECTS, 10, 10)


async def _serve(arguments: argparse.Namespace, output: Output) -> int:
    from weft_engine.sync.messages import region_name
    from weft_server.doorkeeping import let_everybody_in, token_doorkeeper
    from weft_server.region_key import key_file_beside, public_key, region_key
    from weft_server.relay import Relay
    from weft_server.serving import listen, read_address, serve

    region = region_name(arguments.region)
    trusted = frozenset(public_key(text) for text in arguments.trust_region)
    host, port = read_address(arguments.listen)
    doorkeeper = let_everybody_in if arguments.insecure else token_doorkeeper(arguments.token_key)
    listener, address = listen(host, port)
    with listener:
        if arguments.insecure and not address.is_loopback and not arguments.force:
            raise CallerError(
                f"--insecure would let everybody who reaches {address.host} read and write",
                hint="listen on 127.0.0.1, give --token-key, or add --force",
            )
        store = _folder(arguments.data) / _STORE
        # It passes on what it takes in, and is seldom asked for a view.
        async with await open_to_write(store, indexes_ahead=False) as replica:
            key = region_key(arguments.region_key or key_file_beside(store))

            def announce() -> None:
                output.say(f"relay {region} listens on {address.url}, store {store}")
                output.data(
                    {
                        "url": address.url,
                        "host": address.host,
                        "port": address.port,
                        "pid": os.getpid(),
                        "region": region,
                        "store": str(store),
                        "region_key": key.public.hex(),
                    }
                )
                output.flush()

            relay = Relay(
                replica, region=region, doorkeeper=doorkeeper, region_key=key, trusted=trusted
            )
            _settle_collector()
            await serve(relay, listener, announce=announce)
    output.note(f"relay {region} has stopped; what it acknowledged is stored")
    return 0


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder {path} can't be made: {error}", hint="give a folder that can be written"
        ) from error
    return path
