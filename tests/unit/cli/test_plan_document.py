"""The outlook as JSON and as tables: every figure is the planner's, nothing endless is printed."""

import io

import msgspec
import pytest
from rich.console import Console
from tests.unit.planner.scene import N1, N2, N3, calibration, load, queue

from warrener.cli import render_plan
from warrener.cli.plan_document import WhatIfDocument, document
from warrener.planner import question
from warrener.planner.costs import QueueType
from warrener.planner.load import NodeLoad
from warrener.planner.outlook import Outlook, outlook


def busy() -> Outlook:
    return outlook(
        load(
            queue("jobs", 4_000),
            queue("billing", 540, N2, vhost="shop", consumers=4, service_time=0.02, ready=900),
            queue("logs", 500, N3, type=QueueType.CLASSIC),
            nodes=(
                NodeLoad(N1, "h1", cpu=0.55, mem_limit=2**30),
                NodeLoad(N2, "h2", mem_limit=2**30),
                NodeLoad(N3, "h3"),
            ),
        ),
        calibration(),
    )


def shown(found: Outlook) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    render_plan.show(console, found, document(found, ["only 40 s of history"]), source="", limit=20)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_figure_is_there() -> None:
    found = busy()
    told = document(found)
    assert told.published == 5_040
    # billing's consumers get through 200 of 540.
    assert told.breaks_at == pytest.approx(200 / 540)
    assert told.first == "the consumers of shop/billing (200 messages/s together)"
    assert told.remedy == "10 consumers more"
    assert {node.node: node.leads for node in told.nodes} == {N1: 4_000, N2: 540, N3: 500}
    assert told.nodes[0].cpu_measured == 0.55
    assert told.nodes[0].cpu == pytest.approx(0.1 + 4_000 * 101e-6 + 540 * 50e-6)
    billing = next(line for line in told.queues if line.name == "billing")
    assert (billing.response_time, billing.length) == (None, None)
    assert billing.grows == pytest.approx(340)
    assert billing.consumers_rate == pytest.approx(200)
    assert billing.utilisation == pytest.approx(2.7)
    without = {line.node: line for line in told.without}
    assert without[N3].stopped == ("logs",)
    assert told.cut


def test_nothing_in_it_is_endless() -> None:
    for found in (busy(), outlook(load(queue("jobs", 0)), calibration())):
        text = msgspec.json.encode(document(found)).decode()
        assert "Infinity" not in text
        assert "NaN" not in text


def test_what_people_read() -> None:
    text = shown(busy())
    for words in (
        "Carries",
        "First to break: the consumers of shop/billing (200 messages/s together)",
        "What helps: 10 consumers more",
        "grows by 340 messages/s, memory alarm in 40 min; 10 consumers more would keep up",
        "Without n3",
        "nobody serves logs then",
        "Note: only 40 s of history",
    ):
        assert words in text
    assert "inf" not in text


def test_an_idle_cluster_has_nothing_to_say() -> None:
    text = shown(outlook(load(queue("jobs", 0)), calibration()))
    assert "Nothing goes through" in text
    assert "Carries" not in text


def test_before_and_after_side_by_side() -> None:
    now = busy()
    asked = question.read(load="x2", consumers=["shop/billing=+30"], kill=["n3"])
    then = outlook(question.asked(now.load, asked, same_host=False), calibration())
    stopped = question.stopped(now.load, asked, same_host=False)
    told = WhatIfDocument(before=document(now), after=document(then), stopped=stopped)
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    render_plan.what_if(console, told, then)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "Nobody serves any more: logs" in text
    assert "Before the first to break is the consumers of shop/billing" in text
    assert "After the first to break is queue jobs" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("shop/billing"))
    assert row.split()[1:3] == ["270%", "64%"]
    assert row.count("grows") == 2  # R and L, before


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.0008, "0.8 ms"), (0.042, "42 ms"), (1.34, "1.3 s")]
)
def test_a_response_time(seconds: float | None, text: str) -> None:
    assert render_plan.duration(seconds) == text
