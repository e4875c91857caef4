"""What a client has said in its handshake, kept so that it can be said again to another node.

A link is opened in the client's name: its own mechanism, user and password, its vhost, the limits
it agreed to. Three things differ from what the client sent:

* ``authentication_failure_close`` is announced always. Without it a broker answers a wrong password
  by closing the socket, and that can't be told from a node that dies. The client gets what it
  asked for itself: a connection.close only if it announced the capability.
* ``consumer_cancel_notify`` is announced always: a consumer whose queue is gone is then known as
  such. A client that didn't announce it itself isn't told in that way (``takes_cancels``).
* ``warrener_client``, the client's own address, is added to the client properties, because the
  broker sees only the balancer's.

The response holds the password. It stays in memory and out of every ``repr``.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from warrener.amqp.constants import FRAME_MIN_SIZE, FRAME_OVERHEAD
from warrener.amqp.errors import ProtocolViolation
from warrener.amqp.methods import (
    ConnectionOpen,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    encode_method,
    printable,
)
from warrener.amqp.tables import Table, decode_table

REPLAYABLE: Final = frozenset({"PLAIN", "AMQPLAIN"})
"""Mechanisms whose response can be given to another node. EXTERNAL belongs to one TLS session,
challenges to one conversation."""

NAME_LIMIT: Final = 128
"""Characters kept of names that clients give themselves; they go to status and logs."""


HANDSHAKE_FRAME_LIMIT: Final = 64 * 1024
"""Payload bytes of a frame before limits are agreed. Brokers take 4096 (newer ones 8192) and
answer larger ones themselves; this one only keeps memory bounded."""


@dataclass(slots=True)
class Agreement:
    """Grows as the client's handshake goes on."""

    client: str  # address:port
    announces_auth_close: bool = False  # the client itself does
    takes_cancels: bool = False  # announces consumer_cancel_notify itself
    link_start_ok: bytes = field(default=b"", repr=False)  # payload for links
    tells_auth_failures: bool = False  # a link's broker answers a wrong password with a close
    replayable: bool = True
    user: str = ""
    name: str = ""
    tune: ConnectionTune | None = None  # as the client was told
    tune_ok: ConnectionTuneOk | None = None
    open: ConnectionOpen | None = None
    _start_ok: ConnectionStartOk | None = field(default=None, repr=False)

    def take_start_ok(self, method: ConnectionStartOk, payload: bytes) -> None:
        """The client's start-ok; ``payload`` is its frame's payload as it came."""
        properties = method.client_properties
        capabilities = properties.get("capabilities")
        if not isinstance(capabilities, dict):
            capabilities = {}
        self.announces_auth_close = capabilities.get("authentication_failure_close") is True
        self.takes_cancels = capabilities.get("consumer_cancel_notify") is True
        self.replayable = method.mechanism in REPLAYABLE
        self._start_ok = method
        self.user = printable(_user(method)[:NAME_LIMIT])
        name = properties.get("connection_name")
        self.name = printable(name[:NAME_LIMIT]) if isinstance(name, str) else ""
        self.link_start_ok = self._for_links(method, capabilities, payload)

    def _for_links(self, method: ConnectionStartOk, capabilities: Table, payload: bytes) -> bytes:
        changed = {
            **method.client_properties,
            "capabilities": {
                **capabilities,
                "authentication_failure_close": True,
                "consumer_cancel_notify": True,
            },
        }
        for properties in ({**changed, "warrener_client": self.client}, changed):
            try:
                encoded = encode_method(
                    ConnectionStartOk(properties, method.mechanism, method.response, method.locale)
                )
            except ValueError:
                continue  # holds a value that we can read but not write
            # Brokers limit frames before tune; what fitted must still fit.
            if not payload or len(encoded) <= max(FRAME_MIN_SIZE - FRAME_OVERHEAD, len(payload)):
                self.tells_auth_failures = True
                return encoded
        self.tells_auth_failures = self.announces_auth_close
        return payload

    def update_secret(self, secret: bytes) -> None:
        """The client has a new secret (connection.update-secret); further links use it."""
        old = self._start_ok
        parts = old.response.split(b"\0") if old is not None else []
        if old is None or old.mechanism != "PLAIN" or len(parts) != 3:
            self.replayable = False  # nobody knows where in the response it belongs
            return
        response = b"\0".join((parts[0], parts[1], secret))
        self.take_start_ok(replace(old, response=response), b"")

    def objection(self, chosen: ConnectionTuneOk) -> str:
        """What a broker won't accept in the client's tune-ok, in RabbitMQ's words; empty if all is
        well. RabbitMQ itself hangs up on it, which looks like a node that fails."""
        if self.tune is None:
            raise AssertionError("a tune-ok before tune")
        for what, value, least, most in (
            ("channel_max", chosen.channel_max, 1, self.tune.channel_max),
            ("frame_max", chosen.frame_max, FRAME_MIN_SIZE, self.tune.frame_max),
        ):
            if 0 < value < least:
                return (
                    f"negotiated {what} = {value} is lower than the minimum allowed value ({least})"
                )
            if not _within(value, most):
                return (
                    f"negotiated {what} = {value} is higher than the maximum allowed value ({most})"
                )
        return ""

    def payload_limit(self, max_frame: int) -> int:
        """Payload bytes that a frame of the client's may have; ``max_frame`` (bytes) stands for a
        frame_max of 0, no limit."""
        if self.tune_ok is None:
            return HANDSHAKE_FRAME_LIMIT
        return max((self.tune_ok.frame_max or max_frame) - FRAME_OVERHEAD, 0)

    def fits(self, tune: ConnectionTune) -> bool:
        """Whether a broker that offers ``tune`` can keep what the client has agreed to."""
        agreed = self.tune_ok
        if agreed is None:
            return True
        return _within(agreed.channel_max, tune.channel_max) and _within(
            agreed.frame_max, tune.frame_max
        )

    def link_tune_ok(self, heartbeat: int) -> bytes:
        """The payload of tune-ok for a link: the client's limits, the link's own heartbeat (s)."""
        agreed = self.tune_ok
        if agreed is None:
            raise AssertionError("the client has agreed to nothing yet")
        return encode_method(ConnectionTuneOk(agreed.channel_max, agreed.frame_max, heartbeat))


def _within(agreed: int, offered: int) -> bool:
    """Zero means no limit on either side."""
    return offered == 0 or 0 < agreed <= offered


def _user(method: ConnectionStartOk) -> str:
    """The user name in the response, if the mechanism has one in clear; empty if not."""
    if method.mechanism == "PLAIN":
        parts = method.response.split(b"\0")
        return parts[1].decode("utf-8", "replace") if len(parts) == 3 else ""
    if method.mechanism == "AMQPLAIN":
        response = method.response
        try:
            table, _ = decode_table(len(response).to_bytes(4) + response, 0)
        except ProtocolViolation:
            return ""
        login = table.get("LOGIN")
        return login if isinstance(login, str) else ""
    return ""
