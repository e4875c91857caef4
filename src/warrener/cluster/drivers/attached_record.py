"""What a state folder remembers of a cluster that somebody else runs."""

from pathlib import Path
from typing import Final

import msgspec

from warrener.cluster.errors import ClusterError

RECORD: Final = "attached.json"
"""The file of the state folder that says what it is attached to. No password is in it."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered between two runs."""

    urls: tuple[str, ...]
    user: str
    cluster_name: str = ""
    balancer_port: int | None = None
    tls_port: int | None = None
    base: int | None = None


def read_record(state: Path) -> Record | None:
    """What a state folder was attached to; None if it wasn't."""
    try:
        raw = (state / RECORD).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(raw, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ClusterError(
            f"{state / RECORD} is damaged; remove it, nothing is lost but the balancer's port"
        ) from None
