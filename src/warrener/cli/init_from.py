"""`warrener init --from FILE` and `--from-cluster`: a warrener.toml of what is there already."""

from pathlib import Path
from typing import TYPE_CHECKING

from warrener.cli.common import BAD_INPUT, CliError, err, shown
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.cluster.backup_file import Document


def text_of(file: Path | None, folder: StateFolder) -> str:
    """What a backup or an export says, or without one the cluster that runs."""
    from warrener.cluster.described import describe

    return describe(_read(file) if file is not None else _ask(folder))


def warn_if_mistaken(text: str, path: Path) -> None:
    """A cluster may have what a description has other rules for: a policy key unknown here, say."""
    from warrener.cluster.drivers import config_check
    from warrener.cluster.mistakes import SpecError
    from warrener.cluster.spec import parse_spec

    try:
        config_check.plug_in()
        parse_spec(text, source=str(path))
    except SpecError as error:
        number = len(error.mistakes)
        err().print(
            f"warrener: {number} thing{'s' * (number > 1)} in it can't be described like that; "
            f"`warrener validate {shown(path)}` names {'them' if number > 1 else 'it'}",
            markup=False,
            soft_wrap=True,
        )


def _read(file: Path) -> "Document":
    from warrener.cluster.backup_file import MAX_FILE, BadBackup, read

    try:
        with file.open("rb") as stream:
            return read(stream.read(MAX_FILE + 1))
    except OSError as error:
        raise CliError(f"{file} can't be read: {error.strerror or error}", BAD_INPUT) from None
    except BadBackup as error:
        raise CliError(f"{file} can't be described: {error}", BAD_INPUT) from None


def _ask(folder: StateFolder) -> "Document":
    from warrener.cli.long import ask
    from warrener.cluster.backup_file import read
    from warrener.control.backup_operations import BACKUP, BackupRequest

    return read(bytes(ask(folder, BACKUP, BackupRequest()).document))
