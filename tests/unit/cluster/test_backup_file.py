"""The backup's document: what is written is read, and anything else is refused with the reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.backup_file import (
    FORMAT,
    MAX_FILE,
    Backup,
    BadBackup,
    BalancerPart,
    ClusterPart,
    DescriptionPart,
    checksum,
    encode,
    file_of,
    read,
)

BACKUP = Backup(
    warrener_backup=FORMAT,
    created="2026-11-26T12:00:00Z",
    warrener="0.1.0",
    cluster=ClusterPart(name="orders", rabbitmq="3.10.8", nodes=["n1@localhost"]),
    balancer=BalancerPart(policy="leastconn", weights={"n1@localhost": 100}),
    config={"heartbeat": "33"},
    description=DescriptionPart(source="warrener.toml", text='name = "ördnung"\n'),
    passwords={"app": "s3cret"},
    definitions={"rabbitmq_version": "3.10.8", "users": [], "queues": []},
)


def plain() -> dict[str, Any]:
    found = json.loads(encode(BACKUP))
    assert isinstance(found, dict)
    return found


def test_what_is_written_is_read_however_it_is_laid_out() -> None:
    for raw in (encode(BACKUP), file_of(encode(BACKUP)), json.dumps(plain(), indent=7).encode()):
        document = read(raw)
        assert document.backup is not None
        assert document.backup.config == BACKUP.config
        assert document.backup.description == BACKUP.description
        assert document.definitions.version == "3.10.8"
    shuffled = dict(reversed(plain().items()))
    assert read(json.dumps(shuffled).encode()).backup is not None


def test_rabbitmqs_own_export_is_read() -> None:
    document = read(b'{"rabbit_version":"3.9.1","vhosts":[{"name":"/"}]}')
    assert (document.backup, document.definitions.version) == (None, "3.9.1")


def changed(**changes: Any) -> bytes:
    """With a checksum that is right: the mistake is elsewhere."""
    document = plain() | changes
    return json.dumps(document | {"sha256": checksum(document)}).encode()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (encode(BACKUP)[:-20], "ends in the middle"),
        (b"name = 'toml'", "isn't JSON"),
        (b"\x1f\x8b\x08", "isn't"),
        (b'{"a":"\xff"}', "isn't UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"users":' + b"[" * 100_000, "nested too deeply"),
        (b"[1]", "JSON, but not an object"),
        (b'{"some":"thing"}', "neither a backup of Warrener's nor an export"),
        (b'{"users":7}', "users is not a list"),
        (b'{"warrener_backup":"x"}', "is no number"),
        (b'{"warrener_backup":true}', "is no number"),
        (b'{"warrener_backup":99,"warrener":"9.1"}', "of version 99, made by Warrener 9.1"),
        (b'{"warrener_backup":1}', "damaged or was changed"),
        (encode(BACKUP).replace(b'"33"', b'"34"'), "damaged or was changed"),
        (changed(balancer=7), "isn't as backups are"),
        (changed(definitions={"users": [7]}), "definitions aren't RabbitMQ's: users[0]"),
    ],
)
def test_anything_else_is_refused_with_the_reason(raw: bytes, text: str) -> None:
    with pytest.raises(BadBackup) as error:
        read(raw)
    assert text in str(error.value)


def test_a_file_without_end_is_not_decoded() -> None:
    with pytest.raises(BadBackup, match="longer than 32 MiB"):
        read(b" " * (MAX_FILE + 1))


def test_passwords_are_not_in_its_repr() -> None:
    assert "s3cret" not in repr(BACKUP)
    assert "s3cret" not in repr(read(encode(BACKUP)))


@given(st.binary(max_size=40), st.integers(0, 400))
def test_bytes_that_were_changed_are_refused_or_mean_the_same(noise: bytes, at: int) -> None:
    raw = encode(BACKUP)
    try:
        document = read(raw[:at] + noise + raw[at + len(noise) :])
    except BadBackup:
        return
    assert document.backup is not None
    assert encode(document.backup) == raw
