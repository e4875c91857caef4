"""Which node runs which RabbitMQ, over restarts of the daemon and changes of the description."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from warrener.cluster.drivers.installation import Installation, erlang_version, find_installation
from warrener.cluster.drivers.installations import Installations, candidate
from warrener.cluster.drivers.private_files import Record
from warrener.cluster.errors import ClusterError, RabbitMQMissing
from warrener.facts.ids import NodeName

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))


class Scene:
    """Installations on a disk, and a record that is kept as a file would."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        erl = folder / "erlang" / "bin" / "erl"
        erl.parent.mkdir(parents=True)
        erl.touch(mode=0o755)
        epmd = folder / "erlang" / "erts-13" / "bin" / "epmd"
        epmd.parent.mkdir(parents=True)
        epmd.touch(mode=0o755)
        monkeypatch.setenv("PATH", str(erl.parent))
        self.record = Record(id="x", members=(N1, N2))
        self.old = self.make("old", "3.10.8")

    def make(self, name: str, version: str, *plugins: str) -> Path:
        root = self.folder / name
        (root / "sbin").mkdir(parents=True)
        (root / "sbin" / "rabbitmq-server").touch()
        for plugin in ("rabbit", *plugins):
            (root / "plugins" / f"{plugin}-{version}").mkdir(parents=True)
        return root

    def of(self, described: Path, given: Path | None = None) -> Installations:
        """As a daemon that starts anew has them."""

        def remember(**changes: Any) -> None:
            self.record = msgspec.structs.replace(self.record, **changes)

        def found() -> Installation:
            return find_installation(described, "")

        made = Installations(given, found, lambda: self.record, remember)
        raw = msgspec.json.encode(self.record)
        self.record = made.settled(msgspec.json.decode(raw, type=Record))
        return made

    def give(self, nodes: Installations, name: NodeName, root: Path, *, keep: bool = True) -> None:
        nodes.begin_trial(name, find_installation(root, ""))
        nodes.end_trial(keep=keep)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def roots(nodes: Installations) -> list[str]:
    return [nodes.of(name).root.name for name in (N1, N2)]


def test_all_run_the_described_one_until_one_is_given_another(scene: Scene) -> None:
    nodes = scene.of(scene.old)
    assert roots(nodes) == ["old", "old"]
    new = scene.make("new", "3.11.28")
    scene.give(nodes, N1, new)
    assert roots(nodes) == ["new", "old"]
    assert nodes.common([N1, N2]).root.name == "old"
    assert roots(scene.of(scene.old)) == ["new", "old"]
    scene.give(nodes, N2, new)
    assert nodes.common([N1, N2]).root.name == "new"
    assert nodes.of(N3).root.name == "new"  # one that joins


def test_what_did_not_come_up_is_taken_back(scene: Scene) -> None:
    nodes = scene.of(scene.old)
    scene.give(nodes, N1, scene.make("new", "3.11.28"), keep=False)
    assert roots(nodes) == roots(scene.of(scene.old)) == ["old", "old"]


@pytest.mark.parametrize(("version", "then"), [("3.10.8", "old"), ("3.11.28", "new")])
def test_killed_in_a_trial_the_proven_one_counts_where_the_data_allows_it(
    scene: Scene, version: str, then: str
) -> None:
    nodes = scene.of(scene.old)
    nodes.begin_trial(N1, find_installation(scene.make("new", version), ""))
    again = scene.of(scene.old)
    assert scene.record.trial is None
    assert roots(again) == [then, "old"]


def test_a_description_that_says_something_else_by_now_counts(scene: Scene) -> None:
    new = scene.make("new", "3.11.28")
    nodes = scene.of(scene.old)
    for name in (N1, N2):
        scene.give(nodes, name, new)
    assert roots(scene.of(scene.old)) == ["new", "new"]
    moved = scene.make("moved", "3.11.28")
    assert roots(scene.of(moved, given=moved)) == ["moved", "moved"]
    assert scene.record.installations == {}


def test_an_older_one_is_refused(scene: Scene) -> None:
    nodes = scene.of(scene.old)
    scene.give(nodes, N1, scene.make("new", "3.11.28"))
    with pytest.raises(ClusterError, match=r"n1 was upgraded to RabbitMQ 3\.11\.28 .* go back"):
        scene.of(scene.old, given=scene.old)


def test_one_that_is_gone_is_named(scene: Scene) -> None:
    nodes = scene.of(scene.old)
    new = scene.make("new", "3.11.28")
    scene.give(nodes, N1, new)
    new.rename(scene.folder / "elsewhere")
    with pytest.raises(RabbitMQMissing, match=r"n1 was upgraded to RabbitMQ 3\.11\.28 in .*new"):
        scene.of(scene.old).of(N1)


def test_a_candidate_says_what_it_lacks(scene: Scene) -> None:
    new = scene.make("new", "3.11.28", "rabbitmq_management")
    wanted = frozenset({"rabbitmq_management", "rabbitmq_shovel"})
    _, found = candidate(new, wanted, {"heartbeat": "60"})
    assert (found.version, found.missing_plugins) == ("3.11.28", ("rabbitmq_shovel",))
    assert "heartbeat" in found.wrong_settings[0]  # there is no schema in it
    with pytest.raises(RabbitMQMissing):
        candidate(scene.folder / "nowhere", wanted, {})


def test_erlang_says_its_version_on_the_disk(scene: Scene) -> None:
    erl = scene.folder / "erlang" / "bin" / "erl"
    assert erlang_version(erl) == ""
    for major in ("9", "25"):
        path = scene.folder / "erlang" / "releases" / major / "OTP_VERSION"
        path.parent.mkdir(parents=True)
        path.write_text(f"{major}.2.3\n")
    assert erlang_version(erl) == "25.2.3"
