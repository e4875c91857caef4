"""Balancing policies: their fairness, against closed forms and brute force."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.balancer.core.policies import Candidate, Policy, make_policy
from warrener.balancer.core.policies.api import pick_weighted
from warrener.balancer.core.policies.connections import LeastConn, PowerOfTwo, WeightedLeastConn
from warrener.balancer.core.policies.rotation import RandomChoice, RoundRobin, SmoothWeighted
from warrener.balancer.core.policies.source import SourceHash
from warrener.facts.ids import NodeName
from warrener.facts.settings import MAX_WEIGHT, PolicyName

SIGMAS = 4.5
"""How far a count may be off its mean; by chance once in 150,000 (and the seeds are fixed)."""

weights = st.integers(1, 12) | st.integers(1, MAX_WEIGHT)


def nodes(*weights_: int) -> list[Candidate]:
    """a, b, c ... with these weights and no sessions."""
    return [
        Candidate(NodeName(chr(ord("a") + place)), weight, 0)
        for place, weight in enumerate(weights_)
    ]


def with_sessions(*pairs: tuple[int, int]) -> list[Candidate]:
    """a, b, c ... with (weight, sessions)."""
    return [
        Candidate(NodeName(chr(ord("a") + place)), weight, sessions)
        for place, (weight, sessions) in enumerate(pairs)
    ]


def draw(policy: Policy, candidates: Sequence[Candidate], times: int, source: str = "") -> str:
    """Names chosen, one after the other."""
    return "".join(policy.choose(candidates, source) for _ in range(times))


# The candidates of successive choices: some of up to six nodes, in their fixed order.
comings_and_goings = st.lists(
    st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=60
).map(lambda sets: [[n for n in nodes(*[1] * 6) if n.name in some] for some in sets])


# -- every policy -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(PolicyName))
@given(
    st.lists(st.lists(st.tuples(weights, st.integers(0, 50)), min_size=1, max_size=6), max_size=15),
    st.integers(0, 2**32),
    st.text(max_size=5),
)
def test_every_policy_names_one_of_the_candidates(
    name: PolicyName, rounds: list[list[tuple[int, int]]], seed: int, source: str
) -> None:
    policy = make_policy(name, Random(seed))
    for pairs in rounds:
        candidates = with_sessions(*pairs)
        assert policy.choose(candidates, source) in {each.name for each in candidates}


@pytest.mark.parametrize("name", list(PolicyName))
def test_a_lone_candidate_is_chosen(name: PolicyName) -> None:
    policy = make_policy(name, Random(1))
    assert draw(policy, with_sessions((1, 10**6)), 3) == "aaa"


def test_a_policy_starts_with_nothing_remembered() -> None:
    three = nodes(1, 1, 1)
    for name in (PolicyName.ROUNDROBIN, PolicyName.WEIGHTED, PolicyName.LEASTCONN):
        first = make_policy(name, Random(1))
        assert draw(first, three, 2) == "ab"
        assert draw(make_policy(name, Random(1)), three, 3) == "abc"


# -- round robin --------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(0, 40))
def test_round_robin_takes_every_node_once_before_any_twice(n: int, times: int) -> None:
    chosen = draw(RoundRobin(), nodes(*[1] * n), times)
    assert chosen == ("abcdef"[:n] * 41)[:times]


@given(comings_and_goings)
def test_round_robin_skips_nobody_when_nodes_come_and_go(rounds: list[list[Candidate]]) -> None:
    """While a node waits as a candidate, no other is chosen more than once."""
    policy = RoundRobin()
    since: dict[str, Counter[str]] = {}  # choices while a node has been waiting
    for candidates in rounds:
        present = {each.name for each in candidates}
        since = {name: since.get(name, Counter()) for name in present}
        chosen = policy.choose(candidates, "")
        for name in present - {chosen}:
            since[name][chosen] += 1
            assert since[name][chosen] == 1
        since[chosen] = Counter()


@given(comings_and_goings, st.integers(1, 6))
def test_round_robin_is_exact_again_as_soon_as_the_set_is_fixed(
    rounds: list[list[Candidate]], n: int
) -> None:
    policy = RoundRobin()
    for candidates in rounds:
        policy.choose(candidates, "")
    chosen = draw(policy, nodes(*[1] * n), 3 * n)
    assert sorted(chosen[:n]) == list("abcdef"[:n])
    assert chosen == chosen[:n] * 3


def test_round_robin_takes_a_node_that_comes_back_at_once_but_only_once() -> None:
    policy = RoundRobin()
    assert draw(policy, nodes(1, 1), 20) == "ab" * 10
    assert draw(policy, nodes(1, 1, 1), 6) == "cabcab"


# -- smooth weighted round robin ----------------------------------------------------------------


def test_smooth_weighted_gives_the_order_of_the_published_example() -> None:
    policy = SmoothWeighted()
    assert draw(policy, nodes(5, 1, 1), 14) == "aabacaa" * 2


@given(st.lists(weights, min_size=1, max_size=6), st.integers(1, 120))
def test_smooth_weighted_is_never_far_off_a_nodes_share(ws: list[int], times: int) -> None:
    """After k choices: less than 1 above, less than n - 1 below; with two nodes, less than 1."""
    policy = SmoothWeighted()
    candidates = nodes(*ws)
    counts: Counter[str] = Counter()
    for k in range(1, times + 1):
        counts[policy.choose(candidates, "")] += 1
        for each in candidates:
            off = counts[each.name] - Fraction(k * each.weight, sum(ws))
            assert -max(len(ws) - 1, 1) < off < 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_smooth_weighted_is_exact_after_each_whole_round(ws: list[int]) -> None:
    policy = SmoothWeighted()
    first = draw(policy, nodes(*ws), sum(ws))
    assert Counter(first) == {each.name: each.weight for each in nodes(*ws)}
    assert draw(policy, nodes(*ws), sum(ws)) == first


@given(st.integers(1, 60), st.integers(1, 60))
def test_smooth_weighted_spreads_the_lighter_of_two_nodes_evenly(heavy: int, light: int) -> None:
    """No bursts: runs of the heavier are as long as its weight demands, give or take one."""
    heavy, light = max(heavy, light), min(heavy, light)
    runs = draw(SmoothWeighted(), nodes(heavy, light), 3 * (heavy + light)).split("b")[1:-1]
    assert {len(run) for run in runs} <= {heavy // light, -(-heavy // light)}


@given(
    st.lists(st.integers(1, 9), min_size=3, max_size=3),
    st.lists(st.sets(st.integers(0, 2), min_size=1), max_size=20),
)
def test_smooth_weighted_treats_a_node_that_comes_back_as_a_new_one(
    ws: list[int], history: list[set[int]]
) -> None:
    """It isn't flooded with what it missed, nor does it pay for what it had too much."""
    a, b, c = nodes(*ws)
    returned, joined = SmoothWeighted(), SmoothWeighted()
    for present in [*history, {0, 1}]:
        some = [(a, b, c)[place] for place in sorted(present)]
        assert returned.choose(some, "") == joined.choose(some, "")
    new = Candidate(NodeName("new"), c.weight, 0)
    times = 2 * sum(ws)
    assert draw(returned, [a, b, c], times) == draw(joined, [a, b, new], times).replace("new", "c")


@given(
    st.lists(st.integers(1, 20), min_size=6, max_size=6),
    st.lists(st.sets(st.integers(0, 5), min_size=1), max_size=80),
)
def test_smooth_weighted_starves_nobody_whatever_came_and_went_before(
    ws: list[int], history: list[set[int]]
) -> None:
    """Credits left over from a history shift a node's count by a few choices, never for long."""
    policy = SmoothWeighted()
    all_of_them = nodes(*ws)
    for present in history:
        policy.choose([all_of_them[place] for place in sorted(present)], "")
    rounds = 5
    counts = Counter(draw(policy, all_of_them, rounds * sum(ws)))
    n = len(ws)
    for each in all_of_them:
        assert abs(counts[each.name] - rounds * each.weight) <= 2 * (n - 1)


def test_smooth_weighted_follows_a_weight_that_changes() -> None:
    policy = SmoothWeighted()
    draw(policy, nodes(1, 1), 10)
    assert Counter(draw(policy, nodes(3, 1), 40)) == {"a": 30, "b": 10}


# -- random -------------------------------------------------------------------------------------


def assert_in_proportion(counts: Counter[str], candidates: Sequence[Candidate]) -> None:
    total, whole = sum(counts.values()), sum(each.weight for each in candidates)
    for each in candidates:
        share = each.weight / whole
        spread = sqrt(total * share * (1 - share))
        assert abs(counts[each.name] - total * share) <= SIGMAS * spread, each.name


@pytest.mark.parametrize("ws", [(1, 1, 1), (5, 1, 1), (1000, 1), (100, 200, 300, 400), (7,)])
def test_random_is_in_proportion_to_the_weights(ws: tuple[int, ...]) -> None:
    candidates = nodes(*ws)
    assert_in_proportion(Counter(draw(RandomChoice(Random(4)), candidates, 10_000)), candidates)


class Dice:
    """Given numbers instead of chance."""

    def __init__(self, *numbers: float) -> None:
        self._numbers: Iterator[float] = iter(numbers)

    def random(self) -> float:
        return next(self._numbers)


@pytest.mark.parametrize(
    ("number", "name"),
    [(0.0, "a"), (0.249, "a"), (0.25, "b"), (0.749, "b"), (0.75, "c"), (1 - 2**-53, "c")],
)
def test_weights_divide_the_unit_interval(number: float, name: str) -> None:
    assert pick_weighted(nodes(1, 2, 1), Dice(number)).name == name


@given(st.lists(weights, min_size=1, max_size=9), st.floats(0, 1, exclude_max=True))
def test_a_draw_always_falls_on_the_node_that_holds_its_point(ws: list[int], u: float) -> None:
    candidates = nodes(*ws)
    picked = pick_weighted(candidates, Dice(u))
    before = sum(each.weight for each in candidates if each.name < picked.name)
    point = u * sum(ws)
    assert before - 1e-6 <= point < before + picked.weight + 1e-6


# -- source -------------------------------------------------------------------------------------

SOURCES = [f"10.{number >> 8}.{number & 255}.7" for number in range(1500)]


def by_source(candidates: Sequence[Candidate]) -> dict[str, str]:
    policy = SourceHash()
    return {source: policy.choose(candidates, source) for source in SOURCES}


@given(st.lists(weights, min_size=2, max_size=6), st.integers(0, 5), st.text(max_size=20))
def test_a_lost_node_moves_only_its_own_clients(ws: list[int], lost: int, source: str) -> None:
    """And when it returns it takes exactly them back: the choice has no memory."""
    candidates = nodes(*ws)
    gone = candidates[lost % len(candidates)].name
    left = [each for each in candidates if each.name != gone]
    policy = SourceHash()
    before = policy.choose(candidates, source)
    meanwhile = policy.choose(left, source)
    assert meanwhile == before if before != gone else meanwhile != gone
    assert policy.choose(candidates, source) == before


def test_the_clients_of_a_lost_node_spread_over_all_the_others() -> None:
    four = nodes(1, 1, 1, 1)
    before, after = by_source(four), by_source(four[:3])
    moved = Counter(after[source] for source in SOURCES if before[source] == "d")
    assert_in_proportion(moved, four[:3])
    assert all(after[s] == before[s] for s in SOURCES if before[s] != "d")


@pytest.mark.parametrize("ws", [(1, 1, 1), (100, 200, 700), (1000, 10)])
def test_sources_fall_to_nodes_in_proportion_to_the_weights(ws: tuple[int, ...]) -> None:
    assert_in_proportion(Counter(by_source(nodes(*ws)).values()), nodes(*ws))


@given(st.lists(weights, min_size=2, max_size=5), st.integers(1, 500), st.text(max_size=20))
def test_a_node_that_gains_weight_takes_clients_and_moves_none_between_others(
    ws: list[int], more: int, source: str
) -> None:
    policy = SourceHash()
    before = policy.choose(nodes(*ws), source)
    after = policy.choose(nodes(ws[0] + more, *ws[1:]), source)
    assert after in (before, "a")


@given(st.permutations(nodes(3, 1, 4, 1, 5)), st.text(max_size=20))
def test_the_order_of_the_nodes_does_not_matter_to_a_source(
    shuffled: list[Candidate], source: str
) -> None:
    policy = SourceHash()
    assert policy.choose(shuffled, source) == policy.choose(nodes(3, 1, 4, 1, 5), source)


def test_a_source_goes_to_the_same_node_in_every_process_and_release() -> None:
    """Several balancers side by side agree; Python's own hash differs from process to process."""
    script = (
        "from warrener.balancer.core.policies.api import Candidate\n"
        "from warrener.balancer.core.policies.source import SourceHash\n"
        "nodes = [Candidate(f'n{i}@localhost', 100, 0) for i in (1, 2, 3)]\n"
        "sources = ['127.0.0.1', '10.0.0.1', '10.0.0.2', '::1', '192.168.1.77', 'fe80::1']\n"
        "print(''.join(SourceHash().choose(nodes, s)[1] for s in sources))\n"
    )
    for seed in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout == "123113\n"


# -- least connections --------------------------------------------------------------------------

loads = st.lists(st.tuples(weights, st.integers(0, 6)), min_size=1, max_size=6)


@given(st.lists(loads, min_size=1, max_size=10))
def test_leastconn_takes_the_fewest_sessions_and_among_ties_who_waited_longest(
    rounds: list[list[tuple[int, int]]],
) -> None:
    policy = LeastConn()
    turns: list[str] = []
    for pairs in rounds:
        candidates = with_sessions(*pairs)
        fewest = min(sessions for _, sessions in pairs)
        ties = [each.name for each in candidates if each.sessions == fewest]
        assert policy.choose(candidates, "") == longest_waiting(ties, turns)


@given(st.lists(loads, min_size=1, max_size=10))
def test_weighted_leastconn_takes_the_fewest_per_weight_and_among_ties_who_waited_longest(
    rounds: list[list[tuple[int, int]]],
) -> None:
    policy = WeightedLeastConn()
    turns: list[str] = []
    for pairs in rounds:
        candidates = with_sessions(*pairs)
        loads_ = {each.name: Fraction(each.sessions + 1, each.weight) for each in candidates}
        ties = [name for name, load in loads_.items() if load == min(loads_.values())]
        assert policy.choose(candidates, "") == longest_waiting(ties, turns)


def longest_waiting(ties: list[NodeName], turns: list[str]) -> NodeName:
    """By brute force over all turns taken; adds this one."""
    chosen = min(
        ties,
        key=lambda name: max((at for at, who in enumerate(turns) if who == name), default=-1),
    )
    turns.append(chosen)
    return chosen


def fill(policy: Policy, ws: Sequence[int], sessions: int) -> dict[str, int]:
    """Sessions by node, when that many come and none goes."""
    counts = [0] * len(ws)
    for _ in range(sessions):
        chosen = policy.choose(with_sessions(*zip(ws, counts, strict=True)), "")
        counts[ord(chosen) - ord("a")] += 1
    return {chr(ord("a") + place): count for place, count in enumerate(counts)}


@given(st.integers(1, 6), st.integers(0, 60))
def test_leastconn_keeps_nodes_within_one_session(n: int, sessions: int) -> None:
    counts = fill(LeastConn(), [9] * n, sessions).values()
    assert max(counts) - min(counts) <= 1


def test_weighted_leastconn_fills_nodes_in_proportion() -> None:
    assert fill(WeightedLeastConn(), [5, 3, 2], 100) == {"a": 50, "b": 30, "c": 20}


# -- power of two choices -----------------------------------------------------------------------


@given(
    st.lists(st.tuples(weights, st.integers(0, 20)), min_size=2, max_size=6),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_p2c_takes_the_better_of_the_two_that_it_drew(
    pairs: list[tuple[int, int]], u: float, v: float
) -> None:
    candidates = with_sessions(*pairs)
    first = pick_weighted(candidates, Dice(u))
    second = pick_weighted([each for each in candidates if each is not first], Dice(v))
    load = {each.name: Fraction(each.sessions + 1, each.weight) for each in (first, second)}
    chosen = PowerOfTwo(Dice(u, v)).choose(candidates, "")
    assert load[chosen] == min(load.values())


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_p2c_never_takes_the_worst_of_all(seed: int, n: int) -> None:
    candidates = with_sessions(*((1, sessions) for sessions in range(n)))
    chosen = draw(PowerOfTwo(Random(seed)), candidates, 20)
    assert candidates[-1].name not in chosen


def test_p2c_is_much_more_even_than_random() -> None:
    """5,000 sessions on 10 nodes: random is dozens over the mean (sqrt(2 m/n ln n) = 48), two
    choices a handful (ln ln n), as Mitzenmacher has it."""
    equal = [1] * 10
    p2c = max(fill(PowerOfTwo(Random(8)), equal, 5_000).values())
    random = max(fill(RandomChoice(Random(8)), equal, 5_000).values())
    assert p2c <= 500 + 5
    assert random >= 500 + 25


def test_p2c_respects_weights() -> None:
    counts = fill(PowerOfTwo(Random(8)), [6, 3, 1], 2_000)
    for name, share in (("a", 0.6), ("b", 0.3), ("c", 0.1)):
        assert abs(counts[name] / 2_000 - share) < 0.02
