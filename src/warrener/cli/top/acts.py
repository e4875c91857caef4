"""What keys do to the cluster: said beforehand, then done as the commands do it.

proposal   what it would come to: of the daemon's status, or of its own dry run
Act        the operation under way, in a thread of its own, over a connection of its own
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from warrener.cli import leaders
from warrener.cli.common import CliError
from warrener.cli.node import moved
from warrener.control.client import Client
from warrener.control.operation import Operation, ProgressLine
from warrener.control.operations import (
    DRAIN,
    REBALANCE,
    REVIVE,
    STATUS,
    DrainAnswer,
    DrainRequest,
    NodeStatus,
    RebalanceAnswer,
    RebalanceRequest,
    ReviveAnswer,
    ReviveRequest,
    StatusAnswer,
    StatusRequest,
)
from warrener.control.state_folder import StateFolder
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be done. ``operation`` is None if there is nothing to do; ``doing`` names it while
    it goes on."""

    title: str
    lines: tuple[str, ...]
    doing: str
    operation: Operation[Any, Any] | None
    request: msgspec.Struct | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it, in a sentence or two."""

    text: str
    failed: bool = False


def propose_drain(status: StatusAnswer, node: NodeName) -> Proposal:
    """A node out of service. ``status`` with its queues."""
    row = _row(status, node)
    name = short_name(node)
    others = [short_name(other.name) for other in status.nodes if other.fit and other.name != node]
    if row.being_drained:
        return Proposal(f"{name} is drained already", ("v takes it into service again.",), "", None)
    if row.state is not NodeState.RUNNING:
        text = f"It is {row.state}, so there is nothing to drain."
        return Proposal(f"{name} doesn't run", (text,), "", None)
    lines = [_sessions_move(status, row.sessions, others)]
    if row.leaders:
        lines.append(f"{_number(row.leaders, 'queue')} that it leads get another leader first.")
    hurt = _without_majority(status, node)
    if hurt:
        lines.append(
            f"{_number(len(hurt), 'quorum queue')} would lose the majority ({_some(hurt)}): this "
            "will be refused."
        )
    if not others:
        lines.append("No other node is fit to take the clients: this will be refused.")
    lines.append("Then RabbitMQ's maintenance mode: no clients, no leaders there, until v.")
    return Proposal(
        f"Drain {node}?", tuple(lines), f"drains {name}", DRAIN, DrainRequest(str(node))
    )


def _sessions_move(status: StatusAnswer, sessions: int, others: list[str]) -> str:
    if not sessions:
        return "No session is on it."
    where = f" to {_some(others)}" if others else ""
    if status.balancer is not None and status.balancer.data_plane is DataPlane.HAPROXY:
        return f"{_number(sessions, 'session')} are disconnected and connect again{where}."
    return f"{_number(sessions, 'session')} on it: channels move{where}, clients stay connected."


def _without_majority(status: StatusAnswer, node: NodeName) -> list[str]:
    found = []
    for queue in status.queues:
        there = queue.type == "quorum" and node in queue.online
        if there and len(queue.online) - 1 < len(queue.members) // 2 + 1:
            found.append(queue.name)
    return found


def propose_revive(status: StatusAnswer, node: NodeName) -> Proposal:
    """A node back into service."""
    row = _row(status, node)
    name = short_name(node)
    if not row.being_drained:
        text = "It is fit." if row.fit else f"It isn't fit: {row.unfit_reason}."
        return Proposal(f"{name} is not drained", (text,), "", None)
    return Proposal(
        f"Revive {node}?",
        (
            "Out of maintenance mode; waits up to 30 s until it gets new sessions.",
            "Sessions that were moved off stay where they are: b spreads them again.",
            "Leaders of queues are spread over the nodes again, by load.",
        ),
        f"revives {name}",
        REVIVE,
        ReviveRequest(str(node)),
    )


def propose_rebalance(answer: RebalanceAnswer) -> Proposal:
    """Open sessions spread again; ``answer`` of a dry run."""
    moves = sum(max(0, share.before - share.wanted) for share in answer.shares)
    if not moves:
        text = "Sessions are spread as evenly as they can be; nothing would be moved."
        return Proposal("Nothing to rebalance", (text,), "", None)
    width = max(len(short_name(share.node)) for share in answer.shares)
    return Proposal(
        "Rebalance sessions?",
        (
            *(
                f"{short_name(share.node):<{width}}  {share.before:>6} -> {share.wanted}"
                for share in answer.shares
            ),
            f"{_number(moves, 'session')} moved, at a measured pace; none is disconnected.",
            f"The largest share is {answer.skew_before:.2f} times the mean, "
            f"{answer.skew_after:.2f} then.",
        ),
        "rebalances",
        REBALANCE,
        RebalanceRequest(),
    )


def outcome(folder: StateFolder, answer: msgspec.Struct) -> Outcome:
    """An answer in words, as the commands have it."""
    match answer:
        case DrainAnswer():
            name = short_name(answer.node)
            if answer.already:
                return Outcome(f"{name} is drained already")
            note = f". {answer.note}" if answer.note else ""
            return Outcome(f"{name} is drained: {moved(answer)}{note}")
        case ReviveAnswer():
            name = short_name(answer.node)
            if answer.not_online:
                lost = f"its replicas of {_some(answer.not_online)} are not online"
                return Outcome(f"{name} runs, but {lost}; its log says why", failed=True)
            if answer.already:
                return Outcome(f"{name} is not drained, and fit")
            spread = leaders.spread_told(folder, answer.leaders)
            return Outcome(f"{name} is fit again after {answer.seconds:.1f} s. {spread}")
        case RebalanceAnswer():
            done = f"{_number(answer.moved, 'session')} moved in {answer.seconds:.1f} s"
            failed = f", {answer.failed} couldn't be" if answer.failed else ""
            skew = f"the largest share is {answer.skew_after:.2f} times the mean"
            if answer.stopped:
                return Outcome(f"stopped early: {answer.stopped}. {done}{failed}", failed=True)
            return Outcome(f"{done}{failed}; {skew}")
        case _:
            raise AssertionError(f"no act answers with {type(answer).__name__}")


def progress(line: ProgressLine) -> str:
    """A step in words."""
    counted = f" ({line.count} of {line.total})" if line.total else ""
    return f"{line.subject} {line.text}{counted}"


PATIENCE: Final = 30.0
"""Seconds between two lines of an operation; as the commands have it."""


class Act:
    """An operation in a thread: each step is told to ``on_step``, the end once to ``on_end``. Both
    are called in that thread."""

    def __init__(
        self,
        folder: StateFolder,
        proposal: Proposal,
        on_step: Callable[[str], None],
        on_end: Callable[[Outcome], None],
    ) -> None:
        if proposal.operation is None or proposal.request is None:
            raise AssertionError("there is nothing to do")
        self.proposal = proposal
        self._operation, self._request = proposal.operation, proposal.request
        self._folder = folder
        self._on_step, self._on_end = on_step, on_end
        self._client: Client | None = None
        self._given_up = False
        self._thread = threading.Thread(target=self._run, name=proposal.doing, daemon=True)
        self._thread.start()

    def call_off(self) -> None:
        """Asks for an end; what became of it is told as ever."""
        self._given_up = True
        if self._client is not None:
            self._client.give_up()

    def _run(self) -> None:
        try:
            with Client.connect(self._folder) as client:
                self._client = client
                if self._given_up:
                    client.give_up()
                answer = client.call(
                    self._operation,
                    self._request,
                    lambda line: self._on_step(progress(line)),
                    timeout=PATIENCE,
                )
            end = outcome(self._folder, answer)
        except Exception as error:  # whatever it is, it belongs on the screen
            end = Outcome(sentence(error), failed=True)
        self._on_end(end)


def prepare(folder: StateFolder, key: str, node: NodeName | None) -> Proposal:
    """Asks the daemon what a key would come to: ``d`` and ``v`` for a node, ``b`` for all.
    Blocking; errors as ``Client`` has them."""
    with Client.connect(folder) as client:
        if key == "b":
            return propose_rebalance(client.call(REBALANCE, RebalanceRequest(dry_run=True)))
        status = client.call(STATUS, StatusRequest())
    if node is None:
        raise AssertionError("a node is drained or revived")
    return (propose_drain if key == "d" else propose_revive)(status, node)


def sentence(error: Exception) -> str:
    """What the command line says of an error, without its traceback."""
    from warrener.cli.main import describe

    return describe(error)[0]


def _row(status: StatusAnswer, node: NodeName) -> NodeStatus:
    for row in status.nodes:
        if row.name == node:
            return row
    raise CliError(f"{node} is no node of the cluster any more")


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(names[: 4 if more else 5]) + more
