"""The files that make a Prometheus scrape this cluster, in the folders that somebody asked for.

What is in a folder is written once; its targets, and the authority that nodes are verified with,
follow the cluster. Folders are remembered, so that they are current again after the next start; one
that is gone is forgotten.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from warrener.cluster.drivers.private_files import write_private
from warrener.telemetry import scrape
from warrener.telemetry.rules import HEAD
from warrener.telemetry.scrape import Places

MOST_FOLDERS: Final = 16

_EXPORTS: Final = "exports.json"

log = structlog.get_logger(__name__)


class CannotExport(Exception):
    """Why nothing was written."""


class _Exports(msgspec.Struct, frozen=True):
    folders: list[str] = []


class TelemetryFiles:
    """In ``state``/telemetry: the token, and the list of folders."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "telemetry"
        self.token_file = self.folder / "token"
        self._folders: list[Path] = []
        self.token = ""

    def prepare(self) -> None:
        """Makes the token, the first time. OSError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        try:
            self.token = self.token_file.read_text().strip()
        except FileNotFoundError:
            self.token = ""
        if len(self.token) < 32:
            self.token = secrets.token_urlsafe(32)
            write_private(self.token_file, self.token.encode())
        try:
            found = msgspec.json.decode((self.folder / _EXPORTS).read_bytes(), type=_Exports)
        except (OSError, msgspec.DecodeError):
            found = _Exports()
        self._folders = [Path(folder) for folder in found.folders[:MOST_FOLDERS]]

    @property
    def folders(self) -> list[Path]:
        """Those that are kept current."""
        return list(self._folders)

    def export(
        self, folder: Path, places: Places, *, interval: float, after: float, authority: bytes
    ) -> dict[str, bytes]:
        """Writes everything into ``folder`` and remembers it; what was written. CannotExport."""
        found = scrape.files(
            places, interval=interval, after=after, token=self.token, authority=authority
        )
        known = folder in self._folders
        if not known and len(self._folders) >= MOST_FOLDERS:
            raise CannotExport(
                f"{MOST_FOLDERS} folders are kept current already; remove one of them first"
            )
        self._refuse_others(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder, found)
        except OSError as error:
            raise CannotExport(f"{error.filename or folder}: {error.strerror}") from None
        if not known:
            self._folders.append(folder)
            self._remember()
        return found

    def follow(self, places: Places, authority: bytes) -> None:
        """The targets of all folders, as they are now. A folder that can't be written is left for
        the next time."""
        current = scrape.targets(places)
        if places.tls:
            current[scrape.AUTHORITY] = authority
        gone = [folder for folder in self._folders if not (folder / scrape.CONFIG).exists()]
        for folder in gone:
            log.info("telemetry_folder_gone", folder=str(folder))
            self._folders.remove(folder)
        if gone:
            self._remember()
        for folder in self._folders:
            try:
                _write(folder, current)
            except OSError as error:
                log.warning("telemetry_targets_not_written", folder=str(folder), error=str(error))

    def _refuse_others(self, folder: Path) -> None:
        config = folder / scrape.CONFIG
        try:
            theirs = config.exists() and not config.read_text().startswith(HEAD)
        except (OSError, UnicodeDecodeError) as error:
            raise CannotExport(f"{config} can't be read: {error}") from None
        if theirs:
            raise CannotExport(
                f"{config} isn't one that Warrener wrote; choose another folder, and take over "
                f"into yours what is in it"
            )

    def _remember(self) -> None:
        exports = _Exports([str(folder) for folder in self._folders])
        write_private(self.folder / _EXPORTS, msgspec.json.encode(exports))


def _write(folder: Path, found: Mapping[str, bytes]) -> None:
    """Each file in one step, and only those that differ: Prometheus looks at every change. The
    token is private, the rest may be read by whoever may look into the folder."""
    for name, content in found.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        try:
            if path.read_bytes() == content:
                continue
        except OSError:
            pass
        write_private(path, content, mode=0o600 if name == scrape.TOKEN else 0o644)


def write_all(folder: Path, found: Mapping[str, bytes]) -> None:
    """The same into a folder of the daemon's own, where everything is private. OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    _write(folder, found)
