"""The calibration that is kept in a cluster's state folder: ``calibration.json``, mode 0600.

The file has a number for its form; one that is newer than this Warrener knows is refused, not
guessed at. It is replaced as a whole, so a reader finds the old one or the new one.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from warrener.planner.costs import Calibration

FILE: Final = "calibration.json"
SCHEMA: Final = 1
MAX_FILE: Final = 1024 * 1024
"""Bytes; it has a few thousand."""


class BrokenCalibration(Exception):
    """The file is there and can't be used; the text says which, why, and what to do."""


class _Head(msgspec.Struct, frozen=True):
    schema: int


class _Document(msgspec.Struct, frozen=True):
    schema: int
    calibration: Calibration


def encode_calibration(calibration: Calibration) -> bytes:
    """The file's contents; what ``--json`` prints."""
    return msgspec.json.format(msgspec.json.encode(_Document(SCHEMA, calibration)), indent=2)


def decode_calibration(raw: bytes, where: str) -> Calibration:
    """The opposite; ``where`` is for the error. Raises BrokenCalibration."""
    again = "`warrener plan calibrate` measures anew"
    try:
        schema = msgspec.json.decode(raw, type=_Head).schema
        if schema != SCHEMA:
            raise BrokenCalibration(
                f"{where} has form {schema}, and this Warrener knows {SCHEMA}; {again}"
            )
        return msgspec.json.decode(raw, type=_Document).calibration
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenCalibration(f"{where} can't be read: {error}; {again}") from None


def read_calibration(state_folder: Path) -> Calibration | None:
    """The one that is kept, None if there is none. Raises BrokenCalibration."""
    path = state_folder / FILE
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BrokenCalibration(f"{path} can't be read: {error.strerror}") from None
    if len(raw) > MAX_FILE:
        raise BrokenCalibration(f"{path} is longer than {MAX_FILE:,} bytes: not a calibration")
    return decode_calibration(raw, str(path))


def write_calibration(state_folder: Path, calibration: Calibration) -> None:
    """Keeps it in place of the last one. OSError."""
    new = state_folder / f"{FILE}.new"
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(encode_calibration(calibration) + b"\n")
    new.replace(state_folder / FILE)
