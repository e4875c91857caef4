"""`warrener telemetry grafana`: dashboards, written as files or sent to a Grafana."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from warrener.cli.common import BAD_INPUT, CliError, JsonOption, err, print_json, say, shown

if TYPE_CHECKING:
    import ssl

    from warrener.telemetry.grafana_push import Result

TOKEN: Final = "GRAFANA_TOKEN"  # noqa: S105  # an environment variable's name
MOST_TOKEN: Final = 4096
"""Bytes of a token's file; Grafana's have some 50."""

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def grafana(
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write files there; it is made if need be."),
    ] = None,
    installed: Annotated[
        str,
        typer.Option(
            "--installed-at",
            metavar="PATH",
            help="Where Grafana finds DIR, if it isn't there on its host.",
            show_default="DIR",
        ),
    ] = "",
    prometheus: Annotated[
        str,
        typer.Option(
            "--prometheus", metavar="URL", help="The Prometheus of the data source that is written."
        ),
    ] = "http://localhost:9090",
    interval: Annotated[
        str, typer.Option("--interval", metavar="TIME", help="How often that one scrapes.")
    ] = "15s",
    push: Annotated[
        str, typer.Option("--push", metavar="URL", help="Send the dashboards to this Grafana.")
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="A file with the token of a service account there.",
            show_default=f"${TOKEN}",
        ),
    ] = None,
    into: Annotated[
        str, typer.Option("--folder", metavar="TITLE", help="Grafana's folder for them.")
    ] = "Warrener",
    message: Annotated[
        str, typer.Option("--message", metavar="TEXT", help="For Grafana's list of versions.")
    ] = "",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace dashboards in Grafana that are other than these."
        ),
    ] = False,
    authority: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="What Grafana's certificate is verified with."),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Only look, and say what would be done.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write Grafana dashboards, or send them to a Grafana.

    Five: cluster overview, balancer and sessions, queues and leaders, planner
    (predicted beside measured), drills and events. They ask any Prometheus that
    scrapes Warrener and its nodes with the labels that `warrener telemetry
    prometheus` and `up --with-prometheus` give; no cluster has to run for this.

    With --out there is also what provisions them: a data source and a folder.
    The same options give the same bytes.

    Examples:

      warrener telemetry grafana --out grafana
      warrener telemetry grafana --out grafana --installed-at /etc/grafana/warrener
      GRAFANA_TOKEN=... warrener telemetry grafana --push https://grafana.lan
      warrener telemetry grafana --push https://grafana.lan --token-file token \\
        --dry-run
    """
    if folder is None and not push:
        raise CliError("say where to: --out DIR, --push URL, or both", BAD_INPUT)
    wanted: dict[str, bytes] = {}
    if folder is not None:
        wanted = _files(folder, installed, prometheus, interval)
    if push:
        push = _checked_url("--push", push)
        token = _token(token_file)
        verify = _authority(authority)
    written = _write(folder, wanted, dry) if folder is not None else []
    result = _push(push, token, verify, into, message, overwrite, dry) if push else None
    if as_json:
        print_json(
            {
                "schema": 1,
                "dry_run": dry,
                "folder": os.path.abspath(folder) if folder is not None else None,
                "files": [{"name": name, "action": action} for name, action in written],
                "push": result,
            }
        )
        return
    for name, action in written:
        assert folder is not None
        say(f"{shown(folder / name)}: {action}")
    if folder is not None and not dry:
        say(
            f"Grafana reads them with GF_PATHS_PROVISIONING={os.path.abspath(folder)}/provisioning,"
            f" or with the two files of {shown(folder)}/provisioning put into its own."
        )
    if result is not None:
        _tell(result)


# -- files


def _files(folder: Path, installed: str, prometheus: str, interval: str) -> dict[str, bytes]:
    from warrener.cli.telemetry import seconds
    from warrener.telemetry.dashboards.files import DASHBOARDS, files

    place = installed.rstrip("/") or os.path.abspath(folder)
    if not place.startswith("/"):
        raise CliError(f"--installed-at is an absolute path, not {installed!r}", BAD_INPUT)
    return dict(
        files(
            path=f"{place}/{DASHBOARDS}",
            prometheus=_checked_url("--prometheus", prometheus),
            interval=seconds("--interval", interval),
        )
    )


def _write(folder: Path, wanted: dict[str, bytes], dry: bool) -> list[tuple[str, str]]:
    """What was done about each file, by its name. Nothing is written if one isn't ours."""
    from warrener.cluster.drivers.private_files import write_private

    found = []
    try:
        for name, content in wanted.items():
            path = folder / name
            before = path.read_bytes() if path.exists() else None
            if before is not None and not _ours(name, before):
                raise CliError(
                    f"{shown(path)} isn't one that Warrener wrote. Choose another folder, or "
                    f"move it away"
                )
            found.append(
                (name, "new" if before is None else "unchanged" if before == content else "changed")
            )
        for name, action in found:
            if not dry and action != "unchanged":
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_private(path, wanted[name], mode=0o644)
    except OSError as error:
        raise CliError(f"{error.filename or folder}: {error.strerror}") from None
    return found


def _ours(name: str, content: bytes) -> bool:
    import msgspec

    from warrener.telemetry.dashboards.files import HEAD
    from warrener.telemetry.dashboards.grafana import TAG

    if not name.endswith(".json"):
        return content.startswith(HEAD.encode())
    try:
        document: Any = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return False
    return (
        isinstance(document, dict)
        and document.get("uid") == Path(name).stem
        and TAG in (document.get("tags") or [])
    )


# -- Grafana's API


def _push(
    url: str,
    token: str,
    verify: "ssl.SSLContext | None",
    into: str,
    message: str,
    overwrite: bool,
    dry: bool,
) -> "Result":
    import re

    import msgspec

    from warrener import __version__
    from warrener.cli.progress import ProgressView
    from warrener.telemetry.dashboards.files import FOLDER_UID, dashboards
    from warrener.telemetry.grafana_push import CannotPush, Wish, pushed

    if not into.strip():
        raise CliError("--folder is a title, not empty", BAD_INPUT)
    uid = re.sub(r"[^a-z0-9]+", "-", into.lower()).strip("-")[:40] or FOLDER_UID
    wish = Wish(
        dashboards={key: msgspec.json.decode(text) for key, text in dashboards().items()},
        folder=into,
        folder_uid=uid,
        message=message or f"Warrener {__version__}",
        overwrite=overwrite,
        dry=dry,
    )
    try:
        with ProgressView(begin_with_first=True) as view:
            return pushed(url, token, wish, verify=verify, on_progress=view)
    except CannotPush as error:
        raise CliError(str(error)) from None


def _checked_url(option: str, url: str) -> str:
    """Without a slash at its end."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.query or parts.fragment:
        raise CliError(f"{option} is an address such as https://host:3000, not that", BAD_INPUT)
    if parts.username is not None or parts.password is not None:
        raise CliError(
            f"{option}: no login in an address, others see it in the list of processes", BAD_INPUT
        )
    if option == "--push" and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        err().print(f"{url}: the token goes there unencrypted", markup=False, soft_wrap=True)
    return url.rstrip("/")


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            with file.open("rb") as opened:
                content = opened.read(MOST_TOKEN + 1)
            token = content.decode("ascii").strip()
        except OSError as error:
            raise CliError(f"--token-file: {file}: {error.strerror}", BAD_INPUT) from None
        except UnicodeDecodeError:
            content, token = b"", ""
        if len(content) > MOST_TOKEN:
            token = ""
    else:
        token = os.environ.get(TOKEN, "").strip()
    if not token and file is None:
        raise CliError(
            f"Grafana wants the token of a service account (role Editor): in ${TOKEN}, or in a "
            f"file with --token-file",
            BAD_INPUT,
        )
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        where = f"${TOKEN}" if file is None else str(file)
        raise CliError(f"what is in {where} isn't a token: one line, no spaces", BAD_INPUT)
    return token


def _authority(file: Path | None) -> "ssl.SSLContext | None":
    import ssl

    if file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(file))
    except OSError as error:  # an SSLError is one as well
        raise CliError(f"--ca: {file}: {error.strerror or error}", BAD_INPUT) from None


def _tell(result: "Result") -> None:
    from warrener.telemetry.grafana_push import Action

    words = {Action.CREATE: "made", Action.UPDATE: "replaced", Action.KEEP: "is there already"}
    if result.dry:
        words |= {Action.CREATE: "would be made", Action.UPDATE: "would be replaced"}
    version = f" {result.grafana}" if result.grafana else ""
    say(f"Grafana{version} at {result.url}")
    say(f"folder {result.folder_title}: {words[result.folder]}")
    for one in result.dashboards:
        where = f", {one.url}" if one.url else ""
        number = f", version {one.version}" if one.version else ""
        say(f"{one.title}: {words[one.action]}{number}{where}")
