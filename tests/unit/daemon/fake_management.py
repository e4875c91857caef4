"""A management API that keeps what it is told: enough of it for descriptions.

``story`` has what was changed; ``refuse`` maps a path to the status it is refused with; change
number ``hang_at`` is never answered.
"""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from warrener.management.client import ManagementClient


class FakeManagement:
    def __init__(self) -> None:
        self.story: list[str] = []
        self.refuse: dict[str, int] = {}
        self.hang_at: int | None = None  # the change that is never answered
        self.hangs_after = False  # whether it is made all the same
        self.hanging = asyncio.Event()
        self.release = asyncio.Event()  # ends it
        self.cluster_name = "warrener"
        self.users: dict[str, dict[str, Any]] = {"warrener": _user("warrener", "own", "")}
        self.vhosts: dict[str, dict[str, Any]] = {"/": {"name": "/"}}
        self.limits: dict[str, dict[tuple[str, str], int]] = {"user": {}, "vhost": {}}
        everything = {"user": "warrener", "configure": ".*", "write": ".*", "read": ".*"}
        self.permissions: dict[tuple[str, str], dict[str, Any]] = {
            ("/", "warrener"): {"vhost": "/", **everything}
        }
        self.policies: dict[str, dict[tuple[str, str], dict[str, Any]]] = {
            "policies": {},
            "operator-policies": {},
        }
        self.queues: dict[tuple[str, str], dict[str, Any]] = {}
        self.flags: list[dict[str, Any]] = []
        self.version = "3.10.8"
        # Definitions as they were posted, by list; ``refuse_names`` aren't taken, ``ignore_names``
        # are without being there afterwards.
        self.definitions: dict[str, list[dict[str, Any]]] = {}
        self.refuse_names: set[str] = set()
        self.ignore_names: set[str] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ManagementClient]:
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        _, port = runner.addresses[0]
        try:
            async with ManagementClient(f"http://127.0.0.1:{port}", "warrener", "own") as client:
                yield client
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = request.raw_path.partition("?")[0].removeprefix("/api/")
        words = [unquote(word) for word in raw.split("/")]
        if request.method == "GET":
            found = self._get(words)
            return web.Response(status=404) if found is None else web.json_response(found)
        if words[0] == "queues" and (words[1], "warrener") not in self.permissions:
            return web.json_response({"error": "not_authorised"}, status=401)
        if raw in self.refuse:
            reason = {"error": "bad_request", "reason": "no"}
            return web.json_response(reason, status=self.refuse[raw])
        if len(self.story) == self.hang_at and not self.hangs_after:
            await self._hang()
        self.story.append(f"{request.method} {'/'.join(words)}")
        body = await request.json() if request.can_read_body else {}
        if words == ["definitions"]:
            if not self._define(body):
                reason = {"error": "bad_request", "reason": "Validation failed\n\n&lt;no&gt;"}
                return web.json_response(reason, status=400)
        elif request.method == "PUT":
            self._put(words, body)
        else:
            try:
                self._delete(words)
            except KeyError:
                return web.Response(status=404)
        if len(self.story) - 1 == self.hang_at:
            await self._hang()
        return web.Response(status=204)

    def _define(self, body: dict[str, Any]) -> bool:
        for kind, entries in body.items():
            if not isinstance(entries, list):
                continue
            names = {entry.get("name") for entry in entries}
            if names & self.refuse_names:
                return False
            kept = self.definitions.setdefault(kind, [])
            kept[:] = [entry for entry in kept if entry.get("name") not in names]
            kept += [entry for entry in entries if entry.get("name") not in self.ignore_names]
        return True

    async def _hang(self) -> None:
        self.hanging.set()
        await self.release.wait()

    def _get(self, words: list[str]) -> Any:
        match words:
            case ["whoami"]:
                return {"name": "warrener", "tags": ["administrator"]}
            case ["overview"]:
                return {
                    "cluster_name": self.cluster_name,
                    "rabbitmq_version": self.version,
                    "exchange_types": [{"name": "direct"}, {"name": "topic"}],
                }
            case ["definitions"]:
                vhosts = [{"name": name} for name in self.vhosts]
                return {"rabbitmq_version": self.version, "vhosts": vhosts, **self.definitions}
            case ["feature-flags"]:
                return self.flags
            case ["users"]:
                return list(self.users.values())
            case ["vhosts"]:
                return list(self.vhosts.values())
            case ["permissions"]:
                return list(self.permissions.values())
            case ["user-limits" | "vhost-limits" as what]:
                of = what.removesuffix("-limits")
                names = dict.fromkeys(name for name, _ in self.limits[of])
                return [
                    {
                        of: name,
                        "value": {k: v for (n, k), v in self.limits[of].items() if n == name},
                    }
                    for name in names
                ]
            case ["policies" | "operator-policies" as what]:
                return list(self.policies[what].values())
            case ["queues", vhost, name]:
                return self.queues.get((vhost, name))
        raise AssertionError(words)

    def _put(self, words: list[str], body: Any) -> None:
        match words:
            case ["users", name]:
                salted = body.get("password_hash")
                self.users[name] = _user(name, body.get("password", ""), body["tags"], salted)
            case ["vhosts", name]:
                self.vhosts[name] = {
                    "name": name,
                    "description": body["description"],
                    "tags": [tag for tag in body["tags"].split(",") if tag],
                    "default_queue_type": body.get("defaultqueuetype", "undefined"),
                }
            case ["permissions", vhost, user]:
                self.permissions[vhost, user] = {"user": user, "vhost": vhost, **body}
            case ["user-limits" | "vhost-limits" as what, name, limit]:
                self.limits[what.removesuffix("-limits")][name, limit] = body["value"]
            case ["policies" | "operator-policies" as what, vhost, name]:
                self.policies[what][vhost, name] = {"vhost": vhost, "name": name, **body}
            case ["queues", vhost, name]:
                kind = body["arguments"].get("x-queue-type", "classic")
                self.queues[vhost, name] = {"name": name, "type": kind, **body}
            case ["feature-flags", name, "enable"]:
                self.flags = [
                    {**flag, "state": "enabled"} if flag["name"] == name else flag
                    for flag in self.flags
                ]
            case ["cluster-name"]:
                self.cluster_name = body["name"]
            case _:
                raise AssertionError(words)

    def _delete(self, words: list[str]) -> None:
        match words:
            case ["users", name]:
                del self.users[name]
            case ["vhosts", name]:
                del self.vhosts[name]
                for vhost, user in list(self.permissions):
                    if vhost == name:
                        del self.permissions[vhost, user]
            case ["permissions", vhost, user]:
                del self.permissions[vhost, user]
            case ["user-limits" | "vhost-limits" as what, name, limit]:
                del self.limits[what.removesuffix("-limits")][name, limit]
            case ["policies" | "operator-policies" as what, vhost, name]:
                del self.policies[what][vhost, name]
            case _:
                raise AssertionError(words)


def _user(name: str, password: str, tags: str, salted: str | None = None) -> dict[str, Any]:
    made = b"salt" + hashlib.sha256(b"salt" + password.encode()).digest()
    return {
        "name": name,
        "password_hash": salted or b64encode(made).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": [tag for tag in tags.split(",") if tag],
    }
