"""What TLS costs: the order of the paths and the figures that are told."""

import pytest

from warrener.bench import tls_cost
from warrener.bench.wire import Target

PATHS = {name: Target("h", number, "u", "p") for number, name in enumerate("abc")}


def test_another_path_begins_in_each_round() -> None:
    orders = ["".join(tls_cost._turned(PATHS, number)) for number in range(4)]
    assert orders == ["abc", "bca", "cab", "abc"]


def test_ratios_are_of_one_round(capsys: pytest.CaptureFixture[str]) -> None:
    samples = {
        "classic tls warrener": [10.0, 40.0, 90.0],
        "classic tls direct": [20.0, 40.0, 100.0],
        "classic tls haproxy": [5.0, 40.0, 100.0],
        "classic tls warrener-plain-clients": [10.0, 20.0, 45.0],
        "classic plain direct": [80.0, 80.0, 80.0],
        "classic plain warrener": [50.0, 50.0, 50.0],
    }
    tls_cost._ratios("classic", samples)
    told = capsys.readouterr().out
    assert "warrener with TLS / direct: 0.90 (0.50 to 1.00)" in told
    assert "warrener with TLS / haproxy: 1.00 (0.90 to 2.00)" in told
    assert "direct with TLS / the same without, medians: 0.50" in told
    assert "warrener with TLS / the same without, medians: 0.80" in told
