"""What the benches that are run as modules print: a line at a time, seen at once."""

import sys


def say(line: str) -> None:
    """Prints a line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
