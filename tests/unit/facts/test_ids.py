"""What people call a node."""

import pytest

from warrener.facts.ids import NodeName, short_name


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("n1@localhost", "n1"),
        ("hare@box", "hare"),
        ("rabbit@localhost", "rabbit"),
        ("rabbit@orders-0.orders-nodes.default", "orders-0"),
        ("rabbit@box", "box"),
        ("rabbit@10.0.0.7", "10.0.0.7"),
        ("rabbit", "rabbit"),
    ],
)
def test_short_names_tell_nodes_apart(name: str, short: str) -> None:
    assert short_name(NodeName(name)) == short
