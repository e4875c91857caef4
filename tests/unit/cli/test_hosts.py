"""What is said of hosts before anything is done there."""

from dataclasses import replace
from pathlib import Path

import pytest

from warrener.cli.hosts import tell_what_is_installed, tell_where_hosts_are_judged
from warrener.cluster.drivers.ssh_looks import Seen
from warrener.cluster.hosts import HostSpec
from warrener.cluster.spec import ClusterSpec
from warrener.daemon import wiring
from warrener.facts.ids import NodeName

ONE, TWO = (HostSpec(NodeName(f"n{n}@10.0.0.{n}"), f"10.0.0.{n}") for n in (1, 2))


def test_where_packages_come_to_be_is_told_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def look(spec: ClusterSpec) -> tuple[list[Seen], list[str]]:
        asked.append(spec)
        return [Seen(ONE), Seen(TWO, problems=["gone"], installable=["gone"])], []

    monkeypatch.setattr(wiring, "look_at_hosts", look)
    tell_what_is_installed(ClusterSpec(hosts=(ONE, TWO)))
    assert asked == []  # nothing may be installed, so nobody is asked
    tell_what_is_installed(ClusterSpec(hosts=(ONE, replace(TWO, install=True))))
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith(
        "RabbitMQ is missing on n2 (10.0.0.2): it is installed there first, by `apt-get install"
    )


def test_hosts_are_judged_by_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    tell_where_hosts_are_judged(ClusterSpec(), Path("w.toml"))
    assert capsys.readouterr().err == ""
    tell_where_hosts_are_judged(ClusterSpec(hosts=(ONE,)), Path("w.toml"))
    assert "`warrener doctor -f w.toml` looks whether its hosts are" in capsys.readouterr().err
