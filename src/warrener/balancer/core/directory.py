"""Where every queue is and where every exchange leads, as far as it is known.

What is known comes from three sides:

* snapshots, every two seconds: all queues. Older than they look by the time they took
  (``ClusterSnapshot.took``), so what was learnt in another way meanwhile stays.
* look-ups: one queue that isn't in the last snapshot, or one exchange. Whoever asks for something
  that isn't known gets a ``Lookup`` instead of an answer; the shell carries it out once, however
  many ask, and hands the answer to ``looked_up``.
* what passes through sessions: declares, deletes, binds, and links that break.

An exchange, once known, is never waited for again: its old routes are the answer while the shell
refreshes the exchanges in use (``stale_lookups``, to be polled). Everything here is a hint for
placing channels; being wrong for a moment costs a detour inside the cluster, never a message.

``version`` grows whenever an answer may have changed, time alone excepted: a ``None`` that was
given because nothing was found turns into a ``Lookup`` again after ``NEGATIVE_AGE``, silently.

No clock: ``now`` is passed in, in seconds of any clock that doesn't go backwards. What comes
without it is taken to happen at the latest ``now`` seen, which is fractions of a second old as the
shell polls.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from warrener.balancer.core.routes import Routes
from warrener.facts.ids import NodeName
from warrener.facts.places import ExchangeRoutes, Found, Lookup, LookupKind, QueuePlace
from warrener.facts.snapshot import ClusterSnapshot, QueueView

NEGATIVE_AGE: Final = 2.0
"""Seconds until something that wasn't found is asked for again: the interval of snapshots, which
would bring a queue anyway."""

EXCHANGE_MAX_AGE: Final = 10.0
"""Seconds until the routes of an exchange in use are looked up again. A change made through the
balancer is noticed at once; this is for changes made past it."""

EXCHANGE_LINGER: Final = 60.0
"""Seconds that an exchange nobody asks for is kept."""

EXCHANGE_MIN_AGE: Final = 1.0
"""Seconds between two look-ups of one exchange, however many binds pass through: applications that
bind a queue for every client would otherwise look up their exchange all the time."""

FAILURES: Final = 3
"""Refreshes in a row without an answer after which an exchange's routes are forgotten: half a
minute, the age at which they say little."""

REFRESHES_PER_SECOND: Final = 10
"""Of all exchanges together; two requests each, some 2 ms of RabbitMQ's time. With more than 100
exchanges in use each is refreshed less often."""

MAX_EXCHANGES: Final = 1_000
"""Exchanges kept. Applications have dozens; the longest unused one goes first."""

MAX_NOTED: Final = 20_000
"""Queues kept that were not found, or looked up or deleted since the last snapshot, each. The shell
looks up 1,600 a second at most, and after ten seconds without a snapshot the view is given up."""

MAX_PENDING: Final = 10_000
"""Look-ups given out that aren't answered yet; the shell has a much lower limit of its own."""

MAX_ANSWERS: Final = 10_000
"""Keys whose destinations are remembered, some 5 MB at worst. Walking the bindings again costs
microseconds, so at the limit all are forgotten."""

MAX_DEPTH: Final = 4
"""Exchanges bound to exchanges are followed so far; nobody was seen with more than two."""

MAX_VISITED: Final = 32
"""Exchanges looked at for one key."""

MAX_DESTINATIONS: Final = 256
"""Queues of one answer. A message that goes to more is everywhere: no node is better."""

_Key = tuple[str, str]  # virtual host, name
_Answer = tuple[tuple[str, ...] | None, tuple["_Exchange", ...]]
_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class DirectoryStatistics:
    """How much a directory keeps."""

    version: int
    queues: int
    exchanges: int
    absent: int
    answers: int


class _Exchange:
    """What is known of one exchange; ``routes`` is None as long as nothing is."""

    __slots__ = ("asked", "changed", "failures", "looked", "routes")

    def __init__(self, now: float) -> None:
        self.routes: Routes | None = None
        self.asked = now  # for its destinations, the last time
        self.looked: float | None = None  # up, the last time; None: never, or to be forgotten
        self.failures = 0  # look-ups in a row that found nothing
        self.changed = False  # something passed through that the routes may not have

    def is_to_be_asked(self, now: float) -> bool:
        """Whether nothing is known, and asking may help."""
        if self.routes is not None:
            return False
        return self.looked is None or now - self.looked >= NEGATIVE_AGE

    def is_due(self, now: float) -> bool:
        """Whether it is time to look again, nobody waiting."""
        if self.looked is None:
            return False  # whoever asks first looks
        if self.changed:
            limit = EXCHANGE_MIN_AGE
        elif self.routes is not None and not self.routes.understood:
            limit = EXCHANGE_LINGER  # a type never changes
        else:
            limit = EXCHANGE_MAX_AGE
        return now - self.looked >= limit


class Directory:
    """Places of queues and routes of exchanges. Every method is immediate."""

    def __init__(self) -> None:
        self.version = 0
        self.usable = False
        self.error = "nobody has looked at the cluster yet"
        self._now = 0.0
        self._queues: dict[_Key, QueuePlace] = {}
        # What the next snapshot must not overwrite if it was taken before these times:
        self._learnt: dict[_Key, float] = {}  # looked up
        self._deleted: dict[_Key, float] = {}
        self._lost: dict[NodeName, float] = {}
        self._absent: dict[_Key, float] = {}  # queues that weren't found, and when
        self._exchanges: dict[_Key, _Exchange] = {}
        self._answers: dict[tuple[str, str, str], _Answer] = {}
        # Look-ups given out; True once something passed through that the answer may not have.
        self._pending: dict[Lookup, bool] = {}
        self._refreshed_at: float | None = None

    def __repr__(self) -> str:
        state = "usable" if self.usable else f"unusable: {self.error}"
        return (
            f"Directory({state}, version {self.version}, {len(self._queues)} queues, "
            f"{len(self._exchanges)} exchanges)"
        )

    def statistics(self) -> DirectoryStatistics:
        """How much is kept."""
        return DirectoryStatistics(
            self.version,
            len(self._queues),
            len(self._exchanges),
            len(self._absent),
            len(self._answers),
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
            return found
        absent = self._absent.get(key)
        if absent is not None and now - absent < NEGATIVE_AGE:
            return None
        return self._ask(Lookup(LookupKind.QUEUE, vhost, queue))

    def destinations(
        self, vhost: str, exchange: str, routing_key: str, now: float
    ) -> tuple[str, ...] | Lookup | None:
        """The queues that a message with this key would reach, sorted, or a ``Lookup``.

        None if that can't be told: the view is away, the exchange wasn't found or routes by more
        than the key, or the message goes to more than ``MAX_DESTINATIONS``. The default exchange
        needs no view. CC and BCC headers of a message aren't considered.
        """
        self._now = now
        if not exchange:
            return (routing_key,)
        if not self.usable:
            return None
        answer = self._answers.get((vhost, exchange, routing_key))
        if answer is None:
            computed = self._follow(vhost, exchange, routing_key, now)
            if computed is None or isinstance(computed, Lookup):
                return computed
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            self._answers[vhost, exchange, routing_key] = answer = computed
        queues, involved = answer
        for one in involved:
            one.asked = now
        return queues

    def stale_lookups(self, now: float) -> tuple[Lookup, ...]:
        """What to look up again now, for the shell to poll some times a second. Forgets the
        exchanges nobody asks for."""
        self._now = now
        since, self._refreshed_at = self._refreshed_at, now
        if not self.usable:
            return ()
        for key, one in list(self._exchanges.items()):
            if now - one.asked >= EXCHANGE_LINGER:
                self._drop_exchange(key)
        due = sorted(
            (one.looked or 0.0, key) for key, one in self._exchanges.items() if one.is_due(now)
        )
        budget = REFRESHES_PER_SECOND * min(1.0, now - since if since is not None else 1.0)
        found = []
        for _, (vhost, name) in due[: max(1, round(budget))]:
            lookup = Lookup(LookupKind.EXCHANGE, vhost, name)
            if lookup not in self._pending:
                self._ask(lookup)
                found.append(lookup)
        return tuple(found)

    # -- news -----------------------------------------------------------------------------------

    def apply_snapshot(self, snapshot: ClusterSnapshot | None, now: float, error: str = "") -> None:
        """The cluster's own view, which ended at ``now``; None when there is none to rely on."""
        self._now = now
        if snapshot is None:
            self._lose_view(error or "no node's management API answers")
            return
        taken = now - snapshot.took
        running = frozenset(node.name for node in snapshot.nodes if node.running)
        queues = dict(self._places(snapshot.queues, running, taken))
        for times in (self._deleted, self._learnt):
            _forget_older(times, taken)
        _forget_older(self._lost, taken)
        _forget_older(self._absent, now - NEGATIVE_AGE)
        for key in self._deleted:
            queues.pop(key, None)
        for key in self._learnt:
            queues[key] = self._queues[key]
        if queues != self._queues or not self.usable:
            self._queues = queues
            self.version += 1
        for key in self._absent.keys() & queues.keys():
            del self._absent[key]
        self.usable = True
        self.error = ""

    def looked_up(self, lookup: Lookup, found: Found, now: float) -> None:
        """The answer to a ``Lookup``."""
        self._now = now
        changed_meanwhile = self._pending.pop(lookup, False)
        if not self.usable:
            return  # nothing keeps it up to date
        key = (lookup.vhost, lookup.name)
        if lookup.kind is LookupKind.EXCHANGE:
            self._routes_found(
                key, found if isinstance(found, ExchangeRoutes) else None, changed_meanwhile
            )
        elif isinstance(found, QueuePlace):
            self._place_found(key, found)
        elif key not in self._queues and not changed_meanwhile:
            _note(self._absent, key, now)

    def noticed_binding(self, vhost: str, exchange: str) -> None:
        """A bind, unbind, declare or delete of an exchange passed through."""
        lookup = Lookup(LookupKind.EXCHANGE, vhost, exchange)
        if lookup in self._pending:
            self._pending[lookup] = True
        one = self._exchanges.get((vhost, exchange))
        if one is None or one.looked is None:
            return
        if self._now - one.looked < EXCHANGE_MIN_AGE:
            one.changed = True
        else:
            self._drop_exchange((vhost, exchange))

    def noticed_deleted(self, vhost: str, queue: str) -> None:
        """A queue.delete-ok passed through."""
        key = (vhost, queue)
        _note(self._deleted, key, self._now)
        self._learnt.pop(key, None)
        if self._queues.pop(key, None) is not None:
            self.version += 1

    def noticed_declared(self, vhost: str, queue: str) -> None:
        """A queue.declare-ok passed through: what wasn't found may be there now."""
        key = (vhost, queue)
        lookup = Lookup(LookupKind.QUEUE, vhost, queue)
        if lookup in self._pending:
            self._pending[lookup] = True
        self._deleted.pop(key, None)
        if self._absent.pop(key, None) is not None:
            self.version += 1

    def node_lost(self, node: NodeName) -> None:
        """A link to a node broke: until a newer view it leads nothing."""
        known = node in self._lost
        self._lost[node] = self._now
        if known:
            return  # thousands of sessions lose their links at once; once is enough
        for key, place in self._queues.items():
            if place.leader == node:
                self._queues[key] = _without_leader(place)
                self.version += 1

    # -- queues ---------------------------------------------------------------------------------

    def _places(
        self, views: tuple[QueueView, ...], running: frozenset[NodeName], taken: float
    ) -> Iterator[tuple[_Key, QueuePlace]]:
        shared: dict[QueuePlace, QueuePlace] = {}  # thousands of queues, a handful of places
        lost = {node for node, at in self._lost.items() if at >= taken}
        for view in views:
            place = place_of(view, running)
            if place.leader in lost:
                place = _without_leader(place)
            yield (view.vhost, view.name), shared.setdefault(place, place)

    def _place_found(self, key: _Key, place: QueuePlace) -> None:
        leader = place.leader
        if leader is not None and leader in self._lost:
            if self._now - self._lost[leader] < NEGATIVE_AGE:
                place = _without_leader(place)  # may have been asked before the node was lost
            else:
                del self._lost[leader]
        self._absent.pop(key, None)
        self._deleted.pop(key, None)
        _note(self._learnt, key, self._now)
        if self._queues.get(key) != place:
            self._queues[key] = place
            self.version += 1

    def _lose_view(self, error: str) -> None:
        if self.usable:
            self.version += 1
        self.usable = False
        self.error = error
        for store in (
            self._queues,
            self._learnt,
            self._deleted,
            self._lost,
            self._absent,
            self._exchanges,
            self._answers,
            self._pending,
        ):
            store.clear()

    # -- exchanges ------------------------------------------------------------------------------

    def _follow(
        self, vhost: str, exchange: str, routing_key: str, now: float
    ) -> _Answer | Lookup | None:
        """From exchange to exchange, each one once. None: not found, for now."""
        visited: dict[str, _Exchange] = {}
        queues: set[str] = set()
        layer = {exchange}
        for _ in range(MAX_DEPTH):
            deeper: set[str] = set()
            for name in sorted(layer):
                one = self._exchanges.get((vhost, name))
                if one is None or one.is_to_be_asked(now):
                    return self._ask_exchange(vhost, name, now)
                visited[name] = one
                if one.routes is None:
                    return None
                if not one.routes.understood:
                    return None, tuple(visited.values())
                for target in one.routes.targets(routing_key):
                    if not target.is_exchange:
                        queues.add(target.name)
                    elif target.name not in visited:
                        deeper.add(target.name)
            layer = deeper - visited.keys()
            if not layer:
                break
            if len(visited) + len(layer) > MAX_VISITED:
                break
        too_much = bool(layer) or len(queues) > MAX_DESTINATIONS
        return None if too_much else tuple(sorted(queues)), tuple(visited.values())

    def _ask_exchange(self, vhost: str, name: str, now: float) -> Lookup:
        key = (vhost, name)
        if key not in self._exchanges:
            self._make_room_for_exchange()
            self._exchanges[key] = _Exchange(now)
        self._exchanges[key].asked = now
        return self._ask(Lookup(LookupKind.EXCHANGE, vhost, name))

    def _routes_found(
        self, key: _Key, found: ExchangeRoutes | None, changed_meanwhile: bool
    ) -> None:
        one = self._exchanges.get(key)
        if one is None:  # forgotten while it was looked up
            self._make_room_for_exchange()
            one = self._exchanges[key] = _Exchange(self._now)
        one.looked = self._now
        one.changed = changed_meanwhile
        if found is None:
            one.failures += 1
            if one.routes is not None and one.failures >= FAILURES:
                one.routes = None
                self._routes_changed()
            return
        one.failures = 0
        if one.routes is None or one.routes.facts != found:
            one.routes = Routes(found)
            self._routes_changed()

    def _drop_exchange(self, key: _Key) -> None:
        if self._exchanges.pop(key).routes is not None:
            self._routes_changed()

    def _make_room_for_exchange(self) -> None:
        if len(self._exchanges) >= MAX_EXCHANGES:
            self._drop_exchange(min(self._exchanges, key=lambda key: self._exchanges[key].asked))

    def _routes_changed(self) -> None:
        self._answers.clear()
        self.version += 1

    # -- look-ups -------------------------------------------------------------------------------

    def _ask(self, lookup: Lookup) -> Lookup:
        if lookup not in self._pending:
            if len(self._pending) >= MAX_PENDING:
                del self._pending[next(iter(self._pending))]
            self._pending[lookup] = False
        return lookup


def place_of(view: QueueView, running: frozenset[NodeName]) -> QueuePlace:
    """A queue's place, as a snapshot with these running nodes tells it."""
    leader = view.leader if view.leader in running else None
    usable = view.state not in _UNUSABLE and (leader is not None or view.type != "classic")
    return QueuePlace(leader, view.type, usable, view.auto_delete, view.exclusive)


_UNUSABLE: Final = frozenset({"down", "stopped", "crashed", "minority"})
"""States of a queue that mean: nothing works now."""


def _without_leader(place: QueuePlace) -> QueuePlace:
    """What remains of a place when its node is lost: a replicated queue elects another leader."""
    return replace(place, leader=None, usable=place.usable and place.type != "classic")


def _note(times: dict[_Key, float], key: _Key, now: float) -> None:
    """Keeps when something happened to a queue; of too many the oldest goes."""
    times.pop(key, None)  # to the end
    if len(times) >= MAX_NOTED:
        del times[next(iter(times))]
    times[key] = now


def _forget_older(times: dict[_K, float], limit: float) -> None:
    for key in [key for key, at in times.items() if at < limit]:
        del times[key]
