"""The standard load around something that is done to a cluster, and what its books are held to."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.ledger_set import CONSUMERS, PUBLISHERS, standard_load
from tests.integration.support import evaluate, eventually, management
from tests.integration.warren import Warren

from warrener.drills.ledger import Verdict
from warrener.drills.workload import NotInTime, Workload

CALM = 3.0
"""Seconds of load before, between and after failures."""

LINES = 25
"""Objections and events that are shown."""


def nodes_of(warren: Warren) -> list[dict[str, Any]]:
    rows = warren.status()["nodes"]
    assert isinstance(rows, list)
    return rows


def wait_all_fit(warren: Warren, within: float = 60) -> None:
    eventually(
        "all nodes are fit",
        lambda: all(row["fit"] and row["running"] for row in nodes_of(warren)),
        within,
        every=0.3,
    )


def evidence(warren: Warren, verdict: Verdict, duplicates: bool) -> str:
    """What to look at when it isn't as it should be. All times are the monotonic clock's."""
    objections = verdict.objections(duplicates=duplicates)
    offset = time.time() - time.monotonic()
    events = json.loads(warren.ok("events", "--last", str(LINES), "--json"))["events"]
    return "\n".join(
        [
            verdict.summary(),
            *objections[:LINES],
            f"... {len(objections)} objections in all; the daemon's last events:",
            *(
                f"{event['at'] - offset:.3f} {event['kind']} {event['subject']} {event['reason']} "
                f"{json.dumps(event['detail'])}"
                for event in events
            ),
        ]
    )


@contextlib.contextmanager
def load_on(warren: Warren, folder: Path, *, duplicates: bool) -> Iterator[Workload]:
    """The standard load for the time of the block; then it is brought to its end and judged."""
    before = warren.status()["balancer"]
    with standard_load(warren, folder) as (load, queues):
        try:
            load.wait_flowing(60)
            load.run_for(CALM)
            yield load
            load.run_for(CALM)
            load.stop_publishers()
            load.wait_drained()
            wait_empty(warren, queues)
            load.stop_consumers()
        except (NotInTime, AssertionError) as error:
            report = evidence(warren, load.verdict(), duplicates)
            raise AssertionError(f"{error}\n{report}") from error
        verdict = load.verdict()
        print(verdict.summary())
        assert not verdict.objections(duplicates=duplicates), evidence(warren, verdict, duplicates)
        after = warren.status()["balancer"]
        ended = {
            reason: count - before["sessions_ended"].get(reason, 0)
            for reason, count in after["sessions_ended"].items()
        }
        ended = {reason: count for reason, count in ended.items() if count}
        assert ended == {"client_closed": len(PUBLISHERS) + len(CONSUMERS)}
        replayed = after.get("replayed", 0) - before.get("replayed", 0)
        assert verdict.duplicates.replayed <= replayed
        print(f"published again by the balancer: {replayed}")


UNDONE = """
    lists:sum([begin
        {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, Name)),
        Total = fun rabbit_fifo:query_messages_total/1,
        {{ok, Number, _}} = ra:consistent_query(amqqueue:get_pid(Q), Total, 5000),
        Number
    end || Name <- [{names}]]).
"""
"""How many messages are in quorum queues, unacked ones included: what a majority of the replicas
has applied by now. The management API's word on that is up to ten seconds old."""


def wait_empty(warren: Warren, queues: list[str]) -> None:
    """Every ack has reached the right broker: nothing is left, and nothing is unacked, while the
    consumers are still there."""
    api = management(warren)
    text = UNDONE.format(names=", ".join(f'<<"{name}">>' for name in queues))
    (node, *_) = [row for row in nodes_of(warren) if row["running"]]

    def left() -> dict[str, int]:
        return {name: api.get(f"/queues/%2F/{name}").get("messages", 1) for name in queues}

    def empty() -> bool:
        told = evaluate(node, text)
        return told == "0" if told is not None else not any(left().values())

    try:
        eventually("the queues are empty", empty, 30, every=0.5)
    except AssertionError:
        raise AssertionError(
            f"acked by their consumers, but still in the queues: {left()}"
        ) from None


def report_gap(load: Workload, what: str, since: float) -> float:
    """The longest time that a publisher waited, from then on."""
    load.read()
    worst = load.ledger.gaps(since)[0]
    print(f"{what}: longest gap {worst.seconds:.3f} s ({worst.client})")
    return worst.seconds
