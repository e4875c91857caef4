"""Takes the steps of a restore, one batch after the other.

Definitions go through the management API, in the order in which they need one another; what
Warrener itself keeps goes through whatever is given for that (``TakeOwn``). A batch that RabbitMQ
refuses is halved until the definition that it refuses stands alone.
"""

import html
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from warrener.cluster.definitions import KINDS, VHOSTS, PutBack
from warrener.cluster.topology_steps import Verb
from warrener.control.describe_operations import ChangeLine, StepLine
from warrener.control.wire import Refusal, Refused
from warrener.daemon.errors import DaemonError
from warrener.daemon.steps import Steps
from warrener.management import topology as api
from warrener.management.client import (
    AccessRefused,
    BadAnswer,
    ManagementClient,
    ManagementError,
    NotFound,
)

BATCH: Final = 100
"""Definitions put back at a time. A hundred quorum queues take some seconds on three nodes;
progress is told in between, and Ctrl-C ends it there."""

SETTING: Final = "setting"
BALANCER: Final = "balancer"
PASSWORD: Final = "generated password"  # noqa: S105  a word
NOT_THERE: Final = (
    "RabbitMQ took it without an error, but doesn't have it now; where it is a binding, its queue "
    "or exchange isn't there"
)


@dataclass(frozen=True, slots=True)
class Own:
    """Something that Warrener itself keeps, to be put back."""

    line: StepLine
    value: str


TakeOwn = Callable[[Own], Awaitable[None]]
"""Raises DaemonError or Refused."""


class Taking:
    """The steps of one restore, on their way: what is done, what failed and why, what is left."""

    def __init__(
        self,
        client: ManagementClient,
        take_own: TakeOwn,
        version: str,
        says: Steps,
    ) -> None:
        """``version`` is the RabbitMQ's that the definitions come from."""
        self._client = client
        self._take_own = take_own
        self._version = version
        self._says = says
        self.done: list[StepLine] = []
        self.failed: list[tuple[StepLine, str]] = []
        self.left: list[StepLine] = []
        self.called_off = False

    async def definitions(self, steps: Sequence[PutBack]) -> None:
        begun = 0
        for kind in KINDS:
            of_kind = [step for step in steps if step.kind is kind]
            for at in range(0, len(of_kind), BATCH):
                if self._ended():
                    self.left += map(line_of, steps[begun:])
                    return
                batch = of_kind[at : at + BATCH]
                self._says.count("definitions", f"puts back: {kind.list}", begun, len(steps))
                try:
                    await self._put(batch)
                except ManagementError as error:
                    raise Refused(
                        Refusal.FAILED,
                        f"the cluster can't be reached any more, after {begun} of {len(steps)} "
                        f"definitions: {error}. Run it again, it goes on from there",
                    ) from None
                begun += len(batch)
        if steps:
            number = len(steps) - len(self.failed)
            self._says.say("definitions", f"{number} put back", done=True)

    async def _put(self, batch: Sequence[PutBack]) -> None:
        """Halves what RabbitMQ refuses. Raises ManagementError if it can't be asked."""
        kind = batch[0].kind
        try:
            if kind is VHOSTS:
                await self._put_vhosts(batch)
            else:
                await api.put_definitions(
                    self._client,
                    {
                        "rabbit_version": self._version,
                        "rabbitmq_version": self._version,
                        kind.list: [step.entry for step in batch],
                    },
                )
        except (BadAnswer, NotFound, AccessRefused) as error:
            if len(batch) == 1:
                self._failed(line_of(batch[0]), html.unescape(error.text))
                return
            middle = len(batch) // 2
            await self._put(batch[:middle])
            await self._put(batch[middle:])
            return
        self.done += map(line_of, batch)

    async def _put_vhosts(self, batch: Sequence[PutBack]) -> None:
        """One by one: definitions of 3.10 don't carry what is said of a virtual host."""
        for step in batch:
            entry = step.entry
            kind = entry.get("default_queue_type")
            tags = entry.get("tags") or []
            await api.put_vhost(
                self._client,
                entry["name"],
                description=entry.get("description") or "",
                tags=tags.split(",") if isinstance(tags, str) else tags,
                default_queue_type=kind if isinstance(kind, str) and kind != "undefined" else None,
            )

    async def own(self, steps: Sequence[Own]) -> None:
        for at, one in enumerate(steps):
            if self._ended():
                self.left += [later.line for later in steps[at:]]
                return
            self._says.say(one.line.thing, f"puts {one.line.subject} back")
            try:
                await self._take_own(one)
            except (DaemonError, Refused) as error:
                self._failed(one.line, error.message)
            else:
                self.done.append(one.line)
                self._says.say(one.line.thing, f"{one.line.subject} is back", done=True)

    def _failed(self, line: StepLine, why: str) -> None:
        self.failed.append((line, why))
        self._says.say(f"{line.thing} {line.subject}", why, failed=True)

    def _ended(self) -> bool:
        """Whether whoever asked has hung up."""
        self.called_off = self.called_off or self._says.abandoned.is_set()
        return self.called_off


# -- on the wire


def line_of(step: PutBack) -> StepLine:
    return StepLine(
        verb=step.verb,
        thing=step.kind.thing,
        subject=step.subject,
        changes=[
            ChangeLine(what=one.what, before=one.before, after=one.after) for one in step.changes
        ],
        danger=step.danger,
        blocked=step.blocked,
    )


def own_line(
    thing: str, subject: str, is_new: bool, change: ChangeLine | None, blocked: str
) -> StepLine:
    verb = Verb.MAKE if is_new else Verb.CHANGE
    changes = [change] if change is not None else []
    return StepLine(verb=verb, thing=thing, subject=subject, changes=changes, blocked=blocked)
