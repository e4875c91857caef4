"""`plan-room`: a virtual host is lent for as long as the asker stays, and cleared away after that,
whatever ended it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.daemon.fake_management import FakeManagement
from tests.unit.daemon.scene import N1, N2, Scene, ask

from warrener.control import plan_operations as ops
from warrener.control import wire
from warrener.control.wire import Refusal, Refused
from warrener.daemon.calibrating import PREFIX, RECORD
from warrener.management.client import ManagementClient


@asynccontextmanager
async def cluster(path: Path) -> AsyncIterator[tuple[Scene, FakeManagement]]:
    scene, rabbitmq = Scene(path), FakeManagement()
    nobody = ManagementClient("http://127.0.0.1:1", "u", "p")
    async with rabbitmq.serving() as client, nobody as away:
        scene.cluster.clients = [away, client]
        async with scene.running():
            yield scene, rabbitmq


class Asker:
    """Whom a room is lent to."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def __aenter__(self) -> ops.Room:
        self._reader, self._writer = await asyncio.open_unix_connection(self._scene.folder.socket)
        self._writer.write(wire.encode_request(ops.ROOM, ops.RoomRequest()))
        while True:
            line = await self._line()
            if isinstance(line, ops.RoomLine) and line.room is not None:
                return line.room

    async def _line(self) -> Any:
        line = wire.decode_answer(await self._reader.readline())
        if line.kind is wire.AnswerKind.ERROR:
            body = wire.decode_body(line.body, wire.ErrorBody)
            raise Refused(body.refusal, body.message)
        streamed = line.kind is wire.AnswerKind.STREAM
        return wire.decode_body(line.body, ops.RoomLine if streamed else ops.RoomAnswer)

    async def last_word(self) -> ops.RoomAnswer:
        """After it was said that the room isn't wanted any more."""
        self._writer.write_eof()
        while not isinstance(line := await self._line(), ops.RoomAnswer):
            pass
        return line

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()


def names(rabbitmq: FakeManagement) -> set[str]:
    found = {*rabbitmq.vhosts, *rabbitmq.users}
    return {name for name in found if name.startswith(PREFIX)}


async def until_gone(scene: Scene, rabbitmq: FakeManagement) -> None:
    """With its record, which goes last."""
    for _ in range(1_000):
        if not names(rabbitmq) and not (scene.folder.path / RECORD).exists():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"still there: {names(rabbitmq)}")


async def test_a_room_is_lent_and_cleared_away(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (scene, rabbitmq):
        asker = Asker(scene)
        async with asker as room:
            assert names(rabbitmq) == {room.vhost} == {room.user}
            assert room.vhost.startswith(PREFIX)
            rights = rabbitmq.permissions[room.vhost, room.user]
            assert (rights["configure"], rights["write"], rights["read"]) == (".*", ".*", ".*")
            assert rabbitmq.users[room.user]["tags"] == []
            assert [node.name for node in room.nodes] == [N1, N2]
            assert room.nodes[0].pid == 7
            assert room.nodes[0].metrics == "http://127.0.0.1:5003"
            assert (scene.folder.path / RECORD).stat().st_mode & 0o777 == 0o600
            assert (await asker.last_word()).seconds >= 0
        assert names(rabbitmq) == set()
        assert not (scene.folder.path / RECORD).exists()
        assert "calibration.room_deleted" in scene.kinds()


async def test_who_vanishes_leaves_nothing(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (scene, rabbitmq):
        async with Asker(scene):
            assert names(rabbitmq)
        await until_gone(scene, rabbitmq)


async def test_the_room_is_gone_when_the_cluster_stops(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (scene, rabbitmq), Asker(scene) as room:
        scene.switch.turn()
        await until_gone(scene, rabbitmq)
        assert room.vhost not in rabbitmq.vhosts


async def test_each_room_has_a_name_and_a_password_of_its_own(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (scene, rabbitmq):
        seen = []
        for _ in range(2):
            async with Asker(scene) as room:
                seen.append((room.vhost, room.password))
            await until_gone(scene, rabbitmq)
        assert seen[0][0] != seen[1][0]
        assert seen[0][1] != seen[1][1]


async def test_what_a_daemon_that_died_has_left_is_deleted_first(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (scene, rabbitmq):
        old = f"{PREFIX}0badcafe"
        rabbitmq.vhosts[old] = {"name": old}  # its user is gone already
        (scene.folder.path / RECORD).write_text(f'{{"name": "{old}"}}')
        async with Asker(scene) as room:
            assert names(rabbitmq) == {room.vhost}


@pytest.mark.parametrize("text", ['{"name": "/"}', '{"name": "orders"}', "{", "[]", ""])
async def test_a_record_of_something_else_deletes_nothing(tmp_path: Path, text: str) -> None:
    async with cluster(tmp_path) as (scene, rabbitmq):
        rabbitmq.vhosts["orders"] = {"name": "orders"}
        (scene.folder.path / RECORD).write_text(text)
        async with Asker(scene):
            assert {"/", "orders"} <= set(rabbitmq.vhosts)
            assert not any(line.startswith("DELETE") for line in rabbitmq.story)


async def test_nodes_that_take_no_clients_are_left_out(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (scene, _):
        scene.balancers[0].drained.add(N2)
        async with Asker(scene) as room:
            assert [node.name for node in room.nodes] == [N1]
            assert room.left_out == ["n2 is not fit"]


async def test_one_room_at_a_time(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (scene, _), Asker(scene):
        with pytest.raises(Refused) as refused:
            await ask(scene.folder, ops.ROOM, ops.RoomRequest())
        assert refused.value.refusal is Refusal.BUSY
        assert "the costs of messages are being measured already" in refused.value.message


async def test_who_may_not_make_one_is_told_what_it_takes(tmp_path: Path) -> None:
    from aiohttp import web
    from tests.unit.management.test_client import serving

    async def refuse(request: web.BaseRequest) -> web.StreamResponse:
        text = '{"error": "not_authorised", "reason": "not administrator user"}'
        return web.Response(status=401, text=text)

    scene = Scene(tmp_path)
    async with serving(refuse) as client, scene.running():
        scene.cluster.clients = [client]
        with pytest.raises(Refused) as refused:
            await ask(scene.folder, ops.ROOM, ops.RoomRequest())
        assert "takes the tag administrator" in refused.value.message


def test_a_password_isnt_shown() -> None:
    room = ops.Room(
        cluster="c", version="3", vhost="v", user="u", password="secret", nodes=[], left_out=[],
        ca="", metrics_ca="", balancer_host="h", balancer_port=1, balancer_pid=None, balancer_ca="",
    )  # fmt: skip
    assert "secret" not in repr(room)
    assert "secret" not in repr(ops.RoomLine(room=room))
    assert msgspec.json.decode(msgspec.json.encode(room), type=ops.Room) == room
