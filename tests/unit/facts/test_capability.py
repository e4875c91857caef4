"""What a driver lacks is said with its reason and what to do instead."""

import pytest

from warrener.facts.capability import EVERYTHING, WITHOUT_HOSTS, Can, Capabilities, Impossible


def test_a_driver_with_hosts_lacks_nothing() -> None:
    for can in Can:
        EVERYTHING.need(can)


@pytest.mark.parametrize("can", WITHOUT_HOSTS)
def test_without_hosts_each_refusal_says_what_to_do(can: Can) -> None:
    it = Capabilities(WITHOUT_HOSTS, theirs=True)
    with pytest.raises(Impossible, match=r"`|with what runs the cluster") as error:
        it.need(can)
    assert error.value.can is can
