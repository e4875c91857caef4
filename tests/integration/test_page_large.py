"""The page with nine nodes and 2,000 queues, and with nothing at all, in Chromium: made-up moments
through the real server, the planner's answers reckoned by the real process.

No broker is started. Pictures are kept in WARRENER_SCREENSHOTS, as those of ``test_page``.
"""

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, expect
from tests.integration.test_page import (
    SIZES,
    THEMES,
    Tab,
    browser,  # noqa: F401  a fixture
)
from tests.unit.dashboard.moments import event, moment, node, queue, session, status
from tests.unit.planner.scene import COSTS, calibration

from warrener.control.wire import Refusal, Refused
from warrener.daemon.page import measured
from warrener.daemon.page_plan import PagePlan
from warrener.dashboard.live import Live
from warrener.dashboard.moment import Moment
from warrener.dashboard.plan import Plan
from warrener.dashboard.server import PageServer
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.planner.calibration_file import FILE, write_calibration
from warrener.planner.costs import Calibration, Limit, QueueType
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad

NODES = tuple(NodeName(f"rabbit{number}@host{number}") for number in range(1, 10))
TYPES = (QueueType.QUORUM, QueueType.CLASSIC, QueueType.STREAM)
TOKEN = "t" * 43
UNTOLD = "HAProxy doesn't tell sessions apart"


def costs() -> Calibration:
    of_all = dict.fromkeys(TYPES, COSTS[QueueType.QUORUM])
    return calibration(
        taken_at=1_790_000_000.0,
        hosts={name: name.partition("@")[2] for name in NODES},
        cores={name.partition("@")[2]: 4 for name in NODES},
        costs=of_all,
        limits=dict.fromkeys(TYPES, (Limit(8_000, 100),)),
        idle=dict.fromkeys(NODES, 0.1),
    )


def large(*, slow: bool = True) -> Load:
    """2,000 queues; the consumers of one are busy nearly all the time."""
    chance = random.Random(1)
    queues = []
    for number in range(2000):
        kind = TYPES[number % 10 // 4]
        leader = NODES[number % 9]
        members = tuple(NODES[(number + more) % 9] for more in range(3))
        rate = chance.expovariate(1 / 12)
        entry, leave = (NODES[chance.randrange(9)] for _ in range(2))
        queues.append(
            QueueLoad(
                "/" if number % 7 else "shop",
                f"orders.{number:04}",
                kind,
                leader,
                members if kind is not QueueType.CLASSIC else (),
                published=rate,
                delivered=rate,
                acked=rate,
                body=300.0,
                consumers=2,
                prefetch=10,
                ready=rate * 0.01,
                unacked=rate * 0.02,
                service_time=0.008 if number != 500 or not slow else 1.7 / rate,
                entering=((entry, 0.2),) if entry != leader else (),
                leaving=((leave, 0.1),) if leave != leader else (),
            )
        )
    return Load(
        nodes=tuple(
            NodeLoad(name, name.partition("@")[2], cpu=1.1, mem_limit=2**31) for name in NODES
        ),
        hosts=tuple(HostLoad(name.partition("@")[2], 4) for name in NODES),
        queues=tuple(queues),
        balancer_host="host1",
        through_balancer=sum(2 * one.published for one in queues),
    )


def a_moment(load: Load, plan: Plan, clock: float) -> Moment:
    """As the daemon would see that load."""
    nodes = [
        node(
            name,
            host=name.partition("@")[2],
            leaders=sum(one.leader == name for one in load.queues),
            sessions=40,
            state=NodeState.RUNNING,
        )
        for name in NODES
    ]
    queues = [
        replace(
            queue(one.name, one.leader, members=one.members, online=one.members),
            vhost=one.vhost,
            type=one.type.value,
            messages_ready=round(one.ready),
            messages_unacknowledged=round(one.unacked),
            consumers=one.consumers,
        )
        for one in load.queues
    ]
    sessions = [
        session(
            number,
            user=f"user{number % 15}",
            node=NODES[number % 9],
            published=int(clock * 60),
            delivered=int(clock * 55),
        )
        for number in range(360)
    ]
    told = status(nodes, queues, published=int(clock * 20_000), local=int(clock * 900))
    return moment(
        clock,
        told,
        sessions=sessions,
        events=[event(1)],
        measured=measured(load, plan, 1_000_000.0 + clock),
        plan=plan,
    )


class Made:
    """The page over a made-up cluster, served from a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.load: Load | None = large()
        self.knows_sessions = True
        self.link = ""
        self._clock = 100.0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self.plan = PagePlan(
            self.folder, self._load, now=lambda: 1_790_000_500.0, monotonic=self._loop.time
        )
        live = Live(self._read, lambda _: [])
        server = PageServer(live, TOKEN, planner=self.plan.ask)
        await server.start(0)
        self.link = f"{server.url}#token={TOKEN}"
        running = asyncio.create_task(live.run())
        self._ready.set()
        await self._over.wait()
        await server.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await self.plan.close()

    async def _load(self, window: float) -> Load:
        if self.load is None:
            raise Refused(Refusal.UNSUPPORTED, "no history is kept: `enabled = false`")
        return self.load

    async def _read(self, sessions: bool) -> Moment:
        self._clock += 1.0
        self.plan.look()
        if self.load is None:
            empty = msgspec.structs.replace(status([], []), balancer=None)
            return moment(self._clock, empty, sessions=[], plan=self.plan.plan)
        made = a_moment(self.load, self.plan.plan, self._clock)
        if self.knows_sessions:
            return made
        return replace(made, sessions=None, sessions_why_not=UNTOLD)

    def __enter__(self) -> "Made":
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20)
        self._loop.close()


@contextmanager
def serving(folder: Path, *, calibrated: bool = True, load: Load | None = None) -> Iterator[Made]:
    folder.mkdir()
    if calibrated:
        write_calibration(folder, costs())
    made = Made(folder)
    made.load = load
    with made:
        yield made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with serving(tmp_path_factory.mktemp("large") / "state", load=large()) as found:
        yield found


def photograph(tab: Tab, folder: Path, name: str) -> None:
    """At both sizes, in both themes; never wider than the screen."""
    for size, viewport in SIZES.items():
        tab.page.set_viewport_size(viewport)
        over = tab.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert over <= 0, f"{name} is {over} px too wide at {size}"
        for theme in THEMES:
            tab.page.emulate_media(color_scheme=theme)
            tab.page.screenshot(path=folder / f"{name}-{size}-{theme}.png", full_page=True)
    tab.page.set_viewport_size(SIZES["wide"])
    tab.page.emulate_media(color_scheme="light")


def test_two_thousand_queues_are_found_on_the_map(
    made: Made,
    browser: Browser,  # noqa: F811
    pictures: Path,
) -> None:
    tab = Tab(browser, made.link, viewport=SIZES["wide"])
    page = tab.page
    expect(page.locator(".box[data-key^='node ']")).to_have_count(9)
    said = page.locator(".cut-said")
    expect(said).to_contain_text("First to break: the consumers of orders.0500", timeout=20_000)
    marked = page.locator(".box.cut .mark", has_text="breaks first")
    expect(marked).to_have_count(1)
    assert page.locator(".edge.cut").count() >= 1
    photograph(tab, pictures, "large-map")

    page.fill("input[type=search]", "orders.05")
    count = page.locator(".tools .count")
    expect(count).to_contain_text("100 of 2,000 queues")
    assert page.locator(".box.match[data-key^='group ']").count() >= 9
    assert page.locator(".box.dim[data-key^='client ']").count() >= 9
    expect(page.locator(".found tbody tr")).to_have_count(50)
    photograph(tab, pictures, "large-map-search")
    row = page.locator(".found tbody tr", has_text="orders.0500").first
    row.press("Enter")
    expect(page.locator(".map-detail h3")).to_contain_text("on rabbit6")
    expect(page.locator(".box.picked")).to_have_count(1)
    photograph(tab, pictures, "large-map-chosen")
    page.keyboard.press("Escape")
    expect(page.locator(".box.picked")).to_have_count(0)

    page.fill("input[type=search]", "rabbit7")
    expect(page.locator(".box.match[data-key='node rabbit7']")).to_have_count(1)
    page.fill("input[type=search]", "no such thing")
    expect(count).to_have_text("Nothing matches")
    expect(page.locator(".found .empty")).to_contain_text("2,000 queues, 9 nodes")
    expect(page.locator(".box.match")).to_have_count(0)
    page.fill("input[type=search]", "")
    expect(page.locator(".found")).to_be_hidden()
    assert tab.errors == []
    tab.context.close()


def test_a_hop_is_looked_at_by_pointer_and_by_keyboard(
    made: Made,
    browser: Browser,  # noqa: F811
) -> None:
    tab = Tab(browser, made.link, viewport=SIZES["wide"])
    page = tab.page
    box = page.locator(".box[data-key='node rabbit3']")
    detail = page.locator(".map-detail")
    box.hover()
    expect(detail.locator("h3")).to_have_text("rabbit3")
    page.mouse.move(2, 2)
    expect(detail).to_be_hidden()
    box.focus()
    page.keyboard.press("Enter")
    expect(detail.locator("h3")).to_have_text("rabbit3")
    expect(box).to_have_attribute("aria-pressed", "true")
    hop = detail.locator(".hops button").first
    hop.focus()
    page.keyboard.press("Enter")
    expect(detail.locator("h3")).to_contain_text("Hop from rabbit")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    assert tab.errors == []
    tab.context.close()


def test_what_if_with_two_thousand_queues(
    made: Made,
    browser: Browser,  # noqa: F811
    pictures: Path,
) -> None:
    tab = Tab(browser, made.link, viewport=SIZES["wide"])
    page = tab.page
    tab.see("planner")
    said = page.locator(".said")
    expect(said).to_contain_text("As it is: the cluster carries", timeout=20_000)
    expect(page.locator(".tile").first).to_contain_text("the consumers of orders.0500")
    photograph(tab, pictures, "large-planner")
    load = page.get_by_label("Load", exact=True)
    load.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    expect(load).to_have_attribute("aria-valuetext", "2.51 times")
    expect(said).to_contain_text("With load x2.51", timeout=20_000)
    expect(page.locator(".growing")).to_contain_text("orders.0500 grows by")
    expect(page.locator(".growing")).to_contain_text("memory alarm in")
    page.get_by_label("rabbit2", exact=True).check()
    expect(said).to_contain_text("without rabbit2", timeout=20_000)
    expect(page.locator(".planner")).to_contain_text("Nobody serves any more")
    photograph(tab, pictures, "large-planner-what-if")
    tab.see("queues")
    tab.page.click("th button:text-is('rho')")
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("orders.0500")
    expect(first.locator("td[data-title=measured]").first).not_to_have_text("–")
    photograph(tab, pictures, "large-queues")
    assert tab.errors == []
    tab.context.close()


def test_without_calibration_the_view_says_what_to_do_and_shows_what_is_known(
    tmp_path: Path,
    browser: Browser,  # noqa: F811
    pictures: Path,
) -> None:
    with serving(tmp_path / "state", calibrated=False, load=large()) as scene:
        tab = Tab(browser, scene.link, viewport=SIZES["wide"])
        page = tab.page
        expect(page.locator(".cut-said")).to_contain_text("nobody has measured", timeout=20_000)
        expect(page.locator(".box.cut")).to_have_count(0)
        tab.see("planner")
        expect(page.locator(".drawn")).to_contain_text("warrener plan calibrate")
        expect(page.locator(".what-if")).to_be_hidden()
        expect(page.locator("table[aria-label], .planner table").nth(3)).to_contain_text("rabbit9")
        photograph(tab, pictures, "planner-uncalibrated")
        # It is noticed when there is one.
        write_calibration(scene.folder, costs())
        expect(page.locator(".what-if")).to_be_visible(timeout=20_000)
        expect(page.locator(".drawn")).to_be_hidden()
        (scene.folder / FILE).write_text("{")
        expect(page.locator(".drawn")).to_contain_text("can't be read", timeout=40_000)
        assert tab.errors == []
        tab.context.close()


def test_with_nothing_at_all_every_view_says_so(
    tmp_path: Path,
    browser: Browser,  # noqa: F811
    pictures: Path,
) -> None:
    with serving(tmp_path / "state", calibrated=False) as scene:
        tab = Tab(browser, scene.link, viewport=SIZES["wide"])
        page = tab.page
        for view, words in (
            ("map", "The min-cut isn't known"),
            ("nodes", "No node is known yet"),
            ("queues", "There are no queues yet"),
            ("sessions", "No client is connected"),
            ("events", "Nothing has happened yet"),
            ("planner", "Nothing to plan with yet"),
        ):
            tab.see(view)
            expect(page.locator("main")).to_contain_text(words)
            if view == "map":
                expect(page.locator(".map .none")).to_have_count(3)
            photograph(tab, pictures, f"empty-{view}")
        expect(page.locator("main")).to_contain_text("No history is kept")
        assert tab.errors == []
        tab.context.close()


def test_what_a_data_plane_does_not_tell_is_said(
    tmp_path: Path,
    browser: Browser,  # noqa: F811
    pictures: Path,
) -> None:
    with serving(tmp_path / "state", load=large()) as scene:
        scene.knows_sessions = False
        tab = Tab(browser, scene.link, viewport=SIZES["wide"])
        page = tab.page
        expect(page.locator(".note")).to_have_text(UNTOLD)
        expect(page.locator(".box[data-key^='client ']")).to_have_count(0)
        expect(page.locator(".map .none")).to_have_text("not known")
        page.fill("input[type=search]", "user1")
        expect(page.locator(".tools .count")).to_have_text("Nothing matches")
        photograph(tab, pictures, "untold-map")
        tab.see("sessions")
        expect(page.locator(".note")).to_have_text(UNTOLD)
        photograph(tab, pictures, "untold-sessions")
        assert tab.errors == []
        tab.context.close()
