"""What an installation's own schema files say of its configuration keys. Pure: text in, values out.

RabbitMQ and its plugins describe ``rabbitmq.conf`` in files of cuttlefish terms:

    {mapping, "tcp_listen_options.backlog", "rabbit.tcp_listen_options.backlog",
        [{datatype, integer}, {validators, ["non_negative_integer"]}]}.

A part of a key that begins with ``$`` stands for any word (``listeners.tcp.$name``). Of everything
else in these files (translations, validators: Erlang code) only the names matter here; RabbitMQ
itself evaluates them when it is asked to.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from warrener.cluster.catalogue.terms import Atom, BrokenTerm, Term, Text, Token, forms, term

_WORD: Final = re.compile(r"[A-Za-z0-9_@-]+")
"""One part of a key, as the conf file's grammar has it (checked against cuttlefish 3.0.1)."""


@dataclass(frozen=True, slots=True)
class Datatype:
    """One type that a value may have, in cuttlefish's words: ``integer``, ``enum`` with
    ``choices``, ``duration`` with ``unit``. ``atom`` with one choice is exactly that word."""

    name: str
    choices: tuple[str, ...] = ()
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """A key of the schema. ``target`` is where its value ends up in Erlang's application
    environment, such as ``rabbit.heartbeat``; a value of any one of ``datatypes`` is right."""

    key: str
    target: str
    datatypes: tuple[Datatype, ...]
    validators: tuple[str, ...] = ()
    source: str = ""

    @property
    def is_pattern(self) -> bool:
        """Whether a part of it stands for any word."""
        return "$" in self.key


@dataclass(frozen=True, slots=True)
class Schema:
    """All that one installation knows. ``defaults`` are those of its applications, by target, as
    Erlang text; ``plugins`` are those that are enabled."""

    version: str
    known: Mapping[str, Known]
    defaults: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    _patterns: tuple[tuple[tuple[str, ...], Known], ...] = ()

    @classmethod
    def of(
        cls,
        version: str,
        known: Iterable[Known],
        defaults: Mapping[str, str] | None = None,
        plugins: Sequence[str] = (),
    ) -> "Schema":
        """Where a key is described twice, RabbitMQ goes by the last."""
        table = {one.key: one for one in known}
        patterns = tuple((tuple(k.split(".")), one) for k, one in table.items() if one.is_pattern)
        return cls(version, table, defaults or {}, tuple(plugins), patterns)

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        match = re.match(r"(\d+)\.(\d+)", self.version)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    def find(self, key: str) -> Known | None:
        """The entry that describes a key as it is written in ``rabbitmq.conf``; None if there is
        none, and RabbitMQ would refuse to boot with it."""
        exact = self.known.get(key)
        if exact is not None:
            return exact
        parts = key.split(".")
        if not all(_WORD.fullmatch(part) for part in parts):
            return None
        for pattern, entry in self._patterns:
            if len(pattern) == len(parts) and all(
                one.startswith("$") or one == part for one, part in zip(pattern, parts, strict=True)
            ):
                return entry
        return None


def read_schema(text: str, source: str = "") -> tuple[list[Known], list[str]]:
    """The keys of one schema file, and what of it wasn't understood (a sentence each). Text that is
    broken halfway still gives what stands before."""
    found: list[Known] = []
    problems: list[str] = []
    try:
        for form in forms(text):
            if not _is(form, "mapping"):
                continue
            try:
                found.append(_known(term(form), source))
            except BrokenTerm as error:
                problems.append(f"a mapping isn't understood: {error}")
    except BrokenTerm as error:
        problems.append(str(error))
    return found, problems


def read_defaults(text: str) -> dict[str, str]:
    """The default values in an application's ``.app`` file, by target, as Erlang text. Those that
    are lists of pairs are there as a whole and one by one. Empty if the file isn't understood."""
    try:
        application = next((term(form) for form in forms(text)), None)
    except BrokenTerm:
        return {}
    match application:
        case (Atom("application"), Atom() as name, list() as properties):
            defaults: dict[str, str] = {}
            for prop in properties:
                match prop:
                    case (Atom("env"), list() as env):
                        _add_defaults(defaults, str(name), env)
            return defaults
    return {}


def _add_defaults(into: dict[str, str], above: str, pairs: list[Term]) -> None:
    for pair in pairs:
        match pair:
            case (Atom() as key, value):
                into[f"{above}.{key}"] = erlang(value)
                if isinstance(value, list):
                    _add_defaults(into, f"{above}.{key}", value)


def erlang(value: Term) -> str:
    """A term as Erlang writes it."""
    match value:
        case Atom():
            return str(value) if re.fullmatch(r"[a-z][\w@]*", value) else f"'{value}'"
        case Text():
            return f'"{value}"'
        case tuple():
            return "{" + ",".join(erlang(item) for item in value) + "}"
        case list():
            return "[" + ",".join(erlang(item) for item in value) + "]"
        case _:
            return str(value)


def _is(form: list[Token], what: str) -> bool:
    return len(form) > 1 and form[0].text == "{" and form[1].text == what


def _known(mapping: Term, source: str) -> Known:
    match mapping:
        case (Atom("mapping"), Text() as key, Text() as target, list() as properties):
            datatypes: tuple[Datatype, ...] = ()
            validators: list[str] = []
            for prop in properties:
                match prop:
                    case (Atom("datatype"), list() as several):
                        datatypes = tuple(_datatype(one) for one in several)
                    case (Atom("datatype"), one):
                        datatypes = (_datatype(one),)
                    case (Atom("validators"), list() as names):
                        validators += [str(name) for name in names if isinstance(name, Text)]
            # What has no datatype is a string: cuttlefish's own default.
            return Known(
                str(key),
                str(target),
                datatypes or (Datatype("string"),),
                tuple(validators),
                source,
            )
    raise BrokenTerm("this mapping has other parts than a key, a target and properties", 0)


def _datatype(value: Term) -> Datatype:
    match value:
        case Atom():
            if value == "flag":
                return Datatype("flag", ("on", "off"))
            return Datatype(str(value))
        case (Atom("enum"), list() as choices):
            return Datatype("enum", tuple(_choice(choice) for choice in choices))
        case (Atom("flag"), on, off):
            return Datatype("flag", (_choice(on), _choice(off)))
        case (Atom("duration"), Atom() as unit):
            return Datatype("duration", unit=str(unit))
        case (Atom() as name, Atom() | Text() | int() | float() as exactly):
            return Datatype(str(name), (str(exactly),))
    return Datatype("unknown")


def _choice(value: Term) -> str:
    match value:
        case (first, _):  # {"spelling", value}
            return _choice(first)
        case _:
            return str(value)
