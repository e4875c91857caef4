"""The consumers of a channel: what has to be said to have them again."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from warrener.amqp.methods import BasicConsume, Method
from warrener.facts.ids import NodeName


class Consumer:
    """``method`` is the consume that makes it again: with its tag, its queue's name, and an answer.

    ``prefetch`` is the basic.qos that was in force when it was made: per-consumer limits belong to
    the consumers made after them. ``parked_since`` is set while its queue can't be consumed from.
    """

    __slots__ = (
        "attempts",
        "bereft",
        "cancelling",
        "is_stream",
        "judging",
        "last_message",
        "led_by",
        "link_tag",
        "method",
        "parked_since",
        "prefetch",
        "retry_at",
        "started_in",
        "why_parked",
    )

    def __init__(
        self, method: BasicConsume, prefetch: Method | None, *, stream: bool = False
    ) -> None:
        self.method = method
        self.is_stream = stream or "x-stream-offset" in (method.arguments or {})
        self.led_by: NodeName | None = None  # when the broker cancelled it
        self.link_tag = method.consumer_tag  # what its link calls it
        self.started_in = 0  # the channel's epoch
        self.prefetch = prefetch
        self.parked_since: float | None = None
        self.why_parked = ""
        self.retry_at = 0.0
        self.attempts = 0
        self.bereft = False  # its link was lost, and it hasn't been started since
        self.judging = False  # the broker cancelled it; whether its queue is gone is being asked
        self.cancelling = False  # the client has asked for its end
        self.last_message: bytes | None = None  # of a stream: says where to go on

    @property
    def tag(self) -> str:
        """Its consumer tag."""
        return self.method.consumer_tag

    @property
    def queue(self) -> str:
        """Its queue."""
        return self.method.queue

    def park(self, now: float, why: str) -> None:
        """Its queue is away."""
        if self.parked_since is None:
            self.parked_since = now
        self.why_parked = why
        self.attempts += 1
        self.retry_at = now + min(0.1 * 2**self.attempts, 4.0)
        self.judging = False

    def resume(self) -> None:
        """It consumes."""
        self.parked_since = None
        self.attempts = 0
        self.bereft = False
        self.why_parked = ""
        self.judging = False


class Consumers:
    """By tag, in the order in which they were made.

    ``settles``: whether their deliveries are to be settled; None if they differ in that.
    ``stepped``: whether each delivery has to be looked at, instead of a run at once.
    """

    __slots__ = ("_aliases", "_by_tag", "_tell", "settles", "stepped")

    def __init__(self, tell: Callable[[Mapping[str, int]], None] = lambda _: None) -> None:
        self._tell = (
            tell  # how many there are by queue, of those whose deliveries are to be settled
        )
        self._by_tag: dict[str, Consumer] = {}
        self._aliases: dict[str, Consumer] = {}  # tags of the present link that aren't the client's
        self.settles: bool | None = True
        self.stepped = False

    def __len__(self) -> int:
        return len(self._by_tag)

    def __iter__(self) -> Iterator[Consumer]:
        return iter(list(self._by_tag.values()))

    def get(self, tag: str) -> Consumer | None:
        """The consumer of that tag."""
        return self._by_tag.get(tag)

    @property
    def has_aliases(self) -> bool:
        """Whether the present link calls some of them otherwise than the client."""
        return bool(self._aliases)

    def on_link(self, tag: str) -> Consumer | None:
        """The consumer that the present link calls so, or called so before."""
        return self._aliases.get(tag) or self._by_tag.get(tag)

    def rename(self, consumer: Consumer) -> None:
        """Another tag for the present link, of the same length in bytes.

        RabbitMQ's channel (3.10) crashes at the first delivery to a consumer whose tag was used
        before on the channel, if deliveries of the former one are unsettled.
        """
        tag = consumer.tag.encode("utf-8", "surrogateescape")
        for last in range(1, 256):
            other = (tag[:-1] + bytes([last])).decode("utf-8", "surrogateescape")
            if other not in self._by_tag and other not in self._aliases:
                self._aliases[other] = consumer
                consumer.link_tag = other
                break
        self._changed()

    def new_link(self) -> None:
        """The next link knows none of them, and calls them as the client does."""
        self._aliases.clear()
        for consumer in self._by_tag.values():
            consumer.link_tag = consumer.tag
        self._changed()

    def add(self, consumer: Consumer) -> None:
        """One more."""
        self._by_tag[consumer.tag] = consumer
        self._changed()

    def remove(self, tag: str) -> None:
        """One less, if it was there."""
        self._by_tag.pop(tag, None)
        self._changed()

    def clear(self) -> None:
        """None is left."""
        self._by_tag.clear()
        self._aliases.clear()
        self._changed()

    def parked(self) -> int:
        """How many wait for their queue."""
        return sum(1 for consumer in self._by_tag.values() if consumer.parked_since is not None)

    def _changed(self) -> None:
        kinds = {consumer.method.no_ack for consumer in self._by_tag.values()}
        self.settles = None if len(kinds) > 1 else False in kinds or not kinds
        self.stepped = self.settles is None or any(c.is_stream for c in self._by_tag.values())
        self.stepped = self.stepped or bool(self._aliases)
        self._tell(Counter(c.queue for c in self._by_tag.values() if not c.method.no_ack))
