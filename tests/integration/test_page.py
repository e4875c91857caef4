"""The page in a real browser, before a real cluster: Chromium, three nodes, clients at work.

Pictures of every view at both sizes and in both themes are kept: in WARRENER_SCREENSHOTS, else in a
folder of the test's that is printed.
"""

import contextlib
import json
import os
import re
import signal
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pika
import pika.exceptions
import psutil
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Route,
    expect,
    sync_playwright,
)
from tests.integration.warren import Warren, running

from warrener.facts.ids import NodeName
from warrener.planner.calibration_file import write_calibration
from warrener.planner.costs import Act, Calibration, Cost, Limit, QueueType

VIEWS = ("map", "nodes", "queues", "sessions", "events", "planner")
SIZES = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
expect.set_options(timeout=15_000)  # as patient as ``support.eventually``

SEEN = 3.0
"""Seconds until a node that is killed is shown."""

CHROMIUM = (
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("page")) as made:
        yield made


@pytest.fixture(scope="module")
def link(warren: Warren) -> str:
    return warren.ok("page").strip()


@pytest.fixture(scope="module")
def load(warren: Warren) -> Iterator[None]:
    """Three queues, each with a publisher and a consumer, for as long as the tests take."""
    done = threading.Event()
    ready = threading.Barrier(4)
    workers = [
        threading.Thread(target=_work, args=(warren.url, f"orders.{number}", ready, done))
        for number in range(3)
    ]
    for worker in workers:
        worker.start()
    ready.wait(30)
    yield
    done.set()
    for worker in workers:
        worker.join(30)


def _work(url: str, queue: str, ready: threading.Barrier, done: threading.Event) -> None:
    parameters = pika.URLParameters(url)
    parameters.client_properties = {"connection_name": f"shop {queue}"}
    gone = contextlib.suppress(pika.exceptions.AMQPError)  # the last test stops the cluster
    with gone, pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_consume(queue, lambda *_: None, auto_ack=True)
        ready.wait(30)
        while not done.is_set():
            channel.basic_publish("", queue, b"an order")
            connection.process_data_events(0.02)


@pytest.fixture(scope="module")
def calibrated(warren: Warren) -> None:
    """Costs in round numbers, as if they had been measured: what a run measures is
    ``test_plan``'s."""
    nodes = [NodeName(node["name"]) for node in warren.status()["nodes"]]
    us = 1e-6
    costs = {
        Act.PUBLISH: Cost(300 * us),
        Act.DELIVER: Cost(200 * us),
        Act.REPLICATE: Cost(250 * us),
        Act.ENTER: Cost(100 * us),
        Act.LEAVE: Cost(100 * us),
    }
    write_calibration(
        warren.state,
        Calibration(
            taken_at=time.time(),
            seconds=60.0,
            cluster="warren",
            version="3.10.8",
            hosts=dict.fromkeys(nodes, "here"),
            cores={"here": 2},
            costs={QueueType.QUORUM: costs},
            limits={QueueType.QUORUM: (Limit(3_000, 100),)},
            idle=dict.fromkeys(nodes, 0.05),
        ),
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        yield made
        made.close()


class Tab:
    """One tab, and everything that its console and its requests said."""

    def __init__(self, browser: Browser, link: str, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(link)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def see(self, view: str) -> None:
        self.page.click(f"nav a[href='#/{view}']")
        expect(self.page.locator("main")).to_have_attribute("aria-busy", "false")


def test_each_view_shows_the_live_cluster(
    warren: Warren, link: str, load: None, browser: Browser
) -> None:
    tab = Tab(browser, link, viewport=SIZES["wide"])
    page = tab.page
    expect(page.locator("#link-state")).to_have_text("live")
    assert "token" not in page.url
    expect(page.locator("#head")).to_contain_text("3 of 3")
    expect(page.locator(".box[data-key^='node ']")).to_have_count(3)
    tab.see("nodes")
    expect(page.locator("article.node .badge")).to_have_text(["running"] * 3)
    expect(page.locator("article.node").first).to_contain_text("3.10.8")
    tab.see("queues")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.fill("input[type=search]", "orders.1")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.click("th button:text-is('ready')")
    expect(page.locator("th[aria-sort=descending]")).to_have_text("ready")
    # Rates come from the history: its first samples are taken after some seconds.
    page.fill("input[type=search]", "")
    rates = page.locator("tbody tr:first-child td[data-title=in]")
    expect(rates).to_contain_text("/s", timeout=20_000)
    tab.see("sessions")
    row = page.locator("tbody tr", has_text="shop orders.0")
    expect(row).to_have_count(1)
    row.press("Enter")
    expect(page.locator(".detail")).to_contain_text("orders.0")
    expect(page.locator(".detail tbody tr td[data-title=why]")).to_have_text(["leader"])
    tab.see("events")
    expect(page.locator("tbody")).to_contain_text("daemon.ready")
    page.locator("nav a").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Nodes"
    assert tab.errors == []
    own = link.partition("#")[0]
    assert all(url.startswith(own) and "token" not in url for url in tab.asked), tab.asked
    tab.context.close()


def test_what_if_is_answered_as_one_drags(
    warren: Warren, link: str, load: None, calibrated: None, browser: Browser, pictures: Path
) -> None:
    tab = Tab(browser, link, viewport=SIZES["wide"])
    page = tab.page
    tab.see("planner")
    said = page.locator(".said")
    expect(said).to_contain_text("As it is: the cluster carries", timeout=40_000)
    expect(page.locator(".planner .table", has_text="lambda").first).to_contain_text("n3")
    slider = page.locator("#what-if-load")
    expect(slider).to_be_visible()
    box = slider.bounding_box()
    assert box is not None
    y, then = box["y"] + box["height"] / 2, page.locator("tbody tr td[data-title='what if']").first
    page.mouse.move(box["x"] + 0.435 * box["width"], y)
    page.mouse.down()
    told = []
    for part in (0.55, 0.7, 0.85):  # answered while the button is still down
        page.mouse.move(box["x"] + part * box["width"], y, steps=5)
        expect(then).not_to_have_text(told[-1] if told else "–")
        told.append(then.inner_text())
    page.mouse.up()
    assert len(set(told)) == 3, told
    expect(said).to_contain_text("With load x")
    page.get_by_label("n2", exact=True).check()
    expect(said).to_contain_text("without n2")
    expect(page.locator(".plan-sides")).to_contain_text("What if")
    page.click("button:text-is('As it is now')")
    expect(said).to_contain_text("As it is: ")
    more = page.locator("#what-if-nodes")
    more.focus()
    page.keyboard.press("ArrowRight")
    expect(said).to_contain_text("With 1 node more")
    expect(page.locator(".planner tbody")).to_contain_text(["new-1"])
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(said).to_contain_text("With 1 node fewer")
    row = page.locator("tr.can-be-picked", has_text="orders.1")
    row.press("Enter")
    expect(page.locator("#what-if-queue")).to_have_value("orders.1")
    page.keyboard.press("ArrowRight")
    expect(said).to_contain_text(re.compile(r"\d consumers of orders\.1"))
    page.evaluate("scrollTo(0, 0)")  # the head sticks to the top of what is seen
    page.screenshot(path=pictures / "planner-what-if.png", full_page=True)
    assert tab.errors == []
    tab.context.close()


def test_what_the_page_says_is_what_plan_says(
    warren: Warren, link: str, load: None, calibrated: None
) -> None:
    url, _, token = link.partition("#token=")
    question = f"{url}api/plan?viewer=12345678&load=2&kill=n2"
    asked = urllib.request.Request(question, headers={"Authorization": f"Bearer {token}"})
    keys = ("published", "capacity", "breaks_at")
    deadline = time.monotonic() + 60
    while True:  # the load has just begun, and the page's is looked at every 15 s
        with urllib.request.urlopen(asked, timeout=30) as response:
            page = json.loads(response.read())["after"]
        plan = json.loads(warren.ok("plan", "what-if", "--load", "x2", "--kill", "n2", "--json"))
        after = plan["after"]
        told, wanted = [page[key] for key in keys], [after[key] for key in keys]
        if told == pytest.approx(wanted, rel=0.2) or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert told == pytest.approx(wanted, rel=0.2), keys
    assert page["first"].split("(")[0] == after["first"].split("(")[0]


def test_the_map_marks_the_cut_and_finds_things(
    link: str, load: None, calibrated: None, browser: Browser, pictures: Path
) -> None:
    tab = Tab(browser, link, viewport=SIZES["wide"])
    page = tab.page
    expect(page.locator(".cut-said")).to_contain_text("First to break: ", timeout=40_000)
    expect(page.locator(".box.cut .mark", has_text="breaks first").first).to_be_visible()
    page.fill("input[type=search]", "orders.1")
    expect(page.locator(".tools .count")).to_contain_text("1 of 3 queues in 1 group")
    expect(page.locator(".box.match[data-key^='group ']")).to_have_count(1)
    assert page.locator(".box.dim").count() >= 1
    page.fill("input[type=search]", "nothing is called so")
    expect(page.locator(".found .empty")).to_contain_text("3 queues, 3 nodes")
    page.fill("input[type=search]", "")
    page.locator(".box[data-key='node n1']").click()
    expect(page.locator(".map-detail h3")).to_have_text("n1")
    expect(page.locator(".map-detail")).to_contain_text("memory")
    page.screenshot(path=pictures / "map-chosen.png", full_page=True)
    page.keyboard.press("Escape")
    expect(page.locator(".map-detail")).to_be_hidden()
    assert tab.errors == []
    tab.context.close()


def test_views_look_as_they_should(
    link: str, load: None, calibrated: None, browser: Browser, pictures: Path
) -> None:
    """No view is wider than its screen (tables scroll inside), in any theme; pictures are kept."""
    tab = Tab(browser, link, viewport=SIZES["wide"])
    expect(tab.page.locator("#head")).to_contain_text("/s", timeout=20_000)  # rates, over 4 s
    for view in VIEWS:
        tab.see(view)
        if view == "planner":
            expect(tab.page.locator(".said")).to_contain_text("As it is", timeout=40_000)
        for size, viewport in SIZES.items():
            tab.page.set_viewport_size(viewport)
            over = tab.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert over <= 0, f"{view} is {over} px too wide at {size}"
            for theme in THEMES:
                tab.page.emulate_media(color_scheme=theme)
                tab.page.screenshot(path=pictures / f"{view}-{size}-{theme}.png")
    assert tab.errors == []
    tab.context.close()
    assert len(list(pictures.glob("*.png"))) >= len(VIEWS) * 4


def asked(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_without_the_token_nothing_is_told(
    warren: Warren, link: str, browser: Browser, pictures: Path
) -> None:
    url, _, token = link.partition("#token=")
    live = f"{url}api/live?view=nodes"
    assert asked(live) == 401
    assert asked(live, Authorization="Bearer wrong") == 401
    assert asked(f"{live}&token={token}") == 401
    assert asked(live, Authorization=f"Bearer {token}", Origin="http://other.example") == 403
    assert asked(live, Authorization=f"Bearer {token}", Host="other.example") == 421
    assert asked(live, Authorization=f"Bearer {token}") == 200
    tab = Tab(browser, url, viewport=SIZES["wide"])
    expect(tab.page.locator("h2")).to_have_text("This page needs its link")
    tab.page.fill("#token", "no such token")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("h2")).to_have_text("That token isn't the right one")
    tab.page.screenshot(path=pictures / "no-token.png")
    tab.page.fill("#token", link)
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#link-state")).to_have_text("live")
    tab.context.close()
    kept = warren.state / "page" / "token"
    assert kept.read_text() == token
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    for log in (warren.state / "log").iterdir():
        assert token not in log.read_text(errors="replace"), log
    assert token not in warren.ok("status", "--json")
    daemon = psutil.Process(warren.status()["pid"])
    assert not any(token in word for word in daemon.cmdline())
    assert json.loads(warren.ok("page", "--json"))["link"] == link


ACT = 60_000
"""ms that an act may take in a browser's eyes: a drain takes one or two seconds, leaders ten."""


class Acting(Tab):
    """A tab in which buttons are pressed."""

    @property
    def box(self) -> Locator:
        return self.page.locator("dialog[open]")

    def node(self, name: str) -> Locator:
        return self.page.get_by_role("article", name=f"Node {name}", exact=True)

    def press(self, name: str) -> None:
        """A button of the page."""
        self.page.get_by_role("button", name=name).click()

    def confirm(self, name: str) -> None:
        """The dialog's own button, once there is something to confirm."""
        self.box.get_by_role("button", name=name, exact=True).click(timeout=ACT)

    def outcome(self) -> Locator:
        return self.box.locator(".act-outcome")

    def close(self) -> None:
        self.box.get_by_role("button", name="Close", exact=True).click()
        expect(self.box).to_have_count(0)

    def focused(self) -> str:
        """What has the focus, by its label or text."""
        text = self.page.evaluate(
            "document.activeElement.ariaLabel ?? document.activeElement.textContent"
        )
        assert isinstance(text, str)
        return text

    def tab_to(self, name: str) -> None:
        """By keyboard alone, as somebody does who sees nothing but what has the focus."""
        for _ in range(60):
            if self.focused() == name:
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{name} can't be reached; at last {self.focused()!r} was")

    def picture(self, folder: Path, name: str) -> None:
        """The dialog in both sizes and themes; it is never wider than the screen."""
        for size, viewport in SIZES.items():
            self.page.set_viewport_size(viewport)
            box = self.box.bounding_box()
            assert box is not None
            right, bottom = box["x"] + box["width"], box["y"] + box["height"]
            assert min(box["x"], box["y"]) >= 0, (name, size, box)
            assert right <= viewport["width"], (name, size, box)
            assert bottom <= viewport["height"], (name, size, box)
            for theme in THEMES:
                self.page.emulate_media(color_scheme=theme)
                self.page.screenshot(path=folder / f"act-{name}-{size}-{theme}.png")
        self.page.set_viewport_size(SIZES["wide"])


def drained(warren: Warren) -> list[str]:
    return [node["name"] for node in warren.status()["nodes"] if node["being_drained"]]


def acts_of(warren: Warren) -> list[tuple[str, str, str]]:
    """What the event log has of them: kind, what, reason."""
    found = json.loads(warren.ok("events", "--last", "1000", "--json"))["events"]
    return [
        (one["kind"].removeprefix("page.act_"), one["detail"]["act"], one["reason"])
        for one in found
        if one["kind"].startswith("page.act_")
    ]


def test_a_drain_and_a_revive_by_clicks(
    warren: Warren, link: str, load: None, browser: Browser, pictures: Path
) -> None:
    """With its preview, seen by another viewer and after a reload; and a refusal."""
    names = [node["name"] for node in warren.status()["nodes"]]
    tab, other = (Acting(browser, link, viewport=SIZES["wide"]) for _ in range(2))
    tab.see("nodes")
    button = tab.node("n2").get_by_role("button", name="Drain n2")
    button.click()
    expect(tab.box).to_contain_text(f"Drain {names[1]}?")
    expect(tab.box).to_contain_text("Then RabbitMQ's maintenance mode")
    assert drained(warren) == []  # a preview does nothing
    tab.picture(pictures, "drain")
    tab.page.keyboard.press("Escape")
    expect(tab.box).to_have_count(0)
    assert tab.focused() == "Drain n2"
    button.click()
    tab.confirm("Drain n2")
    expect(tab.outcome()).to_contain_text("n2 is drained", timeout=ACT)
    tab.picture(pictures, "drained")
    expect(other.page.locator(".acts-bar")).to_contain_text("Drains n2")
    other.page.screenshot(path=pictures / "act-bar.png")
    tab.page.reload()
    tab.see("nodes")
    expect(tab.page.locator(".acts-bar")).to_contain_text("n2 is drained")
    tab.page.get_by_role("button", name="Show: drains n2").click()
    expect(tab.outcome()).to_contain_text("n2 is drained")
    tab.close()
    expect(tab.page.locator(".acts-bar")).to_be_hidden()
    expect(tab.node("n2").locator(".badge")).to_have_text("drained")
    assert drained(warren) == [names[1]]

    tab.node("n1").get_by_role("button", name="Drain n1").click()
    expect(tab.box.locator(".act-refusals")).to_contain_text("would lose the majority")
    expect(tab.box.locator(".act-refusals")).to_contain_text("as n2 is drained")
    expect(tab.box.get_by_role("button", name="Drain n1", exact=True)).to_have_count(0)
    tab.picture(pictures, "refused")
    tab.close()

    tab.node("n2").get_by_role("button", name="Revive n2").click()
    tab.confirm("Revive n2")
    expect(tab.outcome()).to_contain_text("n2 is fit again", timeout=ACT)
    tab.close()
    expect(tab.node("n2").locator(".badge")).to_have_text("running")
    assert tab.focused() == "Drain n2"
    assert drained(warren) == []
    assert acts_of(warren) == [
        ("begun", "drains n2", ""),
        ("ended", "drains n2", "done"),
        ("begun", "revives n2", ""),
        ("ended", "revives n2", "done"),
    ]
    tab.see("events")
    expect(tab.page.locator("tbody")).to_contain_text("page.act_ended")
    expect(tab.page.locator("tbody")).to_contain_text("viewer: ")
    assert (tab.errors, other.errors) == ([], [])
    tab.context.close()
    other.context.close()


def test_a_drain_and_a_revive_by_keyboard(
    warren: Warren, link: str, load: None, browser: Browser
) -> None:
    """Focus goes into the dialog, stays there, and comes back."""
    tab = Acting(browser, link, viewport=SIZES["wide"])
    tab.see("nodes")
    expect(tab.node("n3")).to_be_visible()
    tab.tab_to("Drain n3")
    tab.page.keyboard.press("Enter")
    expect(tab.box.get_by_role("button", name="Drain n3", exact=True)).to_be_enabled()
    assert tab.focused() == "Cancel"  # what does no harm
    for _ in range(8):
        tab.page.keyboard.press("Tab")
        assert tab.page.evaluate(
            "document.activeElement === document.body || "
            "document.querySelector('dialog').contains(document.activeElement)"
        )
    tab.tab_to("Drain n3")
    tab.page.keyboard.press("Enter")
    expect(tab.outcome()).to_contain_text("n3 is drained", timeout=ACT)
    assert tab.focused() == "Close"
    tab.page.keyboard.press("Enter")
    expect(tab.node("n3").locator(".badge")).to_have_text("drained")
    expect(tab.node("n3").get_by_role("button", name="Revive n3")).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(tab.box.get_by_role("button", name="Revive n3", exact=True)).to_be_enabled()
    tab.page.keyboard.press("Escape")
    expect(tab.node("n3").get_by_role("button", name="Revive n3")).to_be_focused()
    tab.page.keyboard.press("Space")
    expect(tab.box.get_by_role("button", name="Revive n3", exact=True)).to_be_enabled()
    tab.tab_to("Revive n3")
    tab.page.keyboard.press("Space")
    expect(tab.outcome()).to_contain_text("n3 is fit again", timeout=ACT)
    tab.page.keyboard.press("Escape")
    expect(tab.node("n3").locator(".badge")).to_have_text("running")
    assert drained(warren) == []
    assert tab.errors == []
    tab.context.close()


@pytest.fixture
def idlers(warren: Warren) -> Iterator[None]:
    """Nine more sessions, which a rebalancing has something to move of."""
    with contextlib.ExitStack() as stack:
        for _ in range(9):
            stack.enter_context(pika.BlockingConnection(pika.URLParameters(warren.url)))
        yield


def test_sessions_leaders_policy_and_weight_by_clicks(
    warren: Warren, link: str, load: None, idlers: None, browser: Browser, pictures: Path
) -> None:
    # A node that was drained and revived has no sessions and leads nothing.
    warren.ok("node", "drain", "n2")
    warren.ok("node", "revive", "n2", "--no-balance")
    tab = Acting(browser, link, viewport=SIZES["wide"])
    tab.see("nodes")
    tab.press("Rebalance sessions")
    expect(tab.box).to_contain_text("none is disconnected")
    tab.picture(pictures, "rebalance")
    tab.box.locator("button.primary").click()
    expect(tab.outcome()).to_contain_text("moved in", timeout=ACT)
    tab.close()
    assert min(node["sessions"] for node in warren.status()["nodes"]) >= 3

    tab.press("Balance leaders")
    expect(tab.box).to_contain_text("Measures for five seconds")
    expect(tab.box.get_by_role("button", name="Move 1 leader")).to_be_enabled(timeout=ACT)
    tab.picture(pictures, "leaders")
    tab.confirm("Move 1 leader")
    expect(tab.outcome()).to_contain_text("1 of 1 leaders moved", timeout=ACT)
    tab.picture(pictures, "leaders-moved")
    tab.close()
    leaders = {queue["leader"] for queue in warren.status()["queues"]}
    assert len(leaders) == 3

    tab.press("Policy: ")
    tab.box.get_by_label("p2c", exact=False).check()
    expect(tab.box).to_contain_text("New sessions go by p2c instead of roundrobin")
    expect(tab.box).to_contain_text("Open sessions stay where they are")
    tab.picture(pictures, "policy")
    tab.confirm("Set p2c")
    expect(tab.outcome()).to_contain_text("The policy is p2c (before: roundrobin)", timeout=ACT)
    tab.close()
    expect(tab.page.locator("#head")).to_contain_text("p2c")

    tab.node("n1").get_by_role("button", name="Set the weight of n1").click()
    field = tab.box.get_by_label("New weight")
    expect(field).to_be_focused()
    field.fill("1001")
    expect(tab.box.locator(".act-notice")).to_contain_text("a whole number from 0 to 1000")
    field.fill("50")
    expect(tab.box).to_contain_text("20 %")
    tab.picture(pictures, "weight")
    field.press("Enter")
    expect(tab.outcome()).to_contain_text("n1 has weight 50 (before: 100)", timeout=ACT)
    tab.close()
    balance = json.loads(warren.ok("balance", "show", "--json"))
    assert balance["policy"] == "p2c"
    assert [node["weight"] for node in balance["nodes"]] == [50, 100, 100]
    assert [what for kind, what, reason in acts_of(warren) if reason == "done"][-4:] == [
        "rebalances sessions",
        "balances leaders",
        "sets the policy to p2c",
        "sets the weight of n1 to 50",
    ]

    # What was shown isn't so any more by the time it is confirmed.
    tab.press("Policy: ")
    tab.box.get_by_label("random", exact=False).check()
    expect(tab.box.get_by_role("button", name="Set random")).to_be_enabled()
    warren.ok("balance", "set-policy", "source")
    tab.confirm("Set random")
    expect(tab.box.locator(".act-notice")).to_contain_text("nothing was done")
    expect(tab.box).to_contain_text("New sessions go by random instead of source")
    tab.picture(pictures, "changed")
    tab.page.keyboard.press("Escape")
    assert warren.status()["balancer"]["policy"] == "source"
    # Chromium itself reports answers of 4xx: the stale preview's.
    assert [error for error in tab.errors if "409" not in error] == []
    assert len(tab.errors) == 1
    tab.context.close()


def shown(link: str) -> dict[str, Any]:
    """What the view of nodes is told now."""
    url, _, token = link.partition("#token=")
    request = urllib.request.Request(
        f"{url}api/live?view=nodes", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        document = json.loads(response.readline())
    assert isinstance(document, dict)
    return document


def test_what_goes_on_is_shown_and_called_off(link: str, browser: Browser, pictures: Path) -> None:
    """In the middle of a drain of many sessions; the documents are made for it, since a real one
    takes half a second."""
    document = shown(link)
    act = {
        "number": 7, "act": "drain", "node": "n2", "doing": "drains n2",
        "viewer": "ops at 127.0.0.1:1",
        "began_at": document["at"], "count": 12, "total": 40, "can_be_called_off": True,
        "called_off": False, "end": None, "outcome": "", "ended_at": None,
        "lines": [{"number": 1, "text": "n2 gets no new sessions"},
                  {"number": 2, "text": "n2 moves sessions (12 of 40)"}],
    }  # fmt: skip
    document["acts"] = {"acts": [act], "others": ["n3 is being restarted"], "why_not": {}}
    tab = Acting(browser, link, viewport=SIZES["wide"])
    expect(tab.page.locator("#link-state")).to_have_text("live")
    called_off: list[Any] = []

    def call_off(route: Route) -> None:
        called_off.append(route.request.post_data_json)
        act.update(called_off=True, can_be_called_off=True)
        route.fulfill(status=204)

    def tell(route: Route) -> None:
        route.fulfill(content_type="application/x-ndjson", body=json.dumps(document) + "\n")

    tab.page.route("**/api/live**", tell)
    tab.page.route("**/api/call-off", call_off)
    tab.page.click("nav a[href='#/nodes']")
    bar = tab.page.locator(".acts-bar")
    expect(bar).to_contain_text("n2 moves sessions (12 of 40)")
    expect(bar).to_contain_text("n3 is being restarted")
    for size, viewport in SIZES.items():
        tab.page.set_viewport_size(viewport)
        tab.page.screenshot(path=pictures / f"act-goes-on-{size}.png")
    bar.get_by_role("button", name="Show: drains n2").click()
    expect(tab.box.get_by_role("progressbar")).to_have_attribute("max", "40")
    expect(tab.box.get_by_role("log")).to_contain_text("n2 gets no new sessions")
    tab.picture(pictures, "progress")
    tab.box.get_by_role("button", name="Call off").click()
    expect(tab.box.get_by_role("button", name="Is called off")).to_be_disabled()
    assert called_off == [{"number": 7}]
    act.update(end="called_off", outcome="called off: n2 takes sessions again", ended_at=1.0)
    expect(tab.outcome()).to_contain_text("Called off: n2 takes sessions again")
    assert tab.focused() == "Close"
    tab.page.keyboard.press("Enter")
    expect(bar).not_to_contain_text("Drains n2")
    assert tab.errors == []
    tab.context.close()


def test_what_is_not_possible_is_disabled_with_the_reason(
    link: str, browser: Browser, pictures: Path
) -> None:
    """As with HAProxy, an attached cluster and automatic weights; the document is made for it."""
    document = shown(link)
    reasons = {
        "rebalance": "HAProxy passes bytes.",
        "leaders": "not possible here; `warrener leaders balance --by-count` asks RabbitMQ.",
        "weight": "Weights follow what nodes can carry.",
    }
    document["acts"]["why_not"] = reasons
    line = json.dumps(document) + "\n"
    tab = Acting(browser, link, viewport=SIZES["wide"])
    expect(tab.page.locator("#link-state")).to_have_text("live")
    tab.page.route(
        "**/api/live**",
        lambda route: route.fulfill(content_type="application/x-ndjson", body=line),
    )
    tab.page.click("nav a[href='#/nodes']")
    for name in ("Rebalance sessions", "Balance leaders", "Set the weight of n1"):
        expect(tab.page.get_by_role("button", name=name)).to_be_disabled()
    expect(tab.page.get_by_role("button", name="Drain n1")).to_be_enabled()
    for reason in reasons.values():
        expect(tab.page.locator("#why-not")).to_contain_text(reason.replace("`", ""))
    for size, viewport in SIZES.items():
        tab.page.set_viewport_size(viewport)
        tab.page.screenshot(path=pictures / f"act-not-possible-{size}.png")
    assert tab.errors == []
    tab.context.close()


def posted(url: str, body: bytes, **headers: str) -> int:
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_nobody_acts_without_the_token_or_from_another_site(warren: Warren, link: str) -> None:
    url, _, token = link.partition("#token=")
    body = b'{"act":"drain","node":"n1"}'
    own = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    before = acts_of(warren)
    assert posted(f"{url}api/preview", body, **{"Content-Type": "application/json"}) == 401
    assert posted(f"{url}api/preview", body, **own, Origin="http://other.example") == 403
    assert posted(f"{url}api/preview", body, **(own | {"Content-Type": "text/plain"})) == 415
    assert posted(f"{url}api/preview", b'{"act":"purge"}', **own) == 400
    assert posted(f"{url}api/preview", b'{"act":"drain","node":"n9"}', **own) == 404
    assert posted(f"{url}api/act", b'{"preview":"none"}', **own) == 409
    assert asked(f"{url}api/act?preview=x", **own) == 405
    took = []
    for _ in range(5):
        began = time.monotonic()
        assert posted(f"{url}api/preview", body, **own) == 200
        took.append(time.monotonic() - began)
    print(f"a preview of a drain took {min(took) * 1000:.0f} to {max(took) * 1000:.0f} ms")
    assert acts_of(warren) == before
    assert drained(warren) == []


def test_a_killed_node_is_shown_within_three_seconds(
    warren: Warren, link: str, load: None, browser: Browser, pictures: Path
) -> None:
    tab = Tab(browser, link, viewport=SIZES["wide"])
    tab.see("nodes")
    victim = warren.status()["nodes"][2]
    card = tab.page.locator("article.node").nth(2)
    expect(card.locator(".badge")).to_have_text("running")
    began = time.monotonic()
    os.kill(victim["pid"], signal.SIGKILL)
    expect(card.locator(".badge")).to_have_text("down", timeout=SEEN * 1000)
    took = time.monotonic() - began
    print(f"shown {took:.2f} s after the kill")
    assert took < SEEN
    tab.page.screenshot(path=pictures / "node-killed.png")
    tab.see("map")
    tab.page.screenshot(path=pictures / "node-killed-map.png")
    tab.see("events")
    expect(tab.page.locator("tbody")).to_contain_text("node.exited")
    assert tab.errors == []
    tab.context.close()


def test_when_the_daemon_goes_the_page_says_so(
    warren: Warren, link: str, browser: Browser, pictures: Path
) -> None:
    tab = Tab(browser, link, viewport=SIZES["wide"])
    expect(tab.page.locator("#link-state")).to_have_text("live")
    warren.ok("down")
    expect(tab.page.locator("#link-state")).to_have_text("reconnecting")
    expect(tab.page.locator("#trouble")).to_contain_text("Not connected")
    tab.page.screenshot(path=pictures / "daemon-gone.png")
    tab.context.close()
