"""The parts of the SSH driver that need no host."""

from pathlib import Path

import pytest

from warrener.cluster.drivers.private_files import PrivateFiles, Record
from warrener.cluster.drivers.ssh import SshCluster
from warrener.cluster.drivers.ssh_leftovers import mark_on, root_on
from warrener.cluster.drivers.ssh_schema import unpack
from warrener.cluster.errors import HostsNotReady, HostUnreachable, MembersDiffer, UnknownNode
from warrener.cluster.hosts import HostSpec
from warrener.cluster.spec import load_spec
from warrener.facts.ids import NodeName

TOML = """
[ssh]
key = "key"
known_hosts = "known_hosts"
[[node]]
name = "n1"
host = "127.0.0.1"
driver = "ssh"
port = 1
[[node]]
name = "n2"
host = "nowhere.invalid"
driver = "ssh"
"""


def made(folder: Path) -> SshCluster:
    file = folder / "warrener.toml"
    file.write_text(TOML)
    return SshCluster(
        load_spec(file), folder / "state", progress=lambda _: None, on_event=lambda _: None
    )


async def test_what_is_wrong_on_all_hosts_is_told_at_once(tmp_path: Path) -> None:
    cluster = made(tmp_path)
    with pytest.raises(HostsNotReady) as caught:
        await cluster.prepare()
    first, one, two = str(caught.value).splitlines()
    assert first == "the hosts are not ready; nothing was started or changed:"
    assert one.startswith("  n1 (127.0.0.1): the key for n1 (127.0.0.1) is missing")
    assert two.startswith("  n2 (nowhere.invalid): the name nowhere.invalid has no IPv4 address")


async def test_a_node_is_not_moved_to_another_host(tmp_path: Path) -> None:
    cluster = made(tmp_path)
    files = PrivateFiles(tmp_path / "state")
    files.prepare()
    old = HostSpec(NodeName("n1@10.0.0.1"), "10.0.0.1")
    files.write_record(Record(id="x", members=(old.name,), hosts=(old,)))
    with pytest.raises(MembersDiffer, match=r"a node can't be moved to 127\.0\.0\.1"):
        await cluster.prepare()


async def test_a_local_cluster_does_not_get_hosts(tmp_path: Path) -> None:
    cluster = made(tmp_path)
    files = PrivateFiles(tmp_path / "state")
    files.prepare()
    files.write_record(Record(id="x", members=(NodeName("n1@localhost"),)))
    with pytest.raises(MembersDiffer, match="runs on this machine"):
        await cluster.prepare()


async def test_another_node_has_to_have_a_host(tmp_path: Path) -> None:
    cluster = made(tmp_path)
    assert cluster._new_name(NodeName("n2@localhost")) == "n2@nowhere.invalid"
    with pytest.raises(UnknownNode, match=r"no table \[\[node\]\] for n3; add one"):
        cluster._new_name(NodeName("n3@localhost"))
    (tmp_path / "warrener.toml").write_text(
        TOML + '[[node]]\nname = "n3"\nhost = "10.0.0.3"\ndriver = "ssh"\n'
    )
    assert cluster._new_name(NodeName("n3@localhost")) == "n3@10.0.0.3"


def test_a_clusters_folder_and_mark_on_a_host(tmp_path: Path) -> None:
    spec = HostSpec(NodeName("n1@10.0.0.1"), "10.0.0.1")
    assert root_on(spec, "/home/mq", "abc") == Path("/home/mq/.warrener/abc")
    record = Record(id="abc")
    files = PrivateFiles(tmp_path)
    assert mark_on(files, record, "10.0.0.1") == f"{files.mark(record)}@10.0.0.1"


def test_files_of_an_installation_are_unpacked(tmp_path: Path) -> None:
    unpack(b"3 a-1/priv/schema/a.schema\nab\n0 b.ez\n2 c-1/ebin/c.app\n\x00\xff", tmp_path / "3.1")
    plugins = tmp_path / "3.1" / "plugins"
    assert (plugins / "a-1/priv/schema/a.schema").read_bytes() == b"ab\n"
    assert (plugins / "b.ez").read_bytes() == b""
    assert (plugins / "c-1/ebin/c.app").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_a_host_can_not_write_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(HostUnreachable, match="names a file"):
        unpack(f"1 {name}\nx".encode(), tmp_path / "3.1")
