"""`warrener up --attach`: what is typed, and the password that isn't."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.cli.common import BAD_INPUT, CliError, shown

if TYPE_CHECKING:
    from warrener.cluster.attach import Attach

AttachOption = Annotated[
    list[str] | None,
    typer.Option(
        "--attach",
        metavar="URL",
        help="Stand before a cluster that somebody else runs: its management API, such as "
        "http://HOST:15672. Several times: the next is asked when one is away.",
        show_default=False,
    ),
]
UserOption = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="A user of that cluster's.", show_default=False),
]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="Where that user's password is.",
        show_default="$WARRENER_PASSWORD, or asked for",
    ),
]
CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        help="Certificates that https is checked with.",
        show_default="the system's",
    ),
]


def wanted(
    urls: list[str] | None,
    user: str | None,
    password_file: Path | None,
    ca: Path | None,
    file: Path | None,
) -> "tuple[Attach, str] | None":
    """Whom to attach to and with which password; None if a cluster of one's own is meant. What is
    typed goes before what the file says."""
    if file is None and not (urls or user or password_file or ca):
        return None
    attach = _described(file)
    if not urls and attach is None:
        if user or password_file or ca:
            given = "--user" if user else "--password-file" if password_file else "--ca"
            raise CliError(f"{given} goes with --attach URL", BAD_INPUT)
        return None
    return _merged(attach, urls, user, password_file, ca, file)


def _described(file: Path | None) -> "Attach | None":
    if file is None or not _mentions_attach(file):
        return None
    from warrener.cluster.mistakes import SpecError
    from warrener.cluster.spec import load_spec

    try:
        return load_spec(file).attach
    except SpecError as error:
        raise CliError(str(error), BAD_INPUT) from None


def _mentions_attach(file: Path) -> bool:
    """Whether it is worth parsing here: the daemon does that anyway, and says what is wrong."""
    try:
        return b"attach" in file.read_bytes()
    except OSError:
        return False


def _merged(
    described: "Attach | None",
    urls: list[str] | None,
    user: str | None,
    password_file: Path | None,
    ca: Path | None,
    file: Path | None,
) -> "tuple[Attach, str]":
    from dataclasses import replace

    from warrener.cluster.attach import Attach

    attach = described or Attach(())
    if urls:
        attach = replace(attach, urls=tuple(dict.fromkeys(map(_url, urls))))
    if user:
        if user != attach.user:
            attach = replace(attach, password=None)  # that of somebody else
        attach = replace(attach, user=user)
    if ca:
        attach = replace(attach, ca=ca.absolute())
    if not attach.user:
        raise CliError("whom to log in as isn't said: give --user NAME", BAD_INPUT)
    return attach, _password(attach, password_file, file)


def _url(typed: str) -> str:
    from warrener.cluster.attach import URL_ALLOWED, url_of

    try:
        return url_of(typed)
    except ValueError as error:
        raise CliError(f"--attach: {error}; allowed: {URL_ALLOWED}", BAD_INPUT) from None


def _password(attach: "Attach", password_file: Path | None, file: Path | None) -> str:
    """From --password-file, as the file says, from the environment, or from whoever sits there."""
    from warrener.cluster.attach import PASSWORD_VARIABLE
    from warrener.cluster.mistakes import SpecError
    from warrener.cluster.passwords import password_to_attach, read_password

    if password_file is not None:
        try:
            return read_password(password_file)
        except ValueError as error:
            raise CliError(f"--password-file: {error}", BAD_INPUT) from None
    if attach.password is not None:
        assert file is not None, "only a file refers to a password"
        try:
            found = password_to_attach(
                attach, source=shown(file), folder=file.parent, environment=os.environ
            )
        except SpecError as error:
            raise CliError(str(error), BAD_INPUT) from None
        if found:
            return found
    if found := os.environ.get(PASSWORD_VARIABLE):
        return found
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CliError(
            f"the password of user {attach.user!r} isn't known and nobody can be asked here: give "
            f"--password-file FILE, or set {PASSWORD_VARIABLE}",
            BAD_INPUT,
        )
    import getpass

    try:
        found = getpass.getpass(f"Password of {attach.user}: ", sys.stderr)
    except EOFError:
        found = ""
    if not found:
        raise CliError("no password was given", BAD_INPUT)
    return found
