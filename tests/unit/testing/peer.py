"""The other end of a simulated link, for tests of the simulated cluster: says and hears methods."""

from random import Random

from warrener.amqp.constants import FRAME_HEARTBEAT, PROTOCOL_HEADER
from warrener.amqp.methods import (
    BasicPublish,
    ChannelOpen,
    ConfirmSelect,
    ConnectionOpen,
    ConnectionStartOk,
    ConnectionTuneOk,
    Method,
    encode_method_frame,
)
from warrener.facts.ids import NodeName
from warrener.testing.simulated_cluster import SimulatedCluster
from warrener.testing.simulated_happenings import Happening
from warrener.testing.simulated_link import SimulatedLink
from warrener.testing.simulated_wire import (
    ContentAssembler,
    FrameSplitter,
    Message,
    body_of,
    encode_message,
)

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))


class Dice:
    """A test's chance."""

    def __init__(self) -> None:
        self._random = Random(7)

    def below(self, limit: int) -> int:
        return self._random.randrange(limit)


def three_nodes() -> tuple[SimulatedCluster, list[Happening]]:
    """A cluster with a quorum queue ``q`` led by n1 and a classic queue ``c`` on n1."""
    log: list[Happening] = []
    cluster = SimulatedCluster((N1, N2, N3), Dice(), log.append)
    cluster.declare("q", "quorum", N1)
    cluster.declare("c", "classic", N1)
    return cluster, log


class Peer:
    """A connection to one node."""

    def __init__(self, cluster: SimulatedCluster, node: NodeName = N2) -> None:
        self.cluster = cluster
        number = max(cluster.links, default=0) + 1
        link = cluster.connect(number, node)
        assert link is not None
        self.link: SimulatedLink = link
        self._splitter = FrameSplitter()
        self._contents = ContentAssembler()

    def sends(self, data: bytes) -> None:
        """Bytes, read by the node at once."""
        self.link.input += data
        self.link.process(len(self.link.input))

    def says(self, channel: int, *methods: Method) -> None:
        """Methods on a channel."""
        self.sends(b"".join(encode_method_frame(channel, method) for method in methods))

    def publishes(self, channel: int, number: int, key: str = "q", mandatory: bool = False) -> None:
        """Message ``number`` by the default exchange."""
        message = Message(number, 0, body_of(number))
        self.sends(b"".join(encode_message(channel, BasicPublish("", key, mandatory), message)))

    def hears(self) -> list[Method]:
        """Methods that came since the last time."""
        return [method for _, method, _ in self.hears_all()]

    def hears_all(self) -> list[tuple[int, Method, Message | None]]:
        """The same with channels and contents."""
        found = []
        data = b""
        while self.link.output:
            data += self.link.take_output(len(self.link.output))
        for frame in self._splitter.feed(data):
            if frame.kind != FRAME_HEARTBEAT:
                said = self._contents.take(frame)
                if said is not None:
                    found.append(tuple(said))
        return found  # type: ignore[return-value]  # a NamedTuple as a tuple

    def opens(self) -> "Peer":
        """The handshake."""
        self.sends(PROTOCOL_HEADER)
        self.says(0, ConnectionStartOk({}, "PLAIN", b"\0guest\0guest", "en_US"))
        self.says(0, ConnectionTuneOk(2047, 131072, 10), ConnectionOpen("/"))
        self.hears()
        return self

    def opens_channel(self, channel: int = 1, confirms: bool = False) -> "Peer":
        """A channel, with confirms or without."""
        self.says(channel, ChannelOpen(), *([ConfirmSelect()] if confirms else []))
        self.hears()
        return self

    def delivers(self) -> None:
        """The cluster delivers all it can."""
        while queues := self.cluster.deliverable():
            self.cluster.deliver(queues[0])

    def confirms(self) -> None:
        """The cluster confirms all it can."""
        while channels := self.cluster.confirmable():
            self.cluster.confirm(channels[0])
