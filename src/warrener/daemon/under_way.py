"""An act of the page while it goes on, and what viewers see of it."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from warrener.control import outcomes
from warrener.control.operation import ProgressLine
from warrener.dashboard.acts import ActKind, ActLine, Said
from warrener.dashboard.previews import Draft
from warrener.facts.ids import short_name
from warrener.facts.reasons import ActEnd

LINES: Final = 12
"""Of progress that are kept of an act."""


@dataclass(eq=False, slots=True)
class UnderWay:
    """One act; a ``Call`` to the handler."""

    number: int
    draft: Draft
    viewer: str
    began_at: float
    gone: "asyncio.Future[None]"
    news: Callable[[], None]
    lines: deque[Said] = field(default_factory=lambda: deque(maxlen=LINES))
    last: ProgressLine | None = None
    said: int = 0
    end: ActEnd | None = None
    outcome: str = ""
    ended_at: float | None = None
    ended_clock: float = 0.0

    async def emit(self, body: msgspec.Struct) -> None:
        """A step. The same again is silence that is bridged."""
        if not isinstance(body, ProgressLine) or body == self.last:
            return
        before, self.last = self.last, body
        counts_on = before is not None and before.total and before.subject == body.subject
        if counts_on and body.total and self.lines:
            self.lines.pop()
        else:
            self.said += 1
        self.lines.append(Said(self.said, outcomes.progress(body)))
        self.news()

    @property
    def can_be_called_off(self) -> bool:
        """Whether calling it off may change what becomes of it."""
        return self.end is None and self.draft.act in (
            ActKind.DRAIN,
            ActKind.REBALANCE,
            ActKind.LEADERS,
        )

    def line(self) -> ActLine:
        """As viewers see it."""
        node = self.draft.node
        counts = self.last is not None and self.last.total
        return ActLine(
            number=self.number,
            act=self.draft.act,
            node=short_name(node) if node else "",
            doing=self.draft.doing,
            viewer=self.viewer,
            began_at=self.began_at,
            lines=list(self.lines),
            count=self.last.count if self.last and counts else 0,
            total=self.last.total if self.last else 0,
            can_be_called_off=self.can_be_called_off,
            called_off=self.gone.done(),
            end=self.end,
            outcome=self.outcome,
            ended_at=self.ended_at,
        )


class Silent:
    """A ``Call`` of which only the answer is wanted."""

    def __init__(self, gone: "asyncio.Future[None]") -> None:
        self.gone = gone

    async def emit(self, body: msgspec.Struct) -> None:
        """Nobody listens."""
