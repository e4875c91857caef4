"""Progress of what takes its time: one live row per node on a terminal, with a bar where there is
something to count; plain lines elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from warrener.cli.common import err

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


BAR: Final = 24
"""Columns of a bar, less where the terminal is narrow."""

COUNT_EVERY: Final = 2.0
"""Seconds between two lines of a count where nobody looks at a bar."""


class Step(Protocol):
    """``facts.happenings.Progress``, or the same from the wire."""

    @property
    def subject(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def done(self) -> bool: ...
    @property
    def failed(self) -> bool: ...


class ProgressView:
    """Shows steps on stderr inside the ``with``; what is on the screen at its end stays.

    ``begin_with_first``: nothing is drawn until there is a step to show.
    """

    def __init__(self, *, begin_with_first: bool = False) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        self._console = err()
        self._rows: dict[str, Step] = {}
        self._counted_at: dict[str, float] = {}
        self._begin_with_first = begin_with_first
        self._spinner = Spinner("dots")
        self._live = (
            Live(
                console=self._console,
                get_renderable=self._render,
                refresh_per_second=8,
                transient=False,
            )
            if self._console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None and not self._begin_with_first:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the terminal as it is now."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, step: Step) -> None:
        """Shows one step."""
        before = self._rows.get(step.subject)
        self._rows[step.subject] = step
        if self._live is not None and not self._live.is_started:
            self._live.start()
        if self._live is None and self._worth_a_line(step, before):
            mark = "failed: " if step.failed else ""
            self._console.print(
                f"{step.subject}: {mark}{_told(step)}", markup=False, soft_wrap=True
            )

    def _worth_a_line(self, step: Step, before: Step | None) -> bool:
        """Not what was said already (the daemon repeats itself), and not each count."""
        count, total = _counts(step)
        if before is not None and _told(before) == _told(step):
            return False
        now = time.monotonic()
        if total and count < total and now - self._counted_at.get(step.subject, 0) < COUNT_EVERY:
            return False
        if total:
            self._counted_at[step.subject] = now
        return True

    def _render(self) -> "RenderableType":
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column()
        for subject, step in self._rows.items():
            mark: RenderableType
            if step.failed:
                mark = Text("✗", style="red")
            elif step.done:
                mark = Text("✓", style="green")
            else:
                mark = self._spinner if self._live is not None else Text("·")
            text = Text(_told(step), style="dim" if step.done else "")
            table.add_row(mark, Text(subject), _with_bar(step, text))
        return table


def _counts(step: Step) -> tuple[int, int]:
    """How many of how many; (0, 0) where nothing is counted (a start, a stop)."""
    return getattr(step, "count", 0), getattr(step, "total", 0)


def _told(step: Step) -> str:
    count, total = _counts(step)
    return f"{step.text} ({count} of {total})" if total else step.text


def _with_bar(step: Step, text: "Text") -> "RenderableType":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    count, total = _counts(step)
    if not total:
        return text
    row = Table.grid(padding=(0, 1))
    row.add_row(ProgressBar(total=total, completed=count, width=BAR), text)
    return row
