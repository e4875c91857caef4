"""The planner held against a real cluster: what it predicted beside what was measured.

    python -m warrener.bench.validate --json FILE        (`make validate-models`)

Everything goes through the commands that a user has: `warrener plan calibrate` measures what
messages cost, `warrener plan show` reckons R and L from its own history, and the capacity comes
from the same functions as `plan show`'s, for the load that is then measured.

1. R and L: one queue, consumers of known service time that ask for one message at a time, a Poisson
   stream at five loads (rho 0.3 to 0.9); the same of clients that are more regular or less, and of
   such as take some messages in advance (part ``clients``).
2. Capacity: as much as goes through 1 and 6 queues, classic and quorum, clients at the leaders.
3. N-1: the same with a node stopped (6 quorum queues).
4. Policies: what `plan advise` says of them, beside real runs of all of them (``policies``).
"""

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from warrener.bench import policies
from warrener.bench.job import measure
from warrener.bench.load import Flow, LoadResult, LoadSpec
from warrener.bench.paced import PacedResult, PacedSpec
from warrener.bench.say import say
from warrener.bench.stand import VHOST, Stand, temporary_stand
from warrener.bench.topology import declare
from warrener.bench.wire import BenchError
from warrener.facts.ids import NodeName
from warrener.models.samples import mean_of
from warrener.planner.calibration_file import read_calibration
from warrener.planner.changes import without_node
from warrener.planner.costs import Calibration, QueueType
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad
from warrener.planner.outlook import outlook

LEVELS: Final = {0.3: 0.5, 0.5: 1.0, 0.7: 2.0, 0.8: 4.0, 0.9: 5.0}
"""How busy the consumers are, and how many times ``--seconds`` it lasts: the nearer to 1, the more
do messages hang together, and the more of them it takes until a mean says anything."""

CLIENTS: Final = (
    # arrivals' scv, services' scv, prefetch
    (0.0, 0.0, 1),
    (0.0, 1.0, 1),
    (1.0, 0.0, 1),
    (0.25, 0.25, 1),
    (1.0, 4.0, 1),
    (1.0, 1.0, 10),
    (0.0, 1.0, 10),
)
"""What part ``clients`` looks at: 0 is always the same, 1 at random."""

BUSY: Final = 0.8  # of their time, consumers of part clients
CONSUMERS: Final = 4
SERVICE: Final = 0.02  # s
BODY: Final = 100
_KNOWN: Final = 30.0  # s for the management API to know of a queue
_WARM: Final = 10.0  # s before anything counts
_AFTER: Final = 20.0  # s for which a load goes on while `plan show` looks at it


@dataclass(frozen=True, slots=True)
class Point:
    """One comparison. ``part``: which of the three; ``error``: (predicted - measured) / measured;
    ``noise``: half the 95 % interval of what was measured, as a part of it."""

    part: str
    what: str
    unit: str
    predicted: float
    measured: float
    noise: float
    note: str = ""

    @property
    def error(self) -> float:
        """By how much the prediction is off."""
        return (self.predicted - self.measured) / self.measured


def main() -> None:
    """Measures, prints the table; ``--json`` also every sample."""
    parser = argparse.ArgumentParser(description="The planner held against a real cluster.")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each level at rho 0.5")
    parser.add_argument("--rounds", type=int, default=5, help="of each capacity")
    parser.add_argument("--calibrate", type=float, default=90.0, help="seconds of the calibration")
    parser.add_argument(
        "--levels",
        type=_levels,
        default=LEVELS,
        metavar="0.5,0.8",
        help=f"some of {', '.join(map(str, LEVELS))}",
    )
    parser.add_argument("--types", default="classic,quorum", help="of the queues of part response")
    parser.add_argument("--parts", default="response,clients,capacity,loss,policies")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args()
    document: dict[str, Any] = {"machine": _machine(), "warnings": (), "points": []}
    try:
        _measure(options, options.parts.split(","), document)
    finally:  # what was measured until it was broken off is kept as well
        if options.json is not None:
            options.json.write_text(json.dumps(document, indent=2) + "\n")
    for warning in document["warnings"]:
        say(f"calibration: {warning}")


def _measure(options: argparse.Namespace, parts: Sequence[str], document: dict[str, Any]) -> None:
    """Part by part, into the document."""

    def kept(points: Sequence[Point]) -> None:
        document["points"] += [asdict(point) | {"error": point.error} for point in points]

    if set(parts) - {"policies"}:
        with temporary_stand(3) as stand:
            _calibrate(stand, options.calibrate)
            calibration = read_calibration(stand.state)
            if calibration is None:
                raise BenchError("`warrener plan calibrate` kept nothing")
            document["warnings"] = calibration.warnings
            if "response" in parts:
                for kind in options.types.split(","):
                    for level, lasts in options.levels.items():
                        kept(_held(stand, _Scene(kind, level, options.seconds * lasts)))
            if "clients" in parts:
                for came, took, prefetch in CLIENTS:
                    seconds = 2 * options.seconds
                    kept(_held(stand, _Scene("classic", BUSY, seconds, came, took, prefetch)))
            if "capacity" in parts:
                kept(_capacities(stand, calibration, options.rounds))
            if "loss" in parts:
                kept(_loss(stand, calibration, options.rounds))
    if "policies" in parts:
        document["policies"] = policies.hold(rounds=min(3, options.rounds), seconds=4.0)


def _levels(text: str) -> Mapping[float, float]:
    levels = [float(level) for level in text.split(",")]
    for level in levels:
        if level not in LEVELS:
            raise argparse.ArgumentTypeError(f"no level {level}")
    return {level: LEVELS[level] for level in levels}


def _calibrate(stand: Stand, seconds: float) -> None:
    say("calibrates")
    words = ("--seconds", f"{seconds:g}", "--types", "classic,quorum", "--body", str(BODY))
    stand.command("plan", "calibrate", "--yes", *words, timeout=4 * seconds + 60)


# -- R and L


@dataclass(frozen=True, slots=True)
class _Scene:
    """A paced load: ``level`` is how busy the consumers are, ``seconds`` how long it counts."""

    kind: str
    level: float
    seconds: float
    arrival_scv: float = 1.0
    service_scv: float = 1.0
    prefetch: int = 1

    @property
    def queue(self) -> str:
        scvs = f"{self.arrival_scv:g}-{self.service_scv:g}"
        return f"paced-{self.kind}-{self.level:g}-{scvs}-{self.prefetch}"

    @property
    def words(self) -> str:
        text = f"of a {self.kind} queue at rho {self.level:g}"
        if (self.arrival_scv, self.service_scv, self.prefetch) == (1.0, 1.0, 1):
            return text
        return (
            f"{text}, scv of gaps {self.arrival_scv:g}, of services {self.service_scv:g}, "
            f"prefetch {self.prefetch}"
        )


def _held(stand: Stand, scene: _Scene) -> list[Point]:
    declare(stand.node_target(0), scene.queue, quorum=scene.kind == "quorum")
    spec = PacedSpec(
        queue=scene.queue,
        target=stand.balancer,
        rate=scene.level * CONSUMERS / SERVICE,
        consumers=CONSUMERS,
        service_time=SERVICE,
        prefetch=scene.prefetch,
        body=BODY,
        warmup=_WARM,
        seconds=scene.seconds,
        seed=round(100 * scene.level),
        after=_AFTER,
        arrival_scv=scene.arrival_scv,
        service_scv=scene.service_scv,
    )
    result, line = _run_and_ask(stand, spec)
    estimate = mean_of(np.array(result.responses))
    measured = float(np.mean(result.responses))
    noise = estimate.half_width / measured
    note = (
        f"{len(result.responses):,} messages; the same without a cluster in between: R "
        f"{result.ideal:.4g} s; consumers told as {line['consumers_rate'] or 0:.1f}/s, "
        f"{CONSUMERS / result.service_time:.1f}/s by themselves"
    )
    if stalls := line["stalls"]:
        note += f"; stalls: {stalls['wait'] * 1e3:.3g} ms, {stalls['share']:.2%}"
        if stalls["adds"] is not None:
            note += f", of R {stalls['adds'] * 1e3:.3g} ms"
    if line["grows"] > 0:  # there is no R to compare
        grew = result.rate - result.done
        what = f"growth {scene.words}"
        return [_point("response", what, "msg/s", line["grows"], grew, 0.0, note)]
    points = []
    for what, unit, predicted, real in (
        ("R", "s", line["response_time"], measured),
        ("L", "messages", line["length"], result.rate * measured),
    ):
        name = f"{what} {scene.words}"
        if predicted is None:
            say(f"{name}: no prediction ({note})")
            continue
        points.append(_point("response", name, unit, predicted, real, noise, note))
    return points


def _run_and_ask(stand: Stand, spec: PacedSpec) -> tuple[PacedResult, dict[str, Any]]:
    """`plan show` is asked at the end, while the load still goes on."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(measure, spec, PacedResult, timeout=spec.seconds + 240)
        wait([running], timeout=spec.warmup + spec.seconds + 3.0)
        if running.done():
            running.result()  # it has failed, and says why
            raise BenchError("the load ended before its time")
        window = f"{spec.seconds:.0f}s"
        told = json.loads(stand.command("plan", "show", "--window", window, "--json", timeout=60))
        result = running.result()
    lines = (one for one in told["queues"] if (one["vhost"], one["name"]) == (VHOST, spec.queue))
    return result, next(lines)


# -- capacity


def _capacities(stand: Stand, calibration: Calibration, rounds: int) -> list[Point]:
    points = []
    for kind in (QueueType.CLASSIC, QueueType.QUORUM):
        for number in (1, 6):
            queues = _queues(stand, kind, number)
            predicted = outlook(_load(stand, queues, calibration, kind), calibration).capacity
            rates = [_saturated(stand, queues) for _ in range(rounds)]
            points.append(_capacity("capacity", kind, queues, predicted, rates))
    return points


def _loss(stand: Stand, calibration: Calibration, rounds: int) -> list[Point]:
    """Six quorum queues, and the last node stopped."""
    kind = QueueType.QUORUM
    queues = _queues(stand, kind, 6)
    before = _load(stand, queues, calibration, kind)
    gone = NodeName(stand.nodes[-1].name)
    left, _ = without_node(before, gone)
    predicted = outlook(left, calibration).capacity
    pid = stand.nodes[-1].pid
    assert pid is not None, "a local stand"
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _KNOWN
    while gone in [leader for name, leader in stand.leaders().items() if name in queues]:
        if time.monotonic() > deadline:
            raise BenchError(f"queues are still said to be led by {gone}")
        time.sleep(0.5)
    time.sleep(5.0)
    now = {name: leader for name, leader in stand.leaders().items() if name in queues}
    rates = [_saturated(stand, now) for _ in range(rounds)]
    return [_capacity("loss", kind, now, predicted, rates)]


def _capacity(
    part: str, kind: str, queues: Mapping[str, str], predicted: float, rates: Sequence[float]
) -> Point:
    measured = statistics.median(rates)
    noise = (max(rates) - min(rates)) / 2 / measured
    many = f"{len(queues)} {kind} queue{'s' if len(queues) > 1 else ''}"
    note = f"{min(rates):,.0f} to {max(rates):,.0f} in {len(rates)} rounds"
    what = f"capacity of {many}" + (", one node stopped" if part == "loss" else "")
    return _point(part, what, "msg/s", predicted, measured, noise, note)


def _queues(stand: Stand, kind: QueueType, number: int) -> dict[str, str]:
    """Made, led in turn by each node: by name the leader."""
    names = [f"full-{kind}-{number}-{at}" for at in range(number)]
    for at, name in enumerate(names):
        declare(stand.node_target(at), name, quorum=kind is QueueType.QUORUM)
    deadline = time.monotonic() + _KNOWN
    while True:
        leaders = {name: leader for name, leader in stand.leaders().items() if name in names}
        if len(leaders) == number and all(leaders.values()):
            return leaders
        if time.monotonic() > deadline:
            raise BenchError("the management API doesn't tell of the queues")
        time.sleep(0.5)


def _load(
    stand: Stand, queues: Mapping[str, str], calibration: Calibration, kind: QueueType
) -> Load:
    """The same rate through each of the queues; which one doesn't matter, as capacity goes by
    proportions. Clients are on the same machine and go straight to the leaders."""
    members = tuple(NodeName(node.name) for node in stand.nodes)
    hosts = dict(calibration.hosts)
    return Load(
        nodes=tuple(NodeLoad(name, hosts[name]) for name in members),
        hosts=tuple(HostLoad(name, cores) for name, cores in calibration.cores.items()),
        queues=tuple(
            QueueLoad(
                vhost=VHOST,
                name=name,
                type=kind,
                leader=NodeName(leader),
                members=members if kind is QueueType.QUORUM else (),
                published=100.0,
                delivered=100.0,
                acked=100.0,
                body=BODY,
            )
            for name, leader in queues.items()
        ),
        clients_on=next(iter(calibration.cores)),
    )


def _saturated(stand: Stand, queues: Mapping[str, str]) -> float:
    at = {node.name: index for index, node in enumerate(stand.nodes)}
    flows = tuple(
        Flow(name, stand.node_target(at[leader]), stand.node_target(at[leader]))
        for name, leader in queues.items()
    )
    return measure(
        LoadSpec(flows, body=BODY, seconds=3.0, warmup=1.0), LoadResult, timeout=120
    ).rate


# -- what is printed


def _point(
    part: str, what: str, unit: str, predicted: float, measured: float, noise: float, note: str
) -> Point:
    point = Point(part, what, unit, predicted, measured, noise, note)
    say(
        f"{what}: predicted {predicted:.4g}, measured {measured:.4g} {unit} (± {noise:.0%}): "
        f"{point.error:+.1%}; {note}"
    )
    return point


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "memory": psutil.virtual_memory().total}


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"validate: {error}")
