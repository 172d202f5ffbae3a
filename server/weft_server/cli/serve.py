"""``weft serve``: a relay as a process, until SIGTERM or SIGINT.

Must never know: what a link says, how a token is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError, MissingExtra, StoreError
from weft_server.cli.output import Output
from weft_server.cli.store_file import open_to_write

if TYPE_CHECKING:
    from weft_server.config_file import RelayConfig

NAME: Final = "serve"
HELP: Final = "run a relay that devices and regions link to"

_STORE: Final = "relay.db"
_EXTRA: Final = frozenset({"uvicorn", "starlette", "jwt", "httptools"})
_GIVEN: Final = (
    "data",
    "listen",
    "region",
    "token_key",
    "revoked",
    "insecure",
    "force",
    "region_key",
    "trust_region",
    "proxies",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings in TOML (docs/RELAY.md); what is said here goes before them",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the settings that hold, with all limits, as such a file, and serve nothing",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the relay's store")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="where to listen; port 0 picks a free one"
    )
    parser.add_argument("--region", metavar="NAME", help="the name of this region")
    door = parser.add_mutually_exclusive_group()
    door.add_argument(
        "--token-key",
        type=Path,
        metavar="FILE",
        help="the keys that tokens are signed with; FILE.pub of weft keys will do",
    )
    door.add_argument(
        "--insecure", action="store_true", help="take everybody; on a loopback address only"
    )
    parser.add_argument(
        "--revoked",
        type=Path,
        metavar="FILE",
        help="ids of tokens that are refused (weft token revoke; default: revoked-tokens in DIR)",
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
        metavar="HEX",
        help="public key of another region (weft keys), whose relays' foreign records clients may"
        " bring; may be repeated",
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        dest="peers",
        metavar="NAME=URL",
        help="another region to keep a link with, such as us=wss://us.example.com; may be repeated",
    )
    parser.add_argument(
        "--peer-token-file",
        action="append",
        default=[],
        dest="peer_token_files",
        metavar="NAME=FILE",
        help="a file with the token that this peer asks for (weft token --key ITS_KEY --region"
        " THIS_REGION); may be repeated",
    )
    parser.add_argument(
        "--proxy",
        action="append",
        dest="proxies",
        metavar="ADDRESS",
        help="a proxy in front that names whom it speaks for (X-Forwarded-For); may be repeated",
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        dest="limits",
        metavar="NAME=VALUE",
        help="one of the limits that --print-config lists, such as links=500; may be repeated",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="allow --insecure on an address others can reach, and to web pages of elsewhere",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    config = _config(arguments)
    if arguments.print_config:
        output.say(config.as_toml().rstrip())
        output.data({"toml": config.as_toml()})
        return 0
    try:
        import weft_server.serving  # noqa: F401 - only to see whether it can be imported
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtra(
            f"a relay needs the package {error.name.partition('.')[0]!r}, which is not installed",
            hint="pip install '.[server]' in Weft's folder",
        ) from error
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(_serve(config, output))


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where there is one: it gathers what is written in one turn into one call."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _config(arguments: argparse.Namespace) -> RelayConfig:
    from weft_server.config_file import RelayConfig, read_config

    config = RelayConfig() if arguments.config is None else read_config(arguments.config)
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(arguments).items()
        if name in _GIVEN
    }
    return config.over(
        given,
        arguments.limits,
        peers=arguments.peers,
        peer_token_files=arguments.peer_token_files,
    )


def _needed(config: RelayConfig) -> tuple[Path, str, str]:
    """Folder, address and region. CallerError that names all that is missing of them."""
    data, listen, region = config.data, config.listen, config.region
    if data is not None and listen is not None and region is not None:
        return data, listen, region
    values = {"data": data, "listen": listen, "region": region}
    missing = [name for name, value in values.items() if value is None]
    options = " and ".join(f"--{name}" for name in missing)
    raise CallerError(
        f"{options} {'is' if len(missing) == 1 else 'are'} missing",
        hint="give it here, or in the [relay] of --config, such as: weft serve --data relay"
        " --listen 127.0.0.1:7300 --region eu --token-key token.key.pub",
    )


async def _serve(config: RelayConfig, output: Output) -> int:
    from weft_engine.names import region_name
    from weft_server.door.doorkeeping import TokenDoorkeeper, let_everybody_in
    from weft_server.door.region_key import key_file_beside, public_key, region_key
    from weft_server.door.revoked import revoked_file
    from weft_server.heap import keep_large_apart
    from weft_server.interpreter import settle_collector, share_turns
    from weft_server.mesh.peer_config import check_own_name
    from weft_server.open_files import make_room_for
    from weft_server.operator_log import told_to
    from weft_server.relay import Relay
    from weft_server.serving import listen, read_address, read_proxies, serve

    data, where, region = _needed(config)
    region = region_name(region)
    check_own_name(config.peers, region)
    for peer in config.peers:
        peer.read_token()  # What is wrong with it is better said now.
    trusted = frozenset(public_key(text) for text in config.trust_region)
    proxies = read_proxies(config.proxies)
    host, port = read_address(where)
    if config.insecure and config.token_key is not None:
        raise CallerError("insecure and token_key exclude each other", hint="leave one of them out")
    doorkeeper: TokenDoorkeeper | None = None
    if not config.insecure:
        if config.token_key is None:
            raise CallerError(
                "it is not said who may link: neither --token-key nor --insecure is given",
                hint="weft keys new FILE makes a key; or let everybody in, on a loopback address",
            )
        doorkeeper = TokenDoorkeeper(config.token_key, config.revoked or revoked_file(data))
    listener, address = listen(host, port)
    with listener:
        if config.insecure and not address.is_loopback and not config.force:
            raise CallerError(
                f"--insecure would let everybody who reaches {address.host} read and write",
                hint="listen on 127.0.0.1, give --token-key, or add --force",
            )
        limits = config.limits
        room = make_room_for(limits.links + limits.unauthenticated)
        if room < limits.links + limits.unauthenticated:
            output.note(
                f"this system lets the relay have {room} connections only; its limits links and"
                f" unauthenticated allow {limits.links + limits.unauthenticated} (ulimit -n)"
            )
        store = _folder(data) / _STORE
        # It passes on what it takes in, and is seldom asked for a view.
        async with await open_to_write(store, indexes_ahead=False) as replica:
            key = region_key(config.region_key or key_file_beside(store))

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
                replica,
                region=region,
                doorkeeper=doorkeeper or let_everybody_in,
                region_key=key,
                trusted=trusted,
                limits=limits,
                proxies=proxies,
                peers=config.peers,
            )
            settle_collector()
            share_turns()
            keep_large_apart()
            with told_to(output.note_unlocked):
                await serve(
                    relay,
                    listener,
                    announce=announce,
                    refresh=doorkeeper.refresh if doorkeeper else lambda: False,
                    proxies=proxies,
                    takes_any_page=not config.insecure or config.force,
                )
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
