"""Clusters to draw: a small one, and one with more queues than a picture has room for."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from tests.unit.planner.scene import COSTS, N1, N2, N3, calibration, load, queue

from warrener.facts.ids import NodeName
from warrener.planner.costs import Act, Calibration, Cost, QueueType
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad
from warrener.planner.outlook import outlook
from warrener.plots.curves import Curves, chosen, curves, widest
from warrener.plots.flow_map import flow_map
from warrener.plots.outlook import View


def small() -> tuple[Load, Calibration]:
    """Three queues on three nodes; the consumers of jobs are used up first."""
    queues = (
        queue("jobs", 400, N1, consumers=3, service_time=0.004, prefetch=1),
        queue("billing", 90, N2, vhost="shop", consumers=4, service_time=0.02, prefetch=1),
        queue("$x_1$", 30, N3, type=QueueType.CLASSIC, consumers=1, service_time=0.01),
    )
    made = load(*queues, through_balancer=1_000.0, balancer_host="h1")
    return made, calibration(balancer=Cost(4e-6))


def large(nodes: int = 9, queues: int = 200, seed: int = 1) -> tuple[Load, Calibration]:
    """Rates as they are in life: few queues have most of the traffic."""
    dice = random.Random(seed)
    names = [NodeName(f"n{number}@h{number}") for number in range(1, nodes + 1)]
    made = []
    for number in range(queues):
        rate, takes = 20 * dice.paretovariate(1.1), dice.choice([0.001, 0.005, 0.02])
        leader = dice.choice(names)
        others = [name for name in names if name != leader][:2]
        topic = dice.choice(["billing", "orders", "mail"])
        made.append(
            QueueLoad(
                "/",
                f"service.{topic}.{number:03d}.events-of-the-{dice.choice(['eu', 'us'])}-shop",
                QueueType.QUORUM,
                leader,
                (leader, *others),
                rate,
                rate,
                rate,
                100.0,
                int(rate * takes / dice.uniform(0.3, 0.95)) + 1,
                dice.choice([1, 20]),
                unacked=rate * takes,
                service_time=takes,
            )
        )
    costs = calibration(
        balancer=Cost(4e-6),
        hosts={name: name.partition("@")[2] for name in names},
        idle=dict.fromkeys(names, 0.05),
        costs={**COSTS, QueueType.CLASSIC: {**COSTS[QueueType.CLASSIC], Act.ENTER: Cost(1e-5)}},
    )
    return (
        Load(
            tuple(NodeLoad(n, n.partition("@")[2], mem_limit=2**30) for n in names),
            tuple(HostLoad(f"h{number}", 2) for number in range(1, nodes + 1)),
            tuple(made),
            balancer_host="h1",
            through_balancer=2 * sum(one.published for one in made),
        ),
        costs,
    )


def on_one_host(made: Load) -> Load:
    """All of its nodes."""
    nodes = tuple(replace(node, host="h1") for node in made.nodes)
    return replace(made, nodes=nodes, hosts=(HostLoad("h1", 4),))


def curves_of(made: Load, costs: Calibration) -> Curves:
    found = outlook(made, costs)
    return curves(found, costs, chosen([found]), top=widest([found]))


def view_of(made: Load, costs: Calibration) -> View:
    return View(curves_of(made, costs), flow_map(outlook(made, costs)))


def texts_of(figure: Figure) -> list[tuple[Text, Bbox]]:
    """Every text that is seen, and where."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    unseen = {text for axes in figure.axes for text in _not_drawn(axes)}
    return [
        (text, text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if isinstance(text, Text)
        and text.get_visible()
        and text.get_text().strip()
        and text not in unseen
    ]


def _not_drawn(axes: Axes) -> Iterator[Text]:
    """Labels of ticks beyond the ends of an axis, and of axes that aren't there."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not axes.axison or not axis.get_visible() or not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)
        if not axes.axison:
            yield axis.label


def overlapping(texts: Sequence[tuple[Text, Bbox]]) -> list[tuple[str, str]]:
    """Texts that lie on one another, by more than the white around their letters."""
    found = []
    for at, (one, box) in enumerate(texts):
        for other, second in texts[at + 1 :]:
            both = Bbox.intersection(box, second)
            if both is not None and both.width > 2 and both.height > 2:
                found.append((one.get_text(), other.get_text()))
    return found


def outside(figure: Figure, texts: Sequence[tuple[Text, Bbox]]) -> list[str]:
    """Texts that are cut off at the edge."""
    whole = figure.bbox
    return [
        text.get_text()
        for text, box in texts
        if box.x0 < whole.x0 or box.y0 < whole.y0 or box.x1 > whole.x1 or box.y1 > whole.y1
    ]
