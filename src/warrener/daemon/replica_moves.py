"""Replicas of queues move, and are looked at again.

    a batch: added on the new nodes -> waited for until they are in sync -> taken away on the old
    in the end: is every new one still there? -> those that aren't are added once more

The second look is needed for streams (RabbitMQ 3.10.8, read in ``rabbit_stream_coordinator``): a
replica that is to go is deleted some time after it was said, again and again until its node
answers, and possibly twice, where the coordinator has changed its leader meanwhile. So, of a node
that gets a replica again which it has just lost,

- ``add_replica`` fails for a fraction of a second, as the stream's writer is started anew;
- it answers ok and does nothing while the old one is still being deleted. This is
  asked for first, and waited for;
- the second of two deletions takes the new replica away, some seconds later, whoever it was meant
  for.

With quorum queues neither was seen; they are looked at all the same.

On a node that was made anew, RabbitMQ puts a stream's replica back by itself, after up to a quarter
of a minute; that is waited for as well.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from warrener.cluster.replicas import REPLICATED, passes
from warrener.control.wire import Refusal, Refused
from warrener.daemon.steps import Steps
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, short_name
from warrener.facts.replicas import NO_REPLICA, Position, ReplicaMove
from warrener.facts.snapshot import ClusterSnapshot, QueueView
from warrener.management.client import ManagementError

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

BATCH: Final = 25
"""Queues whose replicas move at a time: one call of RabbitMQ's tool takes half a second or more,
and progress is told in between."""

SYNC_TIMEOUT: Final = 120.0
"""Seconds without any progress until a new replica counts as stuck. A long queue takes longer than
that to copy, but its position grows meanwhile."""

SYNC_LOOK: Final = 0.5
"""Seconds between two looks at how far new replicas are."""

GOING_TIMEOUT: Final = 30.0
"""Seconds for an old replica to go. Where its node is there that takes a fraction of one; RabbitMQ
tries again after 5 or 10."""

AGAIN: Final = 3
"""How often a replica that vanishes is added once more."""

VANISHED: Final = 5.0
"""Seconds without any sign of a replica that RabbitMQ has said it added. One that comes shows
itself within one."""

PUT_BACK: Final = 30.0
"""Seconds without any sign of a replica that RabbitMQ puts back by itself. Where that fails it
tries again after 5 or 10."""


class ReplicaMoves:
    """What one operation moves."""

    def __init__(self, service: "Service", steps: Steps) -> None:
        self._service = service
        self._steps = steps
        self._added: dict[tuple[str, str, NodeName], ReplicaMove] = {}

    @property
    def added(self) -> bool:
        """Whether there are new replicas."""
        return bool(self._added)

    async def move(
        self,
        moves: Sequence[ReplicaMove],
        *,
        about: NodeName | None = None,
        to_the_end: bool = False,
    ) -> tuple[dict[str, str], bool]:
        """Queues whose replicas couldn't be moved, and why; whether the caller ended it early."""
        failed: dict[str, str] = {}
        subject = short_name(about) if about is not None else "replicas"
        text = "hands its replicas over" if about is not None else "move"
        for at in range(0, len(moves), BATCH):
            if self._steps.abandoned.is_set() and not to_the_end:
                return failed, True
            self._steps.count(subject, text, at, len(moves))
            await self._move_batch(moves[at : at + BATCH], failed, subject)
        if moves:
            done = "replicas are where they should be"
            self._steps.say(subject, done, done=True, failed=bool(failed))
        return failed, False

    async def wait_for(self, coming: Sequence[ReplicaMove]) -> dict[str, str]:
        """Replicas that RabbitMQ puts back by itself, as it does with those of streams on a node
        that was made anew: the queues of those that it doesn't, and why."""
        failed: dict[str, str] = {}
        for at in range(0, len(coming), BATCH):
            batch = coming[at : at + BATCH]
            self._note(batch)
            stuck = await self._until_in_sync(batch, "replicas", PUT_BACK)
            failed |= {told(move): _behind(move) for move in stuck}
        return failed

    async def look_again(self) -> tuple[ClusterSnapshot, dict[str, str]]:
        """The cluster once every new replica is there, or was added ``AGAIN`` times; the queues of
        those that are not, and why."""
        failed: dict[str, str] = {}
        for left in reversed(range(AGAIN + 1)):
            view = await must_look(self._service)
            gone, silent = await self._missing(view)
            stuck = await self._until_in_sync(silent, "replicas") if silent else []
            failed = {told(move): _behind(move) for move in stuck}
            if not gone:
                return view, failed
            failed |= {
                told(move): f"its new replica on {move.to} vanished, and was added {AGAIN} times"
                for move in gone
            }
            if left:
                failed = await self._once_more(gone) or failed
        return view, failed

    async def _missing(self, view: ClusterSnapshot) -> tuple[list[ReplicaMove], list[ReplicaMove]]:
        """New replicas that aren't there any more, and those that are listed and can't be seen;
        what became of queues that aren't either is nobody's business. A stream's list of members
        can be late, or stay wrong (3.10.8, where its coordinator's leader changed at the wrong
        moment), so its coordinator has the last word."""
        there = {(queue.vhost, queue.name): queue for queue in view.queues}
        listed, asked = set(), []
        for (vhost, name, node), move in self._added.items():
            queue = there.get((vhost, name))
            if queue is None or queue.type != move.type:
                continue
            if node in queue.members:
                listed.add(move)
            if node not in queue.members or queue.type == "stream":
                asked.append(move)
        if not asked:
            return [], []
        positions = await self._service.cluster.replica_positions(asked)
        unseen = [
            move
            for move, position in zip(asked, positions, strict=True)
            if position.replica == NO_REPLICA
        ]
        return [one for one in unseen if one not in listed], [
            one for one in unseen if one in listed
        ]

    async def _once_more(self, gone: Sequence[ReplicaMove]) -> dict[str, str]:
        self._tell_vanished(gone)
        failed: dict[str, str] = {}
        for at in range(0, len(gone), BATCH):
            await self._add(gone[at : at + BATCH], failed, "replicas")
        return failed

    def _tell_vanished(self, gone: Sequence[ReplicaMove]) -> None:
        for move in gone:
            detail: dict[str, str | int | float | bool] = {"queue": told(move), "type": move.type}
            self._service.events.record(Event("replica.vanished", str(move.to), detail=detail))
        number = len(gone)
        text = f"{number} new one{'s' * (number > 1)} vanished, added once more"
        self._steps.say("replicas", text)

    # -- a batch

    async def _move_batch(
        self, moves: Sequence[ReplicaMove], failed: dict[str, str], subject: str
    ) -> None:
        coming = [move for move in moves if move.to is not None]
        if coming:
            await self._add(coming, failed, subject)
        going = [m for m in moves if m.away is not None and told(m) not in failed]
        if going:
            for number, why in (await self._service.cluster.delete_replicas(going)).items():
                failed[told(going[number])] = f"its replica on {going[number].away} stays: {why}"
        for move in going:
            if move.away is not None:
                self._added.pop((move.vhost, move.queue, move.away), None)

    async def _add(
        self, coming: Sequence[ReplicaMove], failed: dict[str, str], subject: str
    ) -> None:
        added = await self._ask_for(coming, failed, subject)
        self._note(added)
        stuck = await self._until_in_sync(added, subject) if added else []
        failed |= {told(move): _behind(move) for move in stuck}

    def _note(self, added: Sequence[ReplicaMove]) -> None:
        for move in added:
            assert move.to is not None, "whoever comes has a place"
            self._added[move.vhost, move.queue, move.to] = move

    async def _ask_for(
        self, coming: Sequence[ReplicaMove], failed: dict[str, str], subject: str
    ) -> list[ReplicaMove]:
        """Those that RabbitMQ has taken on. What stands in the way and passes is waited for: an old
        replica that is still on its way out, a queue that is busy with the change before."""
        deadline = self._service.monotonic() + GOING_TIMEOUT
        added: list[ReplicaMove] = []
        while coming:
            refused = await self._service.cluster.add_replicas(coming)
            added += [move for number, move in enumerate(coming) if number not in refused]
            late = self._service.monotonic() > deadline
            waiting = [] if late else [n for n, why in refused.items() if passes(why)]
            for number, why in refused.items():
                if number not in waiting:
                    failed[told(coming[number])] = f"a replica on {coming[number].to}: {why}"
            coming = [coming[number] for number in waiting]
            if coming:
                self._steps.say(subject, "waits until a replica can be added")
                await asyncio.sleep(SYNC_LOOK)
        return added

    async def _until_in_sync(
        self, moves: Sequence[ReplicaMove], subject: str, patience: float = VANISHED
    ) -> list[ReplicaMove]:
        """Until each new replica has what its leader had when it was asked first; those that made
        no progress for too long. One that can't be seen for ``patience`` s is added once more."""
        goals: dict[int, int] = {}
        reached: dict[int, int] = {}
        unseen: dict[int, float] = {}
        again: Counter[int] = Counter()
        waiting = set(range(len(moves)))
        deadline = self._service.monotonic() + SYNC_TIMEOUT
        while True:
            asked = sorted(waiting)
            found: list[Position] = await self._service.cluster.replica_positions(
                [moves[at] for at in asked]
            )
            for at, position in zip(asked, found, strict=True):
                if position.leader >= 0:
                    goals.setdefault(at, position.leader)
                if position.replica > reached.get(at, -2):
                    reached[at] = position.replica
                    deadline = self._service.monotonic() + SYNC_TIMEOUT
                if position.replica > NO_REPLICA:
                    unseen.pop(at, None)
                elif position.leader >= 0:
                    unseen.setdefault(at, self._service.monotonic())
                if at in goals and position.replica >= goals[at]:
                    waiting.discard(at)
            if not waiting:
                return []
            if self._service.monotonic() > deadline:
                return [moves[at] for at in sorted(waiting)]
            late = self._service.monotonic() - patience
            lost = [at for at, since in unseen.items() if since <= late and again[at] < AGAIN]
            if lost:
                again.update(lost)
                unseen = {at: since for at, since in unseen.items() if at not in lost}
                self._tell_vanished([moves[at] for at in lost])
                await self._service.cluster.add_replicas([moves[at] for at in lost])
            number = len(waiting)
            text = f"waits for {number} new replica{'s' * (number > 1)} to catch up"
            self._steps.say(subject, text)
            await asyncio.sleep(SYNC_LOOK)


async def must_look(service: "Service") -> ClusterSnapshot:
    """The cluster with the members that each queue has now. Raises Refused if nobody tells."""
    try:
        return await service.cluster.look(whole=True)
    except ManagementError as error:
        raise Refused(
            Refusal.FAILED, f"no node tells which queues there are, try again: {error}"
        ) from None


def _behind(move: ReplicaMove) -> str:
    return f"its replica on {move.to} doesn't catch up"


def told(move: ReplicaMove) -> str:
    """A queue, for people."""
    return move.queue if move.vhost == "/" else f"{move.vhost}/{move.queue}"


def held_by(node: NodeName, view: ClusterSnapshot) -> list[QueueView]:
    """The queues with a replica on a node."""
    return [queue for queue in view.queues if queue.type in REPLICATED and node in queue.members]
