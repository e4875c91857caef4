"""`warrener up` and `warrener down`."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.cli.attach import AttachOption, CaOption, PasswordFileOption, UserOption, wanted
from warrener.cli.common import (
    BAD_INPUT,
    NOT_RUNNING,
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
from warrener.control.lock import Held, Lock, holder_of
from warrener.control.state_folder import NotOurs, StateFolder
from warrener.facts.data_plane import DataPlane

if TYPE_CHECKING:
    from warrener.cli.progress import ProgressView, Step
    from warrener.control.operations import StatusAnswer, UrlAnswer

SPEC_FILE = "warrener.toml"
ATTACHED = "attached"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("up")(up)
    app.command("down")(down)


def up(
    context: typer.Context,
    detach: Annotated[
        bool, typer.Option("-d", "--detach", help="Return once the cluster is ready.")
    ] = False,
    nodes: Annotated[
        int | None,
        typer.Option(
            "--nodes", metavar="N", min=1, help="How many nodes.", show_default="the file's, or 3"
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="What the cluster should be like.",
            show_default=f"{SPEC_FILE} here, if there is one",
        ),
    ] = None,
    data_plane: Annotated[
        str | None,
        typer.Option(
            "--data-plane",
            metavar="PLANE",
            help="Who carries the bytes: warrener, or haproxy.",
            show_default="the file's, or warrener",
        ),
    ] = None,
    prometheus: Annotated[
        bool | None,
        typer.Option(
            "--with-prometheus/--no-prometheus",
            help="Run a Prometheus beside it.",
            show_default="the file's, or no",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="auto",
            help="The balancer's weights follow what nodes can carry.",
            show_default="the file's",
        ),
    ] = None,
    attach: AttachOption = None,
    user: UserOption = None,
    password_file: PasswordFileOption = None,
    ca: CaOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a RabbitMQ cluster and its balancer.

    In the foreground it stays until Ctrl-C, then stops everything. With -d
    it returns when the cluster is ready, and `warrener down` stops it.

    With --attach the cluster is there already, somebody else's: Warrener
    balances, watches and describes it, and `down` leaves it as it is.

    Examples:

      warrener up
      warrener up -d --nodes 5
      warrener up -f staging.toml --state /var/tmp/staging
      warrener up --data-plane haproxy
      warrener up -d --with-prometheus
      warrener up --weights auto
      warrener up -d --attach http://rabbit.example:15672 --user ops
    """
    folder = folder_of(context, state)
    plane = _data_plane(data_plane)
    if weights not in (None, "auto"):
        raise CliError(
            f"--weights takes auto, not {weights!r}; weights by hand stand in {SPEC_FILE}, or are "
            f"set with `warrener balance set-weight`",
            BAD_INPUT,
        )
    if file is None and Path(SPEC_FILE).exists():
        file = Path(SPEC_FILE)
    _refuse_second(folder)
    theirs = wanted(attach, user, password_file, ca, file)
    described = f" as {shown(file)} says" if file else ""
    if theirs is None:
        what = "Starting a RabbitMQ cluster"
    else:
        what = f"Attaching to the RabbitMQ cluster at {', '.join(theirs[0].urls)}"
    err().print(
        f"{what}{described}; its state is in {shown(folder.path)}",
        markup=False,
        soft_wrap=True,
    )
    from warrener.cli.progress import ProgressView
    from warrener.daemon.options import Options

    options = Options(
        folder.path,
        file,
        nodes,
        data_plane=plane,
        auto_weights=weights is not None,
        prometheus=prometheus,
    )
    if theirs is not None:
        options = replace(options, attach=theirs[0], password=theirs[1])
    if detach:
        from warrener.daemon.launch import launch

        with ProgressView() as view:
            status, url = launch(options, view)
        _show_ready(folder, status, url, as_json=as_json, detached=True)
    else:
        from warrener.daemon.run import run

        with ProgressView() as view:
            terminal = _Foreground(view, folder, as_json=as_json)
            run(options, terminal)
            terminal.view.close()
        if theirs is not None:
            err().print("Detached: the cluster goes on as it was.")
        else:
            err().print("Stopped; nothing is left running. The data is kept.")


def _data_plane(typed: str | None) -> DataPlane | None:
    if typed is None:
        return None
    try:
        return DataPlane(typed)
    except ValueError:
        known = " and ".join(DataPlane)
        raise CliError(f"no data plane {typed!r}; there are {known}", BAD_INPUT) from None


class _Foreground:
    """Shows a daemon that runs in this process: start, ready, stop."""

    def __init__(self, view: "ProgressView", folder: StateFolder, *, as_json: bool) -> None:
        self.view = view
        self._folder = folder
        self._as_json = as_json
        self._shown_ready = False

    def progress(self, progress: "Step") -> None:
        self.view(progress)

    def ready(self, status: "StatusAnswer", url: "UrlAnswer") -> None:
        from warrener.cli.progress import ProgressView

        self.view.close()
        _show_ready(self._folder, status, url, as_json=self._as_json, detached=False)
        self.view = ProgressView(begin_with_first=True)


def _refuse_second(folder: StateFolder) -> None:
    holder = holder_of(folder.lock)
    if holder is None:
        return
    from warrener.control.client import Client, NotRunning, Unresponsive
    from warrener.control.operations import URL, UrlRequest
    from warrener.control.wire import BadLine, Refused
    from warrener.daemon.attached import is_attached

    try:
        with Client.connect(folder) as client:
            url = client.call(URL, UrlRequest())
            given = is_attached(folder.path)  # not our password to show
            where = f"at amqp://{url.host}:{url.port}" if given else f"at {url.url}"
    except NotRunning:
        return  # it ended just now
    except Refused as refused:
        where = f"but not ready: {refused.message}"
    except (Unresponsive, BadLine) as error:
        where = f"but {error}"
    raise CliError(
        f"a cluster is running already in {shown(folder.path)} (daemon: process {holder.pid}), "
        f"{where}. `{with_state(folder, 'warrener down')}` stops it; `--state DIR` starts another "
        f"one beside it"
    )


def _show_ready(
    folder: StateFolder, status: "StatusAnswer", url: "UrlAnswer", *, as_json: bool, detached: bool
) -> None:
    attached = status.driver == ATTACHED
    # Whose password it is, `warrener url` tells: one that was given isn't shown by the way.
    address = f"amqp://{url.host}:{url.port}" if attached else url.url
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(status) | {"url": address})
        return
    from warrener.cli.render import endpoints

    console = out()
    console.print()
    console.print(endpoints(status.nodes, status.tls))
    console.print()
    console.print(f"[bold]{address}[/]", soft_wrap=True)
    if status.page_url:
        console.print(f"Page: {_page_link(folder, status.page_url)}", soft_wrap=True, markup=False)
    if status.prometheus_url:
        console.print(f"Prometheus: {status.prometheus_url}", soft_wrap=True, markup=False)
    console.print()
    if detached:
        console.print(
            f"{with_state(folder, 'warrener status')} shows how it is, "
            f"{with_state(folder, 'warrener down')} "
            + ("detaches: the cluster goes on." if attached else "stops it."),
            soft_wrap=True,
            markup=False,
        )
    else:
        console.print(
            f"Ctrl-C {'detaches' if attached else 'stops it all'}. "
            f"{with_state(folder, 'warrener status')}, in another terminal, shows how it is.",
            soft_wrap=True,
            markup=False,
        )


def _page_link(folder: StateFolder, url: str) -> str:
    from warrener.control.page import page_link

    try:
        return page_link(folder.path, url)
    except OSError:
        return url  # it asks for the token then


def down(
    context: typer.Context,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also remove the cluster's data and logs.")
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop the cluster and its balancer, and wait until everything is gone.

    Clients get a connection.close first. The data is kept for the next `up`,
    unless --purge, which ends the nodes by force since nobody needs it any more.
    Also stops what a daemon left that was killed.

    A cluster that `up --attach` stands before is only let go of.

    With nothing running the exit code is 3; --purge then still removes data
    that is there (exit code 0).

    Examples:

      warrener down
      warrener down --purge
    """
    folder = folder_of(context, state)
    if purge and folder.path.exists() and not folder.is_ours():
        raise CliError(
            f"{shown(folder.path)} is not a Warrener state folder, so nothing in it was stopped "
            f"or removed",
            BAD_INPUT,
        )
    from warrener.cli.progress import ProgressView
    from warrener.daemon.attached import is_attached
    from warrener.daemon.halt import Halted, halt
    from warrener.daemon.wiring import stop_leftovers

    began = time.monotonic()
    attached = is_attached(folder.path)
    with ProgressView(begin_with_first=True) as view:
        halted = halt(folder, view, stop_leftovers, discard=purge)
    purged = purge and folder.is_ours()
    if purged:
        _purge(folder)
    if halted is Halted.NOTHING and not purged:
        raise CliError(f"no cluster is running in {shown(folder.path)}", NOT_RUNNING)
    seconds = time.monotonic() - began
    if as_json:
        print_json(
            {
                "stopped": halted is not Halted.NOTHING,
                "found": halted.value,
                "purged": purged,
                "state_folder": str(folder.path),
                "seconds": round(seconds, 3),
            }
        )
        return
    stopped = "Nothing was running." if halted is Halted.NOTHING else f"Stopped in {seconds:.1f} s."
    kept = f"Removed {shown(folder.path)}." if purged else f"The data is in {shown(folder.path)}."
    if attached:
        kept = "The cluster goes on as it was." + f" {kept}" * purged
    out().print(f"{stopped} {kept}", markup=False, soft_wrap=True)


def _purge(folder: StateFolder) -> None:
    from warrener.daemon.wiring import remove_from_hosts

    try:
        with Lock(folder.lock, now=time.time()):
            remove_from_hosts(folder.path)
            folder.purge()
    except Held as held:
        raise CliError(
            f"another `warrener up` (process {held.holder.pid}) began in {shown(folder.path)} "
            f"meanwhile; nothing was removed"
        ) from None
    except NotOurs as error:
        raise CliError(str(error), BAD_INPUT) from None
    except OSError as error:
        raise CliError(f"removing {shown(folder.path)} failed halfway: {error}") from None
