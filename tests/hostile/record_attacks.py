"""Attacks with records: sound ones with bad intent, and ones that only look sound.

Must never know: honest clients, but for what they have said in the context.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace

import pycrdt
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.hostile.raw_client import Pen, as_message, hello
from tests.hostile.target import CONTEXT, Target
from tests.simulation.mutation import mutated
from tests.simulation.update_hunt import corpus
from tests.unit.test_door import in_a_letter, nested
from tests.unit.yjs_bytes import chain_of_maps
from weft_engine.events.candidate import Candidate, candidates
from weft_engine.names import EventId, RecordHash, event_id_hlc, is_event_id
from weft_engine.records.certificate import RegionKey
from weft_engine.records.envelope import Kind, Record, decode_envelope, seal
from weft_engine.records.identity import SignatureItem
from weft_engine.sync.framing.fragments import Reassembly
from weft_engine.sync.framing.frames import decode_frame, decode_message, encode
from weft_engine.sync.framing.messages import (
    Ack,
    Contexts,
    Fragment,
    Message,
    Records,
    Resume,
    Ticket,
)
from weft_engine.sync.interest import Interest
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.reader import read_update

_PATIENCE_S = 0.5
"""What an attacker waits for an acknowledgement: what is parked gets none."""
_LISTENING_S = 20.0


def _pen(rng: random.Random) -> Pen:
    return Pen(CONTEXT, rng.randbytes(32))


class _Link:
    """A bare link about the context: what is offered in a message, and what became of it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._serial = 0
        self._reassembly = Reassembly()
        self.heard: list[Records] = []

    async def begin(self) -> None:
        await self._say(hello(Interest.of(contexts=[CONTEXT])))
        await self._say(Resume(None))
        await self._say(Contexts((), last=True))
        await self._say(Ticket(None))

    async def offer(self, message: Records) -> bool:
        """Whether it was acknowledged; False once the relay has hung up, or keeps it waiting."""
        self._serial += 1
        with suppress(ConnectionClosed, TimeoutError):
            await self._say(replace(message, serial=self._serial))
            await self.until_acked(self._serial)
            return True
        return False

    async def until_acked(self, serial: int) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                message = await self.hear()
                if isinstance(message, Ack) and message.first <= serial <= message.last:
                    return

    async def hear(self) -> Message | None:
        frame = await self._socket.recv()
        assert isinstance(frame, bytes)
        message = decode_frame(frame)
        if isinstance(message, Fragment):
            whole = self._reassembly.add(message)
            message = None if whole is None else decode_message(whole)
        if isinstance(message, Records):
            self.heard.append(message)
            await self._say(Ack(message.serial, message.serial, ()))
        return message

    async def _say(self, message: Message) -> None:
        await self._socket.send(encode(message))


async def _offer_each(target: Target, messages: list[Records]) -> int:
    """Offer each, over new links after those that the relay ended; how many."""
    left = list(messages)
    while left:
        async with target.socket() as socket:
            link = _Link(socket)
            await link.begin()
            while left and await link.offer(left.pop()):
                pass
    return len(messages)


# ---- updates ------------------------------------------------------------------------------------


async def hostile_updates(target: Target, rng: random.Random, amount: int) -> int:
    """So many foreign records around updates that are mutated, deep, interwoven, or known to make
    yrs panic. They carry a certificate; whether it counts is the relay's affair."""
    region = RegionKey(rng.randbytes(32))
    known = corpus()
    wicked = [*in_a_letter(), *nested(80, client=5), chain_of_maps(5000)]
    messages = []
    for number in range(amount):
        pen = _pen(rng)
        if number % 3 == 0:
            update = wicked[number // 3 % len(wicked)]
        else:
            update = mutated(rng, rng.choice(known), known)
        record = pen.around(update, kind=rng.choice((Kind.FOREIGN, Kind.FOREIGN, Kind.NATIVE)))
        message = as_message(1, [record], pen.key)
        item = replace(message.items[0], certificate=region.certify(pen.key.incarnation))
        messages.append(replace(message, items=(item,)))
    return await _offer_each(target, messages)


# ---- what others have said ----------------------------------------------------------------------


async def _listen(target: Target) -> list[Record]:
    """Some of what is said in the context."""
    found: list[Record] = []
    async with target.socket() as socket:
        link = _Link(socket)
        await link.begin()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LISTENING_S):
                while len(link.heard) < 2:
                    await link.hear()
        for message in link.heard:
            for envelope, payload in message.records:
                hash_ = seal(decode_envelope(envelope), payload).hash
                found.append(Record(hash_, decode_envelope(envelope), envelope, payload))
    return found


def _victims(records: list[Record]) -> list[tuple[Record, Candidate]]:
    return [
        (record, candidate)
        for record in records
        if record.envelope.kind is Kind.NATIVE
        for candidate in candidates(read_update(record.payload))
        if is_event_id(candidate.key)
    ]


def _deleted(victim: Candidate) -> bytes:
    return b"\x00\x01" + b"".join(map(var_uint, (victim.client, 1, victim.clock, 1)))


def _overwritten(pen: Pen, record: Record, victim: Candidate) -> bytes:
    doc: pycrdt.Doc[pycrdt.Map[str]] = pycrdt.Doc(client_id=pen.client)
    doc.apply_update(record.payload)
    before = doc.get_state()
    doc.get("events", type=pycrdt.Map)[victim.key] = "overwritten"
    update: bytes = doc.get_update(before)
    return update


async def overwrites(target: Target, rng: random.Random, amount: int) -> int:
    """So many records that overwrite, delete or say anew what others have said."""
    found = _victims(await _listen(target))
    messages = []
    for number in range(amount if found else 0):
        record, victim = rng.choice(found)
        pen = _pen(rng)
        pen.observe(event_id_hlc(EventId(victim.key)))
        match number % 3:
            case 0:
                made = pen.around(_deleted(victim), deps=[record.hash])
            case 1:
                made = pen.around(_overwritten(pen, record, victim), deps=[record.hash])
            case _:
                made = pen.say_under(EventId(victim.key), "mine now")
        messages.append(as_message(1, [made], pen.key))
    return await _offer_each(target, messages)


async def forgeries(target: Target, rng: random.Random, amount: int) -> int:
    """So many records in the name of others: signed by a thief, by nobody, or with a signature
    that is made up; and payloads that are not the ones that their envelopes name."""
    found = [record for record, _ in _victims(await _listen(target))]
    messages = []
    for number in range(amount if found else 0):
        victim, thief = rng.choice(found), _pen(rng)
        said = thief.say("in another's name")
        origin = victim.envelope.origin
        changed = replace(
            said.envelope, origin=origin, seq=victim.envelope.seq + 1, prev=victim.hash
        )
        forged = seal(changed, said.payload)
        pair = (forged.envelope_bytes, forged.payload)
        match number % 4:
            case 0:
                messages.append(Records(1, None, (pair,), (thief.key.sign(forged.hash),)))
            case 1:
                messages.append(Records(1, None, (pair,), ()))
            case 2:
                key = rng.randbytes(32)
                item = SignatureItem(key, forged.hash, rng.randbytes(64))
                messages.append(Records(1, None, (pair,), (item,)))
            case _:
                other = (said.envelope_bytes, said.payload[:-3] + b"!" + said.payload[-2:])
                messages.append(Records(1, None, (other,), (thief.key.sign(said.hash),)))
    return await _offer_each(target, messages)


async def equivocations(target: Target, rng: random.Random, amount: int) -> int:
    """So many numbers of chains under which two records stand, with what follows either."""
    messages = []
    for _ in range(amount):
        seed = rng.randbytes(32)
        for side in range(2):
            pen = Pen(CONTEXT, seed)
            records = [pen.say(f"side {side}"), pen.say("and on")]
            messages.append(as_message(1, records, pen.key))
    rng.shuffle(messages)
    return await _offer_each(target, messages) // 2


async def parked(target: Target, rng: random.Random, amount: int) -> int:
    """So many records that wait for what does not exist."""
    done = 0
    while done < amount:
        async with target.socket() as socket:
            link = _Link(socket)
            await link.begin()
            messages = []
            for _ in range(min(32, amount - done)):
                pen = _pen(rng)
                record = pen.around(pen.say("x").payload, deps=[RecordHash(rng.randbytes(32))])
                messages.append(as_message(1, [record], pen.key))
            for serial, message in enumerate(messages, 1):
                await socket.send(encode(replace(message, serial=serial)))
            async with asyncio.timeout(0.5):
                while True:
                    await link.hear()
        done += 32
    return amount


async def future_records(target: Target, rng: random.Random, amount: int) -> int:
    """So many records from a year ahead."""
    messages = []
    for _ in range(amount):
        pen = _pen(rng)
        pen.skip_ms(365 * 86_400_000)
        messages.append(as_message(1, [pen.say("from the future")], pen.key))
    return await _offer_each(target, messages)
