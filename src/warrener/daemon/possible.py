"""What an operation needs of the driver, asked before anything of it is done.

The driver says what it lacks and why (``facts.capability``); this is the one place that says which
operation needs what.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from warrener.control.backup_operations import BACKUP, RESTORE
from warrener.control.config_operations import SET_CONFIG
from warrener.control.count_operations import LEADERS_SPREAD
from warrener.control.describe_operations import APPLY, DIFF
from warrener.control.leaders_operations import LeadersPlanRequest
from warrener.control.node_operations import (
    ADD_NODE,
    REMOVE_NODE,
    REPLACE_NODE,
    START_APP,
    STOP_APP,
)
from warrener.control.operations import LEADERS_BALANCE, LEADERS_PLAN, RESTART
from warrener.control.upgrade_operations import UPGRADE
from warrener.control.wire import Refusal, Refused
from warrener.daemon.control_server import Call, Handler
from warrener.facts.capability import Can, Capabilities, Impossible

NEEDS: Final[Mapping[str, Can]] = {
    ADD_NODE.name: Can.ADD_NODE,
    REMOVE_NODE.name: Can.REMOVE_NODE,
    REPLACE_NODE.name: Can.REPLACE_NODE,
    RESTART.name: Can.RESTART_NODE,
    STOP_APP.name: Can.STOP_APP,
    START_APP.name: Can.START_APP,
    SET_CONFIG.name: Can.CONFIGURE,
    LEADERS_PLAN.name: Can.MOVE_LEADERS,
    LEADERS_BALANCE.name: Can.MOVE_LEADERS,
    LEADERS_SPREAD.name: Can.COUNT_LEADERS,
    UPGRADE.name: Can.UPGRADE,
    BACKUP.name: Can.DESCRIBE,
    RESTORE.name: Can.DESCRIBE,
    DIFF.name: Can.DESCRIBE,
    APPLY.name: Can.DESCRIBE,
}


def guarded(
    handlers: Mapping[str, Handler], capabilities: Callable[[], Capabilities]
) -> dict[str, Handler]:
    """The same handlers; those that need something refuse if the driver lacks it."""
    return {
        name: _guarded(handler, NEEDS[name], capabilities) if name in NEEDS else handler
        for name, handler in handlers.items()
    }


def _guarded(handler: Handler, can: Can, capabilities: Callable[[], Capabilities]) -> Handler:
    async def ask(request: Any, call: Call) -> Any:
        only_looks = isinstance(request, LeadersPlanRequest) and request.dry_run
        if not only_looks:
            try:
                capabilities().need(can)
            except Impossible as impossible:
                raise Refused(Refusal.UNSUPPORTED, str(impossible)) from None
        return await handler(request, call)

    return ask
