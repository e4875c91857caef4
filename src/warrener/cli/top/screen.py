"""The screen: draws what ``frame.Panes`` holds, and turns keys into what they mean.

Nothing here waits: the daemon is read by a ``Poller``, acts go on in an ``Act``, previews in a
thread; what they tell comes as messages. No line is drawn with anything but ASCII and the
terminal's own colours, so that it looks the same over ssh, in screen, and on a console.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Static

from warrener.cli.top import acts
from warrener.cli.top.acts import Act, Outcome, Proposal
from warrener.cli.top.dialogs import Dialog, Help
from warrener.cli.top.frame import Panes, title
from warrener.cli.top.polling import EVERY, Poller, Readable
from warrener.cli.top.readings import Pane, Reading
from warrener.cli.top.rows import NodeRow, clock
from warrener.cli.top.table import Line, Tone, fit, plain
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName

_STYLES: Final = {
    Tone.PLAIN: "",
    Tone.HEAD: "bold",
    Tone.CHOSEN: "reverse",
    Tone.BAD: "red",
    Tone.ODD: "yellow",
}

_KEYS: Final = "?:help  d:drain  v:revive  b:rebalance  <>:sort  r:reverse  /:filter  q:quit"

KILLED: Final = 128 + signal.SIGTERM
"""The exit code after SIGTERM, as shells have it."""


class Top(App[None]):
    """One daemon's screen. ``every`` s pass between two readings."""

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None  # keys belong to the filter only while one is typed
    CSS = """
    Screen { background: ansi_default; color: ansi_default; layout: vertical; }
    .line { background: ansi_default; color: ansi_default; height: 1; width: 100%; }
    #table { height: 1fr; }
    #detail { height: 2; }
    #filter { display: none; height: 1; border: none; padding: 0;
              background: ansi_default; color: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "leave", priority=True),
        Binding("q", "leave"),
        Binding("1", "pane('nodes')"),
        Binding("2", "pane('queues')"),
        Binding("3", "pane('sessions')"),
        Binding("4", "pane('events')"),
        Binding("5", "pane('plan')"),
        Binding("tab", "next_pane(1)", priority=True),
        Binding("shift+tab", "next_pane(-1)", priority=True),
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown", "page(1)"),
        Binding("home,g", "move(-1000000)"),
        Binding("end,G", "move(1000000)"),
        Binding("left,less_than_sign,comma", "sort(-1)"),
        Binding("right,greater_than_sign,full_stop", "sort(1)"),
        Binding("r", "reverse"),
        Binding("slash", "filter"),
        Binding("escape", "all"),
        Binding("space", "read"),
        Binding("question_mark,h", "help"),
        Binding("d", "act('d')"),
        Binding("v", "act('v')"),
        Binding("b", "act('b')"),
        Binding("x", "call_off"),
    ]

    class Came(Message):
        """A reading."""

        def __init__(self, reading: Reading) -> None:
            super().__init__()
            self.reading = reading

    class Missing(Message):
        """No reading, and why."""

        def __init__(self, why: str) -> None:
            super().__init__()
            self.why = why

    class Proposed(Message):
        """What a key would do."""

        def __init__(self, proposal: Proposal) -> None:
            super().__init__()
            self.proposal = proposal

    class Went(Message):
        """A step of what goes on; with ``outcome``, the last one."""

        def __init__(self, text: str = "", outcome: Outcome | None = None) -> None:
            super().__init__()
            self.text = text
            self.outcome = outcome

    def __init__(self, folder: StateFolder, source: Readable, *, every: float = EVERY) -> None:
        super().__init__(ansi_color=True)
        self._folder = folder
        self.panes = Panes.empty()
        self.pane = Pane.NODES
        self.message = ""
        self._missing = ""
        self._act: Act | None = None
        self._preparing = False
        self._may_leave = False
        self._drawn: dict[str, Text] = {}  # what is on the screen: the same isn't sent again
        self._poller = Poller(
            source,
            panes=lambda: frozenset({self.pane}),
            on_reading=lambda reading: self._tell(self.Came(reading)),
            on_missing=lambda why: self._tell(self.Missing(why)),
            every=every,
        )

    def compose(self) -> ComposeResult:
        for name in ("title", "tabs", "table", "detail", "message"):
            yield Static(id=name, classes="line")
        yield Static(_KEYS, id="keys", classes="line", markup=False)
        yield Input(placeholder="words to look for; Enter keeps them, Esc shows all", id="filter")

    def on_mount(self) -> None:
        self.set_focus(None)
        self._on_signals(lambda number: self.exit(return_code=128 + number))
        self._poller.start()
        self.draw()

    def on_unmount(self) -> None:
        self._poller.stop()
        self._on_signals(None)

    @staticmethod
    def _on_signals(then: Callable[[int], None] | None) -> None:
        """What ends the program from outside leaves the terminal as it was."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            if then is not None:
                loop.add_signal_handler(number, then, number)
            else:
                loop.remove_signal_handler(number)

    def _tell(self, message: Message) -> None:
        """From any thread."""
        if self.is_running:
            self.post_message(message)

    # -- what comes

    def on_top_came(self, message: Came) -> None:
        self._missing = ""
        self.panes.take(message.reading)
        self.draw()

    def on_top_missing(self, message: Missing) -> None:
        self._missing = message.why
        self.draw()

    def on_top_proposed(self, message: Proposed) -> None:
        self._preparing = False
        self._say("")
        proposal = message.proposal
        if proposal.operation is None:
            self.push_screen(Dialog(proposal.title, proposal.lines))
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._begin(proposal)

        self.push_screen(Dialog(proposal.title, proposal.lines, ask=True), answered)

    def _begin(self, proposal: Proposal) -> None:
        self._say(f"{proposal.doing}...   x calls it off")
        self._act = Act(
            self._folder,
            proposal,
            on_step=lambda text: self._tell(self.Went(text)),
            on_end=lambda outcome: self._tell(self.Went(outcome=outcome)),
        )

    def on_top_went(self, message: Went) -> None:
        if message.outcome is None:
            if self._act is not None and not self._may_leave:
                self._say(f"{message.text}   x calls it off")
            return
        self._preparing = False
        self._act = None
        self._may_leave = False
        self._poller.now()
        outcome = message.outcome
        if outcome.failed or len(outcome.text) > self.size.width:
            self._say("")
            heading = "That didn't work" if outcome.failed else "Done"
            self.push_screen(Dialog(heading, [outcome.text]))
        else:
            self._say(outcome.text)

    # -- what keys mean

    def action_leave(self) -> None:
        """At once, unless something goes on that would end with it."""
        if self._act is None or self._may_leave:
            self.exit()
            return
        self._may_leave = True
        self._say("q again: leaves, and calls it off if it still can be. x: only calls it off")

    def action_pane(self, pane: str) -> None:
        self.pane = Pane(pane)
        self._poller.now()
        self.draw()

    def action_next_pane(self, step: int) -> None:
        if isinstance(self.screen, Dialog):
            return
        every = list(Pane)
        self.action_pane(every[(every.index(self.pane) + step) % len(every)])

    def action_move(self, rows: int) -> None:
        self.panes.of(self.pane).move(rows)
        self.draw()

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self._table.size.height - 2))

    def action_sort(self, step: int) -> None:
        self.panes.of(self.pane).sort_next(step, self.size.width)
        self.draw()

    def action_reverse(self) -> None:
        self.panes.of(self.pane).reverse()
        self.draw()

    def action_read(self) -> None:
        self._poller.now()

    def action_help(self) -> None:
        self.push_screen(Help(self.pane))

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = True
        self.query_one("#keys").display = False
        field.value = self.panes.of(self.pane).filter
        field.focus()

    def action_all(self) -> None:
        """Without a filter."""
        self.query_one("#filter", Input).value = ""
        self.panes.of(self.pane).find("")
        self._filter_ends()

    def on_input_changed(self, event: Input.Changed) -> None:
        if self.query_one("#filter", Input).display:
            self.panes.of(self.pane).find(event.value)
            self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._filter_ends()

    def _filter_ends(self) -> None:
        self.query_one("#filter", Input).display = False
        self.query_one("#keys").display = True
        self.set_focus(None)
        self.draw()

    def action_act(self, key: str) -> None:
        """Asks the daemon what it would come to, then the user."""
        if self._act is not None or self._preparing:
            self._say("one thing after the other: something goes on already")
            return
        node = None
        if key != "b":
            chosen = self.panes.of(self.pane).chosen
            if not isinstance(chosen, NodeRow):
                self._say("choose a node first: 1 shows them")
                return
            node = NodeName(chosen.key)
        self._preparing = True
        self._say("looks what it would come to...")
        threading.Thread(
            target=self._prepare, args=(key, node), name=f"prepare {key}", daemon=True
        ).start()

    def _prepare(self, key: str, node: NodeName | None) -> None:
        try:
            self._tell(self.Proposed(acts.prepare(self._folder, key, node)))
        except Exception as error:  # whatever it is, it belongs on the screen
            self._tell(self.Went(outcome=Outcome(acts.sentence(error), failed=True)))

    def action_call_off(self) -> None:
        if self._act is None:
            self._say("nothing goes on that could be called off")
            return
        self._act.call_off()
        self._say("calls it off if it still can be...")

    # -- what is drawn

    def _say(self, text: str) -> None:
        self.message = text
        self.draw()

    @property
    def _table(self) -> Static:
        return self.screen_stack[0].query_one("#table", Static)

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Everything; only what is visible is made into text. Nothing once the program ends."""
        if not self.screen_stack:
            return
        screen = self.screen_stack[0]
        width = self.size.width

        def put(name: str, text: Text) -> None:
            before = self._drawn.get(name)
            # A text's comparison leaves out the style of the whole.
            if before is None or before != text or before.style != text.style:
                self._drawn[name] = text
                screen.query_one(f"#{name}", Static).update(text)

        view = self.panes.of(self.pane)
        put("title", self._title(width))
        put("tabs", self._tabs(width))
        height = self._table.size.height
        lines = self.panes.above(self.pane, width)[: max(0, height - 2)] if height else []
        lines += view.lines(width, height - len(lines)) if height else []
        if not view.found:
            why = self.panes.empty_text(self.pane) if not self._missing else "nothing read yet"
            room = max(10, width - 2)
            cuts = range(0, min(len(why), room * 5), room)
            lines += [Line(""), *(Line("  " + plain(why[cut : cut + room])) for cut in cuts)]
        put("table", _drawn(lines))
        put("detail", Text(fit(self.panes.detail(self.pane), 2 * width), overflow="fold"))
        put("message", Text(fit(self.message, width), style="bold", no_wrap=True))

    def _title(self, width: int) -> Text:
        now, sums = self.panes.now, self.panes.totals
        if self._missing:
            since = f" (last seen {clock(now.taken_at)})" if now is not None else ""
            return Text(fit(f"{self._missing}{since}", width), style="reverse red", no_wrap=True)
        if now is None or sums is None:
            return Text("reading...")
        return Text(title(now, sums, width), style="bold", no_wrap=True)

    def _tabs(self, width: int) -> Text:
        text = Text(no_wrap=True)
        for at, pane in enumerate(Pane, 1):
            number = self.panes.number(pane)
            shown = f" {at} {pane.value.capitalize()}{'' if number is None else f' {number:,}'} "
            # Brackets, for who has no colours: which one it is has to be seen.
            here = pane is self.pane
            text.append(f"[{shown.strip()}]" if here else shown, style="reverse" if here else "")
            text.append(" ")
        view = self.panes.of(self.pane)
        if view.filter:
            right = f"/{plain(view.filter)}: {view.found:,} of {view.total:,}"
        else:
            right = f"by {view.column.title}"
        room = width - text.cell_len
        if room > 4:
            right = fit(right, room)
            text.append(right.rjust(room))
        return text


def _drawn(lines: list[Line]) -> Text:
    text = Text(no_wrap=True, end="")
    for number, line in enumerate(lines):
        style = f"{_STYLES[line.tone]}{' reverse' if line.chosen else ''}"
        text.append("\n" * bool(number) + "", style="")
        text.append(line.text, style=style)
    return text
