"""Looks at the screen of `warrener top` before a real cluster, and keeps what it shows.

    python -m tests.integration.top_pictures STATE FOLDER

For each pane and size an SVG (top-PANE-80x24.svg) in FOLDER, and the same as text on stdout. In a
process of its own, as the screen wants to be the one that gets signals.
"""

import asyncio
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from warrener.cli.top.readings import Source
from warrener.cli.top.screen import Top
from warrener.control.state_folder import StateFolder

SIZES: Final = ((80, 24), (120, 40))
PANES: Final = {
    "1": ("nodes", (r"^n1 ", r"^n2 ", r"^n3 ", r"in \d+/s out \d+/s")),
    "3": ("sessions", (r"bench pub", r"\b100%")),
    "4": ("events", (r"daemon\.ready",)),
    "5": ("plan", (r"^Carries ", r"^First to break: ", r"^Busy \(rho\): n1 ", r"billing")),
    "2": (
        "queues",
        (r"^billing .* 1/1 +\S+ +\S+ +[\d.]+k? +[\d.]+k? +2\b", r"^paced ", r"^mails "),
    ),
}
"""By the key that shows it: its name, and what it has to show before the picture is taken. Rates of
queues come last, as the history has them after some seconds."""

PATIENCE: Final = 40.0
"""Seconds for each: two readings, the planner's models at the first look at them."""


def lines(app: Top) -> list[str]:
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


async def take(state: StateFolder, folder: Path, width: int, height: int) -> None:
    """All panes of one size."""
    app = Top(state, Source(state), every=1.0)
    async with app.run_test(size=(width, height)) as pilot:
        for key, (pane, patterns) in PANES.items():
            await pilot.press(key)
            deadline = time.monotonic() + PATIENCE
            while not shows(lines(app), patterns):
                if time.monotonic() > deadline:
                    raise SystemExit("\n".join([f"{pane}: no {patterns}", *lines(app)]))
                await pilot.pause(0.1)
            name = f"top-{pane}-{width}x{height}"
            text = app.export_screenshot(title="warrener top")
            (folder / f"{name}.svg").write_text(text)
            print(f"-- {name}", *lines(app), sep="\n", flush=True)


def shows(screen: Sequence[str], patterns: Sequence[str]) -> bool:
    text = "\n".join(screen)
    return all(re.search(pattern, text, re.MULTILINE) for pattern in patterns)


async def main(state: Path, folder: Path) -> None:
    for width, height in SIZES:
        await take(StateFolder(state), folder, width, height)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
