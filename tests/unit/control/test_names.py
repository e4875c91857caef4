"""Names as people type them."""

import pytest

from warrener.control.names import resolve_node, resolve_policy
from warrener.control.wire import Refusal, Refused
from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName

NODES = [NodeName("n1@localhost"), NodeName("n2@localhost")]


def test_full_and_short_names_mean_the_same_node() -> None:
    assert resolve_node("n2@localhost", NODES) == resolve_node("n2", NODES) == "n2@localhost"


def test_an_unknown_node_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        Refused, match=r"no node 'n3': did you mean 'n\d'\?.*n1@localhost"
    ) as caught:
        resolve_node("n3", NODES)
    assert caught.value.refusal is Refusal.BAD_ARGUMENT
    with pytest.raises(Refused, match=r"no node 'zebra'\. There are"):
        resolve_node("zebra", NODES)


def test_a_short_name_of_two_nodes_is_refused() -> None:
    with pytest.raises(Refused, match="use the full name"):
        resolve_node("n1", [NodeName("n1@a"), NodeName("n1@b")])


def test_policies() -> None:
    assert resolve_policy("weighted-leastconn") is PolicyName.WEIGHTED_LEASTCONN
    with pytest.raises(Refused, match="did you mean 'leastconn'"):
        resolve_policy("leastcon")
    with pytest.raises(Refused, match="There are: roundrobin, weighted"):
        resolve_policy("")
