"""The balancer's ports before a cluster that somebody else runs: chosen as for one of our own."""

from collections.abc import Collection
from contextlib import ExitStack

from warrener.cluster.drivers.attached_record import Record
from warrener.cluster.drivers.ports import (
    USUAL_AMQP_PORT,
    USUAL_AMQPS_PORT,
    claim_balancer_port,
    claim_block,
)
from warrener.facts.settings import BalancerSettings
from warrener.facts.tls import TlsPart, TlsSettings


def claim_ports(
    balancer: BalancerSettings,
    speaks: TlsSettings,
    record: Record | None,
    avoid: Collection[int],
    *,
    seed: str,
    holds: ExitStack,
) -> tuple[dict[bool, int], int]:
    """The port with TLS (True) and the one without (False), as far as there are to be; and the
    base of the block that spare ones come from. Those of last time (``record``), the usual ones, or
    spare ones; none of ``avoid``, where nodes are said to be on this machine. They are let go with
    ``holds``. Raises PortTaken."""
    block, lock = claim_block(0, wanted=None, last=record.base if record else None, seed=seed)
    holds.callback(lock.release)
    found: dict[bool, int] = {}
    with_tls = speaks.has(TlsPart.CLIENTS)
    for tls in (True, False):
        if not (with_tls if tls else not with_tls or balancer.plain):
            continue
        if tls:
            wanted, usual = balancer.tls_port, USUAL_AMQPS_PORT
            last = record.tls_port if record else None
        else:
            wanted, usual = balancer.port, USUAL_AMQP_PORT
            last = record.balancer_port if record else None
        last = None if last in avoid else last
        if not wanted and usual in avoid:
            # A node is said to be there, by a forwarded port that isn't forwarded yet.
            wanted = last or next(one for one in block.spares if one not in found.values())
        found[tls], lock = claim_balancer_port(
            balancer.host,
            wanted=wanted,
            last=last,
            spares=block.spares,
            usual=usual,
            key="tls_port" if tls else "port",
        )
        holds.callback(lock.release)
    return found, block.base
