"""The running clusters that integration tests use, and where they keep pictures.

``cluster`` is one for the whole session, of three nodes; a test that changes it puts it back.
``fresh_cluster`` makes one for a test that kills, freezes or reconfigures. ``place`` runs a test
twice, straight against a node and through the balancer; ``both`` gives both at once.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests import pictures as kept
from tests.integration.support import Place, balancer_place, node_place
from tests.integration.warren import Warren, running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    """Three nodes behind a balancer, for the whole session."""
    with running(tmp_path_factory.mktemp("cluster")) as warren:
        yield warren


@pytest.fixture
def fresh_cluster(tmp_path: Path) -> Callable[..., AbstractContextManager[Warren]]:
    """``with fresh_cluster("--nodes", "1") as warren``: one of the test's own."""

    def make(*options: str) -> AbstractContextManager[Warren]:
        return running(tmp_path / "fresh", *options)

    return make


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WARRENER_SCREENSHOTS, or a folder of pytest's."""
    chosen = os.environ.get(kept.ENVIRONMENT)
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"screenshots are in {folder}")
    return folder


@pytest.fixture(scope="session")
def both(cluster: Warren) -> tuple[Place, Place]:
    """A node's own port, and the balancer's."""
    return node_place(cluster, cluster.status()["nodes"][0]), balancer_place(cluster)


@pytest.fixture(params=["direct", "balancer"])
def place(request: pytest.FixtureRequest, both: tuple[Place, Place]) -> Place:
    """Runs the test once straight against a node and once through the balancer."""
    return both[request.param == "balancer"]
