"""Which measurement comes when."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from warrener.bench.schedule import schedule
from warrener.bench.workloads import OBSERVATION, WORKLOADS, Kind, Route

SOME = st.lists(st.sampled_from(list(WORKLOADS.values())), unique=True, min_size=1)


@given(workloads=SOME, rounds=st.integers(1, 4), seed=st.integers(0, 99))
def test_each_path_of_each_workload_comes_once_a_round(
    workloads: list, rounds: int, seed: int
) -> None:
    steps = schedule(workloads, None, rounds, seed)
    counted = Counter((step.workload.name, step.path) for step in steps)
    assert counted == {(w.name, path): rounds for w in workloads for path in w.paths}
    assert Counter((s.round, s.workload.name, s.path) for s in steps).most_common(1)[0][1] == 1


@given(workloads=SOME, rounds=st.integers(1, 4), seed=st.integers(0, 99))
def test_rounds_are_outermost_and_idle_memory_comes_first(
    workloads: list, rounds: int, seed: int
) -> None:
    steps = schedule(workloads, None, rounds, seed)
    idle = [step.workload.kind is Kind.IDLE for step in steps]
    assert idle == sorted(idle, reverse=True)
    numbers = [step.round for step in steps if step.workload.kind is not Kind.IDLE]
    assert numbers == sorted(numbers)


@given(seed=st.integers(0, 99))
def test_all_paths_of_a_round_get_their_clients_in_the_same_order(seed: int) -> None:
    steps = schedule([WORKLOADS["classic-6"]], None, 2, seed)
    by_round = {step.round: step.connect_order for step in steps}
    assert all(step.connect_order == by_round[step.round] for step in steps)
    assert all(sorted(order) == list(range(12)) for order in by_round.values())


def test_the_seed_decides_and_rounds_differ() -> None:
    def orders(seed: int) -> list[tuple[int, Route, tuple[int, ...]]]:
        steps = schedule([WORKLOADS["classic-6"]], None, 3, seed)
        return [(step.round, step.path, step.connect_order) for step in steps]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)
    assert len({order for _, _, order in orders(1)}) == 3


def test_chosen_paths_are_taken_where_they_say_something() -> None:
    workloads = [WORKLOADS["idle-memory"], WORKLOADS["setup"], WORKLOADS["classic-6"]]
    chosen = (Route.REMOTE, Route.WARRENER_PINNED)
    steps = schedule(workloads, chosen, 1, 1)
    assert {(step.workload.name, step.path) for step in steps} == {
        ("idle-memory", Route.WARRENER_PINNED),
        ("setup", Route.WARRENER_PINNED),
        ("classic-6", Route.REMOTE),
        ("classic-6", Route.WARRENER_PINNED),
    }
    assert schedule([WORKLOADS["idle-memory"]], (Route.DIRECT,), 1, 1) == ()


@given(seed=st.integers(0, 99))
def test_observed_and_unobserved_take_turns_in_coming_first(seed: int) -> None:
    chosen = (Route.WARRENER, *OBSERVATION)
    steps = schedule([WORKLOADS["classic-6"]], chosen, 4, seed)
    pairs = [step.path for step in steps if step.path in OBSERVATION]
    assert pairs == [*OBSERVATION, *reversed(OBSERVATION)] * 2
