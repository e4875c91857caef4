"""A look at a boot is understood as Erlang prints it, and what it says is what it waits for."""

import base64

import pytest

from warrener.cluster.drivers.boot_look import parse
from warrener.facts.booting import BootLook, BootState, BootWait

HUNG = """\
state booting
node n2@10.77.0.2
node n3@10.77.0.3
in gen:do_call/4
in gen_server:call/3
in rabbit_node_monitor:global_sync/0
in rabbit_mnesia:init/0
in rabbit_boot_steps:-run_step/2-lc$^0/1-0-/2
in rabbit_boot_steps:run_step/2
in rabbit_boot_steps:-run_boot_steps/1-lc$^0/1-0-/1
in rabbit_boot_steps:run_boot_steps/1
"""
"""Of RabbitMQ 3.10.8 on Erlang 25.2.3, half a minute after a partition."""


def printed(text: str, at: int = 1 << 20) -> str:
    """As ``~0tp`` prints a binary; in pieces of ``at`` characters as ``~p`` does."""
    told = base64.b64encode(text.encode()).decode()
    pieces = [told[start : start + at] for start in range(0, len(told), at)] or [""]
    return "<<" + "\n  ".join(f'"{piece}"' for piece in pieces) + ">>"


@pytest.mark.parametrize("at", [1 << 20, 60])
def test_a_boot_that_waits_for_names(at: int) -> None:
    look = parse(printed(HUNG, at))
    assert look == BootLook(
        BootState.BOOTING,
        BootWait.NAMES,
        frozenset({"n2@10.77.0.2", "n3@10.77.0.3"}),
        "rabbit_boot_steps:-run_step/2-lc$^0/1-0-/2 > rabbit_mnesia:init/0 > "
        "rabbit_node_monitor:global_sync/0",
    )


@pytest.mark.parametrize(
    ("functions", "waits"),
    [
        (["gen:do_call/4", "global:sync/0", "rabbit_any:thing/0"], BootWait.NAMES),
        (["timer:sleep/1", "rabbit_table:wait/4", "rabbit_mnesia:init/0"], BootWait.TABLES),
        (["mnesia_controller:wait_for_tables/3"], BootWait.TABLES),
        # it asks for names on behalf of tables: that they come is what counts
        (["global:sync/0", "mnesia:start/0", "rabbit_mnesia:init/0"], BootWait.TABLES),
        (["rabbit_recovery_terms:start/1", "rabbit_amqqueue:recover/1"], BootWait.OTHER),
        (["rabbit_global_counters:init/1"], BootWait.OTHER),
        (["global:set_lock/3", "rabbit_peer_discovery:lock/0"], BootWait.OTHER),
        ([], BootWait.OTHER),
    ],
)
def test_what_else_a_boot_may_be_at(functions: list[str], waits: BootWait) -> None:
    look = parse(printed("state booting\n" + "".join(f"in {one}\n" for one in functions)))
    assert (look.state, look.waits) == (BootState.BOOTING, waits)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("ready", BootState.READY),
        ("stopped", BootState.STOPPED),
        ("core_started", BootState.OTHER),
        ("stopping", BootState.OTHER),
        ("other", BootState.OTHER),
    ],
)
def test_states(word: str, state: BootState) -> None:
    assert parse(printed(f"state {word}\n")).state is state


@pytest.mark.parametrize(
    "text", ["", "{badrpc,nodedown}", '<<"%%%">>', printed("node n1@h\n"), printed("state a\n" * 2)]
)
def test_what_is_no_look_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
