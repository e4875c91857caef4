"""Finding RabbitMQ and Erlang in made-up file trees."""

from pathlib import Path

import pytest

from warrener.cluster.drivers.installation import find_installation, release
from warrener.cluster.errors import ErlangMissing, RabbitMQMissing, UnknownPlugin


def touch(path: Path, *, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    path.chmod(mode)
    return path


def make_rabbitmq(folder: Path, version: str = "3.10.8", suffix: str = "") -> Path:
    root = folder / f"rabbitmq_server-{version}"
    touch(root / "sbin" / "rabbitmq-server", mode=0o755)
    names = [f"rabbit-{version}", f"rabbit_common-{version}", f"rabbitmq_shovel-{version}"]
    for name in [*names, "ra-2.2.0"]:
        (root / "plugins" / f"{name}{suffix}").mkdir(parents=True)
    touch(root / "plugins" / "README")
    return root


@pytest.fixture
def erlang(tmp_path: Path) -> str:
    """A PATH with an Erlang on it, laid out as Debian does: a link into the runtime."""
    runtime = tmp_path / "erlang"
    touch(runtime / "bin" / "erl", mode=0o755)
    touch(runtime / "erts-13.1.5" / "bin" / "epmd", mode=0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "erl").symlink_to(runtime / "bin" / "erl")
    return str(tmp_path / "bin")


def test_the_newest_of_those_installed(tmp_path: Path, erlang: str) -> None:
    for version in ("3.9.27", "3.10.8", "3.10.7"):
        make_rabbitmq(tmp_path / "lib", version)
    found = find_installation(None, erlang, searched=[tmp_path / "none", tmp_path / "lib"])
    assert found.root == tmp_path / "lib" / "rabbitmq_server-3.10.8"
    assert (found.version, found.release) == ("3.10.8", (3, 10))
    assert found.server == found.root / "sbin" / "rabbitmq-server"
    assert found.erl == Path(erlang) / "erl"
    assert found.epmd == tmp_path / "erlang" / "erts-13.1.5" / "bin" / "epmd"
    assert found.path.startswith(f"{erlang}:")


@pytest.mark.parametrize("inside", [".", "sbin", "sbin/rabbitmq-server", ".."])
def test_an_installation_may_be_named_in_several_ways(
    tmp_path: Path, erlang: str, inside: str
) -> None:
    root = make_rabbitmq(tmp_path / "opt", "4.1.0-rc.2", suffix=".ez")
    found = find_installation(root / inside, erlang)
    assert (found.root, found.version, found.release) == (root, "4.1.0-rc.2", (4, 1))


def test_what_is_named_is_taken_even_if_another_is_installed(tmp_path: Path, erlang: str) -> None:
    root = make_rabbitmq(tmp_path / "opt", "4.1.0")
    make_rabbitmq(tmp_path / "lib", "3.10.8")
    found = find_installation(root, erlang, searched=[tmp_path / "lib"])
    assert found.version == "4.1.0"


def test_not_installed(tmp_path: Path, erlang: str) -> None:
    with pytest.raises(RabbitMQMissing) as caught:
        find_installation(None, erlang, searched=[tmp_path])
    assert "apt-get install --no-install-recommends rabbitmq-server" in str(caught.value)
    assert "rabbitmq = " in str(caught.value)


def test_not_where_the_file_says(tmp_path: Path, erlang: str) -> None:
    with pytest.raises(RabbitMQMissing, match=f"no RabbitMQ in {tmp_path}/x: it does not exist"):
        find_installation(tmp_path / "x", erlang)
    make_rabbitmq(tmp_path / "x" / "deeper")
    with pytest.raises(RabbitMQMissing, match="it has no sbin/rabbitmq-server"):
        find_installation(tmp_path / "x", erlang)


def test_an_incomplete_installation(tmp_path: Path, erlang: str) -> None:
    root = make_rabbitmq(tmp_path)
    (root / "plugins" / "rabbit-3.10.8").rmdir()
    with pytest.raises(RabbitMQMissing, match="no plugins/rabbit-VERSION"):
        find_installation(root, erlang)


def test_without_erlang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warrener.cluster.drivers.installation.PATH", str(tmp_path / "nothing"))
    root = make_rabbitmq(tmp_path)
    with pytest.raises(ErlangMissing, match="no Erlang") as caught:
        find_installation(root, str(tmp_path))
    assert "apt-get install" in str(caught.value)


def test_without_epmd(tmp_path: Path, erlang: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warrener.cluster.drivers.installation.PATH", str(tmp_path / "nothing"))
    (tmp_path / "erlang" / "erts-13.1.5" / "bin" / "epmd").unlink()
    with pytest.raises(ErlangMissing, match="not epmd"):
        find_installation(make_rabbitmq(tmp_path), erlang)


def test_plugins(tmp_path: Path, erlang: str) -> None:
    found = find_installation(make_rabbitmq(tmp_path), erlang)
    assert found.plugins() == ("ra", "rabbit", "rabbit_common", "rabbitmq_shovel")
    found.check_plugins(["rabbitmq_shovel"])
    with pytest.raises(UnknownPlugin) as caught:
        found.check_plugins(["rabbitmq_shovle", "zzz", "rabbitmq_shovel"])
    assert "no plugin rabbitmq_shovle (did you mean rabbitmq_shovel?), zzz;" in str(caught.value)


@pytest.mark.parametrize(
    ("version", "parts"),
    [("3.10.8", (3, 10)), ("4.1.0-rc.2", (4, 1)), ("4.3", (4, 3)), ("", (0, 0)), ("x", (0, 0))],
)
def test_release(version: str, parts: tuple[int, int]) -> None:
    assert release(version) == parts
