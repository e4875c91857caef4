"""Where passwords come from, and whether one is the one that RabbitMQ has."""

import hashlib
import os
from base64 import b64encode
from pathlib import Path

import pytest

from warrener.cluster.errors import StateBroken
from warrener.cluster.mistakes import SpecError
from warrener.cluster.password_hash import is_password
from warrener.cluster.passwords import GeneratedPasswords, resolve, warn
from warrener.cluster.spec import parse_spec

TEXT = """
[[user]]
name = "a"
password = { env = "A" }
[[user]]
name = "b"
password = { file = "b.txt" }
[[user]]
name = "c"
password = { generate = true }
[[user]]
name = "d"
password = "plain"
"""
SPEC = parse_spec(TEXT, source="w.toml")


def test_references_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("from-file\n")
    found = resolve(SPEC, TEXT, folder=tmp_path, environment={"A": "from-env"})
    assert found == {"a": "from-env", "b": "from-file"}


def test_all_that_is_missing_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(SPEC, TEXT, folder=tmp_path, environment={})
    assert str(caught.value).splitlines() == [
        "w.toml:4:1: user[0].password: the environment has no A",
        f"w.toml:7:1: user[1].password: {tmp_path}/b.txt can't be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no password in its first line"),
        (b"\nx", "has no password in its first line"),
        (b"a\nb\n", "has more than one line"),
        (b"\xff", "isn't UTF-8 text"),
        (b"x" * 5000, "is too long for a password"),
    ],
)
def test_files_that_hold_no_password(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "b.txt").write_bytes(content)
    with pytest.raises(SpecError, match=why):
        resolve(SPEC, TEXT, folder=tmp_path, environment={"A": "x"})


def test_warnings(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    path.write_text("x")
    path.chmod(0o644)
    told = warn(SPEC, folder=tmp_path, environment={})
    assert [line.split(";")[0] for line in told] == [
        "`warrener apply` will need the password of user a: the environment has no A",
        f"others than you can read {path}",
        "the password of user d stands in the file for all who can read it",
    ]


def test_generated_ones_are_made_once_and_kept_private(tmp_path: Path) -> None:
    kept = GeneratedPasswords(tmp_path)
    assert kept.of("a") is None
    made = kept.make("a")
    assert len(made) >= 20
    assert kept.make("a") == made == GeneratedPasswords(tmp_path).of("a")
    assert kept.make("b") != made
    assert os.stat(kept.path).st_mode & 0o777 == 0o600
    kept.forget("a")
    kept.forget("never was")
    assert kept.of("a") is None
    assert kept.of("b") is not None


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    kept = GeneratedPasswords(tmp_path)
    kept.path.write_text("{")
    with pytest.raises(StateBroken, match="is damaged"):
        kept.of("a")


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_hashes(digest: str) -> None:
    """Salt of four bytes, then the digest of salt and password, in Base64."""
    salt = bytes.fromhex("908DC60A")
    made = hashlib.new(digest, salt + b"test12").digest()
    told = b64encode(salt + made).decode()
    hashing = f"rabbit_password_hashing_{digest}"
    assert is_password("test12", told, hashing)
    assert not is_password("test13", told, hashing)
    assert not is_password("test12", told, "rabbit_password_hashing_md5")
    assert not is_password("test12", "not Base64!", hashing)
    assert not is_password("test12", "", hashing)


def test_a_hash_of_rabbitmqs_guide() -> None:
    """The example in "Computing Password Hash"."""
    told = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    assert is_password("test12", told, "rabbit_password_hashing_sha256")
