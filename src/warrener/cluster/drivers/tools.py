"""RabbitMQ's own command-line tools, run against one node.

Each call boots an Erlang VM: half a second and more. So they are for what the management API can't
do, never for watching, and what can be evaluated goes a quicker way (``erl_call``). What a tool
prints goes into a private file beside the node's logs and stays there until the next call, for
whoever looks for the reason of a failure.

The tools say what they did in words and little else: ``revive`` ends well when a listener could not
be opened again. What they claim is checked by those who call.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from warrener.cluster.drivers.host import Host
from warrener.cluster.drivers.processes import told_end
from warrener.cluster.errors import ToolFailed

MAINTENANCE: Final = (
    "[{N, rabbit_maintenance:status_local_read(N)} || N <- lists:sort([node() | nodes()])]."
)
"""What ``cluster_status`` says of it as well, without the tool."""

_STATUS: Final = re.compile(r"\{'?([^\s,'{}\[\]]+@[^\s,'{}\[\]]+)'?,(regular|draining)\}")
_LONGEST: Final = 300
_ADVICE: Final = "Please see diagnostics information"


async def run_tool(
    host: Host,
    program: Path,
    arguments: Sequence[str],
    *,
    name: str,
    environment: Mapping[str, str],
    folder: Path,
    output: Path,
    timeout: float,
) -> str:
    """Runs a tool to its end and returns what it printed. ``name`` is the node's, for people.

    Raises ToolFailed if it fails or takes longer than ``timeout`` seconds; it is killed then, as
    when this is cancelled. What the node was asked to do may go on in it all the same.
    """
    what = f"`{program.name} {' '.join(arguments)}`"
    told = host.told(host.path(output))
    try:
        ran = await host.run(
            [str(program), *arguments],
            environment=environment,
            folder=folder,
            output=output,
            timeout=timeout,
        )
    except OSError as error:
        raise ToolFailed(f"{what} can't be run: {error}", told) from error
    if ran.returncode is None:
        raise ToolFailed(f"{what} had not ended on {name} after {timeout:g} s", told)
    if ran.returncode != 0:
        why = failure(ran.text) or told_end(ran.returncode)
        raise ToolFailed(f"{what} failed on {name}: {why}", told)
    return ran.text


def failure(text: str) -> str:
    """The sentence that says why, of all that a tool prints when it fails; empty if there is none.

    It comes after ``Error:``, on the same line or the next, and before a page of general advice.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith("Error:"):
            told = line.removeprefix("Error:").strip() or "".join(lines[number + 1 : number + 2])
            return told.partition(_ADVICE)[0].strip().rstrip(".")[:_LONGEST]
    return lines[-1][:_LONGEST] if lines else ""


def nodes_in_maintenance(text: str) -> frozenset[str]:
    """The nodes that ``rabbitmq-diagnostics cluster_status --formatter=json`` calls drained.

    The words differ by version ("marked for maintenance" with colours in it, "draining"); what all
    of them say of a node that isn't is "not under maintenance" or "regular". ValueError if
    this isn't such a document.
    """
    document = json.loads(text[max(0, text.find("{")) :])
    told = document.get("maintenance_status") if isinstance(document, dict) else None
    if not isinstance(told, dict):
        raise ValueError("it says nothing of maintenance")
    return frozenset(node for node, words in told.items() if _is_drained(str(words).lower()))


def drained_in(answer: str) -> frozenset[str] | None:
    """The nodes that a node calls drained, asked for ``MAINTENANCE``; None if that isn't an
    answer."""
    if not re.fullmatch(rf"\[{_STATUS.pattern}(?:,{_STATUS.pattern})*\]", answer.strip()):
        return None
    return frozenset(name for name, status in _STATUS.findall(answer) if status == "draining")


def _is_drained(words: str) -> bool:
    signs = ("marked", "drain", "under maintenance")
    return "not " not in words and any(sign in words for sign in signs)
