"""Wires HAProxy as the data plane: it is a child of the cluster's, like its nodes."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from warrener.balancer.haproxy.balancer import HaproxyBalancer
from warrener.balancer.haproxy.config import without_effect
from warrener.balancer.haproxy.process import Launch, Process
from warrener.balancer.haproxy.program import HaproxyError
from warrener.balancer.haproxy.tls import HaproxyTls
from warrener.balancer.shell.probe import ProbeLogin
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.tls.cluster import ClusterTls
from warrener.control.state_folder import StateFolder
from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import BalancerFactory
from warrener.daemon.tls import balancer_tls, with_ports
from warrener.facts.balance import Backend
from warrener.facts.happenings import EventSink, Progress, ProgressSink
from warrener.facts.tls import TlsPart

PART: Final = "haproxy"
"""What its process is marked as, and its folder and its log are called."""


def remove_files(state: Path) -> None:
    """Those that a HAProxy has left whose daemon was killed; its log stays."""
    shutil.rmtree(state / PART, ignore_errors=True)


class Host(Protocol):
    """Who runs the nodes, as far as HAProxy is concerned: ``wiring.Local``."""

    @property
    def state(self) -> Path: ...
    @property
    def tls(self) -> ClusterTls: ...
    @property
    def plain_port(self) -> int: ...
    def backends(self) -> tuple[Backend, ...]: ...
    def credentials(self) -> tuple[str, str]: ...
    def start_beside(
        self,
        part: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        output: Path,
        descriptors: Sequence[int] = (),
    ) -> Process: ...


class _Haproxy(HaproxyBalancer):
    """Its errors as the service tells them."""

    async def start(self) -> None:
        try:
            await super().start()
        except HaproxyError as error:
            raise DaemonError(str(error)) from error

    async def wait_ready(self, nodes: int, timeout: float) -> bool:
        try:
            return await super().wait_ready(nodes, timeout)
        except HaproxyError as error:
            raise DaemonError(str(error)) from error

    async def reload_tls(self) -> None:
        try:
            await super().reload_tls()
        except HaproxyError as error:
            raise DaemonError(str(error)) from error


def haproxy_tls(tls: ClusterTls) -> HaproxyTls:
    """What HAProxy shows to clients and verifies nodes with."""
    clients, links = tls.has(TlsPart.CLIENTS), tls.has(TlsPart.LINKS)
    verifies = clients and tls.settings.verify_clients
    return HaproxyTls(
        certificate=tls.files.balancer if clients else None,
        client_authorities=tls.files.client_ca if verifies else None,
        trust=tls.files.trust if links else None,
        placeholder=tls.worthless().pem if links else b"",
        min_version=tls.settings.min_version,
    )


def haproxy_factory(
    spec: ClusterSpec, host: Host, on_event: EventSink, progress: ProgressSink
) -> BalancerFactory:
    """Makes the balancer once the cluster is prepared."""

    def launch(wanted: Launch) -> Process:
        return host.start_beside(
            PART,
            wanted.arguments,
            folder=wanted.folder,
            output=wanted.output,
            descriptors=wanted.descriptors,
        )

    def make(port: int) -> HaproxyBalancer:
        settings = with_ports(spec, host, port)
        speaks = haproxy_tls(host.tls)
        idle = without_effect(spec.balancer, tls=speaks.certificate is not None)
        if idle:
            progress(Progress("balancer", f"HAProxy has no use for {', '.join(idle)}; left aside"))
        return _Haproxy(
            settings,
            host.backends(),
            folder=host.state / PART,
            log_file=StateFolder(host.state).logs / f"{PART}.log",
            launcher=launch,
            path=os.environ.get("PATH", ""),
            probe_login=ProbeLogin(*host.credentials()),
            on_event=on_event,
            tls=balancer_tls(host.tls),
            haproxy_tls=speaks,
        )

    return make
