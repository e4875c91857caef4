"""Where every queue is and where every exchange leads, as far as it is known.

What is known comes from three sides:

* snapshots, every two seconds: all queues. A snapshot is older than it looks by the time it took
  (``ClusterSnapshot.took``), so what was learnt in another way meanwhile stays.
* look-ups: one queue that isn't in the last snapshot, or one exchange. Whoever asks for something
  that isn't known gets a ``Lookup`` instead of an answer; the shell carries it out once, however
  many ask, and hands the answer to ``looked_up``.
* what passes through sessions: declares, deletes, binds, and links that break.

Nobody waits for what is known: old routes of an exchange are the answer while the shell refreshes
the exchanges in use, and a queue that has lost its leader is looked up again until it has another
(``stale_lookups``, to be polled). Everything here is a hint for placing channels; being wrong for a
moment costs a detour inside the cluster, never a message.

``version`` grows whenever an answer may have changed, two cases excepted: a ``Lookup`` that turns
into ``None`` because nothing was found (who asked is called back), and that ``None``, which turns
into a ``Lookup`` again after ``NEGATIVE_AGE``.

No clock: ``now`` is passed in, in seconds of any clock that doesn't go backwards. What comes
without it is taken to happen at the latest ``now`` seen, which is fractions of a second old as the
shell polls.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from warrener.balancer.core.bounded import NEGATIVE_AGE, Key, forget_older, make_room, note
from warrener.balancer.core.exchanges import Exchanges
from warrener.facts.ids import NodeName
from warrener.facts.places import (
    AWAY,
    ExchangeRoutes,
    Found,
    Lookup,
    LookupKind,
    QueuePlace,
)
from warrener.facts.snapshot import ClusterSnapshot, QueueView

LOST_MARGIN: Final = 1.0
"""Seconds after a link to a node broke in which a view that has the node leading is not believed:
RabbitMQ needs up to that long to notice (0.6 s were seen on a busy machine)."""

LEADERLESS_AGE: Final = 0.5
"""Seconds until a queue without a leader is looked up again: an election takes 0.2 to 0.5 s."""

LEADERLESS_AT_ONCE: Final = 4
"""Queues without a leader that are looked up at a time: half of what the shell carries out at once,
as each takes RabbitMQ two seconds while a member hangs."""


@dataclass(frozen=True, slots=True)
class DirectoryStatistics:
    """How much a directory keeps."""

    version: int
    queues: int
    exchanges: int
    absent: int
    answers: int


@dataclass(frozen=True, slots=True)
class _Deleted:
    at: float
    former: QueuePlace | None
    sure: bool  # a broker has confirmed it


class Directory:
    """Places of queues and routes of exchanges. Every method is immediate."""

    def __init__(self) -> None:
        self.version = 0
        self.usable = False
        self.error = "nobody has looked at the cluster yet"
        self.troubled_at = -math.inf  # when it last heard that a node is down
        self._classic_away = -1, False  # the version for which it was found out
        self._now = 0.0
        self._queues: dict[Key, QueuePlace] = {}
        self._exchanges = Exchanges()
        self._down: frozenset[NodeName] = frozenset()  # by the last snapshot
        # What a snapshot that was taken before these times must not overwrite:
        self._learnt: dict[Key, float] = {}  # looked up
        self._deleted: dict[Key, _Deleted] = {}
        self._lost: dict[NodeName, float] = {}
        # Queues that weren't found, and when:
        self._absent: dict[Key, float] = {}
        # Queues asked for that have no leader, and when they were last looked up:
        self._leaderless: dict[Key, float] = {}
        # Queues for which a Lookup was given out; True once one was declared since:
        self._pending: dict[Key, bool] = {}

    def __repr__(self) -> str:
        state = "usable" if self.usable else f"unusable: {self.error}"
        return (
            f"Directory({state}, version {self.version}, {len(self._queues)} queues, "
            f"{len(self._exchanges)} exchanges)"
        )

    @property
    def classic_away(self) -> bool:
        """Whether some classic queue is known that can't be used now."""
        version, away = self._classic_away
        if version != self.version:
            away = any(p.type == "classic" and not p.usable for p in self._queues.values())
            self._classic_away = self.version, away
        return away

    def statistics(self) -> DirectoryStatistics:
        """How much is kept."""
        return DirectoryStatistics(
            version=self.version,
            queues=len(self._queues),
            exchanges=len(self._exchanges),
            absent=len(self._absent),
            answers=self._exchanges.answers,
        )

    # -- questions ------------------------------------------------------------------------------

    def place(self, vhost: str, queue: str, now: float) -> QueuePlace | Lookup | None:
        """Where a queue is; a ``Lookup`` if asking the cluster may tell; None if it is unknown and
        not worth asking for now."""
        self._now = now
        if not self.usable:
            return None
        key = (vhost, queue)
        found = self._queues.get(key)
        if found is not None:
            if found.leader is None and found.type != "classic" and key not in self._leaderless:
                make_room(self._leaderless)
                self._leaderless[key] = now - LEADERLESS_AGE
            return found
        absent = self._absent.get(key)
        if absent is not None and now - absent < NEGATIVE_AGE:
            return None
        return self._ask(key)

    def destinations(
        self, vhost: str, exchange: str, routing_key: str, now: float
    ) -> tuple[str, ...] | Lookup | None:
        """The queues that a message with this key would reach, sorted, or a ``Lookup``.

        None if that can't be told: the view is away, the exchange wasn't found or routes by more
        than the key, or the message goes to more queues than it is worth following. The default
        exchange leads to the queue named by the key, whether there is one or not, and needs no
        view. CC and BCC headers of a message aren't considered.
        """
        self._now = now
        if not exchange:
            return (routing_key,)
        if not self.usable:
            return None
        return self._exchanges.destinations(vhost, exchange, routing_key, now)

    def stale_lookups(self, now: float) -> tuple[Lookup, ...]:
        """What to look up now though nobody waits, for the shell to poll some times a second."""
        self._now = now
        if not self.usable:
            return ()
        if self._exchanges.drop_unused(now):
            self.version += 1
        return (*self._leaderless_lookups(now), *self._exchanges.stale(now))

    # -- news -----------------------------------------------------------------------------------

    def apply_snapshot(self, snapshot: ClusterSnapshot | None, now: float, error: str = "") -> None:
        """The cluster's own view, complete at ``now``; None when there is none to rely on."""
        self._now = now
        if snapshot is None:
            self._lose_view(error or "no node's management API answers")
            return
        taken = now - snapshot.took
        forget_older(self._learnt, taken)
        forget_older(self._lost, taken - LOST_MARGIN)
        forget_older(self._absent, now - NEGATIVE_AGE)
        for key in [key for key, deleted in self._deleted.items() if deleted.at < taken]:
            del self._deleted[key]
        running = frozenset(node.name for node in snapshot.nodes if node.running)
        down = frozenset(node.name for node in snapshot.nodes if not node.running)
        if down - self._down:
            self.troubled_at = now
        self._down = down
        queues = dict(self._places(snapshot.queues, running))
        for key in self._deleted:
            queues.pop(key, None)
        for key in self._learnt:
            queues[key] = self._queues[key]
        if not self.usable or queues != self._queues:
            self._queues = queues
            self.version += 1
        for key in self._absent.keys() & queues.keys():
            del self._absent[key]
        self.usable = True
        self.error = ""

    def looked_up(self, lookup: Lookup, found: Found, now: float) -> None:
        """The answer to a ``Lookup``."""
        self._now = now
        key = (lookup.vhost, lookup.name)
        if lookup.kind is LookupKind.QUEUE:
            declared_meanwhile = self._pending.pop(key, False)
            if key in self._leaderless:
                note(self._leaderless, key, now)  # and to the end: the others are next
            if not self.usable:
                return  # nothing would keep it up to date
            if isinstance(found, QueuePlace) and self._place_found(key, found):
                return
            if key not in self._queues and not declared_meanwhile:
                note(self._absent, key, now)
        elif self.usable:
            routes = found if isinstance(found, ExchangeRoutes) else None
            self.version += self._exchanges.looked_up(key, routes, now)

    def noticed_binding(self, vhost: str, exchange: str) -> None:
        """A bind, unbind, declare or delete of an exchange passes through."""
        self.version += self._exchanges.noticed((vhost, exchange), self._now)

    def is_deleted(self, vhost: str, queue: str) -> bool:
        """Whether a broker has confirmed a moment ago that it deleted the queue, and nobody has
        declared it since."""
        deleted = self._deleted.get((vhost, queue))
        return deleted is not None and deleted.sure

    def noticed_deleted(self, vhost: str, queue: str, *, sure: bool = False) -> None:
        """A queue is deleted by a session, or the broker says that it is gone.

        The broker says so too of a queue whose node went down, which is still there; so what it
        was is kept, until a view decides. ``sure``: it has answered a session's queue.delete.
        """
        key = (vhost, queue)
        former = self._queues.pop(key, None)
        if former is not None:
            self.version += 1
        elif key in self._deleted:
            earlier = self._deleted.pop(key)
            former, sure = earlier.former, sure or earlier.sure
        make_room(self._deleted)
        self._deleted[key] = _Deleted(self._now, former, sure)
        self._learnt.pop(key, None)

    def noticed_declared(self, vhost: str, queue: str) -> None:
        """A queue was declared by a session: what wasn't found may be there now."""
        key = (vhost, queue)
        if key in self._pending:
            self._pending[key] = True
        self._deleted.pop(key, None)
        if self._absent.pop(key, None) is not None:
            self.version += 1

    def node_refuses(self) -> None:
        """A link to a node couldn't be opened: what was known of leaders may be out of date."""
        self.troubled_at = self._now

    def node_lost(self, node: NodeName) -> None:
        """A link to a node broke: until a newer view it leads nothing."""
        known = node in self._lost
        self._lost[node] = self.troubled_at = self._now
        if known:
            return  # thousands of sessions lose their links at once; once is enough
        led = [(key, place) for key, place in self._queues.items() if place.leader == node]
        remains: dict[int, QueuePlace] = {}  # by id: thousands of queues share a place
        for key, place in led:
            if id(place) not in remains:
                remains[id(place)] = _without_leader(place)
            self._queues[key] = remains[id(place)]
        self.version += bool(led)

    # -- inside ---------------------------------------------------------------------------------

    def _places(
        self, views: Iterable[QueueView], running: frozenset[NodeName]
    ) -> Iterator[tuple[Key, QueuePlace]]:
        shared: dict[object, QueuePlace | None] = {}  # thousands of queues, a handful of places
        for view in views:
            key = (view.vhost, view.name)
            what = (
                view.leader,
                view.type,
                view.state,
                view.members,
                view.online,
                view.auto_delete,
                view.exclusive,
            )
            if what in shared:
                place = shared[what]
            else:
                place = place_of(view, running)
                if place is not None and place.leader in self._lost:
                    place = _without_leader(place)
                shared[what] = place
            if place is None:  # the view doesn't tell; then it is where it was
                place = self._queues.get(key)
                if place is None or place.leader not in running:
                    continue
            yield key, place

    def _place_found(self, key: Key, place: QueuePlace) -> bool:
        """False if that says nothing."""
        if not place.type:
            deleted = self._deleted.get(key)
            if deleted is None or deleted.former is None or deleted.former.exclusive:
                return False
            place = replace(deleted.former, leader=None, usable=False)
        else:
            self._deleted.pop(key, None)
        leader = place.leader
        if leader in self._down:
            place = _without_leader(place)
        elif leader is not None and leader in self._lost:
            if self._now - self._lost[leader] < NEGATIVE_AGE:
                place = _without_leader(place)  # may have been asked before the node was lost
            else:
                del self._lost[leader]
        self._absent.pop(key, None)
        note(self._learnt, key, self._now)
        if self._queues.get(key) != place:
            self._queues[key] = place
            self.version += 1
        return True

    def _leaderless_lookups(self, now: float) -> tuple[Lookup, ...]:
        """Queues somebody wanted that have no leader: an election takes less than the time to the
        next snapshot, and while a node hangs there is no snapshot."""
        for key in list(self._leaderless):
            place = self._queues.get(key)
            if place is None or place.leader is not None:
                del self._leaderless[key]
        under_way = len(self._leaderless.keys() & self._pending.keys())
        due = [
            key
            for key, looked in self._leaderless.items()
            if now - looked >= LEADERLESS_AGE and key not in self._pending
        ]
        return tuple(self._ask(key) for key in due[: max(0, LEADERLESS_AT_ONCE - under_way)])

    def _ask(self, key: Key) -> Lookup:
        if key not in self._pending:
            make_room(self._pending)
            self._pending[key] = False
        return Lookup(LookupKind.QUEUE, *key)

    def _lose_view(self, error: str) -> None:
        self.version += self.usable
        self.usable = False
        self.error = error
        self._down = frozenset()
        self._exchanges.clear()
        for kept in (
            self._queues,
            self._learnt,
            self._deleted,
            self._lost,
            self._absent,
            self._leaderless,
            self._pending,
        ):
            kept.clear()


def place_of(view: QueueView, running: frozenset[NodeName]) -> QueuePlace | None:
    """A queue's place, as a snapshot with these running nodes tells it; None if it doesn't.

    A replicated queue can be used if most of its members run: it has a leader, or will have one in
    a moment. ``online`` alone won't do: a stream's lags behind by seconds.
    """
    leader = view.leader if view.leader in running else None
    if view.type == "classic":
        alive = leader is not None
    elif view.members:
        up = running.intersection(view.online or view.members, view.members)
        may_elect = bool(view.online) or view.type != "quorum"
        alive = 2 * len(up) > len(view.members) and (leader is not None or may_elect)
    elif view.leader is None:
        return None  # 3.10 lists a stream like this when it is asked for totals only
    else:
        alive = leader is not None
    usable = alive and view.state not in AWAY
    return QueuePlace(leader, view.type, usable, view.auto_delete, view.exclusive)


def _without_leader(place: QueuePlace) -> QueuePlace:
    """What remains of a place when its node is lost: a replicated queue elects another leader."""
    return replace(place, leader=None, usable=place.usable and place.type != "classic")
