"""Which nodes a local cluster starts with, whatever was under way when Warrener was killed."""

import pytest

from warrener.cluster.errors import MembersDiffer
from warrener.cluster.members import (
    StartPlan,
    by_number,
    name_of,
    next_name,
    node_names,
    number_of,
    plan,
)
from warrener.facts.ids import NodeName

N1, N2, N3, N4, N5 = node_names(5)
THREE = (N1, N2, N3)


def started(
    *members: NodeName,
    joining: NodeName | None = None,
    leaving: NodeName | None = None,
    without_data: tuple[NodeName, ...] = (),
    wanted: int = 3,
    given: bool = False,
    more_may_run: bool = False,
) -> StartPlan:
    return plan(
        members,
        joining=joining,
        leaving=leaving,
        without_data=without_data,
        wanted=wanted,
        given=given,
        more_may_run=more_may_run,
        folder="/here",
    )


def test_names_have_numbers() -> None:
    assert name_of(4) == "n4@localhost"
    assert number_of(N4) == 4
    assert by_number([N3, N1, N3]) == (N1, N3)
    assert next_name([N1, N3]) == N2
    assert next_name(node_names(9)) is None


@pytest.mark.parametrize("name", ["n0@localhost", "n10@localhost", "x@localhost", "n1@elsewhere"])
def test_other_names_are_no_local_nodes(name: str) -> None:
    with pytest.raises(ValueError, match="a local node is n1 to n9"):
        number_of(NodeName(name))


def test_a_cluster_that_never_was_has_only_new_nodes() -> None:
    assert started(wanted=2) == StartPlan(known=(), new=(N1, N2))


def test_a_cluster_is_what_it_was_whatever_the_default() -> None:
    assert started(N1, N3) == StartPlan(known=(N1, N3))
    assert started(*THREE, N4, N5).names == (*THREE, N4, N5)


def test_it_grows_to_the_number_that_somebody_asked_for() -> None:
    assert started(N1, N3, wanted=4, given=True) == StartPlan(known=(N1, N3), new=(N2, N4))
    assert started(*THREE, wanted=3, given=True) == StartPlan(known=THREE)


def test_it_never_shrinks_by_itself() -> None:
    with pytest.raises(MembersDiffer) as caught:
        started(*THREE, wanted=2, given=True)
    assert str(caught.value) == (
        "the cluster in /here has 3 nodes (n1, n2, n3) and 2 are wanted: starting fewer would lose "
        "the data on the rest. Start it with --nodes 3 and take one out with `warrener node remove "
        "NODE`, or remove the cluster and all its data first with `warrener down --purge`"
    )


def test_all_start_for_somebody_who_takes_the_rest_away_afterwards() -> None:
    found = started(*THREE, N4, wanted=2, given=True, more_may_run=True)
    assert found == StartPlan(known=(*THREE, N4))
    found = started(*THREE, leaving=N3, wanted=1, given=True, more_may_run=True)
    assert (found.known, found.uncertain, found.leaving) == ((N1, N2), (N3,), N3)


def test_a_node_that_was_being_added_and_has_no_data_yet_is_cleared_away() -> None:
    assert started(*THREE, joining=N4, without_data=(N4,)) == StartPlan(known=THREE, gone=(N4,))


def test_if_it_has_data_it_boots_with_the_others_which_may_wait_for_its_tables() -> None:
    assert started(*THREE, joining=N4) == StartPlan(known=THREE, uncertain=(N4,))


def test_it_joins_in_the_end_if_as_many_are_wanted() -> None:
    without = started(*THREE, joining=N4, without_data=(N4,), wanted=4, given=True)
    assert without == StartPlan(known=THREE, new=(N4,))
    with_data = started(*THREE, joining=N4, wanted=4, given=True)
    assert with_data == StartPlan(known=THREE, uncertain=(N4,), wanted=(N4,))


def test_a_node_that_was_being_made_anew_joins() -> None:
    assert started(*THREE, joining=N2, without_data=(N2,)) == StartPlan(known=(N1, N3), new=(N2,))
    assert started(*THREE, joining=N2) == StartPlan(known=(N1, N3), uncertain=(N2,), wanted=(N2,))


def test_a_node_that_was_being_removed_is_cleared_away() -> None:
    assert started(*THREE, leaving=N3, without_data=(N3,)) == StartPlan(
        known=(N1, N2), gone=(N3,), leaving=N3
    )
    found = started(*THREE, leaving=N3, wanted=2, given=True)
    assert found == StartPlan(known=(N1, N2), uncertain=(N3,), leaving=N3)
    assert found.names == THREE
    three = started(*THREE, leaving=N3, wanted=3, given=True)
    assert three == StartPlan(known=(N1, N2), new=(N4,), uncertain=(N3,), leaving=N3)


def test_a_member_without_data_is_not_booted() -> None:
    found = started(*THREE, without_data=(N2,))
    assert found == StartPlan(known=(N1, N3), lost=(N2,))
    assert found.names == THREE
