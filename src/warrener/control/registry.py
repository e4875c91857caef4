"""Every operation there is: the only list of them."""

from collections.abc import Mapping
from typing import Final

import msgspec

from warrener.control import (
    backup_operations,
    balance_operations,
    config_operations,
    count_operations,
    describe_operations,
    history_operations,
    node_operations,
    operations,
    plan_history_operations,
    plan_operations,
    telemetry_operations,
    tls_operations,
    traffic_operations,
    upgrade_operations,
)
from warrener.control.operations import Operation

_MODULES: Final = (
    operations,
    upgrade_operations,
    node_operations,
    describe_operations,
    config_operations,
    backup_operations,
    count_operations,
    tls_operations,
    history_operations,
    plan_operations,
    plan_history_operations,
    balance_operations,
    telemetry_operations,
    traffic_operations,
)

OPERATIONS: Final[Mapping[str, Operation[msgspec.Struct, msgspec.Struct]]] = {
    found.name: found
    for module in _MODULES
    for found in vars(module).values()
    if isinstance(found, Operation)
}
"""By name. What a module calls an ``Operation`` is one."""
