"""What happened, the newest first. Pure."""

from collections.abc import Sequence
from typing import Final

from warrener.control.operations import EventLine
from warrener.dashboard.documents.terms import Part, Wanted, all_in

MOST_EVENTS: Final = 200


def events(events: Sequence[EventLine], wanted: Wanted) -> Part:
    """The newest first."""
    words = wanted.search.casefold().split()
    found = [line for line in events if all_in(words, _event_text(line))]
    return Part(
        total=len(events),
        matching=len(found),
        offset=0,
        rows=list(reversed(found[-MOST_EVENTS:])),
    )


def _event_text(line: EventLine) -> str:
    details = " ".join(f"{key} {value}" for key, value in line.detail.items())
    return f"{line.kind} {line.subject} {line.reason} {details}".casefold()
