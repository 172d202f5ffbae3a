"""Rules of a relay, its doors and its rooms, each broken once; `tests.simulation.mutants` runs
them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.simulation.breaking import patch
from weft_engine.names import ContextName
from weft_engine.replica import live
from weft_engine.replica.live import LiveDocument
from weft_engine.replica.scribe import Scribe
from weft_server import relay
from weft_server.door import erasure_rights, offers
from weft_server.door.guests import Guests
from weft_server.door.offers import Offers
from weft_server.mesh import mesh, region_links
from weft_server.yjs import connection as yjs_door
from weft_server.yjs.room import Room

# ---- rooms of Yjs clients -------------------------------------------------------------------


def show_what_was_not_stored() -> None:
    """A document goes on although what it took in could not be committed."""
    take = Room._take

    async def taken(self: Room, batch: Any) -> Any:
        updates = await take(self, batch)
        self._live.is_torn = False
        return updates

    patch(Room, "_take", taken)


def write_for_stores() -> None:
    """A Yjs client may say what a store writes under its own Yjs client id."""
    patch(LiveDocument, "_note", lambda self, origin: None)


def let_readers_edit() -> None:
    """A Yjs client may do what its token does not say."""
    patch(yjs_door, "permitted", lambda may, offered, live, *, is_step2: offered)


def say_part_is_stored() -> None:
    """A Yjs client's update comes back although a part of it waits for something."""
    take_one = Room._take_one

    async def taken(self: Room, offer: Any) -> Any:
        made = await take_one(self, offer)
        return () if made is None else made

    patch(Room, "_take_one", taken)


# ---- what a token allows --------------------------------------------------------------------


def trust_any_region() -> None:
    """Who brings foreign records needs no certificate of a region that is trusted."""
    patch(offers, "check_regions", lambda trusted, offered: None)


def let_anybody_erase() -> None:
    for module in (offers, erasure_rights):
        patch(module, "refuse_foreign_erasures", lambda offered: None)


def let_anybody_edit() -> None:
    """Who may append may touch notes."""

    async def nothing(*_: Any) -> None:
        pass

    patch(offers, "refuse_notes", nothing)


def never_send_away() -> None:
    """Who has entered stays, whether the token expires or is revoked."""
    patch(Guests, "_verdict", lambda self, token: None)
    patch(Guests, "send_expired_away", lambda self: None)


def take_from_readers() -> None:
    """Who may only read may write."""
    patch(Offers, "permit", lambda self, offered: None)


# ---- which regions there are ----------------------------------------------------------------


def forget_regions() -> None:
    """A relay that begins anew knows of no region."""
    patch(mesh, "load_regions", lambda connection, *, store: [])


def share_an_id() -> None:
    """Two regions of one store id stay as they are."""
    patch(relay, "takes_another_id", lambda ours, theirs: False)


def link_with_any_region() -> None:
    """Whoever says to be a region is one."""
    patch(region_links, "why_wrong", lambda ours, theirs, **_: None)


# ---- what Yjs clients send ------------------------------------------------------------------


def author_nothing_again() -> None:
    """What changes nothing in the document is not written, whatever it says."""
    patch(live, "unchanged", lambda sent, update, held, erased: None)


def author_without_what_is_needed() -> None:
    async def nothing(self: LiveDocument, offered: Any) -> bool:
        return False

    patch(LiveDocument, "lacks", nothing)


def echo_before_commit() -> None:
    append = Scribe.append_foreign

    async def at_once(self: Scribe, name: ContextName, payloads: Sequence[bytes]) -> None:
        asyncio.get_running_loop().create_task(append(self, name, payloads))

    patch(Scribe, "append_foreign", at_once)


def echo_what_comes_again_at_once() -> None:
    """Also what is being committed."""
    take_one = Room._take_one

    async def taken(self: Room, offer: Any) -> Any:
        made = await take_one(self, offer)
        if made is not None and not made:
            self._say_stored([offer])
            return None
        return made

    patch(Room, "_take_one", taken)


def serve_while_loading() -> None:
    load = LiveDocument.load

    async def begun(self: LiveDocument) -> None:
        asyncio.get_running_loop().create_task(load(self))
        await asyncio.sleep(0)
        self.is_torn = False

    patch(LiveDocument, "load", begun)
