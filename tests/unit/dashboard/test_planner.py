"""The planner's view: whether there is something to plan with."""

from tests.unit.dashboard.moments import moment

from warrener.dashboard.document import document
from warrener.dashboard.documents.planner import PlannerBody
from warrener.dashboard.documents.terms import View, Wanted
from warrener.dashboard.plan import Plan


def body(plan: Plan | None = None) -> PlannerBody:
    found = document(moment(plan=plan), None, Wanted(view=View.PLANNER), 1).body
    assert isinstance(found, PlannerBody)
    return found


def test_without_history_it_says_why() -> None:
    told = body(Plan(why_not="no history is kept"))
    assert (told.number, told.why_not, told.calibrated) == (0, "no history is kept", False)


def test_which_load_it_is_about() -> None:
    told = body(Plan(number=7, at=5.0, window=300.0, calibrated=True, taken_at=2.0))
    assert (told.number, told.at, told.window, told.taken_at) == (7, 5.0, 300.0, 2.0)
    assert told.nodes == ["n1", "n2", "n3"]


def test_without_calibration_it_says_why_that_is() -> None:
    told = body(Plan(number=1, why_uncalibrated="nobody has measured"))
    assert (told.number, told.calibrated, told.why_uncalibrated) == (
        1,
        False,
        "nobody has measured",
    )
