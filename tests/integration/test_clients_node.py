"""node's amqplib: the whole round trip of ``node/round_trip.js``."""

import json
import subprocess
from pathlib import Path

from tests.integration.support import Place

HERE = Path(__file__).parent / "node"


def test_amqplib_round_trip(place: Place) -> None:
    assert (HERE / "node_modules" / "amqplib").is_dir(), "run tools/setup integration first"
    done = subprocess.run(
        ["node", "round_trip.js", place.url()],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "consumed": 100,
        "redelivered": [False, True, False],
        "returned": [312, "back"],
        "channelError": 404,
        "bigBody": True,
        "refused": True,
    }
