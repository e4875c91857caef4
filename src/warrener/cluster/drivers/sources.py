"""The management APIs of a cluster that somebody else runs: whom to ask, and whom to believe.

Whom to ask. The URLs that were given, and the management listeners that the cluster tells of: when
the node behind the one URL dies, another is asked. The next is asked as soon as one fails, or
hasn't answered for half a second (``observe``).

Whom to believe. A node that lost its disk may have founded a cluster of its own, and answers as its
only member. So a view without members that were there before counts only if nobody who can be asked
tells of more of them. Whoever is left out then is a *stray*, and isn't asked until it tells of this
cluster again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import structlog

from warrener.cluster.look_up import look_up
from warrener.cluster.observe import STAGGER, Clients, first_answer, snapshot
from warrener.facts.happenings import Event, EventSink
from warrener.facts.ids import NodeName
from warrener.facts.leaders import QueueRates
from warrener.facts.places import Found, Lookup
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management import listeners as api
from warrener.management.client import BadAnswer, ManagementClient, ManagementError

FORGIVE: Final = 5.0
"""Seconds between two questions to a stray."""

_T = TypeVar("_T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """One answer about the whole cluster."""

    snapshot: ClusterSnapshot
    listeners: tuple[api.Listener, ...]
    nodes: tuple[api.WholeNode, ...]


class Sources:
    """One client for each URL, made by ``make``; all methods belong to one event loop."""

    def __init__(
        self,
        urls: Iterable[str],
        make: Callable[[str], ManagementClient],
        *,
        on_event: EventSink,
        now: Callable[[], float],
    ) -> None:
        self._make = make
        self._on_event = on_event
        self._now = now
        self._given = {url: make(url) for url in urls}
        self._found: dict[str, ManagementClient] = {}
        self._asked_last: NodeName | None = None
        self._answers_as: dict[str, set[NodeName]] = {}
        self._strays: set[str] = set()
        self._forgave_at = 0.0

    # -- who there is

    def given(self) -> Iterable[tuple[str, ManagementClient]]:
        """Those that were given, strays included."""
        return self._given.items()

    def clients(self) -> Clients:
        """Whom one can ask, by URL: those that were given, then those that were found."""
        every = {**self._given, **self._found}
        able = [url for url in every if url not in self._strays] or list(every)
        return [(NodeName(url), every[url]) for url in able]

    def behind(self) -> Mapping[str, NodeName]:
        """The node that each given URL answers as. Not one with several: that is a load balancer
        before the API."""
        return {url: next(iter(of)) for url, of in self._answers_as.items() if len(of) == 1}

    async def find(self, urls: Iterable[str], *, all_run: bool) -> None:
        """What the cluster tells of. What it doesn't tell of any more goes, if it is whole."""
        given = {_host_port(url) for url in self._given}
        wanted = [url for url in dict.fromkeys(urls) if _host_port(url) not in given]
        for url in wanted:
            if url not in self._found:
                self._found[url] = self._make(url)
        if all_run:
            for url in self._found.keys() - set(wanted):
                await self._found.pop(url).close()

    async def close(self) -> None:
        """Connections end; a client that is used again makes new ones."""
        for client in (*self._given.values(), *self._found.values()):
            await client.close()

    # -- asking

    async def look(self, members: set[NodeName]) -> View:
        """The cluster as it is now; ``members`` are those that it had before. ManagementError if
        nobody tells."""
        key, view = await self._look_at_any()
        told = {node.name for node in view.snapshot.nodes}
        if members - told:
            view = await self._settled(key, view, members)
        elif self._strays:
            await self._forgive(told)
        return view

    async def look_up(self, lookup: Lookup) -> Found:
        """Where one queue is, or one exchange leads. ManagementError if nobody tells."""
        self._asked_last, found = await look_up(self.clients(), lookup, first=self._asked_last)
        return found

    async def rates(self) -> dict[tuple[str, str], QueueRates]:
        """What goes through the queues, as the API has it. ManagementError if nobody tells."""
        return (await self._ask(api.rates, "rates", stagger=api.RATES_TIMEOUT))[1]

    async def identify(self) -> None:
        """Finds out which node is behind each URL that was given."""

        async def ask(url: str, client: ManagementClient) -> None:
            try:
                node = (await api.overview(client)).node
            except ManagementError:
                return
            if node:
                self._answers(url, NodeName(node))

        await asyncio.gather(*(ask(url, client) for url, client in self._given.items()))

    async def _look_at_any(self) -> tuple[NodeName, View]:
        key, view = await self._ask(self._look, "look", stagger=STAGGER)
        self._asked_last = key
        self._answers(key, view.snapshot.source)
        return key, view

    async def _ask(
        self,
        ask: Callable[[ManagementClient], Coroutine[Any, Any, _T]],
        what: str,
        *,
        stagger: float,
    ) -> tuple[NodeName, _T]:
        return await first_answer(
            self.clients(),
            lambda _, client: ask(client),
            first=self._asked_last,
            stagger=stagger,
            what=what,
        )

    async def _look(self, client: ManagementClient) -> View:
        clock = asyncio.get_running_loop().time
        taken_at, began = self._now(), clock()
        overview = await api.overview(client)
        if not overview.node:
            raise BadAnswer(client.base_url, "doesn't say which node it is: is it RabbitMQ's?")
        nodes = await api.nodes(client)
        queues = await client.queues()
        source = NodeName(overview.node)
        told = snapshot(source, taken_at, overview, nodes, queues, took=clock() - began)
        return View(told, tuple(overview.listeners), tuple(nodes))

    def _answers(self, url: str, node: NodeName) -> None:
        if url in self._given:
            self._answers_as.setdefault(url, set()).add(node)

    # -- believing

    async def _settled(self, key: NodeName, view: View, before: set[NodeName]) -> View:
        """The view to go by, where this one leaves members out that were there."""
        told = {node.name for node in view.snapshot.nodes}
        others = [one for one in self.clients() if one[0] != key]
        answers = await asyncio.gather(*(_members(client) for _, client in others))
        known = {other: names & before for (other, _), names in zip(others, answers, strict=True)}
        best = max(known, key=lambda other: len(known[other]), default=key)
        if best == key or len(known[best]) <= len(told & before):
            return view
        log.warning("stray_view", url=key, node=view.snapshot.source)
        self._on_event(
            Event("cluster.stray", view.snapshot.source, detail={"url": key, "members": len(told)})
        )
        self._strays.add(key)
        self._forgave_at = asyncio.get_running_loop().time()
        self._asked_last = best
        return (await self._look_at_any())[1]

    async def _forgive(self, members: set[NodeName]) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._forgave_at < FORGIVE:
            return
        self._forgave_at = now
        for url in list(self._strays):
            client = self._given.get(url) or self._found.get(url)
            if client is None or len(await _members(client) & members) > 1:
                self._strays.discard(url)


async def _members(client: ManagementClient) -> set[NodeName]:
    """Whom a URL counts as members; none if it doesn't answer."""
    try:
        return {NodeName(name) for name in await client.running()}
    except ManagementError:
        return set()


def _host_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
