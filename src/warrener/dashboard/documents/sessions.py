"""Sessions, and the channels of the one that was chosen. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from warrener.control.operations import ChannelLine, SessionLine
from warrener.dashboard.documents.terms import PAGE, Part, Wanted, all_in, rate, within
from warrener.dashboard.moment import Moment
from warrener.facts.ids import short_name

MOST_CHANNELS: Final = 100


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session. Rates are messages/s; ``remote`` the part of its messages so far that took a hop
    between nodes, None if there were none."""

    id: int
    name: str
    client: str
    user: str
    vhost: str
    node: str
    links: list[str]
    state: str
    channels: int
    moves: int
    parked: int
    age: float
    published: float | None
    delivered: float | None
    remote: float | None


def sessions(
    moment: Moment,
    before: Moment | None,
    wanted: Wanted,
    channels: Sequence[ChannelLine] | None,
) -> Part:
    """Those that match, a page of them."""
    everybody = moment.sessions or ()
    words = wanted.search.casefold().split()
    found = [one for one in everybody if all_in(words, text(one))]
    earlier: dict[int, SessionLine] = {}
    if before is not None and before.sessions is not None:
        earlier = {one.id: one for one in before.sessions}
    seconds = moment.clock - before.clock if before is not None else 1.0
    orders: Mapping[str, Callable[[SessionLine], Any]] = {
        "name": lambda one: (one.name, one.client),
        "user": lambda one: one.user,
        "node": lambda one: one.node or "",
        "channels": lambda one: one.channels,
        "moves": lambda one: one.moves,
        "age": lambda one: one.age,
    }
    if wanted.sort in orders:
        found.sort(key=orders[wanted.sort], reverse=wanted.descending)
    offset = within(wanted.offset, len(found))
    return Part(
        total=len(everybody),
        matching=len(found),
        offset=offset,
        rows=[row(one, earlier.get(one.id), seconds) for one in found[offset : offset + PAGE]],
        note=moment.sessions_why_not,
        channels=None if channels is None else list(channels[:MOST_CHANNELS]),
    )


def text(one: SessionLine) -> str:
    """What a search looks at."""
    node = short_name(one.node) if one.node else ""
    return f"{one.name} {one.client} {one.user} {one.vhost} {node} {one.state}".casefold()


def row(one: SessionLine, earlier: SessionLine | None, seconds: float) -> SessionRow:
    """One session; ``earlier``: the same some seconds ago."""
    passed = one.messages_local + one.messages_remote
    return SessionRow(
        id=one.id,
        name=one.name,
        client=one.client,
        user=one.user,
        vhost=one.vhost,
        node=short_name(one.node) if one.node else "",
        links=[short_name(node) for node in one.links],
        state=one.state,
        channels=one.channels,
        moves=one.moves,
        parked=one.parked,
        age=one.age,
        published=rate(earlier.published, one.published, seconds) if earlier else None,
        delivered=rate(earlier.delivered, one.delivered, seconds) if earlier else None,
        remote=one.messages_remote / passed if passed else None,
    )
