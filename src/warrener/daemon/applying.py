"""Takes the steps of a plan, one by one: each action becomes a call or two.

Every action is idempotent: taken twice it changes nothing the second time. So whatever ends a run
in the middle (a failure, Ctrl-C, kill -9), the next plan is made from what is there by then.

``Actions`` has what the management API can't do.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from warrener.cluster.errors import ClusterError
from warrener.cluster.passwords import GeneratedPasswords
from warrener.cluster.topology_steps import (
    Action,
    AddNode,
    DeletePolicy,
    DeleteUser,
    DeleteVHost,
    LimitUser,
    LimitVHost,
    MakeQueue,
    NameCluster,
    Permit,
    PutPolicy,
    PutUser,
    PutVHost,
    RemoveNode,
    SetAutoWeights,
    SetBalancerPolicy,
    SetConfig,
    SetPlugins,
    SetWeight,
    Step,
)
from warrener.cluster.wanted import Queue, Scalar, VHost
from warrener.control.wire import Refused
from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import Balancer
from warrener.facts.capability import Can, Capabilities
from warrener.facts.ids import NodeName
from warrener.management import topology as api
from warrener.management.client import ManagementClient, ManagementError, NotFound

RECOVERY: Final = 10.0
"""Seconds for a queue that RabbitMQ knows and that doesn't serve to come up by itself, as those of
a node that has just booted do."""

RECOVERY_LOOK: Final = 0.5


class StepFailed(Exception):
    """A step couldn't be taken; the text says why."""


_TAKES: Final[Mapping[type, Can]] = {
    SetPlugins: Can.PLUGINS,
    AddNode: Can.ADD_NODE,
    RemoveNode: Can.REMOVE_NODE,
    SetConfig: Can.CONFIGURE,
}
"""What a step takes of the driver, beside the management API."""


def possible(step: Step, capabilities: Capabilities) -> Step:
    """The step, blocked with the reason if the driver lacks what it takes."""
    can = _TAKES.get(type(step.action))
    why = "" if can is None else capabilities.why_not(can)
    return replace(step, blocked=why) if why and not step.blocked else step


@dataclass(frozen=True, slots=True)
class Actions:
    """What is done to nodes and their settings: one function each.

    set_plugins   exactly these, on every node
    add_node      the node of this name is made, joins and is fit
    remove_node   its queues are led and kept elsewhere, it leaves, its data is gone
    set_config    a setting of RabbitMQ is in force on every node, restarts included; None: it is
                  as if nobody had chosen one
    renamed       the cluster's name was changed: for who shows it
    auto_weights  the balancer's weights follow what nodes can carry, or don't any more

    They raise ``DaemonError`` or ``Refused``.
    """

    set_plugins: Callable[[Sequence[str]], Awaitable[None]]
    add_node: Callable[[NodeName], Awaitable[None]]
    remove_node: Callable[[NodeName], Awaitable[None]]
    set_config: Callable[[str, Scalar | None], Awaitable[None]]
    renamed: Callable[[str], None]
    auto_weights: Callable[[bool], None]


class Executor:
    """Takes actions on one running cluster."""

    def __init__(
        self,
        client: ManagementClient,
        balancer: Balancer,
        passwords: GeneratedPasswords,
        actions: Actions,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._balancer = balancer
        self._passwords = passwords
        self._actions = actions
        self._monotonic = monotonic

    async def take(self, action: Action) -> None:
        """Does it; ``StepFailed`` if it can't be done."""
        try:
            await self._take(action)
        except ManagementError as error:
            raise StepFailed(str(error)) from error
        except (DaemonError, Refused) as error:
            raise StepFailed(error.message) from error
        except ClusterError as error:
            raise StepFailed(str(error)) from error
        except (KeyError, ValueError) as error:  # a node that is gone by now
            raise StepFailed(f"{type(error).__name__}: {error}") from error

    async def _take(self, action: Action) -> None:
        client = self._client
        match action:
            case PutVHost(vhost):
                await self._put_vhost(vhost)
            case DeleteVHost(name):
                await api.delete_vhost(client, name)
            case LimitVHost(vhost_name, limit, value):
                await api.set_limit(client, "vhost", vhost_name, limit, value)
            case PutUser():
                await self._put_user(action)
            case DeleteUser(name):
                await api.delete_user(client, name)
                self._passwords.forget(name)
            case LimitUser(user, limit, value):
                await api.set_limit(client, "user", user, limit, value)
            case Permit():
                await self._permit(action)
            case PutPolicy(policy):
                await api.put_policy(
                    client,
                    policy.id.vhost,
                    policy.id.name,
                    operator=policy.id.operator,
                    pattern=policy.pattern,
                    apply_to=policy.apply_to,
                    priority=policy.priority,
                    definition=policy.definition,
                )
            case DeletePolicy(id_):
                await api.delete_policy(client, id_.vhost, id_.name, operator=id_.operator)
            case MakeQueue(queue):
                await self._make_queue(queue)
            case NameCluster(name):
                await api.put_cluster_name(client, name)
                self._actions.renamed(name)
            case SetBalancerPolicy(balancing):
                self._balancer.set_policy(balancing)
            case SetAutoWeights(on):
                self._actions.auto_weights(on)
            case SetWeight(node, weight):
                self._balancer.set_weight(node, weight)
            case SetPlugins(names):
                await self._actions.set_plugins(names)
            case AddNode(node):
                await self._actions.add_node(node)
            case RemoveNode(node):
                await self._actions.remove_node(node)
            case SetConfig(key, value):
                await self._actions.set_config(key, value)
            case _:
                assert_never(action)

    async def _put_vhost(self, vhost: VHost) -> None:
        client = self._client
        await api.put_vhost(
            client,
            vhost.name,
            description=vhost.description,
            tags=vhost.tags,
            default_queue_type=vhost.default_queue_type,
        )
        # RabbitMQ does this for who makes one, but as a second step, which a connection that breaks
        # in between ends; and for nobody else.
        await api.put_permission(
            client, client.user, vhost.name, configure=".*", write=".*", read=".*"
        )

    async def _make_queue(self, queue: Queue) -> None:
        kind = {} if queue.type is None else {"x-queue-type": queue.type}
        arguments = {**queue.arguments, **kind}
        deadline = self._monotonic() + RECOVERY
        while True:
            try:
                await api.put_queue(self._client, queue.vhost, queue.name, arguments=arguments)
            except NotFound as error:
                # It is there, and nobody serves it. A node that is killed while it declares one can
                # leave it so for ever; but whether there is anything in it isn't known.
                if self._monotonic() > deadline:
                    raise StepFailed(
                        f"{error}. If nothing is in it that is needed: `rabbitmqctl delete_queue` "
                        f"takes it away, and the next `warrener apply` makes it anew"
                    ) from error
                await asyncio.sleep(RECOVERY_LOOK)
            else:
                return

    async def _permit(self, action: Permit) -> None:
        allowed = action.permission
        if allowed is None:
            await api.delete_permission(self._client, action.user, action.vhost)
            return
        await api.put_permission(
            self._client,
            action.user,
            action.vhost,
            configure=allowed.configure,
            write=allowed.write,
            read=allowed.read,
        )

    async def _put_user(self, action: PutUser) -> None:
        kept = None
        password = action.password
        if action.keep:
            found = [user for user in await api.users(self._client) if user.name == action.name]
            if not found:
                raise StepFailed(f"user {action.name} was removed meanwhile")
            kept = found[0]
        elif password is None:
            # On disk before RabbitMQ has it: cut off in between, the next run uses the same.
            password = self._passwords.make(action.name)
        await api.put_user(
            self._client, action.name, tags=action.tags, password=password, kept=kept
        )
