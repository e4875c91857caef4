"""The user's own certificate: everything that would only be noticed at the first handshake, or
never, is looked at before anything is started.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from warrener.cluster.tls.certificates import (
    Identity,
    NotReadable,
    certificates_in,
    describe,
    describe_all,
    issued_within,
    key_matches,
)
from warrener.facts.tls import TlsSettings

_MAX_FILE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file. ``key`` is what names the file under [tls]."""

    key: str
    text: str
    fix: str


class _Unusable(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def problems(settings: TlsSettings, now: datetime) -> list[Problem]:
    """What is wrong with the files that ``settings`` names; empty if all can be used."""
    return [] if not settings.enabled else list(_problems(settings, now))


def read_own(settings: TlsSettings) -> tuple[Identity, bytes]:
    """The user's certificate (with what comes after it in its file) and key, and the certificates
    of authorities it leads to. ``problems`` comes first; OSError or NotReadable if the files have
    changed since."""
    assert settings.certificate is not None
    assert settings.key is not None
    assert settings.ca is not None
    identity = Identity(
        certificates_in(settings.certificate.read_bytes()), settings.key.read_bytes()
    )
    return identity, certificates_in(settings.ca.read_bytes())


def _problems(settings: TlsSettings, now: datetime) -> Iterator[Problem]:
    found: dict[str, bytes] = {}
    for key in ("ca", "certificate", "key", "client_ca"):
        path: Path | None = getattr(settings, key)
        if path is None:
            continue
        try:
            found[key] = _read(key, path)
            if key == "key":
                _check_mode(path)
            elif key != "certificate":
                _check_authorities(key, path, found[key], now)
        except _Unusable as unusable:
            found.pop(key, None)
            yield unusable.problem
    if "certificate" not in found:
        return
    try:
        yield from _certificate_problems(settings, found, now)
    except _Unusable as unusable:
        yield unusable.problem


def _certificate_problems(
    settings: TlsSettings, found: dict[str, bytes], now: datetime
) -> Iterator[Problem]:
    pem = found["certificate"]
    try:
        said = describe(pem)
    except NotReadable as error:
        yield Problem(
            "certificate", f"{settings.certificate} {error}", "a certificate as a PEM file"
        )
        return
    if (when := _not_valid(said.begins, said.ends, now)) is not None:
        yield Problem("certificate", f"{settings.certificate} {when}", "one that is valid now")
    if not said.names:
        yield Problem(
            "certificate",
            f"{settings.certificate} names no host (subjectAltName), so no client can verify it",
            "a certificate with the names that clients connect to",
        )
    if "key" in found:
        try:
            matches = key_matches(found["key"], pem)
        except NotReadable as error:
            yield Problem("key", f"{settings.key} {error}", "a PEM file without a password")
        else:
            if not matches:
                yield Problem(
                    "key",
                    f"{settings.key} isn't the key of {settings.certificate}",
                    f"the key of {said.subject}",
                )
    if "ca" in found and not issued_within(pem, found["ca"], now):
        yield Problem(
            "ca",
            f"{settings.certificate} (issued by {said.issuer}) doesn't lead to {settings.ca}",
            "the authority that issued it; authorities in between belong into the certificate's "
            "file, after it",
        )


def _read(key: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise _Unusable(
            Problem(key, f"{path} can't be read: {error.strerror or error}", "a file that is there")
        ) from None
    if len(raw) > _MAX_FILE:
        raise _Unusable(Problem(key, f"{path} is longer than 1 MiB", "a PEM file"))
    return raw


def _check_mode(path: Path) -> None:
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        fix = f"only its owner may read it: chmod 600 {path}"
        raise _Unusable(Problem("key", f"{path} can be read by others (mode {mode:04o})", fix))
    if status.st_uid not in (os.geteuid(), 0):
        raise _Unusable(
            Problem("key", f"{path} belongs to somebody else", "a key that is yours, or root's")
        )


def _check_authorities(key: str, path: Path, pem: bytes, now: datetime) -> None:
    try:
        said = describe_all(pem)
    except NotReadable as error:
        raise _Unusable(
            Problem(key, f"{path} {error}", "certificates of authorities, PEM")
        ) from None
    for one in said:
        if not one.authority:
            text = f"{path}: {one.subject} is no authority (CA:TRUE is missing)"
            raise _Unusable(Problem(key, text, "certificates of authorities, PEM"))
        if (when := _not_valid(one.begins, one.ends, now)) is not None:
            text = f"{path}: {one.subject} {when}"
            raise _Unusable(Problem(key, text, "authorities that are valid now"))


def _not_valid(begins: datetime, ends: datetime, now: datetime) -> str | None:
    if now > ends:
        return f"has expired on {ends:%Y-%m-%d %H:%M} UTC"
    if now < begins:
        return f"is valid from {begins:%Y-%m-%d %H:%M} UTC on only"
    return None
