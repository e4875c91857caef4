"""What people type, made into what is meant: node names short or full, and the nearest right word.

Pure; used by the daemon for nodes (only it knows which there are) and by the command line for
policies.
"""

import difflib
from collections.abc import Iterable

from warrener.control.wire import Refusal, Refused
from warrener.facts.ids import NodeName, short_name
from warrener.facts.settings import PolicyName


def resolve_node(typed: str, nodes: Iterable[NodeName]) -> NodeName:
    """The node that ``typed`` names in full or, if that is unambiguous, by its short name."""
    known = list(nodes)
    if typed in known:
        return NodeName(typed)
    matches = [node for node in known if short_name(node) == typed]
    match matches:
        case [node]:
            return node
        case []:
            words = {short_name(node) for node in known} | set(known)
            raise Refused(Refusal.BAD_ARGUMENT, _unknown("node", typed, words, known))
        case _:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                f"{typed!r} could be any of {', '.join(matches)}; use the full name",
            )


def resolve_policy(typed: str) -> PolicyName:
    """The policy of that name."""
    try:
        return PolicyName(typed)
    except ValueError:
        words = [policy.value for policy in PolicyName]
        raise Refused(Refusal.BAD_ARGUMENT, _unknown("policy", typed, words, words)) from None


def _unknown(kind: str, typed: str, words: Iterable[str], shown: Iterable[str]) -> str:
    near = difflib.get_close_matches(typed.lower(), sorted(words), n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return f"no {kind} {typed!r}{hint} There are: {', '.join(shown)}"
