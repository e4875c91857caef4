"""What a host has to be like before a cluster is started on it, and what was found. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from warrener.cluster.drivers.installation import Installation
from warrener.facts.ids import NodeName, short_name

SKEW: Final = 5.0
"""Seconds that two clocks may differ by before it is worth a word. RabbitMQ itself doesn't mind;
who reads logs of several hosts does, and message TTLs after a failover."""

_INSTALL: Final = "`apt-get install --no-install-recommends rabbitmq-server` there"


@dataclass(slots=True)
class Look:
    """What ``host_scripts.look`` printed."""

    home: str = ""
    user: str = ""
    time: float | None = None
    missing: list[str] = field(default_factory=list)
    has_address: bool = False
    folder: str = ""
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


def problems(look: Look, address: str, wanted: Path | None) -> list[str]:
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
    usable = [root for root, plugins in look.roots if any(p.startswith("rabbit-") for p in plugins)]
    if not usable:
        where = f" in {wanted}" if wanted is not None else ""
        found.append(f"has no RabbitMQ{where}: {_INSTALL}, or name the root of another one")
    if not look.erl:
        found.append(f"has no Erlang (`erl`) on its PATH: {_INSTALL} brings it along")
    elif not look.epmd:
        found.append("has Erlang, but no epmd: `apt-get install erlang-base` there")
    return found


def differences(looks: Mapping[NodeName, Look]) -> list[str]:
    """What the hosts should have in common and haven't."""
    found = []
    rabbits, erlangs = {}, {}
    for name, look in looks.items():
        if (there := installation(look)) is not None:
            rabbits[name] = there.version
            erlangs[name] = look.otp.partition(".")[0] or "?"
    for what, versions in (("RabbitMQ", rabbits), ("Erlang", erlangs)):
        if len(set(versions.values())) > 1:
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


def report(rows: Iterable[tuple[str, Sequence[str]]], common: Sequence[str]) -> str:
    """All that is in the way, by host, for people."""
    lines = ["the hosts are not ready; nothing was started or changed:"]
    for who, found in rows:
        lines += [f"  {who}: {problem}" for problem in found]
    lines += [f"  {problem}" for problem in common]
    return "\n".join(lines)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
