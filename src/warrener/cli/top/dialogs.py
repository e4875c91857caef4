"""What is laid over the screen: a question, a result, the help."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from warrener.cli.top.columns import EVENTS, NODES, PLAN, QUEUES, SESSIONS
from warrener.cli.top.readings import Pane
from warrener.cli.top.table import Column, plain

KEYS: Final = (
    ("1 2 3 4 5, Tab", "nodes, queues, sessions, events, plan"),
    ("Up Down PgUp PgDn Home End", "choose a row; also k j g G"),
    ("Left Right, < >", "sort by another column"),
    ("r", "the other way round"),
    ("/", "only rows with these words; Esc: all rows"),
    ("d  v", "drain, revive the chosen node; asks first"),
    ("b", "rebalance sessions; shows its dry run, asks"),
    ("x", "call off what goes on, if it still can be"),
    ("Space", "read again at once"),
    ("q, Ctrl-C", "leave"),
)

_COLUMNS: Final[dict[Pane, Sequence[Column[Any]]]] = {
    Pane.NODES: NODES,
    Pane.QUEUES: QUEUES,
    Pane.SESSIONS: SESSIONS,
    Pane.EVENTS: EVENTS,
    Pane.PLAN: PLAN,
}


class Dialog(ModalScreen[bool]):
    """A box with a title. With ``ask`` it ends with True for `y`, False for any other key."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: transparent; }
    Dialog > VerticalScroll {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        border: ascii ansi_default; background: ansi_default; color: ansi_default;
        padding: 0 1; scrollbar-size: 0 0;
    }
    Dialog Static { width: 100%; height: auto; background: ansi_default; color: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, title: str, lines: Sequence[str], *, ask: bool = False) -> None:
        super().__init__()
        self.heading = title
        self.lines = tuple(lines)
        self._ask = ask
        self._answered = False

    def compose(self) -> ComposeResult:
        text = Text(plain(self.heading), style="bold")
        text.append("\n\n", style="not bold")
        text.append("\n".join(plain(line) for line in self.lines), style="not bold")
        end = "y: do it   any other key: leave it" if self._ask else "any key closes this"
        text.append(f"\n\n{end}", style="not bold")
        with VerticalScroll(can_focus=False):
            yield Static(text)

    def closes(self, key: str) -> bool:
        """Whether this key ends it."""
        return True

    def on_key(self, event: events.Key) -> None:
        if not self.closes(event.key):
            return
        event.stop()
        event.prevent_default()
        if self._answered:  # keys that come quickly, before it is gone
            return
        self._answered = True
        self.dismiss(self._ask and event.key == "y")
        if event.key == "ctrl+c":
            self.app.call_next(self.app.run_action, "leave")


class Help(Dialog):
    """Keys, and the columns of a pane. Arrows scroll, any other key ends it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j,pagedown", "roll(1)"),
        Binding("up,k,pageup", "roll(-1)"),
    ]

    def __init__(self, pane: Pane) -> None:
        lines = [f"{key:<27} {what}" for key, what in KEYS]
        columns = [column for column in _COLUMNS[pane] if column.help]
        lines += ["", f"Columns of {pane}"]
        lines += [f"{column.title:<8} {column.help}" for column in columns]
        super().__init__("warrener top", [*lines, "", "Down and Up: more of this"])

    def action_roll(self, pages: int) -> None:
        box = self.query_one(VerticalScroll)
        box.scroll_relative(y=pages * max(1, box.size.height - 2), animate=False)

    def closes(self, key: str) -> bool:
        return key not in ("down", "j", "pagedown", "up", "k", "pageup")
