"""Takes the steps of a plan, one by one: each action becomes a call or two.

Every action is idempotent: taken twice it changes nothing the second time. So whatever ends a run
in the middle (a failure, Ctrl-C, kill -9), the next plan is made from what is there by then.

``Actions`` has what the management API can't do. A function that isn't plugged in makes its steps
blocked: they are shown and passed over, with the reason.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

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
    SetBalancerPolicy,
    SetConfig,
    SetPlugins,
    SetWeight,
    Step,
)
from warrener.cluster.wanted import Scalar
from warrener.control.wire import Refused
from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import Balancer
from warrener.facts.capability import EVERYTHING, Can, Capabilities
from warrener.facts.ids import NodeName
from warrener.management import topology as api
from warrener.management.client import ManagementClient, ManagementError


class StepFailed(Exception):
    """A step couldn't be taken; the text says why."""


_TAKES: Final[Mapping[type, Can]] = {
    SetPlugins: Can.PLUGINS,
    AddNode: Can.ADD_NODE,
    RemoveNode: Can.REMOVE_NODE,
    SetConfig: Can.CONFIGURE,
}
"""What a step takes of the driver, beside the management API."""


@dataclass(frozen=True, slots=True)
class Actions:
    """What is done to nodes and their settings: one function each; None: not possible here.

    set_plugins   exactly these, on every node
    add_node      the node of this name is made, joins and is fit
    remove_node   its queues are led and kept elsewhere, it leaves, its data is gone
    set_config    a setting of RabbitMQ is in force on every node, restarts included
    config        of these settings those in force; where that comes to the same, as they are here
    renamed       the cluster's name was changed: for who shows it
    capabilities  what the driver lacks, whatever is plugged in

    They raise ``DaemonError`` or ``Refused``.
    """

    set_plugins: Callable[[Sequence[str]], Awaitable[None]] | None = None
    add_node: Callable[[NodeName], Awaitable[None]] | None = None
    remove_node: Callable[[NodeName], Awaitable[None]] | None = None
    set_config: Callable[[str, Scalar], Awaitable[None]] | None = None
    config: Callable[[Mapping[str, Scalar]], Awaitable[Mapping[str, Scalar]]] | None = None
    renamed: Callable[[str], None] = lambda name: None
    capabilities: Capabilities = EVERYTHING

    def possible(self, step: Step) -> Step:
        """The step, blocked if what it takes isn't there."""
        can = _TAKES.get(type(step.action))
        why = "" if can is None else self.capabilities.why_not(can)
        match step.action:
            case _ if why:
                pass
            case SetPlugins() if self.set_plugins is None:
                why = "plugins are taken at the next `warrener up`"
            case AddNode() if self.add_node is None:
                why = "not while the cluster runs: `warrener down`, then `warrener up` adds it"
            case RemoveNode() if self.remove_node is None:
                why = "not possible yet: the node would be lost with the data on it"
            case SetConfig() if self.set_config is None:
                why = "not possible yet"
        return replace(step, blocked=why) if why and not step.blocked else step


class Executor:
    """Takes actions on one running cluster."""

    def __init__(
        self,
        client: ManagementClient,
        balancer: Balancer,
        passwords: GeneratedPasswords,
        actions: Actions,
    ) -> None:
        self._client = client
        self._balancer = balancer
        self._passwords = passwords
        self._actions = actions

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
                await api.put_vhost(
                    client,
                    vhost.name,
                    description=vhost.description,
                    tags=vhost.tags,
                    default_queue_type=vhost.default_queue_type,
                )
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
            case Permit(user, vhost_name, None):
                await api.delete_permission(client, user, vhost_name)
            case Permit(user, vhost_name, permission) if permission is not None:
                await api.put_permission(
                    client,
                    user,
                    vhost_name,
                    configure=permission.configure,
                    write=permission.write,
                    read=permission.read,
                )
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
                kind = {} if queue.type is None else {"x-queue-type": queue.type}
                arguments = {**queue.arguments, **kind}
                await api.put_queue(client, queue.vhost, queue.name, arguments=arguments)
            case NameCluster(name):
                await api.put_cluster_name(client, name)
                self._actions.renamed(name)
            case SetBalancerPolicy(balancing):
                self._balancer.set_policy(balancing)
            case SetWeight(node, weight):
                self._balancer.set_weight(node, weight)
            case SetPlugins(names) if self._actions.set_plugins is not None:
                await self._actions.set_plugins(names)
            case AddNode(node) if self._actions.add_node is not None:
                await self._actions.add_node(node)
            case RemoveNode(node) if self._actions.remove_node is not None:
                await self._actions.remove_node(node)
            case SetConfig(key, value) if self._actions.set_config is not None:
                await self._actions.set_config(key, value)
            case _:
                raise AssertionError(f"a blocked step was taken: {action}")

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
