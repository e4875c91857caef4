"""Times are kept in their order, and no more of them than the limit."""

from warrener.balancer.core.bounded import MAX_NOTED, forget_older, make_room, note


def test_of_too_many_the_oldest_goes() -> None:
    times: dict[int, float] = {}
    for number in range(MAX_NOTED + 1):
        note(times, number, float(number))
    assert len(times) == MAX_NOTED
    assert 0 not in times
    assert MAX_NOTED in times


def test_what_happens_again_is_the_newest() -> None:
    times: dict[str, float] = {}
    for now, key in enumerate("abca"):
        note(times, key, float(now))
    assert list(times.items()) == [("b", 1.0), ("c", 2.0), ("a", 3.0)]
    make_room(times, limit=3)
    assert list(times) == ["c", "a"]


def test_the_old_is_forgotten() -> None:
    times = {"a": 1.0, "b": 2.0, "c": 3.0}
    forget_older(times, 2.0)
    assert times == {"b": 2.0, "c": 3.0}
