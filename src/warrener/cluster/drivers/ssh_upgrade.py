"""An installation that hosts are to be given, from what each of them said of it. Pure.

A rolling upgrade names one path. All hosts that are given it have to have the same there: the
version, and (links resolved) the place, since that is what a node's start goes by later on.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from warrener.cluster.drivers import ssh_checks
from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.installations import Candidate
from warrener.cluster.drivers.ssh_checks import Look
from warrener.cluster.errors import ClusterError, RabbitMQMissing
from warrener.cluster.upgrade_paths import version_of
from warrener.facts.ids import NodeName, short_name


def installations(
    looks: Mapping[NodeName, Look], path: Path, hosts: Mapping[NodeName, str]
) -> dict[NodeName, Installation]:
    """What each host has at ``path``. Raises RabbitMQMissing naming all that have nothing, or
    ClusterError if they don't have the same."""
    found = {name: ssh_checks.installation(look) for name, look in looks.items()}
    there = {name: one for name, one in found.items() if one is not None}
    lacking = [f"{short_name(name)} ({hosts[name]})" for name in found if name not in there]
    if lacking:
        raise RabbitMQMissing(
            f"no RabbitMQ in {path} on {', '.join(lacking)}: it has to be the root of an "
            f"installation there, such as /opt/rabbitmq_server-4.1.0, for each node that is "
            f"upgraded; or name the nodes whose hosts have it"
        )
    for what, values in (
        ("version", {name: one.version for name, one in there.items()}),
        ("place, links resolved,", {name: str(one.root) for name, one in there.items()}),
    ):
        if len(set(values.values())) > 1:
            told = ", ".join(f"{short_name(name)}: {value}" for name, value in values.items())
            raise ClusterError(
                f"{path} isn't the same {what} on all hosts ({told}); name the nodes that have "
                f"the same, and then the others"
            )
    return there


def candidate(
    found: Mapping[NodeName, Installation],
    looks: Mapping[NodeName, Look],
    plugins: Collection[str],
    wrong_settings: Sequence[str],
) -> Candidate:
    """What there is to know of it before. The Erlang is the oldest of the hosts'."""
    first = next(iter(found.values()))
    erlangs = sorted((looks[name].otp for name in found), key=version_of)
    missing = {name for name in plugins for one in found.values() if name not in one.plugins()}
    return Candidate(
        root=first.root,
        version=first.version,
        erlang=erlangs[0],
        missing_plugins=tuple(sorted(missing)),
        wrong_settings=tuple(wrong_settings),
    )
