"""What HAProxy's runtime API answers, as values. Pure; every answer may be cut off or nonsense."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from warrener.balancer.haproxy.config import FRONTEND
from warrener.balancer.haproxy.plan import ALGORITHMS, POLICY_KEY, Admission, Seen, Spot
from warrener.facts.settings import PolicyName

_MAINT_BITS: Final = 0x01 | 0x02 | 0x20  # by command, from another server, for want of an address
_DRAIN_BITS: Final = 0x08 | 0x10
"""Not 0x04: that the file has the server as disabled stays set when it is no longer so."""

_LARGEST: Final = 2**63
"""HAProxy's counters have 64 bits at most; a longer number isn't one of its."""


class BadAnswer(Exception):
    """HAProxy's answer isn't what was asked for; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through one server. Bytes in are the clients'."""

    sessions: int = 0  # now
    total: int = 0  # sessions that got through to it
    failures: int = 0  # connects that failed; each was tried again, mostly elsewhere
    bytes_in: int = 0
    bytes_out: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """``rejected``: clients over the limit, those for whom there was no node, and those who didn't
    get through the TLS handshake, who are ``tls_rejected`` as well."""

    clients: Traffic = Traffic()
    rejected: int = 0
    servers: Mapping[str, Traffic] = field(default_factory=dict)  # by slot, all policies together
    tls_rejected: int = 0

    def closed(self) -> "Figures":
        """The same when all sessions have ended."""
        return Figures(
            _closed(self.clients),
            self.rejected,
            {slot: _closed(traffic) for slot, traffic in self.servers.items()},
            self.tls_rejected,
        )

    def __add__(self, other: "Figures") -> "Figures":
        slots = {*self.servers, *other.servers}
        none = Traffic()
        return Figures(
            self.clients + other.clients,
            self.rejected + other.rejected,
            {s: self.servers.get(s, none) + other.servers.get(s, none) for s in slots},
            self.tls_rejected + other.tls_rejected,
        )


@dataclass(frozen=True, slots=True)
class Info:
    """Of ``show info``."""

    version: str
    pid: int


def read_stat(text: str) -> Figures:
    """From ``show stat``. Raises BadAnswer."""
    if not text.startswith("# pxname,svname,"):
        raise BadAnswer(f"statistics begin with {text[:40]!r}")
    clients: Traffic | None = None
    rejected = tls_rejected = 0
    servers: dict[str, Traffic] = {}
    try:
        rows = list(csv.DictReader(io.StringIO(text[2:]), strict=True))
    except csv.Error as error:
        raise BadAnswer(f"statistics aren't CSV: {error}") from None
    for row in rows:
        proxy, name = row.get("pxname"), row.get("svname")
        if proxy == FRONTEND and name == "FRONTEND":
            clients = Traffic(
                _number(row, "scur"),
                _number(row, "stot"),
                0,
                _number(row, "bin"),
                _number(row, "bout"),
            )
            if row.get("ssl_failed_handshake"):  # not in every HAProxy's statistics
                tls_rejected = _number(row, "ssl_failed_handshake")
            rejected += _number(row, "dcon") + tls_rejected
        elif proxy not in _BACKENDS or not name:
            continue
        elif name == "BACKEND":
            rejected += _number(row, "econ")
        else:
            servers[name] = servers.get(name, Traffic()) + _server(row)
    if clients is None:
        raise BadAnswer("statistics without the frontend's")
    return Figures(clients, rejected, servers, tls_rejected)


def _server(row: Mapping[str, str]) -> Traffic:
    # HAProxy counts each attempt as a session of the server.
    failures = sum(_number(row, key) for key in ("econ", "wretr", "wredis"))
    return Traffic(
        _number(row, "scur"),
        max(0, _number(row, "stot") - failures),
        failures,
        _number(row, "bin"),
        _number(row, "bout"),
    )


def read_servers(text: str) -> dict[Spot, Seen]:
    """From ``show servers state``. Raises BadAnswer."""
    lines = _lines(text)
    if len(lines) < 2 or lines[0] != "1" or not lines[1].startswith("# be_id "):
        raise BadAnswer(f"servers' states begin with {text[:40]!r}")
    columns = lines[1][2:].split()
    found = {}
    for line in lines[2:]:
        words = line.split(" ")
        if len(words) != len(columns):
            raise BadAnswer(f"a server's state has {len(words)} fields, not {len(columns)}")
        row = dict(zip(columns, words, strict=True))
        policy = _BACKENDS.get(row.get("be_name", ""))
        if policy is not None:
            spot = Spot(policy, _word(row, "srv_name"))
            found[spot] = Seen(
                _word(row, "srv_addr"),
                _number(row, "srv_port"),
                _admission(_number(row, "srv_admin_state")),
                _number(row, "srv_uweight"),
            )
    return found


def _admission(bits: int) -> Admission:
    if bits & _MAINT_BITS:
        return Admission.MAINT
    return Admission.DRAIN if bits & _DRAIN_BITS else Admission.READY


def read_policy(text: str) -> PolicyName | None:
    """From ``show map``; None if it says something else than one of the policies."""
    for line in _lines(text):
        match line.split():
            case [_, key, value] if key == POLICY_KEY:
                return _BACKENDS.get(value)
    return None


def read_info(text: str) -> Info:
    """From ``show info``. Raises BadAnswer."""
    pairs = (line.partition(": ") for line in _lines(text))
    row = {name: value for name, _, value in pairs}
    return Info(_word(row, "Version"), _number(row, "Pid"))


_BACKENDS: Final = {str(policy): policy for policy in ALGORITHMS}


def _closed(traffic: Traffic) -> Traffic:
    return Traffic(0, traffic.total, traffic.failures, traffic.bytes_in, traffic.bytes_out)


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def _word(row: Mapping[str, str], key: str) -> str:
    value = row.get(key)
    if not value:
        raise BadAnswer(f"no {key}")
    return value


def _number(row: Mapping[str, str], key: str) -> int:
    value = row.get(key)
    if not value or not (value.isascii() and value.isdigit()) or len(value) > 20:
        raise BadAnswer(f"{key} is {value!r:.40}, not a number")
    number = int(value)
    if number >= _LARGEST:
        raise BadAnswer(f"{key} is {number}: too large")
    return number
