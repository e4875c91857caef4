"""`plan-room`: a virtual host for a calibration run, lent out and cleared away.

    recorded in the state folder -> made -> told -> until the asker hangs up -> deleted -> forgotten

The record comes first, so that a room is also found and deleted if the daemon dies while it is
lent: by the next request for one. The room's user is deleted first, so that nobody gets in any more
while the virtual host goes.
"""

import os
import platform
import secrets
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from warrener.control.operations import Phase
from warrener.control.plan_operations import Room, RoomAnswer, RoomLine, RoomNode, RoomRequest
from warrener.control.state_folder import StateFolder
from warrener.control.wire import Refusal, Refused
from warrener.daemon.control_server import Call
from warrener.daemon.parts import Balancer
from warrener.daemon.report import DrivenNode
from warrener.daemon.steps import Steps
from warrener.daemon.works import Whole, Works
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState
from warrener.facts.tls import TlsPart
from warrener.management.client import (
    AccessRefused,
    ManagementClient,
    ManagementError,
    NotFound,
    Unreachable,
    segment,
)

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

PREFIX: Final = "warrener-calibration-"
RECORD: Final = "calibrating.json"

PATIENCE: Final = 20.0
"""Seconds for the API to make or delete something: a queue full of messages goes in one or two."""

_SUBJECT: Final = "room"
log = structlog.get_logger(__name__)


class _Record(msgspec.Struct, frozen=True):
    """What may be there: virtual host and user of this name."""

    name: str


class Calibrating:
    """The operation."""

    def __init__(self, service: "Service", works: Works, folder: StateFolder) -> None:
        self._service = service
        self._works = works
        self._record = folder.path / RECORD

    async def lend(self, request: RoomRequest, call: Call) -> RoomAnswer:
        if self._service.balancer is None or self._service.phase is not Phase.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        balancer = self._service.balancer

        async def work(steps: Steps) -> RoomAnswer:
            return await self._lend(balancer, steps, call)

        return await self._works.perform(Whole.COSTS, "measured", work, call)

    async def _lend(self, balancer: Balancer, steps: Steps, call: Call) -> RoomAnswer:
        await self._clear_away()  # what a daemon that died has left
        began = self._service.monotonic()
        name = PREFIX + secrets.token_hex(4)
        password = secrets.token_urlsafe(20)
        _write(self._record, msgspec.json.encode(_Record(name)))
        try:
            await self._ask(lambda client: _make(client, name, password))
            self._service.events.record(Event("calibration.room_made", subject=name))
            steps.say(_SUBJECT, f"virtual host {name}")
            try:
                shares = await self._service.cluster.cpu_shares()
                await call.emit(RoomLine(room=self._room(balancer, name, password, shares)))
            except ConnectionError:
                steps.abandoned.set()
            await steps.abandoned.wait()
        finally:
            # Also when the cluster is stopped, which cancels this and then waits for it.
            await self._clear_away()
        return RoomAnswer(self._service.monotonic() - began)

    # -- made and cleared away

    async def _clear_away(self) -> None:
        """Refused if the API doesn't let us; the record stays then."""
        name = _recorded(self._record)
        if name is None:
            return
        await self._ask(lambda client: _delete(client, name))
        self._record.unlink(missing_ok=True)
        self._service.events.record(Event("calibration.room_deleted", subject=name))

    async def _ask(self, what: Callable[[ManagementClient], Awaitable[None]]) -> None:
        """Of the first node that answers."""
        why = "no node runs"
        for client in self._service.cluster.management():
            try:
                await what(client)
            except Unreachable as error:
                why = str(error)
            except AccessRefused as error:
                raise Refused(
                    Refusal.FAILED,
                    f"a calibration makes a virtual host of its own, which takes the tag "
                    f"administrator: {error}",
                ) from None
            except ManagementError as error:
                raise Refused(Refusal.FAILED, str(error)) from None
            else:
                return
        raise Refused(Refusal.FAILED, f"no node answers ({why}); `warrener status` shows them")

    # -- told

    def _room(
        self, balancer: Balancer, name: str, password: str, shares: Mapping[NodeName, float]
    ) -> Room:
        cluster, tls = self._service.cluster, self._service.cluster.tls
        status = self._service.status()
        assert status.balancer is not None
        host, port = balancer.address
        fit = {row.name for row in status.nodes if row.fit}
        nodes = [node for node in cluster.nodes() if node.name in fit]
        left_out = [
            f"{short_name(node.name)} is {'drained' if node.drained else _unfit(node)}"
            for node in cluster.nodes()
            if node.name not in fit
        ]
        management_ca = tls.files.ca if tls.settings.own else tls.files.trust
        return Room(
            cluster=cluster.name,
            version=cluster.version(),
            vhost=name,
            user=name,
            password=password,
            nodes=[self._node(node, shares.get(node.name)) for node in nodes],
            left_out=left_out,
            ca=str(tls.files.trust) if tls.has(TlsPart.LINKS) else "",
            metrics_ca=str(management_ca) if tls.has(TlsPart.MANAGEMENT) else "",
            balancer_host=host,
            balancer_port=port,
            balancer_pid=status.balancer.pid,
            balancer_ca=self._service.url_ca(),
        )

    def _node(self, node: DrivenNode, cores: float | None) -> RoomNode:
        tls = self._service.cluster.tls
        here = _is_here(node.host)
        link, web = tls.link(node.name), tls.management(node.name)
        address = f"[{node.host}]" if ":" in node.host else node.host
        metrics = f"{tls.scheme}://{address}:{node.prometheus_port}" if node.prometheus_port else ""
        return RoomNode(
            name=node.name,
            host=platform.node() if here else node.host,
            address=node.host,
            amqp_port=node.amqp_port,
            pid=node.pid if here else None,
            metrics=metrics,
            server_name=link.server_name if link else "",
            metrics_name=web.server_name if web else "",
            cores=cores,
        )


def _unfit(node: DrivenNode) -> str:
    return "not fit" if node.state is NodeState.RUNNING else node.state.value


def _is_here(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


async def _make(client: ManagementClient, name: str, password: str) -> None:
    vhost, user = f"/api/vhosts/{segment(name)}", f"/api/users/{segment(name)}"
    rights = f"/api/permissions/{segment(name)}/{segment(name)}"
    made = {"description": "made by `warrener plan calibrate`", "tags": ""}
    await client.put_json(vhost, made, timeout=PATIENCE)
    await client.put_json(user, {"password": password, "tags": ""}, timeout=PATIENCE)
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    await client.put_json(rights, everything, timeout=PATIENCE)


async def _delete(client: ManagementClient, name: str) -> None:
    for kind in ("users", "vhosts"):
        try:
            await client.delete(f"/api/{kind}/{segment(name)}", timeout=PATIENCE)
        except NotFound:
            log.debug("room_was_gone", kind=kind, name=name)


def _recorded(path: Path) -> str | None:
    """Only a name of ours: what else is in that file is nobody's room."""
    try:
        name = msgspec.json.decode(path.read_bytes(), type=_Record).name
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        log.warning("record_unreadable", file=str(path), error=str(error))
        return None
    return name if name.startswith(PREFIX) else None


def _write(path: Path, raw: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
