"""What the planner takes out of the history, on the control wire and back. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from warrener.control.plan_history_operations import (
    PlanPointsAnswer,
    PlanWorkAnswer,
    PointsLine,
    StretchLine,
)
from warrener.planner.points import Point
from warrener.planner.samples import Key, Sample
from warrener.planner.work import Stretch, Worked


def work_to_wire(
    worked: Worked,
    samples: Sequence[Sample],
    *,
    cluster: str,
    version: str,
    now: float,
    told_by_nodes: bool = False,
) -> PlanWorkAnswer:
    """``samples``: what it was made of; the newest says which nodes and hosts there are."""
    last = samples[-1] if samples else Sample(now, 0.0, ())
    return PlanWorkAnswer(
        since=samples[0].at - samples[0].seconds if samples else now,
        seconds=sum(stretch.seconds for stretch in worked.stretches),
        cluster=cluster,
        version=version,
        hosts={node.name: node.host for node in last.nodes},
        cores={host.name: float(host.cores) for host in last.hosts},
        shares={node.name: node.cores for node in last.nodes if node.cores is not None},
        stretches=[
            msgspec.convert(msgspec.to_builtins(one), StretchLine) for one in worked.stretches
        ],
        left_out=dict(worked.left_out),
        told_by_nodes=told_by_nodes,
    )


def stretches_from_wire(answer: PlanWorkAnswer) -> list[Stretch]:
    """For ``passive``."""
    return [msgspec.convert(msgspec.to_builtins(line), Stretch) for line in answer.stretches]


def points_to_wire(found: Mapping[Key, Sequence[Point]]) -> PlanPointsAnswer:
    """For whoever draws them."""
    return PlanPointsAnswer(
        [
            PointsLine(
                vhost=vhost,
                name=name,
                points=[(point.published, point.acked, point.length) for point in line],
            )
            for (vhost, name), line in found.items()
        ]
    )


def points_from_wire(answer: PlanPointsAnswer) -> dict[Key, tuple[Point, ...]]:
    """The opposite."""
    return {
        (line.vhost, line.name): tuple(Point(*point) for point in line.points)
        for line in answer.queues
    }
