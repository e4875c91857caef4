"""The attached driver behind the service: what it is made of, what it tells of configuration."""

from pathlib import Path
from typing import Any

import pytest
from tests.unit.cluster.drivers.theirs import Theirs

from warrener.cluster.attach import Attach
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.wanted import Password, PasswordKind
from warrener.control.state_folder import StateFolder
from warrener.daemon.attached import Attached, is_attached, make_attached, refuse_mixed
from warrener.daemon.errors import BAD_INPUT, DaemonError
from warrener.daemon.options import Options
from warrener.facts.ids import NodeName

N1 = NodeName("n1@localhost")


def make(attach: Attach, state: Path, **options: Any) -> Attached:
    spec = ClusterSpec(attach=attach)
    return make_attached(
        spec,
        Options(state, **options),
        state,
        progress=lambda step: None,
        on_event=lambda event: None,
    )


@pytest.mark.parametrize(
    ("attach", "told"),
    [
        (Attach(("http://a",)), "--user NAME"),
        (Attach(("http://a",), "ops"), "--password-file FILE, set WARRENER_PASSWORD"),
        (
            Attach(("http://a",), "ops", Password(PasswordKind.FILE, "none")),
            r"attach.password: .*none can't be read",
        ),
        (Attach(("https://a",), "ops", ca=Path("/none")), "/none can't be used.*PEM"),
    ],
)
def test_what_is_missing_is_named(attach: Attach, told: str, tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match=told) as error:
        make(attach, tmp_path)
    assert error.value.exit_code == BAD_INPUT


def test_a_relative_file_starts_where_the_description_is(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("s3cret")
    attach = Attach(("http://a",), "ops", Password(PasswordKind.FILE, "pw"))
    made = make(attach, tmp_path, file=tmp_path / "w.toml")
    assert made.credentials() == ("ops", "s3cret")


async def test_configuration_as_far_as_the_api_tells(tmp_path: Path) -> None:
    async with Theirs().serving() as urls:
        cluster = make(Attach(tuple(urls), "ops"), tmp_path, password="right")
        await cluster.prepare()
        assert cluster.name == "warren"
        configuration = cluster.configuration
        assert configuration.running() == [N1]
        targets = [known.target for known in configuration.schema.known.values()]
        told = await configuration.values(N1, targets)
        found = {target: value.in_force for target, value in told.values.items()}
        assert found["kernel.net_ticktime"] == "60"
        assert found["rabbit.vm_memory_high_watermark"] == "1000"
        assert found["rabbit.tcp_listeners"] == "5001"
        assert found["rabbit.ssl_listeners"] is None
        assert found["rabbit.cluster_name"] == "warren"
        with pytest.raises(DaemonError, match="somebody else runs"):
            await configuration.apply(N1, targets)
        with pytest.raises(DaemonError, match="somebody else runs"):
            await cluster.restart_node(N1, 1.0)
        await cluster.stop()
    assert is_attached(tmp_path)


async def test_a_folder_that_was_attached_starts_no_cluster_of_its_own(tmp_path: Path) -> None:
    refuse_mixed(ClusterSpec(), StateFolder(tmp_path))
    async with Theirs().serving() as urls:
        cluster = make(Attach(tuple(urls), "ops"), tmp_path, password="right")
        await cluster.prepare()
        await cluster.stop()
    with pytest.raises(DaemonError, match=rf"warrener up --attach {urls[0]} --user ops"):
        refuse_mixed(ClusterSpec(), StateFolder(tmp_path))
    refuse_mixed(ClusterSpec(attach=Attach(tuple(urls))), StateFolder(tmp_path))


async def test_errors_of_the_driver_are_the_daemons(tmp_path: Path) -> None:
    cluster = make(Attach(("http://127.0.0.1:1",), "ops"), tmp_path, password="right")
    with pytest.raises(DaemonError, match="no connection"):
        await cluster.prepare()
    with pytest.raises(DaemonError, match="no member"):
        await cluster.drain_node(N1)
    with pytest.raises(DaemonError, match="no member"):
        await cluster.revive_node(N1)
