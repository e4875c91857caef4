"""HAProxy's configuration file, made from the balancer's settings. Pure.

In it: one frontend on listening sockets that it inherits, so that the daemon knows before HAProxy
starts whether the port can be had, and keeps it while HAProxy is started anew; one backend for each
policy (plan.py says why); the runtime API as a socket beside the file.

Not in it: users, chroot, pid files, syslog, paths outside of its folder. And no health checks:
Warrener's probes log in and wait for an answer, where HAProxy's would only connect, which a frozen
node allows as well. What is left to HAProxy is what it sees itself: a connect that is refused or
times out is tried at another node at once (``redispatch``).
"""

from collections.abc import Sequence
from typing import Final

from warrener.balancer.haproxy.plan import (
    ALGORITHMS,
    POLICY_KEY,
    POLICY_MAP,
    Admission,
    Server,
)
from warrener.balancer.haproxy.tls import HaproxyTls
from warrener.facts.settings import BalancerSettings, PolicyName

FRONTEND: Final = "amqp"
SOCKET: Final = "runtime.sock"

SPARE_CONNECTIONS: Final = 100
"""Beyond ``max_sessions``: those that are being refused. Past them clients wait to be accepted."""

_QUIET: Final = "24d"
"""How long a connection may be silent. HAProxy's clock ends at 24.8 days; a consumer of a quiet
queue whose client has no heartbeats must not be dropped. Dead peers are what keepalives are for."""

_HALF_CLOSED: Final = "10s"
"""AMQP has no half-closed connections: after one side's end the other has so long to end, too."""

_KEEPALIVE: Final = ("idle 30s", "intvl 10s", "cnt 3")
"""A peer that vanished without a word is noticed within a minute."""


NO_TLS: Final = HaproxyTls()


def render(
    servers: Sequence[Server],
    settings: BalancerSettings,
    *,
    listeners: Sequence[int],
    max_sessions: int,
    tls_listeners: Sequence[int] = (),
    tls: HaproxyTls = NO_TLS,
) -> str:
    """The file. ``listeners`` are descriptors of bound sockets that HAProxy inherits,
    ``tls_listeners`` those for clients with TLS."""
    lines = [
        "# Made by Warrener at each start of HAProxy; changes are lost.",
        "global",
        f"    maxconn {max_sessions + 2 * SPARE_CONNECTIONS}",
        f"    stats socket unix@{SOCKET} mode 600 level admin",
        "    stats timeout 10s",
        *(["    tune.ssl.cachesize 0"] if tls_listeners else []),
        "",
        "defaults",
        "    mode tcp",
        f"    timeout connect {_milliseconds(settings.connect_timeout)}",
        *_client_timeouts(settings, tls=bool(tls_listeners)),
        f"    timeout server {_QUIET}",
        f"    timeout client-fin {_HALF_CLOSED}",
        f"    timeout server-fin {_HALF_CLOSED}",
        "    option clitcpka",
        "    option srvtcpka",
        *(f"    {side}tcpka-{what}" for side in ("cli", "srv") for what in _KEEPALIVE),
        "    retries 3",
        "    option redispatch 1",
        "    option contstats",  # bytes are counted as they pass, not when a session ends
        "",
        f"# {_place(settings)}",
        f"frontend {FRONTEND}",
        *(f"    bind fd@{number}{tls.bind_options()}" for number in tls_listeners),
        *(f"    bind fd@{number}" for number in listeners),
        f"    backlog {settings.backlog}",
        f"    maxconn {max_sessions + SPARE_CONNECTIONS}",
        f"    tcp-request connection reject if {{ fe_conn gt {max_sessions} }}",
        f"    use_backend %[str({POLICY_KEY}),map({POLICY_MAP})]",
    ]
    for policy in ALGORITHMS:
        lines += ["", *_backend(policy, servers, tls)]
    return "\n".join(lines) + "\n"


def _client_timeouts(settings: BalancerSettings, *, tls: bool) -> list[str]:
    """HAProxy 2.6 has no time limit of its own for TLS handshakes: it is the one for a client's
    silence, and counts from the connection's begin. Once a connection has got through to a node,
    that of tunnels takes its place."""
    if not tls:
        return [f"    timeout client {_QUIET}"]
    return [
        f"    timeout client {_milliseconds(settings.handshake_timeout)}",
        f"    timeout tunnel {_QUIET}",
    ]


def _backend(policy: PolicyName, servers: Sequence[Server], tls: HaproxyTls) -> list[str]:
    lines = [f"backend {policy}", *(f"    {line}" for line in ALGORITHMS[policy])]
    for server in servers:
        # Drained at the start of HAProxy comes to the same: nothing is open yet.
        state = "" if server.admission is Admission.READY else " disabled"
        host = f"[{server.host}]" if ":" in server.host else server.host
        weight = server.weight(policy)
        speaks = tls.server_options(server.slot)
        lines.append(
            f"    server {server.slot} {host}:{server.port} weight {weight}{speaks}{state}"
        )
    return lines


def render_map(policy: PolicyName) -> str:
    """The map file."""
    return f"{POLICY_KEY} {policy}\n"


def max_sessions_within(wanted: int, files: int) -> int:
    """How many sessions a limit of ``files`` open files allows: two for each, some for the rest."""
    return max(1, min(wanted, (files - 4 * SPARE_CONNECTIONS - 100) // 2))


def without_effect(settings: BalancerSettings, *, tls: bool = False) -> tuple[str, ...]:
    """Settings that were changed and mean nothing to HAProxy, as warrener.toml calls them. ``tls``:
    clients speak it, so that there are handshakes of HAProxy's own."""
    defaults = BalancerSettings()
    meaningless = _MEANINGLESS if tls else ("handshake_timeout", *_MEANINGLESS)
    return tuple(name for name in meaningless if getattr(settings, name) != getattr(defaults, name))


_MEANINGLESS: Final = (
    "high_water",
    "outage_timeout",
    "park_timeout",
    "settle_timeout",
    "link_linger",
    "journal_limit",
    "journal_total",
)
"""``locality`` isn't among them: it is refused if it is asked for, and off otherwise."""


def _place(settings: BalancerSettings) -> str:
    port = settings.port or "a free port"
    return f"{settings.host}, {port}: bound by the daemon and inherited"


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
