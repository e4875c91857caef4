"""When certificates are due, and the order of what is done."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from warrener.cluster.tls.certificates import Described
from warrener.cluster.tls.rotation import Act, Phase, is_due, steps, warning

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def lasting(days: float, left: float) -> Described:
    ends = NOW + timedelta(days=left)
    return Described("s", "i", (), ends - timedelta(days=days), ends, "AB", False)


@pytest.mark.parametrize(
    ("left", "due"), [(365, False), (122, False), (121, True), (0, True), (-5, True)]
)
def test_due_with_a_third_of_its_life_left(left: float, due: bool) -> None:
    assert is_due(lasting(365, left), NOW) == due


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (31, ""),
        (29.5, "expires in 29 days, on 2026-12-25 12:00 UTC"),
        (1, "expires in 1 day,"),
        (0, "has expired on 2026-11-26"),
        (-3, "has expired on 2026-11-23"),
    ],
)
def test_a_warning_within_30_days(left: float, text: str) -> None:
    said = warning(lasting(365, left), NOW)
    assert said.startswith(text) if text else said == ""


def test_certificates_alone() -> None:
    for phase in Phase:
        assert steps(phase, authority=False, own=False) == (Act.ISSUE, Act.RELOAD)
        assert steps(phase, authority=False, own=True) == (Act.TAKE_OWN, Act.ISSUE, Act.RELOAD)


def test_everybody_trusts_a_new_ca_before_anybody_shows_it() -> None:
    begin = steps(Phase.STEADY, authority=True, own=False)
    assert begin == (Act.MAKE_NEXT, Act.TRUST_BOTH, Act.RELOAD)
    finish = steps(Phase.BOTH_TRUSTED, authority=True, own=False)
    at = [finish.index(act) for act in (Act.TRUST_BOTH, Act.ISSUE_BY_NEXT, Act.DROP_OLD)]
    assert at == sorted(at)
    for earlier, later in pairwise(at):
        assert Act.RELOAD in finish[earlier:later]
    assert finish[-1] is Act.RELOAD
