"""Untrusted bytes never crash a session, and no session is leaked.

The broker's side answers as a broker does as long as the session lets it, and misbehaves in one
run of eight; time jumps and links break now and then. What leaves the session is checked with a
parser of the test's own: whole frames only, to both sides, and nothing after the end.
"""

import importlib.util
import os
import sys
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

from warrener.amqp.constants import PROTOCOL_HEADER
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsumeOk,
    BasicNack,
    BasicQosOk,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpenOk,
    ConfirmSelectOk,
    QueueDeclareOk,
)
from warrener.balancer.core.commands import Connect, Finished, SendClient, SendLink
from warrener.balancer.core.link import Link
from warrener.balancer.core.states import ClientState, LinkState
from warrener.facts.settings import BalancerSettings
from warrener.testing.playbook import OPEN_OK, START, TUNE, Playbook, encode


def _load(name: str) -> ModuleType:
    """A module beside this one: tests are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


mutations = _load("mutations")

_ANSWERS = {
    LinkState.AWAIT_START: encode(START),
    LinkState.AWAIT_TUNE: encode(TUNE),
    LinkState.AWAIT_OPEN_OK: encode(OPEN_OK),
}
_BROKER_SAYS = (
    ChannelOpenOk(),
    ChannelCloseOk(),
    ConfirmSelectOk(),
    BasicQosOk(),
    BasicConsumeOk("tag"),
    BasicCancelOk("tag"),
    QueueDeclareOk("q", 0, 0),
    BasicAck(1),
    BasicAck(2, multiple=True),
    BasicNack(1),
    BasicCancel("tag"),
    ChannelClose(404, "NOT_FOUND - no queue", 60, 20),
)
SETTINGS = BalancerSettings(max_frame=1 << 20)


class Fuzz:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.play = Playbook("n1", "n2", settings=SETTINGS)
        if self.chance.random() < 0.8:
            self.play.knows(("q", "n2"), ("work", "n1"), ("down", "down n2", "classic"))
        self.to_client = bytearray()
        self.to_link: dict[int, bytearray] = {}
        self.finished = 0
        self.foreign = False

    def check(self) -> None:
        """Take note of what the session did."""
        for command in self.play.commands:
            assert not self.finished, f"{command} after the end"
            match command:
                case SendClient(data):
                    self.to_client += data
                case SendLink(link, data):
                    self.to_link[link] += data
                case Connect(link, _):
                    self.to_link[link] = bytearray()
                case Finished():
                    self.finished += 1
        self.foreign |= self.play.session.state is ClientState.FOREIGN

    def broker_turn(self) -> None:
        """The brokers answer, or do something worse."""
        for _ in range(6):
            home = self.link()
            if home is None or self.finished:
                return
            self.play._link = home.id
            trouble = self.chance.random()
            if trouble < 0.01:
                self.play.link_breaks("connection reset by peer")
            elif home.state is LinkState.CONNECTING:
                self.play.link_connects()
            elif trouble < 0.02 or (home.state is LinkState.OPEN and trouble < 0.05):
                self.play.node_sends(mutations.stream(mutations.BROKER_STREAMS, self.chance))
            elif home.state in _ANSWERS:
                self.play.node_sends(_ANSWERS[home.state])
            elif home.state is LinkState.OPEN and trouble < 0.3:
                method = self.chance.choice(_BROKER_SAYS)
                self.play.node_sends((self.chance.randint(1, 2), method))
            elif trouble < 0.31:
                self.play.move_off(home.backend.name)
            else:
                return
            self.check()

    def link(self) -> Link | None:
        """One of the links that the session has."""
        session = self.play.session
        if session.board is None:
            return session.home
        links = list(session.board.links.by_number.values())
        return self.chance.choice(links) if links else None

    def run(self) -> None:
        """The client's stream, in chunks, with the broker's turns between them."""
        data = mutations.stream(mutations.CLIENT_STREAMS, self.chance)
        for chunk in mutations.chunks(data, self.chance):
            if self.finished:
                break
            self.play.client_sends(chunk)
            self.check()
            self.broker_turn()
            if self.chance.random() < 0.05:
                self.play.after(self.chance.choice((0.5, 3.5, 11, 130)))
                self.check()
        if not self.finished:
            self.play.client_leaves()
            self.check()
        for _ in range(60):  # what was said before it left may still wait for a node
            if self.finished:
                break
            self.play.after(1.0)
            self.check()
        self.verify()

    def verify(self) -> None:
        """What must hold at the end."""
        assert self.finished == 1
        assert all(row.sessions == 0 for row in self.play.table.statistics())
        if self.foreign:
            return
        assert whole_frames(bytes(self.to_client))
        for data in self.to_link.values():
            assert not data or data.startswith(PROTOCOL_HEADER)
            assert whole_frames(bytes(data[8:]))


def whole_frames(data: bytes) -> bool:
    """Whether the bytes are frames from end to end."""
    pos = 0
    while pos < len(data):
        pos += 8 + int.from_bytes(data[pos + 3 : pos + 7])
        if pos > len(data) or data[pos - 1] != 0xCE:
            return False
    return True


def _run(first: int, number: int) -> None:
    for seed in range(first, first + number):
        try:
            Fuzz(seed).run()
        except Exception as problem:
            raise AssertionError(f"seed {seed}: {type(problem).__name__}: {problem}") from problem


def test_a_few_thousand_mutated_streams() -> None:
    _run(10_000_000, 4_000)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_200_000_mutated_streams() -> None:
    _run(0, int(os.environ.get("WARRENER_FUZZ", "200000")))
