"""What reading a stream unit by unit costs: by shape and by stepping, side by side, for several
chunk sizes.

python -m warrener.bench.scanner
"""

import re
import sys
import time
from collections.abc import Callable
from typing import Final

from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import BasicPublish, encode_method_frame
from warrener.amqp.units import Shapes, next_unit

_LIMIT: Final = 131_064
_MESSAGES: Final = 20_000  # in a run
_RUNS: Final = 5  # of which the least counts


class _Stepping(Shapes):
    """Learns nothing, so that every frame is stepped over."""

    def run_of(self, shape: tuple[int, int, int, int]) -> re.Pattern[bytes] | None:
        return None


def measure(chunk: int, body: int, make: Callable[[], Shapes]) -> float:
    """Microseconds a message for chunks of ``chunk`` publishes of ``body`` bytes."""
    header = b"\x00\x3c\x00\x00" + body.to_bytes(8) + b"\x00\x00"
    message = (
        encode_method_frame(1, BasicPublish("", "q1"))
        + encode_frame(2, 1, header)
        + encode_frame(3, 1, bytes(body))
    )
    data = message * chunk
    shapes = make()
    rounds = max(_MESSAGES // chunk, 1)
    best = float("inf")
    for _ in range(_RUNS):
        start = time.perf_counter()
        for _ in range(rounds):
            pos = 0
            while pos < len(data):
                pos = next_unit(data, pos, _LIMIT, _LIMIT, shapes).end
        best = min(best, time.perf_counter() - start)
    return best / (rounds * chunk) * 1e6


def main() -> None:
    """Print the table."""
    print_row = sys.stdout.write
    print_row(f"{'messages in a chunk':>20} {'stepping':>10} {'by shape':>10}   us a message\n")
    for chunk in (1, 10, 100, 500):
        stepping, by_shape = measure(chunk, 100, _Stepping), measure(chunk, 100, Shapes)
        print_row(f"{chunk:>20} {stepping:>10.2f} {by_shape:>10.2f}\n")


if __name__ == "__main__":
    main()
