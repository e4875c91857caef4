"""`warrener backup` and `warrener restore`: what a cluster is, in a file, and out of one."""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from warrener.cli.common import (
    BAD_INPUT,
    CliError,
    JsonOption,
    StateOption,
    err,
    folder_of,
    out,
    print_json,
    say,
    shown,
)
from warrener.cli.long import INTERRUPTED, ask
from warrener.cli.options import ReplaceFileOption
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.cluster.backup_file import Document
    from warrener.control.backup_operations import BackupAnswer, RestoreAnswer, RestoreRequest

STDIO: Final = "-"

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The file; `-` is stdin.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)


# -- backup


def backup(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="[FILE]",
            help="Where to; `-` is stdout.",
            show_default="the cluster's name and the time, here",
        ),
    ] = "",
    force: ReplaceFileOption = False,
    with_secrets: Annotated[
        bool,
        typer.Option("--with-secrets", help="Also passwords, as they are. Encrypt the file."),
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what the cluster is into a file: definitions, settings, balancing, warrener.toml.

    Definitions are users, virtual hosts, permissions, policies, exchanges,
    queues, bindings and parameters. The file is for you alone (mode 0600): it
    has the hashes of passwords in it, and the addresses of shovels. It holds no
    messages and nothing of the nodes' data, no TLS keys; without
    --with-secrets also no password that Warrener generated.

    Examples:

      warrener backup
      warrener backup /backups/orders.json --force
      warrener backup --with-secrets - | age -p > orders.age
    """
    from warrener.cluster.backup_file import file_of
    from warrener.control.backup_operations import BACKUP, BackupRequest

    folder = folder_of(context, state)
    if file not in ("", STDIO):  # before the cluster is asked
        _refuse_overwriting(Path(file), force)
    answer = ask(folder, BACKUP, BackupRequest(with_secrets))
    data = file_of(bytes(answer.document))
    if file == STDIO:
        sys.stdout.write(data.decode())
        sys.stdout.flush()
        _warn(answer, with_secrets, "It")
        return
    path = Path(file or _default_name(answer))
    _refuse_overwriting(path, force)
    _write(path, data, force)
    if as_json:
        print_json(
            {
                "path": str(path.absolute()),
                "bytes": len(data),
                "cluster": answer.cluster,
                "created": answer.created,
                "definitions": answer.counts,
                "settings": answer.settings,
                "left_out": answer.left_out,
                "not_held": answer.not_held,
            }
        )
        return
    counted = [f"{number} {kind.replace('_', ' ')}" for kind, number in answer.counts.items()]
    if answer.settings:
        counted.append(f"{answer.settings} settings")
    say(f"Wrote {shown(path)}: {', '.join(counted) or 'no definitions'}")
    say(f"It does not hold: {'; '.join(answer.not_held)}.")
    _warn(answer, with_secrets, shown(path))


def _warn(answer: "BackupAnswer", with_secrets: bool, what: str) -> None:
    for left in answer.left_out:
        _note(f"left out: {left} (--with-secrets takes it along)")
    if with_secrets:
        _note(f"{what} has passwords in it as they are: encrypt it (`age`, `gpg`), or keep it safe")


def _default_name(answer: "BackupAnswer") -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", answer.cluster).strip("-.") or "cluster"
    stamp = answer.created.replace("-", "").replace(":", "")
    return f"{name}-{stamp}.backup.json"


def _refuse_overwriting(path: Path, force: bool) -> None:
    if path.is_dir():
        raise CliError(f"{shown(path)} is a folder; name a file in it", BAD_INPUT)
    if path.exists() and not force:
        raise CliError(
            f"{shown(path)} exists and was left as it is; --force replaces it", BAD_INPUT
        )


def _write(path: Path, data: bytes, force: bool) -> None:
    """The whole file under its name, or nothing; private from its first byte on."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if force:
                new.replace(path)
            else:
                path.hardlink_to(new)  # fails if somebody has made one meanwhile
        finally:
            new.unlink(missing_ok=True)
    except FileExistsError:
        raise CliError(f"{shown(path)} exists by now and was left as it is", BAD_INPUT) from None
    except OSError as error:
        raise CliError(f"{shown(path)} can't be written: {error.strerror or error}") from None


# -- restore


def restore(
    context: typer.Context,
    file: FileArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be made and changed.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Don't ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if it is of a newer RabbitMQ than this one.")
    ] = False,
    toml: Annotated[
        Path | None,
        typer.Option("--toml", metavar="PATH", help="Only write the warrener.toml that is in it."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="S", min=0.1, help="Seconds for each start a setting takes."
        ),
    ] = 120.0,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put back what `warrener backup` kept, or what RabbitMQ exported as definitions.json.

    The steps are shown first. What isn't there is made, what differs is
    changed, nothing is removed. A queue or exchange that was declared otherwise
    stays as it is, and is named (exit code 1). Ctrl-C ends it between two
    batches; run again it goes on from there.

    Examples:

      warrener restore orders-20260801T120000Z.backup.json --dry-run
      warrener restore definitions.json --yes
      warrener restore orders.backup.json --toml warrener.toml
      age -d orders.age | warrener restore - --yes
    """
    from warrener.control.backup_operations import RESTORE, RestoreRequest

    raw = _read(file)
    document = _judge(raw, file)
    if toml is not None:
        _write_toml(document, toml, force, as_json)
        return
    folder = folder_of(context, state)
    if not (yes or dry_run or (file != STDIO and sys.stdin.isatty())):
        raise CliError(
            "nobody can be asked here (no terminal); --yes doesn't ask, --dry-run only shows the "
            "steps",
            BAD_INPUT,
        )
    with _path_for_daemon(folder, file, raw) as path:
        request = RestoreRequest(
            path=str(path),
            digest=hashlib.sha256(raw).hexdigest(),
            dry_run=True,
            force=force,
            timeout=timeout,
        )
        plan = ask(folder, RESTORE, request)
        answer = plan if dry_run else _take(folder, request, plan, yes, as_json)
    _tell(answer, as_json, file)


def _take(
    folder: StateFolder, request: "RestoreRequest", plan: "RestoreAnswer", yes: bool, as_json: bool
) -> "RestoreAnswer":
    import msgspec

    from warrener.cli import render_backup
    from warrener.control.backup_operations import RESTORE

    render_backup.plan(err() if as_json else out(), plan)
    if not plan.steps:
        return msgspec.structs.replace(plan, dry_run=False)
    if not yes and not typer.confirm(f"Take {_steps(len(plan.steps))}?", err=True):
        raise CliError("nothing was changed")
    agreed = msgspec.structs.replace(request, dry_run=False, agreed=plan.fingerprint)
    return ask(folder, RESTORE, agreed)


def _tell(answer: "RestoreAnswer", as_json: bool, file: str) -> None:
    from warrener.cli import render_backup

    if as_json:
        print_json(answer)
    elif answer.dry_run:
        render_backup.plan(out(), answer)
    else:
        render_backup.done(out(), err(), answer)
    if answer.called_off:
        raise CliError(
            f"called off: {_steps(len(answer.steps))} done, {_steps(len(answer.left))} left; the "
            f"same command again goes on from there",
            INTERRUPTED,
        )
    problems = []
    if answer.failed:
        problems.append(f"{_steps(len(answer.failed))} failed")
    if answer.blocked:
        problems.append(f"{_steps(len(answer.blocked))} can't be taken on this cluster")
    if problems and not answer.dry_run:
        raise CliError(f"not all of {file} is back: {', '.join(problems)}, see above")


def _read(file: str) -> bytes:
    from warrener.cluster.backup_file import MAX_FILE

    try:
        if file == STDIO:
            return sys.stdin.buffer.read(MAX_FILE + 1)
        with Path(file).open("rb") as stream:
            return stream.read(MAX_FILE + 1)
    except OSError as error:
        raise CliError(f"{file} can't be read: {error.strerror or error}", BAD_INPUT) from None


def _judge(raw: bytes, file: str) -> "Document":
    from warrener.cluster.backup_file import BadBackup, read

    try:
        return read(raw)
    except BadBackup as error:
        name = "what came on stdin" if file == STDIO else file
        raise CliError(
            f"{name} can't be restored: {error}. Nothing was touched", BAD_INPUT
        ) from None


@contextlib.contextmanager
def _path_for_daemon(folder: StateFolder, file: str, raw: bytes) -> Iterator[Path]:
    """The file itself, or a private copy of what came on stdin while it is needed."""
    if file != STDIO:
        yield Path(file).absolute()
        return
    from warrener.control.client import NotRunning

    if not folder.is_ours():
        raise NotRunning(folder)
    path = folder.path / f"restore-{os.getpid()}.json"
    try:
        _write(path, raw, True)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _write_toml(document: "Document", path: Path, force: bool, as_json: bool) -> None:
    backup = document.backup
    if backup is None or backup.description is None:
        left_out = backup.left_out if backup is not None else []
        why = next((f" ({left})" for left in left_out if "passwords in it" in left), "")
        raise CliError(f"there is no warrener.toml in it{why}")
    _refuse_overwriting(path, force)
    _write(path, backup.description.text.encode(), force)
    if as_json:
        print_json({"path": str(path.absolute()), "source": backup.description.source})
    else:
        say(f"Wrote {shown(path)}, as it was when the backup was made. Nothing else was done.")


def _steps(number: int) -> str:
    return f"{number} step{'' if number == 1 else 's'}"


def _note(text: str) -> None:
    err().print(f"warrener: {text}", markup=False, soft_wrap=True)
