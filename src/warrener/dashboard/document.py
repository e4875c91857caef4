"""A moment -> what one view of the page needs. Pure.

Documents are bounded, whatever the cluster's size: lists come a page at a time, searched and sorted
here. Levels (``Level``) are decided here, too, so that the page only has to draw.
"""

from collections.abc import Sequence

import msgspec

from warrener.control.operations import ChannelLine
from warrener.dashboard.acts import ActsShown
from warrener.dashboard.documents.events import events
from warrener.dashboard.documents.flow_map import MapBody, flow_map
from warrener.dashboard.documents.head import Head, head
from warrener.dashboard.documents.nodes import nodes
from warrener.dashboard.documents.planner import PlannerBody, planner
from warrener.dashboard.documents.queues import queues
from warrener.dashboard.documents.sessions import sessions
from warrener.dashboard.documents.terms import Part, View, Wanted
from warrener.dashboard.moment import Moment


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent. ``at`` is when it was read, in seconds since the epoch."""

    number: int
    at: float
    view: View
    head: Head
    body: Part | MapBody | PlannerBody
    acts: ActsShown


def document(
    moment: Moment,
    before: Moment | None,
    wanted: Wanted,
    number: int,
    channels: Sequence[ChannelLine] | None = None,
) -> Document:
    """``before`` is what rates are worked out from, some seconds older."""
    if before is not None and moment.clock - before.clock <= 0:
        before = None
    body: Part | MapBody | PlannerBody
    match wanted.view:
        case View.NODES:
            rows = nodes(moment, before)
            body = Part(
                total=len(rows),
                matching=len(rows),
                offset=0,
                rows=list(rows),
                note=moment.measured.why_not,
            )
        case View.QUEUES:
            body = queues(moment, wanted)
        case View.SESSIONS:
            body = sessions(moment, before, wanted, channels)
        case View.EVENTS:
            body = events(moment.events, wanted)
        case View.MAP:
            body = flow_map(moment, before, wanted)
        case View.PLANNER:
            body = planner(moment)
    return Document(
        number=number,
        at=moment.at,
        view=wanted.view,
        head=head(moment, before),
        body=body,
        acts=moment.acts,
    )
