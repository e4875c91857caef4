"""How far RabbitMQ is on a node whose Erlang VM runs."""

from dataclasses import dataclass
from enum import StrEnum

from warrener.facts.ids import NodeName


class BootState(StrEnum):
    """What RabbitMQ says of itself."""

    BOOTING = "booting"
    READY = "ready"
    STOPPED = "stopped"  # by stop_app, or it has paused itself as a minority
    OTHER = "other"  # on its way down, starting its plugins, or a word of a newer version


class BootWait(StrEnum):
    """What a boot is waiting for at the moment of a look."""

    NAMES = "names"  # for Erlang's global name service to agree with all connected nodes
    TABLES = "tables"  # for tables that other nodes have
    OTHER = "other"  # it works, or waits for something that isn't known here


@dataclass(frozen=True, slots=True)
class BootLook:
    """A look at one node. ``connected``: the nodes with which its Erlang VM is connected;
    ``where``: the functions that the boot is in, the innermost last, for people."""

    state: BootState
    waits: BootWait = BootWait.OTHER
    connected: frozenset[NodeName] = frozenset()
    where: str = ""
