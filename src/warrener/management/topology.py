"""What a cluster holds, through the management API: users, virtual hosts, permissions, limits,
policies, queues, definitions. On top of ``ManagementClient``, with its errors.

    GET   answers are read in part, like those in ``answers``
    PUT   makes or replaces; DELETE of what isn't there is done already (404 is no error)

Making a virtual host waits until every node has it, which RabbitMQ itself gives 45 s.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from warrener.management.answers import Answer
from warrener.management.client import BadAnswer, ManagementClient, NotFound, segment

VHOST_TIMEOUT: Final = 60.0
"""Seconds; RabbitMQ answers after 45 at the latest."""

DEFINITIONS_TIMEOUT: Final = 120.0
"""Seconds for all definitions at once: thousands of quorum queues are declared one by one."""

_T = TypeVar("_T")

_POLICIES: Final = {False: "policies", True: "operator-policies"}


class UserAnswer(Answer, frozen=True):
    """One element of ``GET /api/users``. ``tags`` is a list, before 3.9 a text with commas."""

    name: str
    password_hash: str = ""
    hashing_algorithm: str = ""
    tags: Any = ()

    def __repr__(self) -> str:
        return f"UserAnswer(name={self.name!r})"


class VHostAnswer(Answer, frozen=True):
    """One element of ``GET /api/vhosts``."""

    name: str
    description: Any = ""
    tags: Any = ()
    default_queue_type: Any = None
    metadata: Any = None


class PermissionAnswer(Answer, frozen=True):
    """One element of ``GET /api/permissions``."""

    user: str
    vhost: str
    configure: str = ""
    write: str = ""
    read: str = ""


class LimitsAnswer(Answer, frozen=True):
    """One element of ``GET /api/user-limits`` or ``/api/vhost-limits``."""

    user: str = ""
    vhost: str = ""
    value: Any = None


class PolicyAnswer(Answer, frozen=True):
    """One element of ``GET /api/policies`` or ``/api/operator-policies``."""

    vhost: str
    name: str
    pattern: str = ""
    apply_to: str = msgspec.field(default="all", name="apply-to")
    definition: Any = None
    priority: int = 0


class QueueAnswer(Answer, frozen=True):
    """``GET /api/queues/VHOST/NAME``, what it was declared as."""

    name: str
    vhost: str = ""
    type: str = "classic"
    durable: bool = True
    arguments: Any = None


# -- what is there


async def users(client: ManagementClient) -> list[UserAnswer]:
    """Every user, with the hash of its password."""
    return await _read(client, "/api/users", list[UserAnswer])


async def vhosts(client: ManagementClient) -> list[VHostAnswer]:
    """Every virtual host."""
    return await _read(client, "/api/vhosts", list[VHostAnswer])


async def permissions(client: ManagementClient) -> list[PermissionAnswer]:
    """Every user's permissions in every virtual host."""
    return await _read(client, "/api/permissions", list[PermissionAnswer])


async def user_limits(client: ManagementClient) -> dict[str, dict[str, int]]:
    """User -> limit -> value, of those that have any."""
    found = await _read(client, "/api/user-limits", list[LimitsAnswer])
    return {answer.user: _numbers(answer.value) for answer in found}


async def vhost_limits(client: ManagementClient) -> dict[str, dict[str, int]]:
    """Virtual host -> limit -> value, of those that have any."""
    found = await _read(client, "/api/vhost-limits", list[LimitsAnswer])
    return {answer.vhost: _numbers(answer.value) for answer in found}


async def policies(client: ManagementClient, *, operator: bool = False) -> list[PolicyAnswer]:
    """Every policy, or every operator policy."""
    return await _read(client, f"/api/{_POLICIES[operator]}", list[PolicyAnswer])


async def queue(client: ManagementClient, vhost: str, name: str) -> QueueAnswer | None:
    """One queue; None if there is none."""
    path = f"/api/queues/{segment(vhost)}/{segment(name)}"
    with contextlib.suppress(NotFound):
        params = {"disable_stats": "true", "columns": "name,type,durable,arguments"}
        return await _read(client, path, QueueAnswer, params)
    return None


async def queues(client: ManagementClient) -> list[QueueAnswer]:
    """Every queue as it was declared. 5,000 take RabbitMQ half a second; one takes 3 ms."""
    params = {"disable_stats": "true", "columns": "name,vhost,type,durable,arguments"}
    return await client.get("/api/queues", list[QueueAnswer], params)


# -- what is changed


async def put_vhost(
    client: ManagementClient,
    name: str,
    *,
    description: str = "",
    tags: Sequence[str] = (),
    default_queue_type: str | None = None,
) -> None:
    """Makes a virtual host, or changes its description and tags, from 3.12 on its type, too."""
    body = {"description": description, "tags": ",".join(tags)}
    if default_queue_type is not None:
        body["defaultqueuetype"] = default_queue_type  # up to 3.11
        body["default_queue_type"] = default_queue_type
    await client.put_json(f"/api/vhosts/{segment(name)}", body, timeout=VHOST_TIMEOUT)


async def delete_vhost(client: ManagementClient, name: str) -> None:
    """With all queues and messages in it."""
    with contextlib.suppress(NotFound):
        await client.delete(f"/api/vhosts/{segment(name)}", timeout=VHOST_TIMEOUT)


async def put_user(
    client: ManagementClient,
    name: str,
    *,
    tags: Sequence[str],
    password: str | None = None,
    kept: UserAnswer | None = None,
) -> None:
    """Makes a user or changes it; with ``kept``, its password stays."""
    body: dict[str, Any] = {"tags": ",".join(tags)}
    if kept is not None:
        body |= {"password_hash": kept.password_hash, "hashing_algorithm": kept.hashing_algorithm}
    elif password is not None:
        body["password"] = password
    else:
        raise AssertionError("a user without a password could be anybody")
    await client.put_json(f"/api/users/{segment(name)}", body)


async def delete_user(client: ManagementClient, name: str) -> None:
    """With its permissions; its open connections are closed by RabbitMQ."""
    with contextlib.suppress(NotFound):
        await client.delete(f"/api/users/{segment(name)}")


async def set_limit(
    client: ManagementClient, of: str, name: str, limit: str, value: int | None
) -> None:
    """One limit of a ``user`` or ``vhost``; None takes it away."""
    path = f"/api/{of}-limits/{segment(name)}/{segment(limit)}"
    if value is not None:
        await client.put_json(path, {"value": value})
        return
    with contextlib.suppress(NotFound):
        await client.delete(path)


async def put_permission(
    client: ManagementClient, user: str, vhost: str, *, configure: str, write: str, read: str
) -> None:
    """All three at once."""
    path = f"/api/permissions/{segment(vhost)}/{segment(user)}"
    await client.put_json(path, {"configure": configure, "write": write, "read": read})


async def delete_permission(client: ManagementClient, user: str, vhost: str) -> None:
    """The user can't use the virtual host any more."""
    with contextlib.suppress(NotFound):
        await client.delete(f"/api/permissions/{segment(vhost)}/{segment(user)}")


async def put_policy(
    client: ManagementClient,
    vhost: str,
    name: str,
    *,
    operator: bool,
    pattern: str,
    apply_to: str,
    priority: int,
    definition: Mapping[str, Any],
) -> None:
    """Makes or replaces a policy; it takes effect at once."""
    body = {
        "pattern": pattern,
        "apply-to": apply_to,
        "priority": priority,
        "definition": definition,
    }
    await client.put_json(f"/api/{_POLICIES[operator]}/{segment(vhost)}/{segment(name)}", body)


async def delete_policy(client: ManagementClient, vhost: str, name: str, *, operator: bool) -> None:
    """Queues that it was applied to get the next one that matches, or none."""
    with contextlib.suppress(NotFound):
        await client.delete(f"/api/{_POLICIES[operator]}/{segment(vhost)}/{segment(name)}")


async def put_queue(
    client: ManagementClient, vhost: str, name: str, *, arguments: Mapping[str, Any]
) -> None:
    """Declares a durable queue; ``BadAnswer`` if there is one that was declared otherwise."""
    path = f"/api/queues/{segment(vhost)}/{segment(name)}"
    await client.put_json(path, {"durable": True, "arguments": arguments})


async def put_cluster_name(client: ManagementClient, name: str) -> None:
    """What ``rabbitmqctl cluster_status`` calls the cluster."""
    await client.put_json("/api/cluster-name", {"name": name})


async def definitions(client: ManagementClient) -> dict[str, Any]:
    """Users (with password hashes), virtual hosts, permissions, limits, policies, exchanges,
    queues, bindings, parameters: all that isn't messages."""
    found = await client.get_json("/api/definitions", timeout=DEFINITIONS_TIMEOUT)
    if not isinstance(found, dict):
        raise BadAnswer(client.base_url + "/api/definitions", "not an object of definitions")
    return found


async def put_definitions(client: ManagementClient, document: Mapping[str, Any]) -> None:
    """Adds and replaces what is in the document; removes nothing."""
    await client.post_json("/api/definitions", document, timeout=DEFINITIONS_TIMEOUT)


# -- reading


async def _read(
    client: ManagementClient, path: str, kind: type[_T], params: Mapping[str, str] | None = None
) -> _T:
    return await client.get(path, kind, params)


def _numbers(value: Any) -> dict[str, int]:
    """Limits; a negative one means none."""
    if not isinstance(value, dict):
        return {}
    return {
        key: limit
        for key, limit in value.items()
        if isinstance(key, str) and type(limit) is int and limit >= 0
    }
