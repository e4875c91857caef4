"""`warrener tls`: the cluster's certificates."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.cli.common import (
    CliError,
    JsonOption,
    StateOption,
    err,
    folder_of,
    out,
    print_json,
    shown,
    with_state,
)
from warrener.cli.long import ask
from warrener.control.client import Client
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.control.tls_operations import CertificateLine, TlsRotateAnswer, TlsShowAnswer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Show and renew the cluster's certificates.",
)


@app.command("show")
def show(context: typer.Context, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show which connections speak TLS, and every certificate.

    What it is for, who issued it, until when, and its SHA-256 fingerprint. It
    warns of what expires within 30 days. Certificates that the cluster made
    are renewed by themselves when a third of their life is left; yours are
    not.

    Examples:

      warrener tls show
      warrener tls show --json | jq '.certificates[] | {whose, ends_at, sha256}'
    """
    from warrener.control.tls_operations import TLS_SHOW, TlsShowRequest

    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(TLS_SHOW, TlsShowRequest())
    if as_json:
        print_json(answer)
    else:
        _show(answer)
    for line in answer.certificates:
        if line.warning:
            err().print(
                f"warrener: the {line.what} of {line.whose} {line.warning}",
                markup=False,
                soft_wrap=True,
            )


@app.command("rotate")
def rotate(
    context: typer.Context,
    authority: Annotated[
        bool, typer.Option("--ca", help="The next phase of a new CA, instead of certificates.")
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make new certificates and use them, without a restart; no client is disconnected.

    Connections that are open keep the certificate they began with. Where the
    certificate is yours (ca, certificate and key under \\[tls]), your files are
    read again: put the new ones there first.

    With --ca the cluster's CA is replaced, in two phases. The first one makes
    a new CA and trusts both; ca.pem then holds both, and is to be given to
    every client. Said again, the second one makes new certificates by the
    new CA and drops the old one: clients that know only the old one can't
    connect from then on.

    Examples:

      warrener tls rotate
      warrener tls rotate --ca
    """
    from warrener.control.tls_operations import TLS_ROTATE, TlsRotateRequest

    folder = folder_of(context, state)
    answer = ask(folder, TLS_ROTATE, TlsRotateRequest(authority))
    if as_json:
        print_json(answer)
    else:
        _rotated(answer, folder, authority=authority)


@app.command("issue")
def issue(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the files go.")] = Path(),
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a certificate for a client, where the balancer asks for one (verify_clients).

    It writes NAME.pem, NAME.key and ca.pem. The key is kept nowhere else. Who
    the client is, RabbitMQ still decides by user and password.

    Examples:

      warrener tls issue orders --to /etc/orders
    """
    from warrener.control.tls_operations import TLS_ISSUE, TlsIssueRequest

    with Client.connect(folder_of(context, state)) as client:
        answer = client.call(TLS_ISSUE, TlsIssueRequest(name))
    files = {f"{name}.key": answer.key, f"{name}.pem": answer.certificate, "ca.pem": answer.ca}
    try:
        to.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            _write(to / file, text)
    except OSError as error:
        raise CliError(f"{shown(to)} can't be written: {error}") from None
    if as_json:
        print_json({"files": [str(to / file) for file in files]})
    else:
        out().print(f"Wrote {', '.join(shown(to / file) for file in files)}.", markup=False)


def _write(path: Path, text: str) -> None:
    """A key is private from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600 if path.suffix == ".key" else 0o644, exist_ok=False)
    path.write_text(text)


def _show(answer: "TlsShowAnswer") -> None:
    from rich.markup import escape

    from warrener.cli.render import new_table

    console = out()
    if not answer.enabled:
        console.print("Without TLS. \\[tls] with enabled = true in warrener.toml turns it on.")
        return
    parts = ", ".join(
        f"{name.replace('_', '-')} {'on' if on else '[yellow]off[/]'}"
        for name, on in answer.parts.items()
    )
    console.print(f"TLS {answer.min_version} or newer: {parts}", soft_wrap=True)
    if answer.verify_clients:
        console.print("Clients have to show a certificate.")
    if answer.phase == "both_trusted":
        console.print("[yellow]The CA is being replaced:[/] both are trusted.")
    console.print(f"Clients verify with {escape(answer.ca)}", soft_wrap=True)
    console.print()
    table = new_table("whose", "what", "until", "renewed", "subject", "names")
    for line in answer.certificates:
        table.add_row(
            escape(line.whose),
            escape(line.what),
            _until(line),
            "by itself" if line.made and "CA" not in line.what else "by hand",
            escape(line.subject),
            escape(", ".join(line.names) or "-"),
        )
    console.print(table)
    console.print()
    for line in answer.certificates:
        console.print(
            f"{escape(line.whose)} {escape(line.what)}: issued by {escape(line.issuer)}\n"
            f"  sha256 {line.sha256}",
            soft_wrap=True,
            emoji=False,  # ``:AB:`` is one
        )


def _until(line: "CertificateLine") -> str:
    day = datetime.fromtimestamp(line.ends_at).astimezone().strftime("%Y-%m-%d")
    return f"[red]{day}[/]" if line.warning else day


def _rotated(answer: "TlsRotateAnswer", folder: StateFolder, *, authority: bool) -> None:
    console = out()
    for whose, (_, after) in answer.changed.items():
        console.print(f"{whose}: {after}", markup=False, soft_wrap=True)
    if not authority:
        return
    if answer.phase == "both_trusted":
        console.print(
            f"Both CAs are trusted. Give {shown(Path(answer.ca))}, which holds both, to every "
            f"client; then `{with_state(folder, 'warrener tls rotate --ca')}` again makes new "
            f"certificates and drops the old CA.",
            markup=False,
            soft_wrap=True,
        )
    else:
        console.print(
            "The old CA is dropped. Clients that know only that one can't connect any more.",
            markup=False,
            soft_wrap=True,
        )
