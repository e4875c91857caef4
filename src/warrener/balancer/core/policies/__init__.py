"""Balancing policies: which of the fit nodes gets the next session.

A policy sees the fit nodes as ``Candidate`` values and names one. It keeps only what it needs from
one choice to the next (a cursor, current weights), so the very same objects serve the live
balancer and the simulation. Chance comes in from outside.
"""

from warrener.balancer.core.policies.api import Candidate, Policy, Randomness
from warrener.balancer.core.policies.connections import LeastConn, PowerOfTwo, WeightedLeastConn
from warrener.balancer.core.policies.rotation import RandomChoice, RoundRobin, SmoothWeighted
from warrener.balancer.core.policies.source import SourceHash
from warrener.facts.settings import PolicyName

__all__ = ["Candidate", "Policy", "Randomness", "make_policy"]


def make_policy(name: PolicyName, randomness: Randomness) -> Policy:
    """A new policy object, with nothing remembered."""
    match name:
        case PolicyName.ROUNDROBIN:
            return RoundRobin()
        case PolicyName.WEIGHTED:
            return SmoothWeighted()
        case PolicyName.RANDOM:
            return RandomChoice(randomness)
        case PolicyName.SOURCE:
            return SourceHash()
        case PolicyName.LEASTCONN:
            return LeastConn()
        case PolicyName.WEIGHTED_LEASTCONN:
            return WeightedLeastConn()
        case PolicyName.P2C:
            return PowerOfTwo(randomness)
