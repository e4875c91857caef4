"""What a host has to be like before a cluster is started on it, and what was found. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from warrener.cluster.drivers.host_install import COMMAND, Able
from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.systemd import Manager
from warrener.cluster.hosts import HostSpec, Supervision
from warrener.facts.ids import NodeName, short_name

SKEW: Final = 5.0
"""Seconds that two clocks may differ by before it is worth a word. RabbitMQ itself doesn't mind;
who reads logs of several hosts does, and message TTLs after a failover."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The RabbitMQ that a node is to run: ``root`` is a path on its host, None: the newest of the
    packaged ones. ``upgraded``: a rolling upgrade gave it this one."""

    root: Path | None = None
    upgraded: bool = False


@dataclass(slots=True)
class Look:
    """What ``host_look.look`` printed. ``systemd`` is None where the login can't use one, which
    ``no_systemd`` says why."""

    home: str = ""
    user: str = ""
    time: float | None = None
    missing: list[str] = field(default_factory=list)
    has_address: bool = False
    folder: str = ""
    systemd: Manager | None = None
    no_systemd: str = "it didn't say whether it has systemd"
    install: Able = Able.NO_APT
    roots: list[tuple[str, list[str]]] = field(default_factory=list)
    path: str = ""
    erl: str = ""
    epmd: str = ""
    otp: str = ""


def read_look(text: str) -> Look:
    """Unknown lines are passed over."""
    look = Look()
    other_epmd = ""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        match key:
            case "home" | "user" | "folder" | "path" | "erl" | "epmd" | "otp":
                setattr(look, key, value)
            case "time" if value.isdigit():
                look.time = float(value)
            case "missing":
                look.missing.append(value)
            case "address":
                look.has_address = True
            case "systemd" if value in set(Manager):
                look.systemd = Manager(value)
            case "no-systemd":
                look.no_systemd = value
            case "install" if value in set(Able):
                look.install = Able(value)
            case "root":
                look.roots.append((value, []))
            case "plugin" if look.roots:
                look.roots[-1][1].append(value)
            case "other-epmd":
                other_epmd = value
    look.epmd = look.epmd or other_epmd
    return look


def installation(look: Look) -> Installation | None:
    """The newest RabbitMQ with its Erlang; None if either is missing."""
    found = []
    for root, entries in look.roots:
        plugins = {}
        for entry in entries:
            name, _, version = entry.removesuffix(".ez").partition("-")
            if version[:1].isdigit():
                plugins[name] = version
        if "rabbit" in plugins:
            found.append((_numbers(plugins["rabbit"]), root, plugins))
    if not found or not look.erl or not look.epmd:
        return None
    _, root, plugins = max(found)
    return Installation(
        root=Path(root),
        version=plugins["rabbit"],
        erl=Path(look.erl),
        epmd=Path(look.epmd),
        path=look.path,
        plugin_names=tuple(sorted(plugins)),
    )


def problems(look: Look, address: str, wanted: Wanted, spec: HostSpec) -> list[str]:
    """What is in the way on one host: what, and what to do."""
    found = []
    if look.missing:
        found.append(f"has no {', '.join(look.missing)}, which Warrener needs there")
    if not look.has_address:
        found.append(
            f"has no network interface with the address {address}: `host` has to be the one that "
            f"the node can listen on"
        )
    if look.folder:
        found.append(f"its folder can't be used ({look.folder}); choose another one with `folder`")
    if spec.supervision is Supervision.SYSTEMD and look.systemd is None:
        found.append(
            f"can't have its node under systemd: {look.no_systemd}; mend that, or choose "
            f'`supervision = "own"` or "auto"'
        )
    return found + missing(look, wanted, spec)


def missing(look: Look, wanted: Wanted, spec: HostSpec) -> list[str]:
    """RabbitMQ and its Erlang, as far as they aren't there, and the command that brings them."""
    found = []
    usable = [root for root, plugins in look.roots if any(p.startswith("rabbit-") for p in plugins)]
    if not usable and wanted.upgraded:
        found.append(
            f"has no RabbitMQ in {wanted.root} any more, which a rolling upgrade gave its node: "
            f"put it back there, or name its place by `rabbitmq` under [cluster]"
        )
    elif not usable:
        where = f" in {wanted.root}" if wanted.root is not None else ""
        found.append(
            f"has no RabbitMQ{where}: {_how_to_install(look, spec)}, or name the root of another "
            f"one by `rabbitmq` under [cluster]"
        )
    if not look.erl:
        found.append(f"has no Erlang (`erl`) on its PATH: {_how_to_install(look, spec)}")
    elif not look.epmd:
        found.append("has Erlang, but no epmd: `apt-get install erlang-base` there")
    return found


def _how_to_install(look: Look, spec: HostSpec) -> str:
    match look.install:
        case Able.ROOT | Able.SUDO if spec.install:
            return f"it is installed by `{COMMAND}` once nothing else is in the way"
        case Able.ROOT:
            return f"`{COMMAND}` there, or `install = true` in warrener.toml"
        case Able.SUDO:
            return f"`sudo {COMMAND}` there, or `install = true` in warrener.toml"
        case Able.NO:
            why = " (`install = true` takes root, or sudo without a password)" * spec.install
            return f"`{COMMAND}` there, as root{why}"
        case Able.NO_APT:
            why = " (`install = true` takes apt)" * spec.install
            return f"install rabbitmq-server there with its package manager, as root{why}"


def can_install(look: Look, wanted: Wanted, spec: HostSpec) -> bool:
    """Whether what is missing is to be installed, and can be."""
    return (
        spec.install
        and look.install in {Able.ROOT, Able.SUDO}
        and wanted.root is None
        and bool(missing(look, wanted, spec))
    )


def manager(look: Look, spec: HostSpec) -> Manager | None:
    """The systemd that looks after the node; None: Warrener's own shell does."""
    return None if spec.supervision is Supervision.OWN else look.systemd


def differences(looks: Mapping[NodeName, Look], *, mixed: bool = False) -> list[str]:
    """What the hosts should have in common and haven't. ``mixed``: a rolling upgrade has not come
    to its end, so versions of RabbitMQ may differ."""
    found = []
    rabbits, erlangs = {}, {}
    for name, look in looks.items():
        if (there := installation(look)) is not None:
            rabbits[name] = there.version
            erlangs[name] = look.otp.partition(".")[0] or "?"
    for what, versions in (("RabbitMQ", rabbits), ("Erlang", erlangs)):
        if len(set(versions.values())) > 1 and not (mixed and versions is rabbits):
            told = ", ".join(f"{short_name(n)} has {v}" for n, v in sorted(versions.items()))
            found.append(f"the hosts' versions of {what} differ: {told}; install the same one")
    return found


def skews(looks: Mapping[NodeName, Look], times: Mapping[NodeName, float]) -> dict[NodeName, float]:
    """Seconds by which hosts' clocks are ahead of ours, where that is worth a word. ``times`` is
    ours, in the middle of the look."""
    found = {}
    for name, look in looks.items():
        if look.time is not None and abs(look.time - times[name]) > SKEW:
            found[name] = look.time - times[name]
    return found


def told(
    there: Mapping[NodeName, Installation],
    looks: Mapping[NodeName, Look],
    specs: Mapping[NodeName, HostSpec],
) -> str:
    """What hosts that are ready have, for people."""
    versions = sorted({there[name].version for name in looks})
    text = f"RabbitMQ {' and '.join(versions)} on each"
    units = [short_name(name) for name in looks if manager(looks[name], specs[name]) is not None]
    return text + (f"; {', '.join(sorted(units))} under systemd" if units else "")


def report(rows: Iterable[tuple[str, Sequence[str]]], common: Sequence[str]) -> str:
    """All that is in the way, by host, for people."""
    lines = ["the hosts are not ready; nothing was started or changed:"]
    for who, found in rows:
        lines += [f"  {who}: {problem}" for problem in found]
    lines += [f"  {problem}" for problem in common]
    return "\n".join(lines)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
