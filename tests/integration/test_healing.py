"""A node that hangs in its boot, as one does after a partition, is restarted by itself.

The hang is made: RabbitMQ is stopped and started inside a node's VM, and Erlang's name service
suspended there meanwhile. The boot then waits for names for ever, with everybody there and
connected. The partition that does the same now and then is in ``test_ssh``.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.support import eventually, tool
from tests.integration.warren import Warren, running

pytestmark = pytest.mark.timeout(300)

PATIENCE = 10.0
"""Seconds, as in the description."""

HANGS = """
    spawn(fun() ->
            group_leader(whereis(init), self()),
            rabbit:stop(),
            spawn(fun() ->
                    (fun Watch() ->
                       case whereis(rabbit) of
                         undefined -> timer:sleep(5), Watch();
                         _ -> sys:suspend(global_name_server)
                       end
                     end)()
                  end),
            rabbit:start()
          end),
    ok.
"""
"""What a node that has paused itself does when it sees the others again; and from the moment at
which its boot has begun the name service answers nobody."""


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    folder: Path = tmp_path_factory.mktemp("healing")
    file = folder / "warrener.toml"
    file.write_text(f"[healing]\npatience = {PATIENCE:g}\n")
    with running(folder, "-f", str(file)) as made:
        yield made


def row_of(warren: Warren, name: str) -> dict[str, Any]:
    rows = warren.status()["nodes"]
    found = next(row for row in rows if row["name"] == f"{name}@localhost")
    assert isinstance(found, dict)
    return found


def events(warren: Warren) -> list[dict[str, Any]]:
    found = json.loads(warren.ok("events", "--last", "60", "--json"))["events"]
    assert isinstance(found, list)
    return found


def told(warren: Warren, kind: str) -> list[dict[str, Any]]:
    return [event for event in events(warren) if event["kind"] == kind]


def test_a_node_that_hangs_in_its_boot_is_restarted(warren: Warren) -> None:
    before = row_of(warren, "n2")
    at = time.monotonic()
    tool(before, "rabbitmqctl", "-q", "eval", HANGS)
    eventually("it is unfit", lambda: not row_of(warren, "n2")["fit"], 40)
    eventually("it is repaired", lambda: told(warren, "node.repaired"), 150, every=0.5)
    print(f"stopped to repaired: {time.monotonic() - at:.1f} s")
    after = row_of(warren, "n2")
    assert (after["state"], after["fit"]) == ("running", True)
    assert after["pid"] != before["pid"], "by a restart"
    (hangs,) = told(warren, "node.hangs")
    assert (hangs["subject"], hangs["reason"]) == ("n2@localhost", "boot_hangs")
    assert hangs["detail"]["where"].endswith("rabbit_node_monitor:global_sync/0")
    assert "n1, n3 serve" in hangs["detail"]["why"]
    assert time.monotonic() - at > PATIENCE


def test_a_node_whose_rabbitmq_was_stopped_stays_stopped(warren: Warren) -> None:
    warren.ok("stop-app", "n2")
    time.sleep(2 * PATIENCE)
    row = row_of(warren, "n2")
    assert (row["state"], row["running"], row["fit"]) == ("running", False, False)
    assert len(told(warren, "node.hangs")) == 1, "that of the test before"
    warren.ok("start-app", "n2")
