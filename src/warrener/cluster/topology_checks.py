"""What is wrong with the users, virtual hosts, policies and queues of a description, as far as it
takes two keys, a catalogue or the version of RabbitMQ to see.

It works on the document as TOML has it, also where pydantic finds mistakes: so all are told at
once. What is wrong by itself (a number where a text belongs) is left to pydantic.

Regular expressions are RabbitMQ's, that is PCRE as Erlang's ``re`` has it. They are checked with
Python's ``re``, which is close; what only PCRE knows isn't called a mistake.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from warrener.cluster.mistakes import Mistake, dotted, nearest, nearest_place
from warrener.cluster.policy_keys import (
    APPLY_TO,
    OPERATOR_MORE,
    POLICY_KEYS,
    QUEUE_TYPES,
    PolicyKey,
    Release,
    types_for,
)
from warrener.cluster.toml_places import Path as KeyPath
from warrener.cluster.toml_places import Place
from warrener.cluster.topology_file import PASSWORD_ALLOWED, PASSWORD_KEYS, QUEUES_OWN
from warrener.cluster.wanted import DEFAULT_VHOST, DEFAULTS_POLICY, OWN_USER

_PCRE_GROUPS: Final = re.compile(
    r"\(\?(\||R|[+-]?\d|&|C|P>)|\(\*[A-Z]|\\[QEKRhHvVNXGCgkpPeczo]|\[\[:"
)

_EXCHANGE_ONLY: Final = "exchanges"


def mistakes(
    document: Mapping[str, Any], where: Mapping[KeyPath, Place], release: Release | None
) -> list[Mistake]:
    """All of them; ``release`` is RabbitMQ's, None: not known, then nothing is said about it."""
    return _Checks(document, where, release).all()


class _Checks:
    def __init__(
        self, document: Mapping[str, Any], where: Mapping[KeyPath, Place], release: Release | None
    ) -> None:
        self._document = document
        self._where = where
        self._release = release
        self._found: list[Mistake] = []
        names = [row.get("name") for _, row in self._rows("vhost")]
        described = [name for name in names if isinstance(name, str)]
        self._vhosts = list(dict.fromkeys((*described, DEFAULT_VHOST)))

    def all(self) -> list[Mistake]:
        self._vhost_rows()
        self._user_rows()
        self._policy_rows("policy")
        self._policy_rows("operator_policy")
        self._queue_rows()
        self._defaults()
        return self._found

    # -- the sections

    def _vhost_rows(self) -> None:
        self._doubled("vhost", lambda row: row.get("name"), "virtual host")

    def _user_rows(self) -> None:
        self._doubled("user", lambda row: row.get("name"), "user")
        for index, row in self._rows("user"):
            at = ("user", index)
            if row.get("name") == OWN_USER:
                self._say(
                    (*at, "name"), f'"{OWN_USER}" is the user that Warrener itself logs in with',
                    "another name",
                )  # fmt: skip
            self._password((*at, "password"), row.get("password"))
            permissions = row.get("permissions")
            if not isinstance(permissions, dict):
                continue
            for vhost, permission in permissions.items():
                self._known_vhost((*at, "permissions", vhost), vhost)
                if isinstance(permission, dict):
                    for key in ("configure", "write", "read"):
                        self._regex((*at, "permissions", vhost, key), permission.get(key))

    def _policy_rows(self, section: str) -> None:
        operator = section == "operator_policy"
        self._doubled(
            section,
            lambda row: (row.get("vhost", DEFAULT_VHOST), row.get("name")),
            "operator policy" if operator else "policy",
        )
        for index, row in self._rows(section):
            at = (section, index)
            if row.get("name") == DEFAULTS_POLICY and not operator:
                self._say(
                    (*at, "name"), f'"{DEFAULTS_POLICY}" is what [queues] becomes', "another name"
                )
            self._known_vhost((*at, "vhost"), row.get("vhost", DEFAULT_VHOST))
            self._regex((*at, "pattern"), row.get("pattern"))
            apply_to = row.get("apply_to", "queues" if operator else "all")
            self._apply_to((*at, "apply_to"), apply_to, operator)
            definition = row.get("definition")
            if isinstance(definition, dict):
                self._definition((*at, "definition"), definition, apply_to, operator)

    def _queue_rows(self) -> None:
        self._doubled(
            "queue", lambda row: (row.get("vhost", DEFAULT_VHOST), row.get("name")), "queue"
        )
        for index, row in self._rows("queue"):
            self._known_vhost(("queue", index, "vhost"), row.get("vhost", DEFAULT_VHOST))
            arguments = row.get("arguments")
            if isinstance(arguments, dict) and "x-queue-type" in arguments:
                self._say(
                    ("queue", index, "arguments", "x-queue-type"),
                    "the type is given by a key of its own",
                    'type = "quorum"',
                )

    def _defaults(self) -> None:
        table = self._document.get("queues")
        if not isinstance(table, dict):
            return
        kind = table.get("type")
        if kind is not None and kind not in QUEUE_TYPES:
            close = nearest(kind, QUEUE_TYPES) if isinstance(kind, str) else ""
            allowed = ", ".join(f'"{one}"' for one in QUEUE_TYPES)
            self._say(("queues", "type"), f"{_shown(kind)} can't be used", allowed, close)
        if "pattern" in table and not isinstance(table["pattern"], str):
            self._say(
                ("queues", "pattern"), f"{_shown(table['pattern'])} can't be used",
                "a regular expression of names",
            )  # fmt: skip
        self._regex(("queues", "pattern"), table.get("pattern"))
        keys = {key: value for key, value in table.items() if key not in QUEUES_OWN}
        apply_to = {"classic": "classic_queues", "quorum": "quorum_queues", "stream": "streams"}
        wanted = apply_to.get(kind, "queues") if isinstance(kind, str) else "queues"
        self._definition(("queues",), keys, wanted, operator=False, also=QUEUES_OWN)

    # -- what is wrong with a value

    def _password(self, path: KeyPath, given: object) -> None:
        """Unknown keys of a reference; pydantic says the rest."""
        if not isinstance(given, dict) or not given:
            return
        for key in given:
            if key not in PASSWORD_KEYS:
                self._say(
                    (*path, key), "unknown key", PASSWORD_ALLOWED, nearest(key, PASSWORD_KEYS)
                )

    def _definition(
        self,
        path: KeyPath,
        definition: Mapping[str, Any],
        apply_to: object,
        operator: bool,
        also: Sequence[str] = (),
    ) -> None:
        known: list[PolicyKey] = []
        for name, value in definition.items():
            key = POLICY_KEYS.get(name)
            if key is None:
                names = [*also, *POLICY_KEYS]
                self._say(
                    (*path, name), "unknown policy key", ", ".join(names), nearest(name, names)
                )
                continue
            known.append(key)
            if not key.takes(value):
                close = ""
                if isinstance(value, str) and key.choices:
                    close = nearest(value, [word for word in key.choices if isinstance(word, str)])
                self._say((*path, name), f"{_shown(value)} can't be used", key.allowed, close)
            self._version((*path, name), key)
            if operator and not key.operator and not self._at_least(OPERATOR_MORE):
                allowed = ", ".join(one.name for one in POLICY_KEYS.values() if one.operator)
                self._say((*path, name), "operator policies can't have this key", allowed)
        if len(known) == len(definition) and known:
            self._kinds(path, [key.name for key in known], apply_to)

    def _kinds(self, path: KeyPath, names: Sequence[str], apply_to: object) -> None:
        """Whether there is anything that RabbitMQ applies the policy to."""
        one_kind = {"classic_queues": "classic", "quorum_queues": "quorum", "streams": "stream"}
        types = types_for(names)
        exchanges = all(POLICY_KEYS[name].exchanges for name in names)
        if apply_to == _EXCHANGE_ONLY:
            for name in names:
                if not POLICY_KEYS[name].exchanges:
                    self._say((*path, name), "is for queues, and this policy is for exchanges")
        elif isinstance(apply_to, str) and (kind := one_kind.get(apply_to)):
            for name in names:
                if kind not in POLICY_KEYS[name].types:
                    self._say(
                        (*path, name),
                        f"{kind} queues don't know this key, and RabbitMQ would apply none of "
                        f"these to them",
                    )
        elif not types and not (exchanges and apply_to == "all"):
            told = "; ".join(f"{name}: {_kinds_of(POLICY_KEYS[name])}" for name in names)
            self._say(
                path,
                f"no kind of queue knows all of these keys, and RabbitMQ applies a policy whole or "
                f"not at all ({told})",
                "one policy for each kind of queue",
            )

    def _version(self, path: KeyPath, key: PolicyKey) -> None:
        if self._release is None:
            return
        here = _dotted(self._release)
        if self._release < key.since:
            self._say(path, f"needs RabbitMQ {_dotted(key.since)}, and this is {here}")
        elif key.until is not None and self._release >= key.until:
            self._say(path, f"is gone since RabbitMQ {_dotted(key.until)}, and this is {here}")

    def _apply_to(self, path: KeyPath, apply_to: object, operator: bool) -> None:
        if not isinstance(apply_to, str) or apply_to not in APPLY_TO:
            return
        if operator and apply_to == _EXCHANGE_ONLY:
            self._say(path, "operator policies are for queues only", '"queues"')
        since = APPLY_TO[apply_to]
        if self._release is not None and self._release < since:
            self._say(
                path,
                f'"{apply_to}" needs RabbitMQ {_dotted(since)}, and this is '
                f"{_dotted(self._release)}",
                '"queues": RabbitMQ applies a policy only to queues that know all of its keys',
            )

    def _known_vhost(self, path: KeyPath, name: object) -> None:
        if isinstance(name, str) and name not in self._vhosts:
            allowed = ", ".join(f'"{vhost}"' for vhost in self._vhosts)
            self._say(
                path, f'no virtual host "{name}" is described', allowed,
                nearest(name, self._vhosts, cutoff=0.5),
            )  # fmt: skip

    def _regex(self, path: KeyPath, pattern: object) -> None:
        if not isinstance(pattern, str):
            return
        if (why := why_not_regex(pattern)) is not None:
            self._say(path, f"{_shown(pattern)} isn't a regular expression: {why}")

    def _doubled(self, section: str, key: Callable[[Mapping[str, Any]], object], what: str) -> None:
        seen: dict[object, int] = {}
        for index, row in self._rows(section):
            if not isinstance(row.get("name"), str):
                continue
            name = key(row)
            if not isinstance(name, str | tuple) or (
                isinstance(name, tuple) and not all(isinstance(part, str) for part in name)
            ):
                continue
            if name in seen:
                path = (section, index, "name")
                first = nearest_place((section, seen[name], "name"), self._where)
                line = f" (first in line {first.line})" if first else ""
                self._say(path, f'{what} "{row["name"]}" is described twice{line}')
            else:
                seen[name] = index

    # -- telling

    def _say(self, path: KeyPath, text: str, allowed: str = "", close: str = "") -> None:
        place = nearest_place(path, self._where)
        self._found.append(Mistake(dotted(path), text, allowed, close, place))

    def _at_least(self, release: Release) -> bool:
        return self._release is not None and self._release >= release

    def _rows(self, section: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        rows = self._document.get(section)
        if isinstance(rows, list):
            for index, row in enumerate(rows):
                if isinstance(row, dict):
                    yield index, row


def why_not_regex(pattern: str) -> str | None:
    """Why it is no regular expression, None if it is one, or may be: see above."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of constructs that Python may come to read otherwise
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        if _PCRE_GROUPS.search(pattern):
            return None
        return f"{error} (as Python reads it, which is close to RabbitMQ)"
    return None


def _kinds_of(key: PolicyKey) -> str:
    if not key.types:
        return "exchanges only"
    return ", ".join(sorted(key.types))


def _dotted(release: Release) -> str:
    return ".".join(str(part) for part in release)


def _shown(value: object) -> str:
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case str():
            shown = f'"{value}"'
        case _:
            shown = str(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
