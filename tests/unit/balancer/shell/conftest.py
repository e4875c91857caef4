"""The shell is tested on uvloop, the loop that the daemon runs on."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """uvloop raises in places where asyncio's own loop only warns."""
    return {"uvloop": uvloop.new_event_loop}
