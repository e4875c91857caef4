"""The same client to the same node: weighted rendezvous hashing of the source address."""

from collections.abc import Sequence
from hashlib import blake2b
from math import log

from warrener.balancer.core.policies.api import Candidate
from warrener.facts.ids import NodeName


class SourceHash:
    """Each node draws a number from hash(client, node); the best draw, weighted, wins.

    Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998), with
    Schindelhauer and Schomaker's logarithmic weights (2005). A node that goes away moves only its
    own clients, and they spread over all the others; one that comes back takes exactly those
    clients back. No table to build, the same answer in every balancer: 3 to 9 hashes a connection
    cost a few microseconds.

    Clients behind one address translator, and all clients on the balancer's own machine, share an
    address and so a node: then this policy does not balance at all.
    """

    __slots__ = ()

    def choose(self, candidates: Sequence[Candidate], source: str) -> NodeName:
        """See ``Policy.choose``."""
        return max(candidates, key=lambda c: (_score(c, source), c.name)).name


def _score(candidate: Candidate, source: str) -> float:
    digest = blake2b(
        f"{source}\0{candidate.name}".encode("utf-8", "surrogateescape"), digest_size=8
    )
    uniform = (int.from_bytes(digest.digest()) + 1) / (2**64 + 1)  # in (0, 1), never 0 or 1
    # -log of a uniform draw is exponential; the least of w-scaled ones falls to w in proportion
    return candidate.weight / -log(uniform) if uniform < 1 else float("inf")
