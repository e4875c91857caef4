"""One node's management HTTP API, as typed calls.

A client belongs to one node and keeps one small pool of connections to it. Every request has a
time limit, every answer a size limit. What goes wrong is one of the ``ManagementError`` types,
whose text names the URL (never the password) and what to do:

    Unreachable      no connection, or none any more
    TimedOut         connected, but no whole answer in time (an ``Unreachable``)
    AccessRefused    401 or 403
    NotFound         404: no such thing, or an endpoint this version doesn't have
    BadAnswer        any other status, or something that isn't what the API answers
    TooLong          more than the caller is ready to read (a ``BadAnswer``)
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from warrener.management.answers import (
    Binding,
    Exchange,
    Node,
    Overview,
    Queue,
    QueuePage,
    Refusal,
    User,
)
from warrener.management.verify import Verify, options

DEFAULT_TIMEOUT: Final = 5.0
"""Seconds. A healthy node answers in tens of milliseconds; RabbitMQ itself gives its own nodes
5 s to answer one another before it calls them unresponsive."""

MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes. A queue takes about 300 as we ask for it."""

MAX_CONNECTIONS: Final = 12
"""To one node: eight look-ups at once, a look at the whole cluster, and some commands."""

FEW_QUEUES: Final = 500
"""Up to here queues are read with all their statistics; the API's own limit for one page."""

PLACE_COLUMNS: Final = "name,vhost,type,node,leader,members,online,state,auto_delete,exclusive"

LIST_TIMEOUT: Final = 15.0
"""Seconds for a list of thousands of queues: 5,000 take RabbitMQ half a second, and ten times that
while it declares others on a busy machine."""

QUEUE_COLUMNS: Final = f"{PLACE_COLUMNS},messages,messages_ready,messages_unacknowledged,consumers"

PAGE_PATIENCE: Final = 2.0
"""Seconds for queues with their statistics; 500 take half a second on an idle machine, and more
than 5 s where nodes use up their CPU (seen with 60 queues)."""

WITHOUT_STATISTICS: Final = 12
"""Looks that go without them after that: a minute."""

STATISTICS_PATIENCE: Final = 0.3
"""Seconds given to a question that RabbitMQ answers with statistics it collects from all nodes,
where it can be asked in another way. It takes 1 to 10 ms; while a node hangs, for ever."""

BIG: Final = 256 * 1024
"""Bytes from which an answer is taken apart in a thread: sessions share the event loop, and a
megabyte takes 5 to 15 ms."""

ACCEPT: Final = "application/json, */*;q=0.1"
"""What changes limits offers no JSON on 3.10.8, and refuses who takes nothing else (406)."""

_RIGHTS: Final = re.compile(
    r"not (?:management|monitor|policymaker|administrator) user|user not authorised", re.IGNORECASE
)
"""What 3.10.8 says to a user that it knows and that may not do this."""

_T = TypeVar("_T")


class ManagementError(Exception):
    """The management API didn't give what was asked. ``url`` has no credentials in it."""

    def __init__(self, url: str, text: str) -> None:
        super().__init__(f"{url}: {text}")
        self.url = url
        self.text = text


class Unreachable(ManagementError):
    """Nobody there, or the connection broke."""


class TimedOut(Unreachable):
    """Somebody there who doesn't answer in time."""


class AccessRefused(ManagementError):
    """The user may not, or isn't known."""


class NotFound(ManagementError):
    """No such thing."""


class BadAnswer(ManagementError):
    """An answer that isn't one of this API's."""


class TooLong(BadAnswer):
    """An answer that is longer than what is read."""


class ManagementClient:
    """A client of one node's API at ``base_url`` (such as ``http://127.0.0.1:15672``).

    ``timeout`` is for a whole request, in seconds. Use it as an asynchronous context manager, or
    ``close`` it. The connection is made at the first request.
    """

    def __init__(
        self,
        base_url: str,
        user: str,
        password: str,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        max_answer: int = MAX_ANSWER,
        verify: Verify | None = None,
    ) -> None:
        """``verify``: how the certificate of an https server is verified; None: by the system's
        authorities."""
        self.base_url = base_url.rstrip("/")
        self.user = user
        self.timeout = timeout
        self._authorization = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        self._max_answer = max_answer
        self._verify = verify
        self._session: aiohttp.ClientSession | None = None
        self._has_many_queues = False
        self._without_statistics = 0  # so many looks are content with totals

    def __repr__(self) -> str:
        return f"ManagementClient({self.base_url!r}, {self.user!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections. The client may be used again; it then connects anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # -- what is known of the API

    async def overview(self) -> Overview:
        """The cluster as a whole. Statistics are left out: they are the expensive part."""
        params = {"columns": "cluster_name,node,rabbitmq_version,product_version,erlang_version"}
        return await self.get("/api/overview", Overview, params)

    async def nodes(self) -> list[Node]:
        """Every member of the cluster, running or not."""
        return await self.get("/api/nodes", list[Node])

    async def whoami(self) -> User:
        """The user we are; the cheapest question that needs the user database."""
        return await self.get("/api/whoami", User)

    async def queues(self) -> list[Queue]:
        """Every queue of every virtual host; measurements, most of all ``consumers``, may be 0
        where there are more than ``FEW_QUEUES``, or nodes are too busy to collect them.

        RabbitMQ collects a queue's statistics from all nodes when it is asked, which makes a long
        list expensive: on 3.10 5,000 queues take 5 s, by pages or not, and 0.7 s with totals only.
        So the first page is asked for in full, and if there are more, all of it with totals.
        """
        if self._has_many_queues or self._without_statistics > 0:
            self._without_statistics = max(0, self._without_statistics - 1)
            return await self._totals(max(self.timeout, LIST_TIMEOUT))
        page = await self._page_unless_busy()
        if page is None:
            self._without_statistics = WITHOUT_STATISTICS
            return await self._totals(self.timeout)
        return page.items if page.page_count <= 1 else await self._totals(LIST_TIMEOUT)

    async def _page_unless_busy(self) -> QueuePage | None:
        """The first page of queues; None if that takes long: a cluster with more to do than it can
        collects statistics last."""
        params = {"columns": QUEUE_COLUMNS, "page": "1", "page_size": str(FEW_QUEUES)}
        patience = min(PAGE_PATIENCE, self.timeout)
        try:
            return await self.get("/api/queues", QueuePage, params, timeout=patience)
        except TimedOut:
            return None

    async def _totals(self, timeout: float) -> list[Queue]:
        params = {
            "columns": QUEUE_COLUMNS,
            "disable_stats": "true",
            "enable_queue_totals": "true",
        }
        queues = await self.get("/api/queues", list[Queue], params, timeout=timeout)
        self._has_many_queues = len(queues) > FEW_QUEUES
        return queues

    async def queue(self, vhost: str, name: str) -> Queue:
        """One queue: where it is, without measurements, which spares RabbitMQ half of the work.

        Known at once after it was declared. While a node hangs, a quorum queue with a member there
        takes 2 s, as RabbitMQ asks each member whether it is online. ``NotFound`` also for a
        classic queue whose node is down, which ``queues`` has with its state.
        """
        path = f"/api/queues/{segment(vhost)}/{segment(name)}"
        return await self.get(path, Queue, {"disable_stats": "true", "columns": PLACE_COLUMNS})

    async def running(self) -> dict[str, bool]:
        """The members of the cluster, and whether each runs. While a node hangs it takes 5 s."""
        params = {"disable_stats": "true", "columns": "name,running"}
        nodes = await self.get("/api/nodes", list[Node], params)
        return {node.name: node.running for node in nodes}

    async def exchange(self, vhost: str, name: str) -> Exchange:
        """One exchange. While a node hangs, found among all of its virtual host: a list can be had
        without statistics, a single one can't."""
        path = f"/api/exchanges/{segment(vhost)}"
        params = {"columns": "name,type,arguments,policy"}
        patience = min(STATISTICS_PATIENCE, self.timeout)
        try:
            return await self.get(f"{path}/{segment(name)}", Exchange, params, timeout=patience)
        except TimedOut:
            params["disable_stats"] = "true"
            for exchange in await self.get(path, list[Exchange], params):
                if exchange.name == name:
                    return exchange
            raise NotFound(self.base_url + path, f"no exchange {name!r}") from None

    async def bindings_from(self, vhost: str, exchange: str, *, limit: int) -> list[Binding]:
        """What is bound to an exchange. ``TooLong`` if the answer has more than ``limit`` bytes;
        a binding takes about 100."""
        path = f"/api/exchanges/{segment(vhost)}/{segment(exchange)}/bindings/source"
        params = {"columns": "destination,destination_type,routing_key"}
        return await self.get(path, list[Binding], params, limit=limit)

    # -- the rest of it

    async def get_json(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """``GET path``; ``path`` starts with ``/api/`` and is quoted (see ``segment``)."""
        return await self.get(path, Any, params, timeout=timeout)

    async def put_json(self, path: str, body: Any, *, timeout: float | None = None) -> None:
        """``PUT path``: makes or replaces."""
        await self._request("PUT", path, body=msgspec.json.encode(body), timeout=timeout)

    async def post_json(self, path: str, body: Any, *, timeout: float | None = None) -> Any:
        """``POST path``; what it answers, None if nothing."""
        data = msgspec.json.encode(body)
        url, raw = await self._request("POST", path, body=data, timeout=timeout)
        return _decode(url, raw, Any) if raw else None

    async def delete(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """``DELETE path``."""
        await self._request("DELETE", path, params, timeout=timeout)

    # -- one request

    async def get(
        self,
        path: str,
        kind: type[_T],
        params: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> _T:
        """``GET path``, whose answer is a ``kind``; ``path`` starts with ``/api/``, quoted."""
        url, raw = await self._request("GET", path, params, timeout=timeout, limit=limit)
        if len(raw) > BIG:
            return await asyncio.to_thread(_decode, url, raw, kind)
        return _decode(url, raw, kind)

    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> tuple[str, bytes]:
        assert path.startswith("/api/"), path
        timeout = self.timeout if timeout is None else timeout
        url = self.base_url + path
        headers = {"content-type": "application/json"} if body is not None else {}
        target = url + (f"?{urlencode(params)}" if params else "")
        try:
            async with (
                asyncio.timeout(timeout),
                self._open().request(
                    method,
                    # what is quoted in the path (%2F, the default vhost) has to stay quoted
                    URL(target, encoded=True),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    **options(self._verify),
                ) as response,
            ):
                raw = await self._read(url, response, self._max_answer if limit is None else limit)
                status = response.status
        except TimeoutError:
            raise TimedOut(url, f"no answer within {timeout:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            why = error.certificate_error
            raise Unreachable(url, f"its certificate isn't accepted: {why}") from None
        except aiohttp.ClientSSLError as error:
            raise Unreachable(url, f"no TLS connection: {error.os_error}") from None
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(url, f"no connection: {error.os_error.strerror or error}") from None
        except (aiohttp.ClientConnectionError, ConnectionError) as error:
            raise Unreachable(url, f"the connection broke: {error or 'closed'}") from None
        except aiohttp.ClientError as error:
            raise BadAnswer(url, f"not an HTTP answer: {error}") from None
        _check_status(url, status, raw, self.user)
        return url, raw

    async def _read(self, url: str, response: aiohttp.ClientResponse, limit: int) -> bytes:
        chunks = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                response.close()
                raise TooLong(url, f"the answer is longer than {limit:,} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=None),  # _request has its own
                trust_env=False,  # a proxy from the environment has no business here
                headers={"accept": ACCEPT, "authorization": self._authorization},
            )
        return self._session


def segment(name: str) -> str:
    """``name`` as one segment of a path: the default virtual host ``/`` becomes ``%2F``."""
    return quote(name, safe="")


def _decode(url: str, raw: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(
            url, f"not what RabbitMQ's management API answers ({error}); is it another service?"
        ) from None


def _check_status(url: str, status: int, raw: bytes, user: str) -> None:
    if 200 <= status < 300:
        return
    if status == 401 and not _lacks_rights(raw):
        raise AccessRefused(url, f"user {user!r} or its password is not accepted")
    if status in (401, 403):
        raise AccessRefused(url, f"user {user!r} may not do this: {_reason(raw)}")
    if status == 404:
        raise NotFound(url, f"not found: {_reason(raw)}")
    raise BadAnswer(url, f"HTTP status {status}: {_reason(raw)}")


def _lacks_rights(raw: bytes) -> bool:
    """Whether a 401 is about what the user may, as 3.10.8 answers it, not about who it is."""
    return _RIGHTS.search(_reason(raw)) is not None


def _reason(raw: bytes) -> str:
    """RabbitMQ's own words, shortened; ``raw`` may be anything."""
    try:
        refusal = msgspec.json.decode(raw, type=Refusal)
        text = ": ".join(str(part) for part in (refusal.error, refusal.reason) if part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = raw[:200].decode("utf-8", "replace")
    return " ".join(text.split())[:200] or "no reason given"
