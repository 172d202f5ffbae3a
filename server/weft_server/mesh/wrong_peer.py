"""Who is no region that this one may be linked with, and why.

Asked once, when the hello of the other end has come and nothing else. Must never know: links,
sockets, tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

from weft_engine.errors import LinkRefused
from weft_engine.sync.framing.messages import Hello


def why_wrong(
    ours: Hello,
    theirs: Hello,
    *,
    expected: str | None,
    may_be_region: bool,
    only_region: str | None,
    linked: Mapping[str, bytes],
) -> LinkRefused | None:
    """`expected`: as which region the other end was dialled; None if it has dialled us.
    `may_be_region`: whether its token says so; `only_region`: which one it may be, if the token
    says that. `linked`: the stores of the regions that are linked now. A refusal is told to the
    other end as it is, and means trying again is of no use."""
    theirs_is, ours_is = theirs.region, ours.region
    assert ours_is is not None, "a relay has a region"
    if only_region is not None and theirs_is != only_region:
        says = "that it is no region" if theirs_is is None else f"that it is region {theirs_is}"
        return LinkRefused(
            f"its token is for region {only_region} alone, and it says {says}",
            hint=f"each region needs a token of its own: weft token --region {theirs_is or 'NAME'}",
        )
    if theirs_is is None:
        if expected is None:
            return None  # a client
        return LinkRefused(
            f"it was dialled as region {expected}, and is no region",
            hint="give the address of a relay in the [[peer]]",
        )
    if not may_be_region:
        return LinkRefused(
            f"it says that it is region {theirs_is}, and its token lacks the right peer",
            hint=f"regions link with a token of: weft token --region {theirs_is}",
        )
    if theirs_is == ours_is:
        return LinkRefused(
            f"both ends are region {ours_is}: it is linked with itself, or two have one name",
            hint="give each region its own name, and no [[peer]] that leads back to it",
        )
    if expected is not None and theirs_is != expected:
        return LinkRefused(
            f"it was dialled as region {expected}, and is region {theirs_is}",
            hint=f"write name = {theirs_is!r} in the [[peer]], or the right url",
        )
    if theirs.store == ours.store:
        return LinkRefused(
            f"regions {theirs_is} and {ours_is} have one store id, {ours.store.hex()}: the folder"
            " of one is a copy",
            hint=f"{max(theirs_is, ours_is)} takes another id now, and is linked when it is tried"
            " again; if it was not meant to be a region, stop it",
        )
    known = linked.get(theirs_is)
    if known is not None and known != theirs.store:
        return LinkRefused(
            f"two stores say that they are region {theirs_is}: {known.hex()} is linked, and now"
            f" comes {theirs.store.hex()}",
            hint="one of them has a copied configuration; give it a name of its own, or stop it",
        )
    return None


def takes_another_id(ours: Hello, theirs: Hello) -> bool:
    """Whether two regions have one store id and we are who goes by another from now on. Nothing
    tells the copy from the original, so it is the one with the greater name: both ends agree."""
    return (
        theirs.store == ours.store
        and theirs.region is not None
        and ours.region is not None
        and theirs.region < ours.region
    )
