"""One probe for each node, for as long as the node is there."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable

from warrener.balancer.shell.probe import ProbeLogin, probe
from warrener.balancer.shell.tls import BalancerTls
from warrener.facts.balance import Backend
from warrener.facts.ids import NodeName
from warrener.facts.reasons import Unfit
from warrener.facts.settings import BalancerSettings

Spawn = Callable[[Coroutine[object, object, None], str], "asyncio.Task[None]"]
Probed = Callable[[NodeName, Unfit | None, str], None]


class Probes:
    """``spawn`` makes a task that its owner keeps; ``probed`` gets each outcome, None for a
    success; ``on_bug`` what must not happen."""

    def __init__(
        self,
        settings: BalancerSettings,
        login: ProbeLogin | None,
        *,
        spawn: Spawn,
        probed: Probed,
        on_bug: Callable[[str, BaseException], None],
        tls: BalancerTls,
    ) -> None:
        self._settings = settings
        self._login = login
        self._spawn = spawn
        self._probed = probed
        self._on_bug = on_bug
        self._tls = tls
        self._running: dict[NodeName, tuple[Backend, asyncio.Task[None]]] = {}

    def set_backends(self, backends: Iterable[Backend]) -> None:
        """Probes these nodes, and no others."""
        wanted = {backend.name: backend for backend in backends}
        for name, (backend, task) in list(self._running.items()):
            if wanted.get(name) != backend:
                task.cancel()
                del self._running[name]
        for name, backend in wanted.items():
            if name not in self._running:
                task = self._spawn(self._probe(backend), f"probe {name}")
                self._running[name] = backend, task

    def close(self) -> None:
        """Probes nobody any more."""
        self.set_backends(())

    async def _probe(self, backend: Backend) -> None:
        settings = self._settings
        while True:
            try:
                await probe(
                    backend,
                    self._login,
                    lambda why, detail: self._probed(backend.name, why, detail),
                    interval=settings.probe_interval,
                    timeout=settings.probe_timeout,
                    options=self._tls.link_options,
                )
            except Exception as problem:
                # A node whose probe has stopped would keep its last state for ever.
                self._on_bug(f"probe {backend.name}", problem)
                await asyncio.sleep(settings.probe_interval)
