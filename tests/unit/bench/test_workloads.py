"""The names people and scripts type."""

import pytest

from warrener.bench.workloads import (
    OBSERVATION,
    WORKLOADS,
    Kind,
    Route,
    UnknownName,
    parse_paths,
    parse_workloads,
)


def test_the_names_that_others_script_against() -> None:
    loads = {f"{kind}-{n}{suffix}" for kind in ("classic", "quorum") for n in (1, 6)
             for suffix in ("", "-4k")}  # fmt: skip
    assert set(WORKLOADS) == loads | {"latency", "setup", "idle-memory"}
    assert [route.value for route in Route] == [
        "direct",
        "remote",
        "haproxy-roundrobin",
        "haproxy-leastconn",
        "haproxy-pinned",
        "warrener",
        "warrener-pinned",
        "warrener-unobserved",
        "warrener-observed",
    ]


@pytest.mark.parametrize("name", [w for w in WORKLOADS if WORKLOADS[w].kind is Kind.LOAD])
def test_a_load_is_what_its_name_says(name: str) -> None:
    workload = WORKLOADS[name]
    assert workload.quorum == name.startswith("quorum")
    assert workload.queues == int(name.split("-")[1])
    assert workload.body == (4_096 if name.endswith("-4k") else 100)


def test_lists_keep_their_order_and_lose_spaces_and_doubles() -> None:
    names = [w.name for w in parse_workloads(" quorum-6, classic-1,,quorum-6 ")]
    assert names == ["quorum-6", "classic-1"]
    assert parse_paths("warrener,direct") == (Route.WARRENER, Route.DIRECT)


@pytest.mark.parametrize(
    ("typed", "meant"), [("clasic-1", "classic-1"), ("Quorum-6", "quorum-6"), ("idle", None)]
)
def test_an_unknown_workload_names_the_nearest(typed: str, meant: str | None) -> None:
    with pytest.raises(UnknownName) as caught:
        parse_workloads(f"setup,{typed}")
    assert f"no workload '{typed}'" in str(caught.value)
    if meant:
        assert f"did you mean '{meant}'?" in str(caught.value)
    assert "idle-memory" in str(caught.value)


def test_an_unknown_path_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'haproxy-leastconn'"):
        parse_paths("haproxy-lastconn")


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(UnknownName, match="no path is named"):
        parse_paths(" , ")


def test_paths_that_say_nothing_are_known() -> None:
    assert not WORKLOADS["idle-memory"].goes(Route.DIRECT)
    assert WORKLOADS["idle-memory"].goes(Route.HAPROXY_LEASTCONN)
    assert not WORKLOADS["setup"].goes(Route.REMOTE)
    assert not WORKLOADS["idle-memory"].goes(Route.WARRENER_OBSERVED)
    assert not WORKLOADS["setup"].goes(Route.WARRENER_OBSERVED)
    for name in ("quorum-1", "latency"):
        assert WORKLOADS[name].goes(Route.WARRENER_OBSERVED)
    for workload in WORKLOADS.values():
        assert all(workload.goes(path) for path in workload.paths)


def test_what_observation_costs_is_measured_once_unless_asked_for() -> None:
    with_it = [name for name, one in WORKLOADS.items() if set(OBSERVATION) & set(one.paths)]
    assert with_it == ["classic-6"]
    assert set(OBSERVATION) < set(WORKLOADS["classic-6"].paths)
