"""Addresses -> what Prometheus reads to find and scrape them. Pure.

    DIR/prometheus.yml          jobs, rule file, nothing that changes while the cluster runs
    DIR/rules.yml               alerts and recordings
    DIR/targets/warrener.json   where Warrener's own metrics are      } read anew by Prometheus
    DIR/targets/rabbitmq.json   where each node's are                 } whenever they change
    DIR/token                   for Warrener's own (0600)
    DIR/ca.pem                  what nodes' certificates are verified with, where they have some
    DIR/alertmanager-example.yml

Paths in it are relative to DIR, which may be moved as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from warrener.telemetry.rules import HEAD, alertmanager_example, duration, rules, to_yaml

CONFIG: Final = "prometheus.yml"
RULES: Final = "rules.yml"
TOKEN: Final = "token"  # noqa: S105  # a file's name
AUTHORITY: Final = "ca.pem"
TARGETS: Final = "targets"
WARRENER: Final = f"{TARGETS}/warrener.json"
RABBITMQ: Final = f"{TARGETS}/rabbitmq.json"
ALERTMANAGER: Final = "alertmanager-example.yml"


@dataclass(frozen=True, slots=True)
class Target:
    """``address``: host:port. ``node``: its name; empty: it isn't one."""

    address: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is. ``tls``: the nodes' metrics are served over HTTPS; ``server_name``: whom
    all their certificates are for; empty: the address."""

    cluster: str
    warrener: str  # host:port; empty: it serves none
    nodes: tuple[Target, ...]
    tls: bool = False
    server_name: str = ""


def config(places: Places, *, interval: float) -> str:
    """``prometheus.yml``."""
    tls: dict[str, Any] = {}
    if places.tls:
        name = {"server_name": places.server_name} if places.server_name else {}
        tls = {"scheme": "https", "tls_config": {"ca_file": AUTHORITY, **name}}
    return HEAD + to_yaml(
        {
            "global": {
                "scrape_interval": duration(interval),
                "scrape_timeout": duration(min(interval, 10.0)),
                "evaluation_interval": duration(interval),
            },
            "rule_files": [RULES],
            "scrape_configs": [
                {
                    "job_name": "warrener",
                    "authorization": {"type": "Bearer", "credentials_file": TOKEN},
                    "file_sd_configs": [{"files": [WARRENER]}],
                },
                {"job_name": "rabbitmq", **tls, "file_sd_configs": [{"files": [RABBITMQ]}]},
            ],
        }
    )


def targets(places: Places) -> dict[str, bytes]:
    """The files of targets by their names."""
    own = [Target(places.warrener)] if places.warrener else []
    return {
        WARRENER: _targets(own, places.cluster),
        RABBITMQ: _targets(places.nodes, places.cluster),
    }


def _targets(found: Sequence[Target], cluster: str) -> bytes:
    groups = [
        {
            "targets": [target.address],
            "labels": {"cluster": cluster, **({"node": target.node} if target.node else {})},
        }
        for target in found
    ]
    return msgspec.json.format(msgspec.json.encode(groups), indent=2) + b"\n"


def files(
    places: Places, *, interval: float, after: float, token: str, authority: bytes
) -> dict[str, bytes]:
    """Everything, by name. ``authority`` is only used with TLS."""
    return {
        CONFIG: config(places, interval=interval).encode(),
        RULES: rules(after=after).encode(),
        ALERTMANAGER: alertmanager_example().encode(),
        TOKEN: token.encode(),
        **({AUTHORITY: authority} if places.tls else {}),
        **targets(places),
    }
