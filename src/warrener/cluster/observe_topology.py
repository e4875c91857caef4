"""Reads what a running cluster holds, as ``topology`` compares it with what is wanted."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from warrener.cluster.drivers.installation import release
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.topology_steps import Observed, ObservedUser
from warrener.cluster.wanted import OWN_USER, Permission, Policy, PolicyId, Queue, Scalar, VHost
from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName
from warrener.management import topology as api
from warrener.management.answers import words
from warrener.management.client import ManagementClient

FEW_QUEUES: Final = 50
"""Up to so many are asked for one by one, whatever else the cluster has; more are picked from a
list of all."""


async def observe_topology(
    client: ManagementClient,
    spec: ClusterSpec,
    *,
    nodes: Sequence[NodeName],
    plugins: frozenset[str],
    balancer_policy: PolicyName,
    weights: Mapping[NodeName, int],
    config: Mapping[str, Scalar],
    chosen: Mapping[str, str],
    started_as: ClusterSpec,
    unspread: Sequence[NodeName] = (),
    auto_weights: bool = False,
) -> Observed:
    """All of it, asked of one node. What the management API doesn't tell is passed in (plugins are
    in it, but up to 5 s late). Raises ManagementError."""
    overview = await client.overview()
    users = await api.users(client)
    permissions = await api.permissions(client)
    user_limits = await api.user_limits(client)
    vhost_limits = await api.vhost_limits(client)
    policies: dict[PolicyId, Policy] = {}
    for operator in (False, True):
        for policy in await api.policies(client, operator=operator):
            id_ = PolicyId(policy.vhost, policy.name, operator)
            definition = policy.definition if isinstance(policy.definition, dict) else {}
            policies[id_] = Policy(
                id_, policy.pattern, definition, policy.apply_to, policy.priority
            )
    vhosts = {
        vhost.name: _vhost(vhost, vhost_limits.get(vhost.name, {}))
        for vhost in await api.vhosts(client)
    }
    queues = await _queues(client, [one for one in spec.wanted.queues if one.vhost in vhosts])
    return Observed(
        release=release(overview.rabbitmq_version),
        cluster_name=overview.cluster_name,
        nodes=tuple(nodes),
        plugins=plugins,
        vhosts=vhosts,
        users={
            user.name: ObservedUser(
                name=user.name,
                tags=_tags(user.tags),
                password_hash=user.password_hash,
                hashing=user.hashing_algorithm,
                permissions={
                    one.vhost: Permission(one.configure, one.write, one.read)
                    for one in permissions
                    if one.user == user.name
                },
                limits=user_limits.get(user.name, {}),
            )
            for user in users
            if user.name != OWN_USER
        },
        policies=policies,
        queues=queues,
        config=config,
        chosen=chosen,
        balancer_policy=balancer_policy,
        weights=weights,
        started_as=started_as,
        unspread=tuple(unspread),
        auto_weights=auto_weights,
        unreached=frozenset(vhosts) - {one.vhost for one in permissions if one.user == client.user},
    )


async def _queues(
    client: ManagementClient, wanted: Sequence[Queue]
) -> dict[tuple[str, str], Queue]:
    """Those of the wanted ones that there are."""
    if len(wanted) <= FEW_QUEUES:
        queues = {}
        for one in wanted:
            answer = await api.queue(client, one.vhost, one.name)
            if answer is not None:
                queues[one.vhost, one.name] = _queue(one.vhost, answer)
        return queues
    # In a thread: sessions are served on the event loop, and thousands take tens of milliseconds.
    return await asyncio.to_thread(_picked, await api.queues(client), wanted)


def _picked(
    answers: Sequence[api.QueueAnswer], wanted: Sequence[Queue]
) -> dict[tuple[str, str], Queue]:
    names = {(one.vhost, one.name) for one in wanted}
    return {
        (answer.vhost, answer.name): _queue(answer.vhost, answer)
        for answer in answers
        if (answer.vhost, answer.name) in names
    }


def _vhost(answer: api.VHostAnswer, limits: Mapping[str, int]) -> VHost:
    metadata = answer.metadata if isinstance(answer.metadata, dict) else {}
    kind = answer.default_queue_type or metadata.get("default_queue_type")
    return VHost(
        name=answer.name,
        description=answer.description if isinstance(answer.description, str) else "",
        tags=_tags(answer.tags),
        default_queue_type=_queue_type(kind),
        limits=limits,
    )


def _queue_type(word: Any) -> str | None:
    """RabbitMQ also names a type by its module, and "undefined" where there is none."""
    if not isinstance(word, str) or word in ("", "undefined"):
        return None
    return word.removeprefix("rabbit_").removesuffix("_queue")


def _queue(vhost: str, answer: api.QueueAnswer) -> Queue:
    arguments = answer.arguments if isinstance(answer.arguments, dict) else {}
    own = {key: value for key, value in arguments.items() if key != "x-queue-type"}
    return Queue(vhost, answer.name, answer.type, own)


def _tags(given: Any) -> tuple[str, ...]:
    """A list, or before 3.9 a text with commas."""
    if isinstance(given, str):
        return tuple(tag for tag in given.split(",") if tag)
    return words(given)
