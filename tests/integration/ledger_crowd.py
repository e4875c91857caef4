"""Thousands of sessions in one process, for a ledger test: most of them idle, some at work.

Each has a connection and a channel in confirm mode with a prefetch; what it notices goes into the
same books as everybody else's. Heartbeats are off, frames are made by pamqp.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from pamqp import commands, frame, header
from pamqp.body import ContentBody
from tests.integration.raw import CAPABILITIES, HEADER
from tests.integration.support import Place

from warrener.drills.ledger import Ledger
from warrener.drills.messages import MessageNumber, body_of, number_of
from warrener.drills.notes import Note, NoteKind, TroubleKind

AT_ONCE = 50
"""So many handshakes are under way at a time."""


class Member:
    """One session."""

    def __init__(self, name: str, queue: str, place: Place, ledger: Ledger, first: int) -> None:
        self.name = name
        self.queue = queue
        self._place = place
        self._ledger = ledger
        self._next = first
        self._tag = 0
        self._unconfirmed: deque[tuple[int, MessageNumber]] = deque()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        self._closing = False
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Handshake, channel, confirm mode, prefetch."""
        place = self._place
        self._reader, self._writer = await asyncio.open_connection(place.host, place.port)
        self._writer.write(HEADER)
        self._reading = asyncio.create_task(self._read(), name=self.name)
        await self._answer(commands.Connection.Start)
        login = f"\0{place.user}\0{place.password}"
        told = {"connection_name": self.name, "capabilities": CAPABILITIES}
        self._send(commands.Connection.StartOk(told, "PLAIN", login, "en_US"), channel=0)
        tune = await self._answer(commands.Connection.Tune)
        self._send(commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0), channel=0)
        self._send(commands.Connection.Open(place.vhost), channel=0)
        await self._answer(commands.Connection.OpenOk)
        for ask, answer in (
            (commands.Channel.Open(), commands.Channel.OpenOk),
            (commands.Confirm.Select(), commands.Confirm.SelectOk),
            (commands.Basic.Qos(prefetch_count=10), commands.Basic.QosOk),
        ):
            self._send(ask)
            await self._answer(answer)

    async def consume(self) -> None:
        """From its queue, from now on; each delivery is acked."""
        self._send(commands.Basic.Consume(queue=self.queue, consumer_tag=self.name))
        await self._answer(commands.Basic.ConsumeOk)

    def publish(self) -> None:
        """One message to its queue."""
        number = MessageNumber(self._next)
        self._next += 1
        self._tag += 1
        body = body_of(number, 100)
        self._unconfirmed.append((self._tag, number))
        self._note(NoteKind.PUBLISHED, number=number)
        self._send(
            commands.Basic.Publish(exchange="", routing_key=self.queue, mandatory=True),
            header.ContentHeader(0, len(body), commands.Basic.Properties(delivery_mode=2)),
            ContentBody(body),
        )

    async def close(self) -> None:
        """In order, if it can."""
        self._closing = True
        self._send(commands.Connection.Close(200, "bye", 0, 0), channel=0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                await self._answer(commands.Connection.CloseOk)
        await self.end()

    async def end(self) -> None:
        """At once."""
        self._closing = True
        if self._reading is not None:
            self._reading.cancel()
            self._writer.close()

    def _send(self, *frames: Any, channel: int = 1) -> None:
        self._writer.write(b"".join(frame.marshal(one, channel) for one in frames))

    async def _answer(self, kind: Any) -> Any:
        found = await self._answers.get()
        assert isinstance(found, kind), f"{self.name}: {found!r} instead of {kind}"
        return found

    def _note(self, kind: NoteKind, **what: Any) -> None:
        self._ledger.take(self.name, self.queue, Note(time.monotonic(), kind, **what))

    def _trouble(self, kind: TroubleKind, text: str) -> None:
        if not self._closing:
            self._note(NoteKind.TROUBLE, trouble=kind, text=text)

    async def _read(self) -> None:
        try:
            while True:
                await self._take(await self._receive())
        except (asyncio.IncompleteReadError, OSError) as error:
            self._trouble(TroubleKind.CONNECTION_CLOSED, repr(error))
        except Exception as error:
            self._trouble(TroubleKind.EXCEPTION, repr(error))
            raise

    async def _receive(self) -> Any:
        head = await self._reader.readexactly(7)
        rest = await self._reader.readexactly(int.from_bytes(head[3:7]) + 1)
        return frame.unmarshal(head + rest)[2]

    async def _take(self, found: Any) -> None:
        match found:
            case commands.Basic.Ack() | commands.Basic.Nack():
                self._confirm(found)
            case commands.Basic.Deliver():
                await self._receive()
                number = number_of((await self._receive()).value)
                self._note(NoteKind.DELIVERED, number=number, redelivered=bool(found.redelivered))
                self._send(commands.Basic.Ack(found.delivery_tag))
                self._note(NoteKind.ACKED, number=number)
            case commands.Basic.Cancel():
                self._trouble(TroubleKind.CONSUMER_CANCELLED, found.consumer_tag)
            case commands.Channel.Close():
                text = f"{found.reply_code} {found.reply_text}"
                self._trouble(TroubleKind.CHANNEL_CLOSED, text)
            case commands.Connection.Close():
                text = f"{found.reply_code} {found.reply_text}"
                self._trouble(TroubleKind.CONNECTION_CLOSED, text)
            case _:
                self._answers.put_nowait(found)

    def _confirm(self, found: Any) -> None:
        known = False
        for one in list(self._unconfirmed):
            if one[0] == found.delivery_tag or (found.multiple and one[0] < found.delivery_tag):
                known = True
                self._unconfirmed.remove(one)
                ack = isinstance(found, commands.Basic.Ack)
                self._note(NoteKind.CONFIRMED if ack else NoteKind.REFUSED, number=one[1])
        if not known:
            self._trouble(TroubleKind.COMPLAINT, f"{found!r} for nothing")


class Crowd:
    """``size`` sessions; ``busy`` of them publish, as many others consume from the same queues."""

    def __init__(self, place: Place, queues: list[str], size: int, busy: int) -> None:
        self.ledger = Ledger()
        self.members = [
            Member(f"member-{n}", queues[n % len(queues)], place, self.ledger, 1000 * n + 1)
            for n in range(size)
        ]
        self._publishers = self.members[:busy]
        self._consumers = self.members[busy : 2 * busy]
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Crowd":
        try:
            await self.each(Member.open)
            for member in self._consumers:
                await member.consume()
        except BaseException:
            await self._end()
            raise
        self._work = asyncio.create_task(self._publish_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.rest()
        await self._end()

    async def _end(self) -> None:
        for member in self.members:
            await member.end()

    async def each(self, what: Callable[[Member], Awaitable[None]]) -> None:
        """All of them, some at a time."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(member: Member) -> None:
            async with gate:
                await what(member)

        async with asyncio.TaskGroup() as group:
            for member in self.members:
                group.create_task(one(member))

    async def _publish_on(self) -> None:
        """One message a second from each publisher."""
        while True:
            for member in self._publishers:
                member.publish()
                await asyncio.sleep(1 / len(self._publishers))

    async def rest(self) -> None:
        """Nobody publishes any more."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    def busy_with(self) -> int:
        """Messages that aren't confirmed, delivered and acked yet."""
        counts = self.ledger.counts
        total = {kind: sum(n for (_, k), n in counts.items() if k is kind) for kind in NoteKind}
        waiting = total[NoteKind.PUBLISHED] - total[NoteKind.CONFIRMED]
        return waiting + self.ledger.outstanding() + self.ledger.unacked()
