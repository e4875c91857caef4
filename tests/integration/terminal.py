"""A command in a pseudo-terminal, as somebody sits before it: keys in, a screen out."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


class Terminal:
    """What came so far is ``seen``, with all that moves the cursor; programs redraw only what
    changed, so look for words that weren't there before."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.seen = b""
        self._reading = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reading.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the program has ended
            while chunk := os.read(self._master, 65536):
                self.seen += chunk

    def press(self, keys: str) -> None:
        """Keys as a terminal sends them."""
        os.write(self._master, keys.encode())

    def wait_for(self, text: str, patience: float = 60.0, since: int = 0) -> int:
        """Until a text has come; where it ends."""
        deadline = time.monotonic() + patience
        while (at := self.seen.find(text.encode(), since)) < 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"no {text!r} in {patience} s: {self.seen[-3000:]!r}")
            time.sleep(0.05)
        return at + len(text)

    def ended(self, patience: float = 20.0) -> int:
        """The exit code."""
        code = self.process.wait(patience)
        self._reading.join(5)
        return code


@contextlib.contextmanager
def terminal(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    columns: int = 80,
    lines: int = 24,
) -> Iterator[Terminal]:
    """The command's; it is killed if it is still there at the end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**environment, "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        os.close(master)
