"""What of a cluster speaks TLS, as plain values; ``cluster.tls_file`` reads them."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class TlsPart(StrEnum):
    """The connections of a cluster, by who speaks with whom."""

    CLIENTS = "clients"  # clients with the balancer: AMQPS
    LINKS = "links"  # the balancer, probes and whoever else with the nodes' AMQP ports
    MANAGEMENT = "management"  # the nodes' management API, page and metrics: HTTPS
    INTER_NODE = "inter_node"  # nodes among each other, and RabbitMQ's tools with them


class TlsVersion(StrEnum):
    """The oldest one that is spoken."""

    V1_2 = "1.2"
    V1_3 = "1.3"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """``certificate``, ``key`` and ``ca`` are the user's own files, None: the cluster makes its
    own. ``names`` are further ones that the balancer's certificate is to be for, where it is made.
    ``client_ca`` is what clients' certificates are verified with, None: ``ca``, or the
    cluster's."""

    enabled: bool = False
    clients: bool = True
    links: bool = True
    management: bool = True
    inter_node: bool = True
    min_version: TlsVersion = TlsVersion.V1_2
    verify_clients: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    names: tuple[str, ...] = ()

    def has(self, part: TlsPart) -> bool:
        """Whether these connections speak TLS."""
        return self.enabled and bool(getattr(self, part))

    @property
    def own(self) -> bool:
        """Whether the user brings a certificate."""
        return self.enabled and self.certificate is not None
