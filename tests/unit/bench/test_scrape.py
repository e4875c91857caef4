"""The bench of scrapes."""

from warrener.bench.scrape import timed, values


def test_the_text_grows_with_queues_only_where_each_has_metrics() -> None:
    whole = timed(values(300, 0), rounds=2)
    assert timed(values(30, 0), rounds=2).lines == whole.lines
    each = timed(values(300, 300), rounds=2)
    assert each.lines > whole.lines + 900
    assert 0 < whole.median <= whole.worst
