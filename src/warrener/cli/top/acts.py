"""What keys do to the cluster: said beforehand, then done as the commands do it.

proposal   what it would come to: of the daemon's status, or of its own dry run
Act        the operation under way, in a thread of its own, over a connection of its own
"""

import threading
from collections.abc import Callable
from typing import Final

import msgspec

from warrener.cli import leaders
from warrener.cli.common import CliError
from warrener.control import outcomes, proposals
from warrener.control.client import Client
from warrener.control.operations import (
    REBALANCE,
    STATUS,
    NodeStatus,
    RebalanceRequest,
    ReviveAnswer,
    StatusAnswer,
    StatusRequest,
)
from warrener.control.outcomes import Outcome, progress
from warrener.control.proposals import Proposal, Ways, propose_rebalance
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName

__all__ = [
    "Act",
    "Outcome",
    "Proposal",
    "outcome",
    "prepare",
    "progress",
    "propose_drain",
    "propose_rebalance",
    "propose_revive",
    "sentence",
]

WAYS: Final = Ways(revive="v", until="v", rebalance="b")


def propose_drain(status: StatusAnswer, node: NodeName) -> Proposal:
    """A node out of service. ``status`` with its queues."""
    return proposals.propose_drain(status, _row(status, node), WAYS)


def propose_revive(status: StatusAnswer, node: NodeName) -> Proposal:
    """A node back into service."""
    return proposals.propose_revive(_row(status, node), WAYS)


def outcome(folder: StateFolder, answer: msgspec.Struct) -> Outcome:
    """An answer in words, as the commands have it."""
    if isinstance(answer, ReviveAnswer):
        return outcomes.revived(answer, leaders.spread_told(folder, answer.leaders))
    return outcomes.told(answer, again="")


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
    row = proposals.row_of(status, node)
    if row is None:
        raise CliError(f"{node} is no node of the cluster any more")
    return row
