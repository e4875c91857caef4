"""`warrener tls`: the certificates of a cluster that runs, shown and renewed.

    rotate    new files -> the balancer and the nodes read them -> every new connection has them
    renewal   the same by itself, when less than a third of a certificate's life is left

Nobody is disconnected: a connection keeps what it shook hands with.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from warrener.balancer.shell.tls import BalancerTls, Context
from warrener.cluster.errors import ClusterError
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.tls.cluster import ClusterTls, Listed, utc_now
from warrener.cluster.tls.rotation import Act, Phase, warning
from warrener.control.operations import Phase as Life
from warrener.control.tls_operations import (
    CertificateLine,
    TlsIssueAnswer,
    TlsIssueRequest,
    TlsRotateAnswer,
    TlsRotateRequest,
    TlsShowAnswer,
    TlsShowRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon.control_server import Call
from warrener.daemon.errors import DaemonError
from warrener.daemon.steps import Steps
from warrener.daemon.works import Whole, Works
from warrener.facts.data_plane import DataPlane
from warrener.facts.happenings import Event
from warrener.facts.settings import BalancerSettings
from warrener.facts.tls import TlsPart

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

RENEWAL_POLL: Final = 3600.0
"""Seconds between two looks at what is due; a third of a certificate's life is four months."""

_ROTATED: Final = "rotated"
_CLIENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DOING: Final = {
    Act.MAKE_NEXT: "a new CA is made",
    Act.TRUST_BOTH: "the old and the new CA are trusted",
    Act.ISSUE: "certificates are made",
    Act.ISSUE_BY_NEXT: "certificates are made by the new CA",
    Act.TAKE_OWN: "your certificate is read again",
    Act.RELOAD: "the balancer and the nodes take them",
    Act.DROP_OLD: "the old CA is trusted no more",
}

log = structlog.get_logger(__name__)


class Ports(Protocol):
    """``wiring.Local``, as far as the balancer's ports are concerned."""

    @property
    def tls(self) -> ClusterTls: ...
    @property
    def plain_port(self) -> int: ...


def with_ports(spec: ClusterSpec, cluster: Ports, port: int) -> BalancerSettings:
    """The balancer's settings with its ports: ``port`` is the one with TLS where there is one."""
    settings = spec.balancer
    if not cluster.tls.has(TlsPart.CLIENTS):
        return replace(settings, port=port, plain=True)
    plain = bool(settings.plain)
    return replace(settings, tls_port=port, plain=plain, port=cluster.plain_port if plain else 0)


def balancer_tls(tls: ClusterTls, trust: Context | None = None) -> BalancerTls:
    """What the balancer shows to clients and verifies nodes with: ``trust``, or the cluster's
    CA."""
    return BalancerTls(
        clients=(lambda: tls.shown) if tls.has(TlsPart.CLIENTS) else None,
        links=trust or (lambda: tls.trusts) if tls.has(TlsPart.LINKS) else None,
    )


class _Nobody:
    """Who asks for what is done by itself."""

    def __init__(self) -> None:
        self.gone = asyncio.get_running_loop().create_future()

    async def emit(self, body: msgspec.Struct) -> None:
        pass


class Tls:
    """The operations, and the renewal."""

    def __init__(
        self,
        service: "Service",
        works: Works,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._service = service
        self._works = works
        self._sleep = sleep

    # -- what can be asked for

    async def show(self, request: TlsShowRequest, call: Call) -> TlsShowAnswer:
        tls = self._service.cluster.tls
        now = utc_now()
        certificates = self._listed(tls)
        return TlsShowAnswer(
            enabled=tls.settings.enabled,
            parts={part.value: tls.has(part) for part in TlsPart},
            min_version=tls.settings.min_version,
            verify_clients=tls.settings.verify_clients,
            own=tls.settings.own,
            phase=tls.phase if tls.settings.enabled else Phase.STEADY,
            ca=str(tls.files.ca) if tls.settings.enabled else "",
            certificates=[
                CertificateLine(
                    whose=one.whose,
                    what=one.what,
                    subject=one.described.subject,
                    issuer=one.described.issuer,
                    names=one.described.names,
                    begins_at=one.described.begins.timestamp(),
                    ends_at=one.described.ends.timestamp(),
                    sha256=one.described.sha256,
                    file=str(one.file),
                    made=one.made,
                    warning=warning(one.described, now),
                )
                for one in certificates
            ],
        )

    async def rotate(self, request: TlsRotateRequest, call: Call) -> TlsRotateAnswer:
        tls = self._must_run()
        if request.authority:
            self._must_reach_clients(tls)
        return await self._works.perform(
            Whole.CERTIFICATES,
            _ROTATED,
            lambda says: self._rotate(says, authority=request.authority),
            call,
        )

    async def issue(self, request: TlsIssueRequest, call: Call) -> TlsIssueAnswer:
        tls = self._must_run()
        if not _CLIENT_NAME.fullmatch(request.name):
            raise Refused(
                Refusal.BAD_ARGUMENT,
                "a client's name is up to 64 letters, digits, '.', '_', '@' and '-'",
            )
        if tls.settings.own or tls.settings.client_ca is not None:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                "clients are verified with a CA of yours, whose key isn't here; let it issue one",
            )
        try:
            made, authorities = tls.issue_client(request.name)
        except ClusterError as error:
            raise Refused(Refusal.FAILED, str(error)) from None
        self._service.events.record(Event("tls.client_issued", request.name))
        return TlsIssueAnswer(
            certificate=made.certificate.decode(), key=made.key.decode(), ca=authorities.decode()
        )

    # -- by itself

    async def renew_forever(self) -> None:
        """Renews what is due, for as long as the cluster runs."""
        while True:
            try:
                await self._renew_due()
            except (ClusterError, DaemonError, Refused) as error:
                # Tried again at the next look; there are four months left for it.
                log.error("tls_renewal_failed", error=str(error))
                self._service.events.record(
                    Event("tls.renewal_failed", detail={"error": str(error)})
                )
            await self._sleep(RENEWAL_POLL)

    async def _renew_due(self) -> None:
        tls = self._service.cluster.tls
        due = tls.due()
        for one in tls.listed():
            if said := warning(one.described, utc_now()):
                self._service.events.record(
                    Event("tls.expires", one.whose, detail={"what": one.what, "when": said})
                )
        if not due:
            return
        log.info("tls_renewal", due=[one.whose for one in due])
        await self._works.perform(
            Whole.CERTIFICATES,
            _ROTATED,
            lambda says: self._rotate(says, authority=False),
            _Nobody(),
        )
        self._service.events.record(Event("tls.renewed", detail={"certificates": len(due)}))

    # -- the work

    async def _rotate(self, says: Steps, *, authority: bool) -> TlsRotateAnswer:
        cluster = self._service.cluster
        tls = cluster.tls
        began = self._service.monotonic()
        before = {(one.whose, one.what): one.described.sha256 for one in self._listed(tls)}
        try:
            acts = tls.rotation(authority=authority)
        except ClusterError as error:
            raise DaemonError(str(error)) from error
        for act in acts:
            says.say("tls", _DOING[act])
            if act is Act.RELOAD:
                await self._reload()
            else:
                await cluster.perform_tls(act)
        changed = {
            f"{one.whose} {one.what}": (before.get((one.whose, one.what), ""), one.described.sha256)
            for one in self._listed(tls)
            if before.get((one.whose, one.what)) != one.described.sha256
        }
        says.say("tls", f"{len(changed)} certificates are new", done=True)
        self._service.events.record(
            Event(
                "tls.rotated",
                "authority" if authority else "",
                detail={"certificates": len(changed), "phase": tls.phase.value},
            )
        )
        return TlsRotateAnswer(
            phase=tls.phase,
            ca=str(tls.files.ca),
            own=tls.settings.own,
            changed=changed,
            seconds=self._service.monotonic() - began,
        )

    async def _reload(self) -> None:
        await self._service.cluster.reload_tls()
        balancer = self._service.balancer
        if balancer is not None:
            await balancer.reload_tls()

    def _must_run(self) -> ClusterTls:
        if self._service.balancer is None or self._service.phase is not Life.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        tls = self._service.cluster.tls
        if not tls.settings.enabled:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                "this cluster was started without TLS; [tls] with enabled = true in warrener.toml "
                "turns it on at the next `warrener up`",
            )
        return tls

    def _must_reach_clients(self, tls: ClusterTls) -> None:
        """A new CA has to become that of the clients' certificates as well, where it is theirs."""
        balancer, settings = self._service.balancer, tls.settings
        if (
            settings.verify_clients
            and settings.client_ca is None
            and not settings.own
            and balancer is not None
            and balancer.statistics().data_plane is DataPlane.HAPROXY
        ):
            raise Refused(
                Refusal.BAD_ARGUMENT,
                "HAProxy can't be told while it runs that clients' certificates are verified with "
                "another CA. Give clients a CA of their own with `client_ca` under [tls], or do it "
                "with Warrener's own balancer: `warrener down`, `up --data-plane warrener`, "
                "`tls rotate --ca` twice, `down`, `up`",
            )

    def _listed(self, tls: ClusterTls) -> list[Listed]:
        try:
            return tls.listed()
        except ClusterError as error:
            raise Refused(Refusal.FAILED, str(error)) from None
