"""How irregular arrivals are, when streams are put together or dealt out.

``scv`` is the squared coefficient of variation of the times between arrivals: 0 at even distances,
1 at random (a Poisson process), more in bursts.
"""

from warrener.models.terms import WrongInput, check_positive


def superposed(scv: float, streams: float, load: float) -> float:
    """The scv that a queue at ``load`` (rho, 0 to 1) meets where ``streams`` equal and independent
    ones of ``scv`` come together.

    Many streams look as at random within a short time, however regular each is; over a long time,
    which is what counts for a busy queue, they are as irregular as one of them. By Whitt's weight
    between the two, w = 1 / (1 + 4 (1 - rho)^2 (n - 1)): The Queueing Network Analyzer, Bell System
    Technical Journal 62 (1983), section 4.3. WrongInput for fewer than one stream.
    """
    check_positive("the arrivals' variability", scv, zero=True)
    check_positive("the load", load, zero=True)
    if not streams >= 1:
        raise WrongInput(f"{streams:g} streams; there is one at least")
    idle = 1.0 - min(1.0, load)
    weight = 1.0 / (1.0 + 4.0 * idle**2 * (streams - 1.0))
    return weight * scv + 1.0 - weight


def dealt(scv: float, ways: int) -> float:
    """The scv of every ``ways``-th arrival: the sum of that many times between arrivals."""
    check_positive("the arrivals' variability", scv, zero=True)
    if ways < 1:
        raise WrongInput(f"dealt {ways} ways; there is one at least")
    return scv / ways
