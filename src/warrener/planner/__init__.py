"""What a cluster can carry: measured costs and a measured load, put into the models.

    costs.py        what a message costs, by type of queue and by what is done with it
    fit.py, least_squares.py   from what was measured to what a message costs
    work.py, passive.py        the same out of the history, without a measurement
    points.py       how single queues did at the loads that there were
    calibration_file.py        the calibration that a cluster's state folder keeps
    load.py         what goes through a cluster just now, and on which hosts
    resources.py    how busy every part is, and how much more of the same it takes
    limits.py       the same as a network, for max-flow and min-cut
    changes.py      another load, another cluster: what-if
    outlook.py      the whole answer: parts, queues, the first thing that breaks, N-1
    words.py        what it says, in words
    question.py     what-if as it is typed
    sizing.py       what another load would take
    advice.py       what to change, with the evidence

Pure: nothing here asks a cluster. Units everywhere: rates in 1/s, times in s, CPU in cores (one
that is busy all the time is 1), sizes in bytes.

``from warrener.planner import Load, scaled, advise`` (docs/python-api.md has examples). What is
called like its module comes from there: ``from warrener.planner.outlook import outlook``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warrener.planner.advice import Advice as Advice
    from warrener.planner.advice import Advised as Advised
    from warrener.planner.advice import advise as advise
    from warrener.planner.calibration_file import BrokenCalibration as BrokenCalibration
    from warrener.planner.calibration_file import decode_calibration as decode_calibration
    from warrener.planner.calibration_file import encode_calibration as encode_calibration
    from warrener.planner.calibration_file import read_calibration as read_calibration
    from warrener.planner.calibration_file import write_calibration as write_calibration
    from warrener.planner.changes import scaled as scaled
    from warrener.planner.changes import spread as spread
    from warrener.planner.changes import with_body as with_body
    from warrener.planner.changes import with_consumers as with_consumers
    from warrener.planner.changes import with_nodes as with_nodes
    from warrener.planner.changes import with_type as with_type
    from warrener.planner.changes import without_node as without_node
    from warrener.planner.costs import Act as Act
    from warrener.planner.costs import Calibration as Calibration
    from warrener.planner.costs import Cost as Cost
    from warrener.planner.costs import CostsFrom as CostsFrom
    from warrener.planner.costs import Limit as Limit
    from warrener.planner.costs import QueueType as QueueType
    from warrener.planner.limits import network as network
    from warrener.planner.load import HostLoad as HostLoad
    from warrener.planner.load import Load as Load
    from warrener.planner.load import NodeLoad as NodeLoad
    from warrener.planner.load import QueueLoad as QueueLoad
    from warrener.planner.outlook import Loss as Loss
    from warrener.planner.outlook import Outlook as Outlook
    from warrener.planner.outlook import QueueOutlook as QueueOutlook
    from warrener.planner.resources import Part as Part
    from warrener.planner.resources import PartKind as PartKind
    from warrener.planner.resources import Reckoned as Reckoned
    from warrener.planner.resources import reckon as reckon
    from warrener.planner.sizing import Profile as Profile
    from warrener.planner.sizing import Sizing as Sizing
    from warrener.planner.sizing import Wanted as Wanted
    from warrener.planner.sizing import prefetch_for as prefetch_for
    from warrener.planner.sizing import size as size

_WHERE = {
    "Advice": "advice",
    "Advised": "advice",
    "advise": "advice",
    "BrokenCalibration": "calibration_file",
    "decode_calibration": "calibration_file",
    "encode_calibration": "calibration_file",
    "read_calibration": "calibration_file",
    "write_calibration": "calibration_file",
    "scaled": "changes",
    "spread": "changes",
    "with_body": "changes",
    "with_consumers": "changes",
    "with_nodes": "changes",
    "with_type": "changes",
    "without_node": "changes",
    "Act": "costs",
    "Calibration": "costs",
    "Cost": "costs",
    "CostsFrom": "costs",
    "Limit": "costs",
    "QueueType": "costs",
    "network": "limits",
    "HostLoad": "load",
    "Load": "load",
    "NodeLoad": "load",
    "QueueLoad": "load",
    "Loss": "outlook",
    "Outlook": "outlook",
    "QueueOutlook": "outlook",
    "Part": "resources",
    "PartKind": "resources",
    "Reckoned": "resources",
    "reckon": "resources",
    "Profile": "sizing",
    "Sizing": "sizing",
    "Wanted": "sizing",
    "prefetch_for": "sizing",
    "size": "sizing",
}

__all__ = list(_WHERE)  # names of the table above


def __getattr__(name: str) -> Any:
    """Brings a module in when a name of it is first asked for (PEP 562): the daemon needs some of
    this room, and none of SciPy."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
