"""Whom one asks about somebody else's cluster, and whom one believes."""

import pytest
from tests.unit.cluster.drivers.theirs import Theirs

from warrener.cluster.drivers import sources as module
from warrener.cluster.drivers.sources import Sources
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName
from warrener.management.client import ManagementClient, Unreachable

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))
ALL = {N1, N2, N3}


def make(urls: list[str], events: list[Event] | None = None) -> Sources:
    return Sources(
        urls,
        lambda url: ManagementClient(url, "ops", "right"),
        on_event=[].append if events is None else events.append,
        now=lambda: 100.0,
    )


async def test_who_answered_last_is_asked_first() -> None:
    theirs = Theirs(running=dict.fromkeys(ALL, True), silent={N1})
    async with theirs.serving(N1, N2) as urls:
        sources = make(urls)
        await sources.look(set())
        theirs.silent.clear()
        theirs.asked.clear()
        assert (await sources.look(ALL)).snapshot.source == N2
        assert {node for node, _ in theirs.asked} == {N2}
        await sources.close()


async def test_nobody_answers() -> None:
    theirs = Theirs(silent={N1})
    async with theirs.serving(N1) as urls:
        sources = make(urls)
        with pytest.raises(Unreachable):
            await sources.look(set())
        await sources.close()


async def test_a_url_that_answers_as_several_nodes_stands_for_none() -> None:
    theirs = Theirs(running=dict.fromkeys(ALL, True))
    async with theirs.serving(N1, N2) as urls:
        sources = make(urls)
        await sources.identify()
        assert sources.behind() == {urls[0]: N1, urls[1]: N2}
        sources._answers(urls[0], N3)  # a load balancer before the API
        assert sources.behind() == {urls[1]: N2}
        await sources.close()


async def test_found_urls_come_after_those_given_and_go_again() -> None:
    sources = make(["http://127.0.0.1:1"])
    await sources.find(["http://127.0.0.1:1", "http://127.0.0.1:2"], all_run=True)
    assert [key for key, _ in sources.clients()] == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    await sources.find(["http://127.0.0.1:3"], all_run=False)  # a node is down: it may come back
    assert len(sources.clients()) == 3
    await sources.find(["http://127.0.0.1:3"], all_run=True)
    assert [key for key, _ in sources.clients()] == ["http://127.0.0.1:1", "http://127.0.0.1:3"]


async def test_a_stray_is_asked_again_once_it_tells_of_the_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FORGIVE", 0.0)
    events: list[Event] = []
    theirs = Theirs(running=dict.fromkeys(ALL, True), members={N1: [N1]})
    async with theirs.serving(N1, N2) as urls:
        sources = make(urls, events)
        view = await sources.look(ALL)
        assert {node.name for node in view.snapshot.nodes} == ALL
        assert [event.kind for event in events] == ["cluster.stray"]
        assert [key for key, _ in sources.clients()] == urls[1:]
        await sources.look(ALL)
        assert [key for key, _ in sources.clients()] == urls[1:]
        theirs.members.clear()  # it has joined again
        await sources.look(ALL)
        assert [key for key, _ in sources.clients()] == urls
        await sources.close()


async def test_the_only_source_is_believed() -> None:
    theirs = Theirs(running={N1: True})
    async with theirs.serving(N1) as urls:
        sources = make(urls)
        view = await sources.look(ALL)
        assert [node.name for node in view.snapshot.nodes] == [N1]
        await sources.close()
