"""What is known of exchanges, how old it is, and where a message goes from one to the next.

Part of the ``Directory``, which says what all this is for. An exchange is

    unknown     nobody asked for it, or a bind made its routes worthless: asking gives a ``Lookup``
    asked for   its look-up is under way, or will be given out again by ``stale``
    known       answers come from here; from ``EXCHANGE_MAX_AGE`` on it is refreshed, nobody waits
    not found   no such exchange, or nobody could be asked: no answer, for ``NEGATIVE_AGE``

and forgotten when nobody asked for it for ``EXCHANGE_LINGER``.
"""

from typing import Final

from warrener.balancer.core.bounded import NEGATIVE_AGE, Key, forget_older, note
from warrener.balancer.core.routes import Routes
from warrener.facts.places import ExchangeRoutes, Lookup, LookupKind

EXCHANGE_MAX_AGE: Final = 10.0
"""Seconds until the routes of an exchange in use are looked up again. A change made through the
balancer is noticed at once; this is for changes made past it."""

EXCHANGE_LINGER: Final = 60.0
"""Seconds that an exchange nobody asks for is kept, and the age at which one is looked up again
that doesn't route by the key: a type changes only if the exchange is made anew."""

EXCHANGE_MIN_AGE: Final = 1.0
"""Seconds between two look-ups of one exchange, however many binds pass through: applications that
bind a queue for every client would otherwise look up their exchange all the time. Also how long a
bind may take: it is noticed on its way to the broker, an answer that comes sooner may lack it."""

FAILURES: Final = 3
"""Refreshes in a row without an answer after which an exchange's routes are forgotten: half a
minute, the age at which they say little."""

REFRESHES_PER_SECOND: Final = 10
"""Of all exchanges together; two requests each, some 5 ms of RabbitMQ's time. With more than 100
exchanges in use each is refreshed less often."""

MAX_EXCHANGES: Final = 1_000
"""Exchanges kept. Applications have dozens; the one that wasn't asked for longest goes first."""

MAX_ANSWERS: Final = 10_000
"""Keys whose destinations are remembered, some 5 MB at worst. Walking the bindings again costs
microseconds, so at the limit all are forgotten."""

MAX_DEPTH: Final = 4
"""Exchanges in a row that a message is followed through."""

MAX_VISITED: Final = 32
"""Exchanges looked at for one key."""

MAX_DESTINATIONS: Final = 256
"""Queues of one answer. A message that goes to more is everywhere: no node is better."""


class _Exchange:
    """One exchange; ``routes`` is None as long as nothing is known."""

    __slots__ = ("asked", "changed", "failures", "looked", "routes")

    def __init__(self, now: float) -> None:
        self.routes: Routes | None = None
        self.asked = now  # for its destinations, the last time
        self.looked: float | None = None  # up, the last time; None: never, or forgotten since
        self.failures = 0  # look-ups in a row that found nothing
        self.changed = False  # something passed through that the routes may not have

    def is_to_be_asked(self, now: float) -> bool:
        """Whether nothing is known, and asking may help."""
        if self.routes is not None:
            return False
        return self.looked is None or now - self.looked >= NEGATIVE_AGE

    def is_due(self, now: float) -> bool:
        """Whether it is time to look, nobody waiting."""
        if self.looked is None:
            return True  # somebody got a Lookup, and perhaps didn't care to wait
        if self.changed:
            limit = EXCHANGE_MIN_AGE
        elif self.routes is not None and not self.routes.understood:
            limit = EXCHANGE_LINGER
        else:
            limit = EXCHANGE_MAX_AGE
        return now - self.looked >= limit


_Answer = tuple[tuple[str, ...] | None, tuple[_Exchange, ...]]


class Exchanges:
    """All exchanges asked for. Where a bool is returned, it says: answers may have changed."""

    def __init__(self) -> None:
        self._exchanges: dict[Key, _Exchange] = {}
        self._answers: dict[tuple[str, str, str], _Answer] = {}
        self._noticed: dict[Key, float] = {}  # when something changed an exchange, lately
        self._polled: float | None = None

    def __len__(self) -> int:
        return len(self._exchanges)

    @property
    def answers(self) -> int:
        """How many are remembered."""
        return len(self._answers)

    def clear(self) -> None:
        """Forget everything."""
        self._exchanges.clear()
        self._answers.clear()
        self._noticed.clear()

    # -- questions ------------------------------------------------------------------------------

    def destinations(
        self, vhost: str, exchange: str, routing_key: str, now: float
    ) -> tuple[str, ...] | Lookup | None:
        """See ``Directory.destinations``; the default exchange isn't asked for here."""
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

    def stale(self, now: float) -> tuple[Lookup, ...]:
        """What to look up again now, longest overdue first, as many as may be since the last call.
        The same ones are given out again until they are answered."""
        since, self._polled = self._polled, now
        budget = REFRESHES_PER_SECOND * (1.0 if since is None else min(1.0, now - since))
        due = [(one.looked or 0.0, key) for key, one in self._exchanges.items() if one.is_due(now)]
        due.sort()
        return tuple(Lookup(LookupKind.EXCHANGE, *key) for _, key in due[: max(1, round(budget))])

    # -- news -----------------------------------------------------------------------------------

    def drop_unused(self, now: float) -> bool:
        """Forget what nobody asks for."""
        forget_older(self._noticed, now - EXCHANGE_MIN_AGE)
        changed = False
        for key, one in list(self._exchanges.items()):
            if now - one.asked >= EXCHANGE_LINGER:
                del self._exchanges[key]
                changed = changed or one.routes is not None
        return self._changed() if changed else False

    def looked_up(self, key: Key, found: ExchangeRoutes | None, now: float) -> bool:
        """What a look-up came to."""
        one = self._exchanges.get(key)
        if one is None:  # forgotten while it was looked up
            if found is None:
                return False
            one = self._add(key, now)
        one.looked = now
        one.changed = now - self._noticed.get(key, -EXCHANGE_MIN_AGE) < EXCHANGE_MIN_AGE
        if found is None:
            one.failures += 1
            if one.routes is None or one.failures < FAILURES:
                return False
            one.routes = None
            return self._changed()
        one.failures = 0
        if one.routes is not None and one.routes.facts == found:
            return False
        one.routes = Routes(found)
        return self._changed()

    def noticed(self, key: Key, now: float) -> bool:
        """Something on its way to the broker changes an exchange."""
        note(self._noticed, key, now)
        one = self._exchanges.get(key)
        if one is None or one.looked is None:
            return False
        if now - one.looked < EXCHANGE_MIN_AGE:
            one.changed = True
            return False
        del self._exchanges[key]
        return self._changed() if one.routes is not None else False

    # -- inside ---------------------------------------------------------------------------------

    def _changed(self) -> bool:
        self._answers.clear()
        return True

    def _add(self, key: Key, now: float) -> _Exchange:
        if len(self._exchanges) >= MAX_EXCHANGES:
            del self._exchanges[min(self._exchanges, key=lambda key: self._exchanges[key].asked)]
            self._answers.clear()
        one = self._exchanges[key] = _Exchange(now)
        return one

    def _ask(self, key: Key, now: float) -> Lookup:
        one = self._exchanges.get(key) or self._add(key, now)
        one.asked = now
        one.looked = None
        return Lookup(LookupKind.EXCHANGE, *key)

    def _follow(
        self, vhost: str, exchange: str, routing_key: str, now: float
    ) -> _Answer | Lookup | None:
        """From exchange to exchange, each one once. None: not found, for now."""
        visited: dict[str, _Exchange] = {}
        queues: set[str] = set()
        layer = {exchange}
        for _ in range(MAX_DEPTH):
            if len(visited) + len(layer) > MAX_VISITED:
                break
            deeper: set[str] = set()
            for name in sorted(layer):
                one = self._exchanges.get((vhost, name))
                if one is None or one.is_to_be_asked(now):
                    return self._ask((vhost, name), now)
                one.asked = now
                visited[name] = one
                if one.routes is None:
                    return None
                targets = one.routes.targets(routing_key)
                if targets is None:
                    return None, tuple(visited.values())
                for target in targets:
                    if target.is_exchange:
                        deeper.add(target.name)
                    else:
                        queues.add(target.name)
            layer = deeper - visited.keys()
            if not layer:
                break
        too_wide = bool(layer) or len(queues) > MAX_DESTINATIONS
        return None if too_wide else tuple(sorted(queues)), tuple(visited.values())
