"""Alerts and recordings as the rule file that Prometheus reads, and an example of where alerts go.
Pure."""

from collections.abc import Iterable
from typing import Any, Final

import yaml

from warrener.telemetry.alerts import ALERTS, RECORDINGS, Alert, Recording

HEAD: Final = (
    "# Made by Warrener. `warrener telemetry prometheus` writes it anew; what is changed here is "
    "lost then.\n"
)


def rules(*, after: float = 0.0) -> str:
    """The rule file. ``after``: seconds that a condition has to last at the most, whatever the rule
    says; 0: as it says."""
    groups = [
        {"name": "warrener-recording", "rules": [_recording(one) for one in RECORDINGS]},
        *(
            {"name": name, "rules": [_alert(one, after) for one in alerts]}
            for name, alerts in (
                ("rabbitmq", [one for one in ALERTS if one.official]),
                ("warrener", [one for one in ALERTS if not one.official]),
            )
        ),
    ]
    return HEAD + to_yaml({"groups": groups})


def to_yaml(document: Any) -> str:
    """In block style, keys in their order."""
    text: str = yaml.safe_dump(
        document, sort_keys=False, default_flow_style=False, width=100, allow_unicode=True
    )
    return text


def duration(seconds: float) -> str:
    """As Prometheus writes it: whole seconds, in the largest unit that divides them."""
    whole = max(0, round(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def _recording(one: Recording) -> dict[str, Any]:
    return {"record": one.name, "expr": one.expression}


def _alert(one: Alert, after: float) -> dict[str, Any]:
    wait = min(one.after, after) if after else one.after
    return {
        "alert": one.name,
        "expr": one.expression,
        **({"for": duration(wait)} if wait else {}),
        "labels": {"severity": one.severity.value},
        "annotations": {"summary": one.summary, "description": one.text},
    }


def alertmanager_example(alerts: Iterable[Alert] = ALERTS) -> str:
    """A configuration of Alertmanager to start from: critical alerts to a pager, the rest to a
    channel, once a day what is only good to know."""
    quiet = {
        "NodeDown": ["UnderReplicatedQueues", "QueuesAtBareMajority", "NodeNotScraped"],
        "WarrenerDown": ["ClusterViewStale"],
    }
    names = {one.name for one in alerts}
    assert all({name, *rest} <= names for name, rest in quiet.items()), "alerts that exist"
    webhook = "http://127.0.0.1:9999/CHANGE-ME"
    return HEAD.replace("Made", "An example, made") + to_yaml(
        {
            "route": {
                "receiver": "channel",
                "group_by": ["cluster", "alertname"],
                "group_wait": "15s",
                "group_interval": "2m",
                "repeat_interval": "4h",
                "routes": [
                    {
                        "matchers": ['severity="critical"'],
                        "receiver": "pager",
                        "repeat_interval": "30m",
                    },
                    {
                        "matchers": ['severity="info"'],
                        "receiver": "channel",
                        "repeat_interval": "24h",
                    },
                ],
            },
            "inhibit_rules": [
                {
                    "source_matchers": [f'alertname="{name}"'],
                    "target_matchers": [f'alertname=~"{"|".join(rest)}"'],
                    "equal": ["cluster"],
                }
                for name, rest in quiet.items()
            ],
            "receivers": [
                {"name": "pager", "webhook_configs": [{"url": f"{webhook}-pager"}]},
                {"name": "channel", "webhook_configs": [{"url": f"{webhook}-channel"}]},
            ],
        }
    )
