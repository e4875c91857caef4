"""A thousand sessions at once, opened, used and closed; and what they cost."""

import asyncio
from typing import Any

from pamqp import commands, frame, header
from pamqp.body import ContentBody
from pamqp.heartbeat import Heartbeat
from tests.integration.raw import HEADER
from tests.integration.support import Place, balancer_place, eventually, memory
from tests.integration.warren import Warren

NUMBER = 1000
AT_ONCE = 100
"""So many handshakes and declares are under way at a time: the node's part of the work is heavy."""

KIB = 1024
MIB = 1024 * KIB


class Client:
    """One connection with one channel, on asyncio streams."""

    def __init__(self, place: Place, number: int) -> None:
        self.place = place
        self.number = number

    async def open(self) -> None:
        reader, writer = await asyncio.open_connection(self.place.host, self.place.port)
        self.reader, self.writer = reader, writer
        writer.write(HEADER)
        await self.expect(commands.Connection.Start)
        login = f"\0{self.place.user}\0{self.place.password}"
        self.send(0, commands.Connection.StartOk({"product": "many"}, "PLAIN", login, "en_US"))
        tune = await self.expect(commands.Connection.Tune)
        self.send(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 60))
        self.send(0, commands.Connection.Open(self.place.vhost))
        await self.expect(commands.Connection.OpenOk)

    async def prepare(self) -> None:
        """A channel in confirm mode, and a queue of its own."""
        self.send(1, commands.Channel.Open())
        await self.expect(commands.Channel.OpenOk)
        self.send(1, commands.Confirm.Select())
        await self.expect(commands.Confirm.SelectOk)
        self.send(1, commands.Queue.Declare(exclusive=True))
        self.queue = (await self.expect(commands.Queue.DeclareOk)).queue

    async def round_trip(self) -> None:
        """Publish, get the confirm, get the message."""
        body = b"message of %d" % self.number
        publish = commands.Basic.Publish(exchange="", routing_key=self.queue)
        properties = commands.Basic.Properties(message_id=str(self.number))
        self.send(1, publish, header.ContentHeader(0, len(body), properties), ContentBody(body))
        await self.expect(commands.Basic.Ack)
        self.send(1, commands.Basic.Get(queue=self.queue, no_ack=True))
        await self.expect(commands.Basic.GetOk)
        head = await self.expect(header.ContentHeader)
        assert head.properties.message_id == str(self.number)
        assert (await self.expect(ContentBody)).value == body

    async def close(self) -> None:
        self.send(0, commands.Connection.Close(200, "bye", 0, 0))
        await self.expect(commands.Connection.CloseOk)
        self.writer.close()
        await self.writer.wait_closed()

    def send(self, channel: int, *frames: Any) -> None:
        self.writer.write(b"".join(frame.marshal(part, channel) for part in frames))

    async def expect(self, kind: Any) -> Any:
        while True:
            head = await self.reader.readexactly(7)
            rest = await self.reader.readexactly(int.from_bytes(head[3:7]) + 1)
            found = frame.unmarshal(head + rest)[2]
            if not isinstance(found, Heartbeat):
                assert isinstance(found, kind), f"client {self.number}: {found!r}, not {kind}"
                return found


async def test_a_thousand_sessions_at_once(cluster: Warren) -> None:
    """None fails; while idle they cost little; afterwards nothing of them is left."""
    place = balancer_place(cluster)
    pid = cluster.status()["balancer"]["pid"]
    ended = cluster.status()["balancer"]["sessions_ended"].get("client_closed", 0)
    before = memory(pid)
    clients = [Client(place, number) for number in range(NUMBER)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def all_do(step: str) -> None:
        async def one(client: Client) -> None:
            async with gate:
                await getattr(client, step)()

        async with asyncio.timeout(60):
            await asyncio.gather(*map(one, clients))

    await all_do("open")
    status = await asyncio.to_thread(cluster.status)
    assert status["balancer"]["sessions"] == NUMBER
    per_node = [node["sessions"] for node in status["nodes"]]
    assert max(per_node) - min(per_node) <= 1  # round robin
    assert memory(pid) - before < NUMBER * 64 * KIB
    await all_do("prepare")
    await asyncio.gather(*(client.round_trip() for client in clients))  # truly all at once
    await all_do("close")

    def over() -> Any:
        now = cluster.status()["balancer"]
        return now["sessions"] == 0 and now

    now = await asyncio.to_thread(eventually, "no session", over)
    assert now["sessions_ended"]["client_closed"] == ended + NUMBER
    assert memory(pid) - before < NUMBER * 64 * KIB
