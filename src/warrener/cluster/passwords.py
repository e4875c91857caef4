"""The passwords that a description refers to.

References to the environment and to files are resolved by the process that a person runs
(``resolve``): it has that person's environment, and stands where the files are. What is generated
is made and kept by whoever drives the cluster (``GeneratedPasswords``), in one private file of the
state folder.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from warrener.cluster.attach import Attach
from warrener.cluster.drivers.private_files import write_private
from warrener.cluster.errors import StateBroken
from warrener.cluster.mistakes import Mistake, SpecError, nearest_place
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.toml_places import places
from warrener.cluster.wanted import Password, PasswordKind

_BYTES: Final = 20  # 160 bits
_MAX_FILE: Final = 4096
"""Bytes. RabbitMQ takes a password of any length; a file with more isn't one."""


def resolve(
    spec: ClusterSpec, text: str, *, folder: Path, environment: Mapping[str, str]
) -> dict[str, str]:
    """User -> password, for those that come from the environment or from a file.

    ``text`` is the description, for the places of mistakes; relative files start at ``folder``.
    Raises SpecError with everything that is missing.
    """
    found = {}
    mistakes = []
    where = places(text)
    for index, user in enumerate(spec.wanted.users):
        value, problem = _look_up(user.password, folder, environment)
        if problem:
            place = nearest_place(("user", index, "password"), where)
            mistakes.append(Mistake(f"user[{index}].password", problem, place=place))
        elif value is not None:
            found[user.name] = value
    if mistakes:
        raise SpecError(spec.source, mistakes)
    return found


def password_to_attach(
    attach: Attach, *, source: str, folder: Path, environment: Mapping[str, str]
) -> str | None:
    """The password that ``[attach]`` refers to; None if it refers to none. A relative file starts
    at ``folder``. Raises SpecError."""
    if attach.password is None:
        return None
    value, problem = _look_up(attach.password, folder, environment)
    if problem:
        raise SpecError(source, [Mistake("attach.password", problem)])
    return value


def read_password(path: Path) -> str:
    """The first line of a file. ValueError says what is wrong with it."""
    value, problem = _read(path)
    if value is None:
        raise ValueError(problem)
    return value


def _look_up(
    password: Password, folder: Path, environment: Mapping[str, str]
) -> tuple[str | None, str]:
    """The password, and what is wrong; (None, "") where there is nothing to look up."""
    match password.kind:
        case PasswordKind.ENV:
            value = environment.get(password.value)
            if value is None:
                return None, f"the environment has no {password.value}"
            return (value, "") if value else (None, f"{password.value} is empty")
        case PasswordKind.FILE:
            return _read(folder / Path(password.value).expanduser())
        case _:
            return None, ""


def _read(path: Path) -> tuple[str | None, str]:
    """The first line of a file."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except OSError as error:
        return None, f"{path} can't be read: {error.strerror or error}"
    if len(raw) > _MAX_FILE:
        return None, f"{path} is too long for a password: more than {_MAX_FILE:,} bytes"
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return None, f"{path} isn't UTF-8 text"
    if not lines or not lines[0]:
        return None, f"{path} has no password in its first line"
    if any(lines[1:]):
        return None, f"{path} has more than one line"
    return lines[0], ""


def warn(spec: ClusterSpec, *, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """What isn't wrong, but better known before ``apply``."""
    told = []
    for user in spec.wanted.users:
        name, password = user.name, user.password
        if password.kind is PasswordKind.PLAIN:
            told.append(
                f"the password of user {name} stands in the file for all who can read it; "
                f'{{ env = "NAME" }}, {{ file = "PATH" }} and {{ generate = true }} keep it out'
            )
            continue
        _, problem = _look_up(password, folder, environment)
        if problem:
            told.append(f"`warrener apply` will need the password of user {name}: {problem}")
        elif password.kind is PasswordKind.FILE:
            path = folder / Path(password.value).expanduser()
            if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
                told.append(f"others than you can read {path}; chmod 600 makes it private")
    return told


class GeneratedPasswords:
    """The passwords that were made for users with ``{ generate = true }``: a private file of the
    state folder."""

    def __init__(self, state: Path) -> None:
        self.path = state / "passwords.json"

    def of(self, user: str) -> str | None:
        """The password of a user, None if none was made. Raises StateBroken."""
        return self._read().get(user)

    def make(self, user: str) -> str:
        """The password of a user, made now if there is none: it is on disk when this returns."""
        known = self._read()
        if user not in known:
            known[user] = secrets.token_urlsafe(_BYTES)
            write_private(self.path, msgspec.json.encode(known) + b"\n")
        return known[user]

    def keep(self, user: str, password: str) -> None:
        """The password of a user was made elsewhere: by the cluster that a backup is of."""
        known = self._read()
        if known.get(user) != password:
            write_private(self.path, msgspec.json.encode({**known, user: password}) + b"\n")

    def all(self) -> dict[str, str]:
        """Those of all users. Raises StateBroken."""
        return self._read()

    def forget(self, user: str) -> None:
        """The user is gone."""
        known = self._read()
        if known.pop(user, None) is not None:
            write_private(self.path, msgspec.json.encode(known) + b"\n")

    def _read(self) -> dict[str, str]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            return msgspec.json.decode(raw, type=dict[str, str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise StateBroken(
                f"{self.path} is damaged; remove it, and `warrener apply` makes new passwords"
            ) from None
