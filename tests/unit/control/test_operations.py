"""The registry: every operation once, under its own name, with types msgspec can decode."""

import msgspec
import pytest

from warrener.control import config_operations, operations
from warrener.control.operations import OPERATIONS, Operation


def test_every_operation_of_the_module_is_registered_under_its_name() -> None:
    declared = [
        value
        for module in (operations, config_operations)
        for value in vars(module).values()
        if isinstance(value, Operation)
    ]
    assert len(declared) == len(OPERATIONS)
    assert all(OPERATIONS[operation.name] is operation for operation in declared)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_types_have_a_schema_and_requests_refuse_unknown_fields(operation: Operation) -> None:
    for kind in (operation.request, operation.answer, operation.streams):
        if kind is not None:
            assert msgspec.json.schema(kind)
            assert kind.__struct_config__.frozen
    assert operation.request.__struct_config__.forbid_unknown_fields
