"""Reads again and again in a thread of its own, so that the screen never waits for the daemon."""

import threading
from collections.abc import Callable
from typing import Final, Protocol

from warrener.cli.top.acts import sentence
from warrener.cli.top.readings import Pane, Reading
from warrener.control.client import NotRunning

EVERY: Final = 2.0
"""Seconds from one reading to the next; the daemon's own view of the cluster is as old."""


class Readable(Protocol):
    """``readings.Source``."""

    def read(self, panes: frozenset[Pane]) -> Reading: ...
    def close(self) -> None: ...


class Poller:
    """Calls back in its thread: ``on_reading``, or ``on_missing`` with why there is none.

    ``panes`` says what is looked at. ``stop`` doesn't wait: a daemon that hangs mustn't keep
    anybody from leaving.
    """

    def __init__(
        self,
        source: Readable,
        *,
        panes: Callable[[], frozenset[Pane]],
        on_reading: Callable[[Reading], None],
        on_missing: Callable[[str], None],
        every: float = EVERY,
    ) -> None:
        self._source = source
        self._panes = panes
        self._on_reading, self._on_missing = on_reading, on_missing
        self._every = every
        self._now = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="readings", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def now(self) -> None:
        """Reads at once: somebody looks at something else."""
        self._now.set()

    def stop(self) -> None:
        """Nothing is told from here on."""
        self._stopped = True
        self._now.set()

    def _run(self) -> None:
        while not self._stopped:
            self._now.clear()
            self._look()
            self._now.wait(self._every)
        self._source.close()

    def _look(self) -> None:
        try:
            reading = self._source.read(self._panes())
        except NotRunning:
            self._tell_missing("no daemon runs here: connects again once one does")
        except Exception as error:  # it belongs on the screen, and the next look may do
            self._tell_missing(sentence(error))
        else:
            if not self._stopped:
                self._on_reading(reading)

    def _tell_missing(self, why: str) -> None:
        if not self._stopped:
            self._on_missing(why)
