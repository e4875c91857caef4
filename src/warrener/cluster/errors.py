"""What can go wrong when a cluster is run. Each text says what, where and what to do."""

from collections.abc import Sequence
from pathlib import Path


class ClusterError(Exception):
    """A step on a cluster failed. ``str`` is for people and complete."""


class RabbitMQMissing(ClusterError):
    """No RabbitMQ where one was expected."""


class ErlangMissing(ClusterError):
    """RabbitMQ is there, the Erlang it runs on is not."""


class UnknownPlugin(ClusterError):
    """The installation has no such plugin."""


class PortTaken(ClusterError):
    """Somebody else has a port that was asked for. ``holder`` is empty if that can't be seen."""

    def __init__(self, port: int, what: str, holder: str, advice: str) -> None:
        self.port = port
        self.holder = holder
        by = f"by {holder}" if holder else "by a process of another user"
        super().__init__(f"port {port} ({what}) is taken {by}; {advice}")


class NoFreePorts(ClusterError):
    """Every block of ports is in use."""


class HostUnreachable(ClusterError):
    """The machine that a node runs on can't be asked; what runs there is not known."""


class HostRefused(HostUnreachable):
    """A host that is there, but that we don't trust, or that doesn't let us in."""


class HostsNotReady(ClusterError):
    """What keeps a cluster from being started on its hosts, all of it at once."""


class StateInUse(ClusterError):
    """Another process drives the cluster in this folder."""


class StateBroken(ClusterError):
    """A file of the state folder can't be read."""


class MembersDiffer(ClusterError):
    """The folder's cluster has other nodes than are wanted, and this step can't change that."""


class StartFailed(ClusterError):
    """A node didn't come up. ``text``: how; ``lines`` are the last telling lines of its log."""

    def __init__(self, node: str, text: str, lines: Sequence[str], log: Path) -> None:
        self.node = node
        self.text = text
        self.lines = tuple(lines)
        self.log = log
        told = "".join(f"\n    {line}" for line in lines)
        super().__init__(f"{node} {text}; its log: {log}{told}")


class BootFailed(StartFailed):
    """A node's process ended by itself while it booted."""


class BootSilent(BootFailed):
    """A node's process is there and has said nothing since it was started."""


class ToolFailed(ClusterError):
    """One of RabbitMQ's command-line tools failed. ``output`` is the file with all it printed."""

    def __init__(self, text: str, output: Path) -> None:
        self.output = output
        super().__init__(f"{text}; all it printed: {output}")


class NotUnderstood(ClusterError):
    """RabbitMQ answered something else than was expected of this version."""


class NodeBusy(ClusterError):
    """Another operation on the same node is under way."""


class NotRunning(ClusterError):
    """The node has to run for this, and doesn't."""


class UnknownNode(ClusterError):
    """A node that isn't there, or can't be."""


class DataLost(ClusterError):
    """A member without its data: it would found a cluster of its own."""


class ReviveFailed(ClusterError):
    """RabbitMQ says that a node was revived, but it doesn't serve."""


class SettingRefused(ClusterError):
    """RabbitMQ's own check of a configuration says no."""
