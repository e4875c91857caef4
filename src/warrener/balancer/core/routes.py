"""Where an exchange leads: its bindings, made ready to be asked with a routing key.

RabbitMQ's rules for the types whose routing depends on the key alone:

    direct   the binding key equals the routing key
    fanout   every binding
    topic    words between dots; ``*`` is one word, ``#`` any number of them, none included. The
             empty key has no word at all; ``a.`` has two, the second one empty

Asking costs as much as the key has words, not as much as the exchange has bindings: a topic
exchange with thousands of bindings and a new key with every message must not hold up the balancer.
A topic's bindings are a trie, as in RabbitMQ, and a key walks it on all its paths at once.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from warrener.facts.places import Binding, ExchangeRoutes


class Target(NamedTuple):
    """What a binding leads to."""

    name: str
    is_exchange: bool


UNDERSTOOD: Final = frozenset({"direct", "fanout", "topic"})
"""Exchange types whose routing is known here. ``headers`` and plug-ins' types aren't."""


class Routes:
    """The bindings of one exchange. Immutable."""

    __slots__ = ("_direct", "_everything", "_topics", "facts")

    def __init__(self, facts: ExchangeRoutes) -> None:
        self.facts = facts
        self._everything: frozenset[Target] = frozenset()
        self._direct: dict[str, frozenset[Target]] = {}
        self._topics: _Node | None = None
        if facts.type == "fanout":
            self._everything = frozenset(map(_target, facts.bindings))
        elif facts.type == "direct":
            self._direct = _by_key(facts.bindings)
        elif facts.type == "topic":
            self._topics = _trie(facts.bindings)

    @property
    def understood(self) -> bool:
        """Whether the type is one whose routing is known."""
        return self.facts.type in UNDERSTOOD

    def targets(self, key: str) -> frozenset[Target] | None:
        """What a message with this key is handed to; None if more than the key decides.

        An alternate exchange (not ``plain``) gets what nothing else gets: it makes a difference
        only to keys that lead nowhere.
        """
        if self._topics is not None:
            found = _walk(self._topics, words_of(key))
        elif self.understood:
            found = self._everything or self._direct.get(key, _NOTHING)
        else:
            return None
        return found if found or self.facts.plain else None


_NOTHING: Final[frozenset[Target]] = frozenset()


def words_of(key: str) -> list[str]:
    """A routing or binding key as RabbitMQ splits it."""
    return key.split(".") if key else []


def _target(binding: Binding) -> Target:
    return Target(binding.destination, binding.to_exchange)


def _by_key(bindings: Iterable[Binding]) -> dict[str, frozenset[Target]]:
    found: dict[str, set[Target]] = {}
    for binding in bindings:
        found.setdefault(binding.routing_key, set()).add(_target(binding))
    return {key: frozenset(targets) for key, targets in found.items()}


class _Node:
    """A place in the trie: the words so far. ``any_number`` is the ``#`` that may follow, on which
    one stays for as many words as one likes."""

    __slots__ = ("any_number", "any_word", "stays", "targets", "words")

    def __init__(self, *, stays: bool = False) -> None:
        self.words: dict[str, _Node] | None = None  # most have none: leaves are the many
        self.any_word: _Node | None = None
        self.any_number: _Node | None = None
        self.stays = stays
        self.targets: list[Target] | None = None


def _trie(bindings: Iterable[Binding]) -> _Node:
    root = _Node()
    for binding in bindings:
        node = root
        for word in words_of(binding.routing_key):
            node = _child(node, word)
        if node.targets is None:
            node.targets = []
        node.targets.append(_target(binding))
    return root


def _child(node: _Node, word: str) -> _Node:
    if word == "#":
        if node.any_number is None:
            node.any_number = _Node(stays=True)
        return node.any_number
    if word == "*":
        if node.any_word is None:
            node.any_word = _Node()
        return node.any_word
    if node.words is None:
        node.words = {}
    child = node.words.get(word)
    if child is None:
        child = node.words[word] = _Node()
    return child


def _walk(root: _Node, words: list[str]) -> frozenset[Target]:
    """Every place the words lead to, a set of them at a time: no path is walked twice, so that
    ``#.#.#.#`` costs no more than its length."""
    here = _with_nothing_for_any_number({root})
    for word in words:
        there: set[_Node] = set()
        for node in here:
            if node.stays:
                there.add(node)
            if node.words is not None and word in node.words:
                there.add(node.words[word])
            if node.any_word is not None:
                there.add(node.any_word)
        if not there:
            return _NOTHING
        here = _with_nothing_for_any_number(there)
    found: set[Target] = set()
    for node in here:
        if node.targets is not None:
            found.update(node.targets)
    return frozenset(found)


def _with_nothing_for_any_number(nodes: set[_Node]) -> set[_Node]:
    """``nodes`` and what can be reached from them without a word."""
    reached = set(nodes)
    for node in nodes:
        child = node.any_number
        while child is not None and child not in reached:
            reached.add(child)
            child = child.any_number
    return reached
