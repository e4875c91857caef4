"""The page in a real browser, before a real cluster: Chromium, three nodes, clients at work.

Pictures of every view at both sizes and in both themes are kept: in WARRENER_SCREENSHOTS, else in a
folder of the test's that is printed.
"""

import contextlib
import json
import os
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
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from tests.integration.warren import Warren, running

VIEWS = ("map", "nodes", "queues", "sessions", "events")
SIZES = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
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


def test_views_look_as_they_should(link: str, load: None, browser: Browser, pictures: Path) -> None:
    """No view is wider than its screen (tables scroll inside), in any theme; pictures are kept."""
    tab = Tab(browser, link, viewport=SIZES["wide"])
    for view in VIEWS:
        tab.see(view)
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
