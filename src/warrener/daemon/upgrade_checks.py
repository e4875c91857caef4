"""What has to be so before the first node is given another RabbitMQ. Pure.

RabbitMQ's own guides ask for most of it ("Rolling (in-place) Upgrade", "Upgrading RabbitMQ"): a
known path, an Erlang that suits, stable feature flags enabled, no alarms, all nodes there. Whether
one node can go without queues losing their majority is asked again at each node.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from warrener.cluster.drivers.installations import Candidate
from warrener.cluster.upgrade_paths import version_of, why_no_path, why_wrong_erlang
from warrener.control.upgrade_operations import CheckLine
from warrener.facts.ids import NodeName, short_name

KHEPRI = "khepri_db"
"""A feature flag of 3.13: with it on, there is no way to 4.x."""


@dataclass(frozen=True, slots=True)
class NodeNow:
    """One node before an upgrade. ``why_not``: why it doesn't serve, empty if it does."""

    name: NodeName
    version: str
    why_not: str = ""
    alarms: Sequence[str] = ()
    drained: bool = False


@dataclass(frozen=True, slots=True)
class Flags:
    """Feature flags: ``off`` are the stable ones that aren't enabled."""

    off: Sequence[str] = ()
    on: Collection[str] = field(default_factory=frozenset)


def checks(
    target: Candidate, nodes: Sequence[NodeNow], flags: Flags, mirrored: Sequence[str]
) -> list[CheckLine]:
    """All of them, in the order to read them in. ``mirrored`` are policies that mirror classic
    queues."""
    versions = sorted({node.version for node in nodes if node.version}, key=version_of)
    changes = any(version_of(version) != version_of(target.version) for version in versions)
    return [
        _check("upgrade path", _path(target, versions, flags, mirrored), forcible=False),
        _check(
            "Erlang", why_wrong_erlang(target.version, target.erlang) if changes else "",
            forcible=False,
        ),
        _check("plugins", _plugins(target), forcible=False),
        _check("settings", "; ".join(target.wrong_settings), forcible=False),
        _check("feature flags", _flags(flags) if changes else "", forcible=False),
        _check("nodes", _told(nodes, lambda node: node.why_not), forcible=True),
        _check("alarms", _told(nodes, lambda node: ", ".join(node.alarms)), forcible=True),
        _check(
            "maintenance mode",
            _told(nodes, lambda node: "is drained; revive it first" * node.drained),
            forcible=True,
        ),
    ]  # fmt: skip


def _check(what: str, problem: str, *, forcible: bool) -> CheckLine:
    return CheckLine(what=what, problem=problem, forcible=forcible)


def _path(target: Candidate, versions: Sequence[str], flags: Flags, mirrored: Sequence[str]) -> str:
    if not versions:
        return "no node tells its version"
    for version in versions:
        why = why_no_path(version, target.version)
        if why:
            return why
    if version_of(versions[0])[:2] < (4, 0) <= version_of(target.version)[:2]:
        if KHEPRI in flags.on:
            return f"with the feature flag {KHEPRI} on, 3.13 can't be upgraded to 4.x"
        if mirrored:
            return (
                f"4.x has no mirrored classic queues, and policies ask for them: "
                f"{', '.join(mirrored[:5])}"
            )
    return ""


def _plugins(target: Candidate) -> str:
    if not target.missing_plugins:
        return ""
    return f"{target.root} doesn't have {', '.join(target.missing_plugins)}, enabled here"


def _flags(flags: Flags) -> str:
    if not flags.off:
        return ""
    return (
        f"not enabled: {', '.join(flags.off)}; RabbitMQ asks for all stable ones before an upgrade "
        f"(`rabbitmqctl enable_feature_flag all`)"
    )


def _told(nodes: Sequence[NodeNow], what: Callable[[NodeNow], str]) -> str:
    found = [(node, what(node)) for node in nodes]
    return "; ".join(f"{short_name(node.name)}: {text}" for node, text in found if text)
