"""Sessions, their channels, journals and moves against a brute-force oracle.

Each run is a client on one to three channels, three nodes, and a network that chance rules: bytes
pass in pieces, nodes die, hang and come back, channels are moved. ``oracle`` says what must hold. A
run that fails is made small and told with its transcript; its seed gives it again.

The fast set runs some of each kind; the slow one WARRENER_PROPERTY (10,000) of all kinds together.
"""

import os

import pytest
from tests.property.runs import KINDS, Kind, many

SLOW = int(os.environ.get("WARRENER_PROPERTY", "10000"))


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_some_runs(kind: Kind) -> None:
    tally = many(kind, 0, 50)
    kind.check(tally)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_many_runs(kind: Kind) -> None:
    tally = many(kind, 1_000_000, -(-SLOW // len(KINDS)))
    kind.check(tally)
