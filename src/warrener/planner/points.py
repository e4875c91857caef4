"""How single queues did over a stretch of history, at the loads that there were. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from warrener.planner.samples import Key, QueueSample, Sample, merge

POINTS: Final = 20
"""Of a queue: in five minutes, each is the mean of a sample or two."""


@dataclass(frozen=True, slots=True)
class Point:
    """A queue over a part of the time: messages a second that came and were acked, and how many
    were in it."""

    published: float
    acked: float
    length: float

    @property
    def response_time(self) -> float | None:
        """R = L / X, measured (Little's law); None without traffic."""
        return self.length / self.acked if self.acked > 0 else None


def points(
    samples: Sequence[Sample], wanted: Collection[Key], number: int = POINTS
) -> Mapping[Key, tuple[Point, ...]]:
    """Means of ``number`` equal parts of the time from the first sample to the last, as far as
    there are samples, of the ``wanted`` queues that there is something of."""
    samples = sorted(samples, key=lambda sample: sample.at)
    if not samples:
        return {}
    first, last = samples[0].at, samples[-1].at
    length = (last - first) / number or 1.0
    parts: dict[int, list[Sample]] = {}
    for sample in samples:
        parts.setdefault(min(number - 1, int((sample.at - first) / length)), []).append(sample)
    found: dict[Key, list[Point]] = {}
    for part in parts.values():
        only = [Sample(one.at, one.seconds, (), queues=_of(one.queues, wanted)) for one in part]
        for queue in merge(only).queues:
            point = Point(queue.published, queue.acked, queue.ready + queue.unacked)
            found.setdefault(queue.key, []).append(point)
    return {key: tuple(line) for key, line in found.items()}


def _of(queues: Sequence[QueueSample], wanted: Collection[Key]) -> tuple[QueueSample, ...]:
    return tuple(queue for queue in queues if queue.key in wanted)
