"""What a node's log says of its boot. Pure.

RabbitMQ's log lines differ by version and the boot's stages are no interface; so a stage is only
shown, never waited for. What is waited for is an answer (node.py).
"""

import re
from collections.abc import Sequence
from typing import Final

WAITS_FOR_TABLES: Final = "waiting for the other nodes' tables"

_STAGES: Final = (
    ("Starting RabbitMQ", "starting RabbitMQ"),
    ("Running boot step pre_boot", "running boot steps"),
    ("peer discovery", "looking for the other nodes"),
    ("Waiting for Mnesia tables", WAITS_FOR_TABLES),
    ("Waiting for Khepri leader", "waiting for the other nodes"),
    ("Running boot step recovery", "recovering queues"),
    ("Running boot step networking", "opening listeners"),
    ("started TCP listener", "opening listeners"),
    ("Server startup complete", "started"),
)

_LINE: Final = re.compile(r"^\S+ \S+ \[(?P<level>[a-z]+)\] (?:<[\d.]+> ?)?(?P<text>.*)$")
_TELLING: Final = re.compile(
    r"error|fail|crash|abort|eaddrinuse|badmatch|cannot|can't|could not|unable|invalid|"
    r"permission denied|no such file|unknown",
    re.IGNORECASE,
)
_CRASH_REPORT: Final = re.compile(r"\s*(supervisor|crasher|neighbours): ?")
_BANNER: Final = re.compile(r"^[\s#=*-]*$|\x1b")
_LEVELS: Final = {"error", "critical", "alert", "emergency"}
_LONGEST: Final = 300


def stage(text: str) -> str | None:
    """The furthest stage that some lines of a log show; None if none is recognised."""
    found = None
    for line in text.splitlines():
        for fragment, name in _STAGES:
            if fragment in line:
                found = name
    return found


def telling_lines(log: str, console: str, limit: int = 6) -> Sequence[str]:
    """The lines that say best why a boot failed: what was logged as an error (before logging is set
    up that goes to the console) without Erlang's crash reports, else whatever of the console sounds
    like an error, else the last lines there are. Each once, in their order, shortened."""
    plain = [line for line in console.splitlines() if not _BANNER.search(line)]
    errors = _errors([*log.splitlines(), *plain])
    for lines in (errors, [line for line in plain if _TELLING.search(line)], plain):
        told = _distinct(lines)
        if told:
            return told[-limit:]
    return _distinct(log.splitlines())[-limit:]


def _errors(lines: Sequence[str]) -> list[str]:
    found = []
    for line in lines:
        match = _LINE.match(line)
        if match is None or match["level"] not in _LEVELS:
            continue
        if _CRASH_REPORT.match(match["text"]):
            break  # from here on Erlang repeats itself, at length
        if match["text"].strip() != "BOOT FAILED":
            found.append(match["text"])
    return found


def _distinct(lines: Sequence[str]) -> list[str]:
    stripped = (line.strip()[:_LONGEST] for line in lines)
    return list(dict.fromkeys(line for line in stripped if re.search(r"\w", line)))
