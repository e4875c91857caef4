"""The management APIs of a cluster that somebody else runs: one server for each node, as much of
them as the attached driver asks for."""

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Theirs:
    """``running`` by name; ``ports`` of the management servers, by the node behind each.
    ``members`` overrides who a node says is there; ``amqp`` where a node listens for
    ``protocol``."""

    running: dict[str, bool] = field(default_factory=lambda: {"n1@localhost": True})
    tags: Any = ("administrator",)
    password: str = "right"
    version: str = "3.10.8"
    amqp: dict[str, tuple[str, int]] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)
    queues: list[dict[str, Any]] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    tells_management: bool = True
    protocol: str = "amqp"

    @asynccontextmanager
    async def serving(self, *nodes: str) -> AsyncIterator[list[str]]:
        """The URLs of these nodes' APIs, n1's if none is named."""
        runners = []
        urls = []
        try:
            for node in nodes or ("n1@localhost",):
                runner = web.ServerRunner(web.Server(self._answer_as(node)), shutdown_timeout=0.1)
                await runner.setup()
                runners.append(runner)
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.ports[node] = runner.addresses[0][1]
                urls.append(f"http://127.0.0.1:{self.ports[node]}")
            yield urls
        finally:
            for runner in runners:
                await runner.cleanup()

    def _answer_as(self, node: str) -> Any:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            self.asked.append((node, request.path))
            if node in self.silent:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            login = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
            user, _, password = login.partition(":")
            if password != self.password:
                return _refused("not_authorized", "Login failed")
            if not self.tags:
                return _refused("not_authorised", "Not management user")
            return web.json_response(self._told(node, user, request.path))

        return answer

    def _told(self, node: str, user: str, path: str) -> Any:
        names = self.members.get(node, list(self.running))
        match path.removeprefix("/api/"):
            case "whoami":
                return {"name": user, "tags": self.tags}
            case "overview":
                return {
                    "node": node,
                    "cluster_name": "warren",
                    "rabbitmq_version": self.version,
                    "listeners": [one for name in names for one in self._listeners(name)],
                }
            case "nodes":
                return [
                    {
                        "name": name,
                        "running": self.running.get(name, True),
                        "rabbitmq_version": self.version,
                        "net_ticktime": 60,
                        "mem_limit": 1000,
                        "enabled_plugins": ["rabbitmq_management", "rabbitmq_shovel"],
                    }
                    for name in names
                ]
            case "queues":
                return {"items": self.queues, "page_count": 1}
        raise AssertionError(path)

    def _listeners(self, name: str) -> list[dict[str, Any]]:
        if not self.running.get(name, True):
            return []
        ip, port = self.amqp.get(name, ("127.0.0.1", 5000 + int(name[1:2])))
        found = [{"node": name, "protocol": self.protocol, "ip_address": ip, "port": port}]
        if name in self.ports and self.tells_management:
            http = {"protocol": "http", "ip_address": "127.0.0.1", "port": self.ports[name]}
            found.append({"node": name, **http})
        return found


def _refused(error: str, reason: str) -> web.StreamResponse:
    return web.json_response({"error": error, "reason": reason}, status=401)
