"""What was said and what happened, in order, as seen at the session's four edges.

    C>  the client's words as they reach the session        <C  what the session tells the client
    L>  what the session tells a link                       <L  a node's words as they reach it

A word is a method with all of its content, written down when its last byte passes. Beside them
stand the brokers' own happenings and what the world did.
"""

from typing import Literal, NamedTuple

from warrener.amqp.constants import FRAME_HEARTBEAT, PROTOCOL_HEADER
from warrener.amqp.methods import Method
from warrener.facts.ids import NodeName
from warrener.testing.simulated_happenings import Happening
from warrener.testing.simulated_wire import ContentAssembler, FrameSplitter, Message

Edge = Literal["C>", "<C", "L>", "<L"]


class Word(NamedTuple):
    """A method at an edge; ``link`` is 0 at the client's."""

    edge: Edge
    link: int
    channel: int
    method: Method
    message: Message | None


class Trouble(NamedTuple):
    """Something the world did to a node or link: crash, freeze, drain, cut ...."""

    what: str
    node: NodeName | None
    link: int = 0


class LinkGone(NamedTuple):
    """A link came to its end: ``lost`` is told to the session, ``closed`` and ``aborted`` are its
    own doing."""

    link: int
    how: Literal["lost", "closed", "aborted"]


class Passed(NamedTuple):
    """Time passed; ``now`` is the new time."""

    now: float


class Over(NamedTuple):
    """The session said Finished."""

    reason: str
    detail: str


Entry = Word | Happening | Trouble | LinkGone | Passed | Over
Transcript = list[Entry]


class Ear:
    """Listens at one edge and writes words down. Raises Malformed for what is no AMQP."""

    def __init__(self, edge: Edge, link: int, transcript: Transcript) -> None:
        self._edge: Edge = edge
        self._link = link
        self._transcript = transcript
        self._splitter = FrameSplitter()
        self._contents = ContentAssembler()
        self._header = len(PROTOCOL_HEADER) if edge in ("C>", "L>") else 0

    def hear(self, data: bytes) -> None:
        """More of the stream."""
        if self._header:
            skipped = min(self._header, len(data))
            self._header -= skipped
            data = data[skipped:]
        for frame in self._splitter.feed(data):
            if frame.kind == FRAME_HEARTBEAT:
                continue
            said = self._contents.take(frame)
            if said is not None:
                self._transcript.append(Word(self._edge, self._link, *said))

    @property
    def halfway(self) -> str:
        """What has begun and not ended, in words; empty if nothing has."""
        if self._splitter.rest:
            return f"{self._splitter.rest} bytes of a frame"
        if self._contents.unfinished:
            return f"a content on channel {', '.join(map(str, self._contents.unfinished))}"
        return ""


def describe(entry: Entry) -> str:
    """One line for people."""
    if not isinstance(entry, Word):
        return f"      {entry}"
    link = f"{entry.link}" if entry.link else " "
    text = f"{entry.edge}{link} {entry.channel}: {entry.method}"
    if entry.message is not None:
        text += f" #{entry.message.number}"
        if entry.message.delivery:
            text += f" delivery {entry.message.delivery}"
    return text
