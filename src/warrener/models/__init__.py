"""Models that answer questions about a cluster: pure functions, no cluster needed.

    terms.py       what all of them share: the two kinds of answer, wrong input
    times.py       how long a response takes, as a distribution: mean, survival, percentiles
    queueing.py    one station: M/M/1, M/M/c, M/M/1/K, M/G/1, G/G/c
    classes.py     one station, several priorities
    batches.py     one station that serves several at once
    networks.py    stations in a row or a net, fed from outside (Jackson)
    interruptions.py  one station that is stopped now and then
    windows.py     stations with a window around them: publishers with a limit of unconfirmed
                   messages, consumers with a prefetch (what mean value analysis answers)
    flow.py        limits and what gets through them: max-flow, min-cut, what an edge is worth, N-1
    simulation.py  a workload, nodes that differ, and the balancer's own policies: event by event
    stations.py    one queue, message by message
    samples.py     what a series of measurements says, and how surely

Units everywhere: rates in 1/s, times in s, utilisations and shares as parts of 1. Each function
names its source, what it assumes, and whether it is exact. A load that is too high is an answer
(``Growing``), not an error; what makes no sense as a question is a ``WrongInput``.

``from warrener.models import mm1, max_flow`` (docs/python-api.md has examples). What is called like
its module comes from there: ``from warrener.models.batches import batches``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warrener.models.classes import Priority as Priority
    from warrener.models.classes import priorities as priorities
    from warrener.models.flow import Edge as Edge
    from warrener.models.flow import Flow as Flow
    from warrener.models.flow import Worth as Worth
    from warrener.models.flow import each_lost as each_lost
    from warrener.models.flow import max_flow as max_flow
    from warrener.models.flow import without as without
    from warrener.models.flow import worths as worths
    from warrener.models.hops import two_stops as two_stops
    from warrener.models.interruptions import Stalls as Stalls
    from warrener.models.networks import Network as Network
    from warrener.models.networks import Station as Station
    from warrener.models.networks import jackson as jackson
    from warrener.models.queueing import erlang_b as erlang_b
    from warrener.models.queueing import erlang_c as erlang_c
    from warrener.models.queueing import ggc as ggc
    from warrener.models.queueing import mg1 as mg1
    from warrener.models.queueing import mm1 as mm1
    from warrener.models.queueing import mm1k as mm1k
    from warrener.models.queueing import mmc as mmc
    from warrener.models.samples import Estimate as Estimate
    from warrener.models.samples import mean_of as mean_of
    from warrener.models.samples import percentile_of as percentile_of
    from warrener.models.simulation import Balancing as Balancing
    from warrener.models.simulation import Group as Group
    from warrener.models.simulation import SimulatedNode as SimulatedNode
    from warrener.models.simulation import simulate as simulate
    from warrener.models.stations import completions as completions
    from warrener.models.terms import Growing as Growing
    from warrener.models.terms import Outcome as Outcome
    from warrener.models.terms import Steady as Steady
    from warrener.models.terms import WrongInput as WrongInput
    from warrener.models.windows import Stop as Stop
    from warrener.models.windows import Window as Window
    from warrener.models.windows import bounds as bounds
    from warrener.models.windows import knee as knee
    from warrener.models.windows import window as window

_WHERE = {
    "Priority": "classes",
    "priorities": "classes",
    "Edge": "flow",
    "Flow": "flow",
    "Worth": "flow",
    "each_lost": "flow",
    "max_flow": "flow",
    "without": "flow",
    "worths": "flow",
    "two_stops": "hops",
    "Stalls": "interruptions",
    "Network": "networks",
    "Station": "networks",
    "jackson": "networks",
    "erlang_b": "queueing",
    "erlang_c": "queueing",
    "ggc": "queueing",
    "mg1": "queueing",
    "mm1": "queueing",
    "mm1k": "queueing",
    "mmc": "queueing",
    "Estimate": "samples",
    "mean_of": "samples",
    "percentile_of": "samples",
    "Balancing": "simulation",
    "Group": "simulation",
    "SimulatedNode": "simulation",
    "simulate": "simulation",
    "completions": "stations",
    "Growing": "terms",
    "Outcome": "terms",
    "Steady": "terms",
    "WrongInput": "terms",
    "Stop": "windows",
    "Window": "windows",
    "bounds": "windows",
    "knee": "windows",
    "window": "windows",
}

__all__ = list(_WHERE)  # names of the table above


def __getattr__(name: str) -> Any:
    """Brings a module in when a name of it is first asked for (PEP 562): the daemon needs some of
    this room, and none of SciPy."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
