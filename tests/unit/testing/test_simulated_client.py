from tests.unit.testing.peer import Dice, Peer, three_nodes

from warrener.amqp.methods import (
    BasicAck,
    BasicNack,
    BasicPublish,
    BasicReject,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpenOk,
    ConnectionClose,
    ConnectionCloseOk,
    Method,
    encode_method_frame,
)
from warrener.testing.simulated_client import WINDOW, Habits, SimulatedClient
from warrener.testing.simulated_wire import ContentAssembler, FrameSplitter, Said


class Pair:
    """A client straight at a node."""

    def __init__(self, habits: Habits) -> None:
        self.cluster, _ = three_nodes()
        self.peer = Peer(self.cluster)
        self.client = SimulatedClient(habits, Dice())
        self.said: list[Said] = []
        self._splitter = FrameSplitter()
        self._contents = ContentAssembler()
        self._first = 8

    def exchange(self) -> None:
        """Both sides' bytes arrive, and the cluster does its work."""
        link = self.peer.link
        while self.client.output or link.output:
            data = bytes(self.client.output)
            self.client.output.clear()
            for frame in self._splitter.feed(data[self._first :]):
                if (said := self._contents.take(frame)) is not None:
                    self.said.append(said)
            self._first = 0 if data else self._first
            link.input += data
            link.process(len(data))
            self.client.take(link.take_output(len(link.output)))

    def live(self, acts: int) -> None:
        """A life without trouble."""
        self.exchange()
        for _ in range(acts):
            self.client.act()
            self.exchange()
            self.peer.delivers()
            self.peer.confirms()
            self.exchange()

    @property
    def halfway(self) -> bool:
        """Whether the client is in the middle of a content."""
        return bool(self._contents.unfinished)

    def methods(self, *kinds: type[Method]) -> list[Method]:
        return [said.method for said in self.said if isinstance(said.method, kinds)]


def test_it_shakes_hands_and_does_what_its_habits_say() -> None:
    pair = Pair(Habits(channels=3, queues=("q", "c"), pipelines=True, interleaves=True))
    pair.live(600)
    assert pair.client.told is None
    kinds = {type(said.method).__name__ for said in pair.said}
    wanted = "BasicAck BasicNack BasicReject BasicQos BasicGet BasicConsume BasicCancel "
    wanted += "BasicPublish ConfirmSelect QueueDeclare ChannelOpen ChannelClose"
    assert kinds >= set(wanted.split())
    assert not pair.peer.link.closing


def test_habits_keep_it_from_the_rest() -> None:
    pair = Pair(Habits(publishes=False, gets=False, closes=False))
    pair.live(300)
    assert not pair.methods(BasicPublish, ChannelClose)


def test_it_settles_each_delivery_once() -> None:
    pair = Pair(Habits(channels=1, closes=False))
    pair.live(500)
    tags: set[int] = set()
    for said in pair.said:
        match said.method:
            case BasicAck(tag, False) | BasicNack(tag, False) | BasicReject(tag):
                assert tag not in tags
                tags.add(tag)
            case BasicAck(tag, True) | BasicNack(tag, True):
                tags |= set(range(1, tag + 1))
    assert len(tags) > 20


def test_a_clumsy_one_is_told_off_and_opens_its_channel_again() -> None:
    pair = Pair(Habits(channels=1, clumsy=True, closes=False))
    pair.live(600)
    assert pair.methods(ChannelCloseOk)
    assert pair.said[-1].method != pair.methods(ChannelCloseOk)[-1]


def test_it_waits_when_its_window_is_full() -> None:
    pair = Pair(Habits(channels=1, consumes=False, gets=False, closes=False))
    pair.exchange()
    for _ in range(300):
        pair.client.act()
        pair.exchange()
    assert len(pair.methods(BasicPublish)) == WINDOW
    assert "unconfirmed" in pair.client.waits_for()[0]
    pair.peer.confirms()
    pair.exchange()
    pair.client.settle()
    pair.exchange()
    assert pair.client.waits_for() == []


def test_a_close_in_the_middle_of_a_content_waits_for_its_end() -> None:
    pair = Pair(Habits(channels=1, interleaves=True))
    pair.live(3)
    while not pair.halfway:
        pair.client.act()
        pair.exchange()
    pair.client.take(encode_method_frame(1, ChannelClose(404, "NOT_FOUND")))
    pair.exchange()  # raises if the content were left open
    assert pair.methods(ChannelCloseOk)


def test_it_settles_everything_before_it_leaves() -> None:
    pair = Pair(Habits(queues=("q",), closes=False))
    pair.live(200)
    pair.client.close()
    pair.exchange()
    assert pair.client.closed
    assert pair.client.told is None
    assert pair.peer.link.dead
    assert not pair.cluster.queues["q"].unsettled


def test_it_answers_a_close_of_the_other_side_and_falls_silent() -> None:
    pair = Pair(Habits())
    pair.live(20)
    close = ConnectionClose(320, "CONNECTION_FORCED - away")
    pair.client.take(encode_method_frame(0, close))
    assert pair.client.told == close
    pair.exchange()
    assert pair.methods(ConnectionCloseOk)
    pair.client.act()
    pair.client.take(encode_method_frame(1, ChannelOpenOk()))
    assert not pair.client.output
