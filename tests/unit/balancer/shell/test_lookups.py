"""Look-ups: each is carried out once and always ends, whatever the cluster does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from warrener.balancer.core.directory import Directory
from warrener.balancer.core.exchanges import EXCHANGE_MAX_AGE
from warrener.balancer.shell.lookups import AT_ONCE, MAX_WAITING, POLL, TIME_LIMIT, LookUps
from warrener.facts.ids import NodeName
from warrener.facts.places import ExchangeRoutes, Found, Lookup, LookupKind, QueuePlace
from warrener.facts.snapshot import ClusterSnapshot, NodeView
from warrener.testing.virtual_time import run

N1: Final = NodeName("n1@localhost")
PLACE: Final = QueuePlace(N1, "classic")


def queue(name: str = "q") -> Lookup:
    return Lookup(LookupKind.QUEUE, "/", name)


class Cluster:
    """Stands in for the cluster: answers at once, after ``takes`` seconds, or never."""

    def __init__(self, found: Found | Exception = PLACE, takes: float = 0.0) -> None:
        self.found = found
        self.takes = takes
        self.asked: list[Lookup] = []
        self.under_way = 0
        self.most = 0

    async def look_up(self, lookup: Lookup) -> Found:
        self.asked.append(lookup)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Scene:
    """Look-ups in a loop of virtual time, and what came of them."""

    def __init__(self, look_up: Callable[[Lookup], Awaitable[Found]] | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.directory = Directory()
        view = ClusterSnapshot(N1, 0.0, "c", (NodeView(N1, True),))
        self.directory.apply_snapshot(view, self.loop.time())
        self.bugs: list[tuple[str, str]] = []
        self.answered: list[tuple[str, float]] = []
        self.look_ups = LookUps(
            look_up,
            self.directory,
            self.loop,
            on_bug=lambda where, problem: self.bugs.append((where, repr(problem))),
        )

    def ask(self, name: str = "q") -> None:
        self.look_ups.ask(
            queue(name), lambda: self.answered.append((name, round(self.loop.time(), 3)))
        )

    def place(self, name: str = "q") -> QueuePlace | Lookup | None:
        return self.directory.place("/", name, self.loop.time())


def test_the_directory_has_the_answer_when_the_one_who_asked_is_called() -> None:
    async def main() -> None:
        scene = Scene(Cluster(takes=0.01).look_up)
        seen = []
        scene.look_ups.ask(queue(), lambda: seen.append(scene.place()))
        assert seen == []
        await asyncio.sleep(0.02)
        assert seen == [PLACE]

    run(main())


def test_equal_ones_are_carried_out_once() -> None:
    async def main() -> None:
        cluster = Cluster(takes=0.01)
        scene = Scene(cluster.look_up)
        for _ in range(1000):
            scene.ask()
        await asyncio.sleep(0.02)
        assert cluster.asked == [queue()]
        assert scene.answered == [("q", 0.01)] * 1000
        scene.ask()
        await asyncio.sleep(0.02)
        assert cluster.asked == [queue()] * 2, "a later one is another one"

    run(main())


def test_a_few_at_once_and_the_rest_in_turn() -> None:
    async def main() -> None:
        cluster = Cluster(takes=0.01)
        scene = Scene(cluster.look_up)
        names = [f"q{number}" for number in range(AT_ONCE * 3)]
        for name in names:
            scene.ask(name)
        statistics = scene.look_ups.statistics()
        assert (statistics.under_way, statistics.waiting) == (AT_ONCE, AT_ONCE * 2)
        await asyncio.sleep(0.1)
        assert cluster.most == AT_ONCE
        assert [lookup.name for lookup in cluster.asked] == names
        assert sorted(name for name, _ in scene.answered) == sorted(names)
        assert [at for _, at in scene.answered] == [0.01] * 8 + [0.02] * 8 + [0.03] * 8
        statistics = scene.look_ups.statistics()
        assert (statistics.carried_out, statistics.failed) == (len(names), 0)
        assert (statistics.under_way, statistics.waiting) == (0, 0)
        assert round(statistics.slowest, 3) == 0.01

    run(main())


def test_a_cluster_that_hangs_costs_the_time_limit_and_no_more() -> None:
    """Also for those whose turn never came: the limit counts from asking."""

    async def main() -> None:
        cluster = Cluster(takes=60.0)
        scene = Scene(cluster.look_up)
        names = [f"q{number}" for number in range(AT_ONCE * 3)]
        for name in names:
            scene.ask(name)
        await asyncio.sleep(TIME_LIMIT + 0.1)
        assert sorted(scene.answered) == sorted((name, TIME_LIMIT) for name in names)
        assert cluster.under_way == 0
        assert scene.place("q0") is None
        assert scene.look_ups.statistics().failed == len(names)
        assert scene.bugs == []

    run(main())


def test_too_many_are_refused_at_once() -> None:
    async def main() -> None:
        scene = Scene(Cluster(takes=60.0).look_up)
        for number in range(AT_ONCE + MAX_WAITING + 5):
            scene.ask(f"q{number}")
        assert scene.answered == [], "never from inside ask"
        await asyncio.sleep(0.001)
        assert len(scene.answered) == 5
        assert scene.look_ups.statistics().refused == 5
        assert scene.place(f"q{AT_ONCE + MAX_WAITING}") is None
        await scene.look_ups.close()

    run(main())


def test_what_fails_is_nothing_found_and_a_bug_is_told() -> None:
    async def main() -> None:
        scene = Scene(Cluster(KeyError("oops")).look_up)
        scene.ask()
        await asyncio.sleep(0.001)
        assert scene.answered == [("q", 0.0)]
        assert scene.place() is None
        assert scene.bugs == [("look up queue 'q'", "KeyError('oops')")]

    run(main())


def test_a_callback_that_fails_does_not_keep_others_waiting() -> None:
    async def main() -> None:
        scene = Scene(Cluster().look_up)
        scene.look_ups.ask(queue(), lambda: {}["nothing"])
        scene.ask()
        scene.ask("other")
        await asyncio.sleep(0.001)
        assert scene.answered == [("q", 0.0), ("other", 0.0)]
        assert len(scene.bugs) == 1

    run(main())


def test_a_callback_may_ask_again() -> None:
    """It does when a queue was declared while it was looked up."""

    async def main() -> None:
        cluster = Cluster(None, takes=0.01)
        scene = Scene(cluster.look_up)
        scene.look_ups.ask(queue(), scene.ask)
        await asyncio.sleep(0.1)
        assert cluster.asked == [queue()] * 2
        assert scene.answered == [("q", 0.02)]

    run(main())


def test_without_anybody_to_ask_nothing_is_found() -> None:
    async def main() -> None:
        scene = Scene(None)
        scene.ask()
        await asyncio.sleep(0.001)
        assert scene.answered == [("q", 0.0)]
        assert scene.place() is None

    run(main())


def test_exchanges_in_use_are_refreshed() -> None:
    async def main() -> None:
        cluster = Cluster(ExchangeRoutes("fanout", ()))
        scene = Scene(cluster.look_up)
        scene.look_ups.start()
        scene.look_ups.start()  # is one poll
        first = scene.directory.destinations("/", "x", "k", 0.0)
        assert isinstance(first, Lookup)
        await asyncio.sleep(2 * POLL)
        assert cluster.asked == [first], "though nobody waited for it"
        assert scene.directory.destinations("/", "x", "k", scene.loop.time()) == ()
        await asyncio.sleep(EXCHANGE_MAX_AGE + POLL)
        assert cluster.asked == [first, first]
        await scene.look_ups.close()

    run(main())


def test_a_failure_while_refreshing_ends_nothing() -> None:
    async def main() -> None:
        scene = Scene(Cluster().look_up)
        scene.directory.stale_lookups = None  # type: ignore[method-assign, assignment]  # broken
        scene.look_ups.start()
        await asyncio.sleep(3.5 * POLL)
        assert len(scene.bugs) == 3
        await scene.look_ups.close()

    run(main())


def test_after_closing_nobody_is_called() -> None:
    async def main() -> None:
        cluster = Cluster(takes=1.0)
        scene = Scene(cluster.look_up)
        scene.look_ups.start()
        scene.ask()
        await asyncio.sleep(0.5)
        await scene.look_ups.close()
        assert cluster.under_way == 0
        scene.ask("other")
        scene.look_ups.start()
        await asyncio.sleep(5)
        assert cluster.asked == [queue()]
        assert scene.answered == []
        assert len(asyncio.all_tasks()) == 1, "only this test"

    run(main())


def test_bugs_go_to_the_loop_if_nobody_else_wants_them() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: list[str] = []
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))
        LookUps(Cluster(KeyError("oops")).look_up, Directory(), loop).ask(queue())
        await asyncio.sleep(0.001)
        assert told == ["look up queue 'q'"]

    run(main())
