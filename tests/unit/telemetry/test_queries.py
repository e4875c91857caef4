"""Names of series in an expression."""

import pytest

from warrener.telemetry.queries import names_in


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up", {"up"}),
        ('sum by (cluster, le) (rate(a_total{x=~"b|c",y="}"}[5m])) > 0', {"a_total"}),
        ("a / on (node) group_left (x) b and c unless d or e", {"a", "b", "c", "d", "e"}),
        ("warrener:leaders:ratio > 1.5", {"warrener:leaders:ratio"}),
        ("avg_over_time(a[10m] offset 1m) - 1e9 + inf", {"a"}),
        ("histogram_quantile(0.99, sum without (node) (a_bucket))", {"a_bucket"}),
        ("time() - a", {"a"}),
        ("a == bool b", {"a", "b"}),
    ],
)
def test_names(expression: str, names: set[str]) -> None:
    assert names_in(expression) == names
