"""Progress of a start or a stop: one live row per node on a terminal, plain lines elsewhere."""

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from warrener.cli.common import err

if TYPE_CHECKING:
    from rich.console import RenderableType


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
        self._rows[step.subject] = step
        if self._live is not None and not self._live.is_started:
            self._live.start()
        if self._live is None:
            mark = "failed: " if step.failed else ""
            self._console.print(f"{step.subject}: {mark}{step.text}", markup=False, soft_wrap=True)

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
            table.add_row(mark, Text(subject), Text(step.text, style="dim" if step.done else ""))
        return table
