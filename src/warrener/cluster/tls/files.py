"""Where keys and certificates are in a state folder: folders 0700, files 0600.

    tls/authority.pem         the cluster's CA, with its key; no node is ever told of it
    tls/next-authority.pem    the one that takes over, while both are trusted
    tls/trust.pem             the authorities that the cluster's own connections trust
    tls/balancer.pem          what the balancer shows, with its key: made, or a copy of the user's
    tls/ca.pem                what clients verify it with: hand this one out
    tls/client-ca.pem         what the balancer verifies clients with
    nodes/NAME/tls/           all that a node reads: ``NodeTlsFiles``

A key and its certificate are always in one file, which is replaced by a rename: nobody ever reads
one of the two without the other. The user's own files are copied, so that what was checked is what
is used until the next ``tls rotate`` or ``up``.
"""

from pathlib import Path
from typing import Final

from warrener.cluster.drivers.private_files import write_private
from warrener.cluster.tls.certificates import Identity, certificates_in
from warrener.cluster.tls.node_settings import NodeTlsFiles
from warrener.facts.ids import NodeName, short_name

FOLDER: Final = "tls"
_KEY_ENDS: Final = b"-----END PRIVATE KEY-----\n"


class TlsFiles:
    """The files of one cluster."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / FOLDER
        self.authority = self.folder / "authority.pem"
        self.next_authority = self.folder / "next-authority.pem"
        self.trust = self.folder / "trust.pem"
        self.balancer = self.folder / "balancer.pem"
        self.ca = self.folder / "ca.pem"
        self.client_ca = self.folder / "client-ca.pem"

    def prepare(self) -> None:
        """Makes the folder."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    def node(self, name: NodeName, *, own: bool) -> NodeTlsFiles:
        """What a node reads; ``own``: its page shows the user's certificate."""
        folder = self.node_folder(name)
        return NodeTlsFiles(
            identity=folder / "identity.pem",
            trust=folder / "trust.pem",
            shown=folder / ("shown.pem" if own else "identity.pem"),
            shown_trust=folder / ("shown-trust.pem" if own else "trust.pem"),
            options=folder / "distribution.config",
        )

    def node_folder(self, name: NodeName) -> Path:
        """A node's own."""
        return self.state / "nodes" / short_name(name) / FOLDER

    def prepare_node(self, name: NodeName) -> None:
        """Makes a node's folder."""
        folder = self.node_folder(name)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_identity(path: Path, identity: Identity) -> None:
    """Both in one file."""
    write_private(path, identity.pem)


def read_identity(path: Path) -> Identity | None:
    """None if there is none. NotReadable if it is something else."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    key, _, _ = raw.partition(_KEY_ENDS)
    return Identity(certificates_in(raw), key + _KEY_ENDS)


def write_if_other(path: Path, data: bytes) -> None:
    """Leaves a file alone that is so already."""
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        pass
    write_private(path, data)
