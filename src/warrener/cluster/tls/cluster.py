"""All about the TLS of one cluster: its files made ready, what nodes are told, what the balancer
and the management clients connect with, rotation.

What the cluster's parts say to one another (links, inter_node) is always verified with a CA of the
cluster's own, also where the user brings a certificate: that names hosts, not nodes, and whoever
gets a certificate from the same public authority would be let into Erlang's distribution by it. The
user's is what users see: clients at the balancer, the management page.
"""

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from warrener.cluster.errors import ClusterError
from warrener.cluster.tls import own_files
from warrener.cluster.tls.certificates import (
    Described,
    Identity,
    NotReadable,
    Use,
    Wanted,
    describe,
    describe_all,
    issued_within,
    make_authority,
    make_certificate,
)
from warrener.cluster.tls.contexts import client_context, server_context
from warrener.cluster.tls.files import (
    TlsFiles,
    read_identity,
    write_identity,
    write_if_other,
)
from warrener.cluster.tls.node_settings import (
    NodeTlsFiles,
    distribution_options,
    erlang_flags,
    with_tls,
)
from warrener.cluster.tls.rotation import Act, Phase, is_due, steps
from warrener.facts.ids import NodeName, host_name, short_name
from warrener.facts.tls import TlsPart, TlsSettings
from warrener.management.verify import Verify

Now = Callable[[], datetime]


def _here(path: Path) -> Path:
    return path


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Listed:
    """One certificate of a cluster. ``whose``: an authority, the balancer, or a node."""

    whose: str
    what: str
    file: Path
    described: Described
    made: bool  # by the cluster: it is renewed by itself


class ClusterTls:
    """See the module. ``host`` is where the balancer listens; ``now`` gives the time.

    Every method raises ClusterError for files that can't be used.
    """

    def __init__(
        self,
        settings: TlsSettings,
        state: Path,
        *,
        cluster: str,
        host: str = "127.0.0.1",
        now: Now = utc_now,
    ) -> None:
        self.settings = settings
        self.files = TlsFiles(state)
        self._cluster = cluster
        self._names = _names(host, settings.names)
        self._now = now
        self._nodes: dict[NodeName, Callable[[Path], Path]] = {}
        self._shown: ssl.SSLContext | None = None
        self._trusts: ssl.SSLContext | None = None
        self._web_trusts: ssl.SSLContext | None = None
        self._own_name = ""

    def has(self, part: TlsPart) -> bool:
        """Whether these connections speak TLS."""
        return self.settings.has(part)

    # -- made ready ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Everything but the nodes' files, before they start."""
        self._nodes.clear()
        if not self.settings.enabled:
            return
        with _told():
            self.files.prepare()
            self._prepare_authority()
            if self.settings.own:
                self._take_own()
            self._write_trust()
            if not self.settings.own:
                self._renew_balancer(force=False)
            self.reload()

    def prepare_node(self, name: NodeName, there: Callable[[Path], Path] = _here) -> None:
        """A node's files; its certificate is made if there is none that will do. ``there``: where
        the node finds a file of this folder, on its own machine."""
        if not self.settings.enabled:
            return
        self._nodes[name] = there
        with _told():
            self.files.prepare_node(name)
            self._renew_node(name, force=False)
            self._write_node(name)

    def forget_node(self, name: NodeName) -> None:
        """A node is no more."""
        self._nodes.pop(name, None)

    def _prepare_authority(self) -> None:
        found = read_identity(self.files.authority)
        if found is None:
            made = make_authority(f"{self._cluster} CA", self._now())
            write_identity(self.files.authority, made)
            return
        following = read_identity(self.files.next_authority)
        if following is not None and following.certificate == found.certificate:
            self.files.next_authority.unlink()  # killed while the old one was dropped
        said = describe(found.certificate)
        if said.ends < self._now():
            raise ClusterError(
                f"the cluster's CA ({self.files.authority}) has expired on {said.ends:%Y-%m-%d}; "
                f"remove the folder {self.files.folder}, and `warrener up` makes another one, "
                f"which clients have to be given"
            )

    def _take_own(self) -> None:
        wrong = own_files.problems(self.settings, self._now())
        if wrong:
            lines = "\n".join(f"  tls.{one.key}: {one.text}; wanted: {one.fix}" for one in wrong)
            raise ClusterError(f"the certificate of [tls] can't be used:\n{lines}")
        identity, authorities = own_files.read_own(self.settings)
        write_identity(self.files.balancer, identity)
        write_if_other(self.files.ca, authorities)
        for name in self._nodes:
            self._write_node(name)

    def _write_trust(self) -> None:
        """What is trusted, from the authorities that are there."""
        trust = b"".join(one.certificate for one in self._authorities())
        write_if_other(self.files.trust, trust)
        if not self.settings.own:
            write_if_other(self.files.ca, trust)
        if self.settings.verify_clients:
            given = self.settings.client_ca
            raw = self.files.ca.read_bytes() if given is None else given.read_bytes()
            write_if_other(self.files.client_ca, raw)
        for name in self._nodes:
            self._write_node(name)

    def _write_node(self, name: NodeName) -> None:
        """All but its certificate."""
        files = self.node_files(name)
        write_if_other(files.trust, self.files.trust.read_bytes())
        options = distribution_options(self.settings, self._files_there(name))
        write_if_other(files.options, options.encode())
        if self.settings.own:
            write_if_other(files.shown, self.files.balancer.read_bytes())
            write_if_other(files.shown_trust, self.files.ca.read_bytes())

    def _issue(self, *, by_next: bool) -> None:
        for name in self._nodes:
            self._renew_node(name, force=True, by_next=by_next)
        if not self.settings.own:
            self._renew_balancer(force=True, by_next=by_next)

    def _renew_node(self, name: NodeName, *, force: bool, by_next: bool = False) -> None:
        names = (short_name(name), host_name(name), "localhost", "127.0.0.1", "::1")
        wanted = Wanted(name, Use.NODE, tuple(dict.fromkeys(names)))
        self._renew(self.node_files(name).identity, wanted, force=force, by_next=by_next)

    def _renew_balancer(self, *, force: bool, by_next: bool = False) -> None:
        wanted = Wanted(f"{self._cluster} balancer", Use.BALANCER, self._names)
        self._renew(self.files.balancer, wanted, force=force, by_next=by_next)

    def _renew(self, path: Path, wanted: Wanted, *, force: bool, by_next: bool) -> None:
        """Makes a new one where there is none that will do, or by ``force``."""
        if force or not self._will_do(path, wanted):
            issuer = self._authorities()[-1 if by_next else 0]
            write_identity(path, make_certificate(issuer, wanted, self._now()))

    def _will_do(self, path: Path, wanted: Wanted) -> bool:
        try:
            found = read_identity(path)
            if found is None:
                return False
            said = describe(found.certificate)
            trust = b"".join(one.certificate for one in self._authorities())
            return (
                set(said.names) == set(wanted.names)
                and not is_due(said, self._now())
                and issued_within(found.certificate, trust, self._now())
            )
        except NotReadable:
            return False

    def _authorities(self) -> list[Identity]:
        found = [read_identity(self.files.authority), read_identity(self.files.next_authority)]
        return [one for one in found if one is not None]

    # -- what nodes are told ------------------------------------------------------------------

    def node_files(self, name: NodeName) -> NodeTlsFiles:
        """What a node reads, as it is here."""
        return self.files.node(name, own=self.settings.own)

    def _files_there(self, name: NodeName) -> NodeTlsFiles:
        there, files = self._nodes.get(name, _here), self.node_files(name)
        return NodeTlsFiles(
            identity=there(files.identity),
            trust=there(files.trust),
            shown=there(files.shown),
            shown_trust=there(files.shown_trust),
            options=there(files.options),
        )

    def node_settings(self, name: NodeName, own: Mapping[str, str]) -> dict[str, str]:
        """``own`` as it is with TLS."""
        return with_tls(own, self.settings, self._files_there(name))

    def erlang_flags(self, name: NodeName) -> str:
        """Arguments for the Erlang VMs of a node and of its tools; may be empty."""
        return erlang_flags(self.settings, self._files_there(name))

    # -- what is connected with ---------------------------------------------------------------

    @property
    def shown(self) -> ssl.SSLContext:
        """What the balancer shows to clients that come now."""
        assert self._shown is not None, "prepare() first"
        return self._shown

    @property
    def trusts(self) -> ssl.SSLContext:
        """What the cluster's own connections are verified with that begin now."""
        assert self._trusts is not None, "prepare() first"
        return self._trusts

    def _trusts_on_the_web(self) -> ssl.SSLContext:
        assert self._web_trusts is not None, "prepare() first"
        return self._web_trusts

    def link(self, name: NodeName) -> Verify | None:
        """How a node's AMQP port is verified; None: it is plain."""
        if not self.has(TlsPart.LINKS):
            return None
        return Verify(lambda: self.trusts, short_name(name))

    def management(self, name: NodeName) -> Verify | None:
        """How a node's management API and metrics are verified; None: they are plain."""
        if not self.has(TlsPart.MANAGEMENT):
            return None
        return Verify(self._trusts_on_the_web, self._own_name or short_name(name))

    @property
    def scheme(self) -> str:
        """Of the management API's and the metrics' URLs."""
        return "https" if self.has(TlsPart.MANAGEMENT) else "http"

    def reload(self) -> None:
        """From here on new connections go by what is in the files now."""
        version = self.settings.min_version
        with _told():
            verify = self.files.client_ca if self.settings.verify_clients else None
            shown = server_context(self.files.balancer, version, verify)
            trusts = client_context(self.files.trust, version)
            web = client_context(self.files.ca, version) if self.settings.own else trusts
            names = describe(self.files.balancer.read_bytes()).names
        self._shown, self._trusts, self._web_trusts = shown, trusts, web
        if self.settings.own:
            # A wildcard stands for any one label.
            self._own_name = names[0].replace("*", "warrener", 1)

    # -- what there is, and new ones ----------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """Whether the CA is being replaced."""
        with _told():
            found = self._authorities()
        return Phase.BOTH_TRUSTED if len(found) > 1 else Phase.STEADY

    def listed(self) -> list[Listed]:
        """Every certificate there is."""
        if not self.settings.enabled:
            return []
        files = self.files
        with _told():
            found = [_listed("cluster", "CA", files.authority, made=True)]
            if files.next_authority.exists():
                found.append(_listed("cluster", "next CA", files.next_authority, made=True))
            made = not self.settings.own
            found.append(_listed("balancer", "certificate", files.balancer, made=made))
            if self.settings.own:
                found += [
                    Listed("user", "CA", files.ca, one, made=False)
                    for one in describe_all(files.ca.read_bytes())
                ]
            for name in self._nodes:
                identity = self.node_files(name).identity
                found.append(_listed(short_name(name), "certificate", identity, made=True))
        return found

    def due(self) -> list[Listed]:
        """The certificates that the cluster made, those of authorities excepted, of whose life less
        than a third is left."""
        return [
            one
            for one in self.listed()
            if one.made and not one.described.authority and is_due(one.described, self._now())
        ]

    def rotation(self, *, authority: bool) -> tuple[Act, ...]:
        """What a rotation does now, in order; all but RELOAD are for ``perform``."""
        return steps(self.phase, authority=authority, own=self.settings.own)

    def perform(self, act: Act) -> None:
        """One step, on files alone. Its effect comes with ``reload`` and that of the nodes."""
        with _told():
            match act:
                case Act.MAKE_NEXT:
                    made = make_authority(f"{self._cluster} CA", self._now())
                    write_identity(self.files.next_authority, made)
                case Act.TRUST_BOTH:
                    self._write_trust()
                case Act.ISSUE | Act.ISSUE_BY_NEXT:
                    self._issue(by_next=act is Act.ISSUE_BY_NEXT)
                case Act.TAKE_OWN:
                    self._take_own()
                case Act.DROP_OLD:
                    following = read_identity(self.files.next_authority)
                    if following is not None:
                        write_identity(self.files.authority, following)
                        self.files.next_authority.unlink()
                    self._write_trust()
                case Act.RELOAD:
                    raise AssertionError("a reload is the caller's: nodes take part in it")

    def worthless(self) -> Identity:
        """A certificate with its key that proves nothing, for who has to have one."""
        return make_authority("nobody", self._now())

    def issue_client(self, name: str) -> tuple[Identity, bytes]:
        """A certificate for a client of that name, with what it verifies the balancer with."""
        with _told():
            issuer = self._authorities()[0]
            made = make_certificate(issuer, Wanted(name, Use.CLIENT), self._now())
            return made, self.files.ca.read_bytes()


def _names(host: str, further: Sequence[str]) -> tuple[str, ...]:
    """What the balancer's certificate is for."""
    found = ["localhost", "127.0.0.1", "::1", host, *further]
    if host in ("0.0.0.0", "::"):  # noqa: S104  a listener on all addresses has this machine's name
        found[3] = socket.gethostname()
    return tuple(dict.fromkeys(found))


def _listed(whose: str, what: str, file: Path, *, made: bool) -> Listed:
    return Listed(whose, what, file, describe(file.read_bytes()), made)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (OSError, NotReadable) as error:
        raise ClusterError(f"the cluster's TLS files can't be used: {error}") from error
