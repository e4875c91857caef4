"""What can be asked of a daemon about the certificates of its cluster. Times are seconds since the
epoch; no answer has a key in it, but for that of a certificate made for a client."""

from typing import Final

import msgspec

from warrener.control.operation import Operation, ProgressLine


class TlsShowRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What there is, and until when."""


class CertificateLine(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate. ``whose``: cluster, balancer, user, or a node; ``made``: by the cluster,
    which renews it; ``warning`` is empty while there are 30 days left."""

    whose: str
    what: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    begins_at: float
    ends_at: float
    sha256: str
    file: str
    made: bool
    warning: str


class TlsShowAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``parts``: which connections speak TLS. ``ca``: the file that clients verify with. ``phase``
    is ``both_trusted`` while the CA is being replaced."""

    enabled: bool
    parts: dict[str, bool]
    min_version: str
    verify_clients: bool
    own: bool  # the user brings a certificate
    phase: str
    ca: str
    certificates: list[CertificateLine]


class TlsRotateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New certificates for all; ``authority``: the next phase of a new CA instead. Once it has
    begun it is carried through when its asker hangs up."""

    authority: bool = False


class TlsRotateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``phase`` is the one after it. ``changed``: fingerprints before and after, by whose they
    are."""

    phase: str
    ca: str
    own: bool
    changed: dict[str, tuple[str, str]]
    seconds: float


class TlsIssueRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate for a client, where the balancer asks for one."""

    name: str


class TlsIssueAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """PEM. The key is kept nowhere else."""

    certificate: str
    key: str
    ca: str


TLS_SHOW: Final = Operation("tls-show", TlsShowRequest, TlsShowAnswer)
TLS_ROTATE: Final = Operation("tls-rotate", TlsRotateRequest, TlsRotateAnswer, ProgressLine)
TLS_ISSUE: Final = Operation("tls-issue", TlsIssueRequest, TlsIssueAnswer)
