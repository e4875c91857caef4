"""The registry: every operation once, under its own name, with types msgspec can decode."""

import importlib
import pkgutil

import msgspec
import pytest

from warrener import control
from warrener.control.operations import Operation
from warrener.control.registry import OPERATIONS


def test_every_operation_of_every_module_is_registered_under_its_name() -> None:
    declared = {
        id(value): value
        for found in pkgutil.iter_modules(control.__path__, "warrener.control.")
        for value in vars(importlib.import_module(found.name)).values()
        if isinstance(value, Operation)
    }
    assert len(declared) == len(OPERATIONS)
    assert all(OPERATIONS[one.name] is one for one in declared.values())


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_types_have_a_schema_and_requests_refuse_unknown_fields(operation: Operation) -> None:
    for kind in (operation.request, operation.answer, operation.streams):
        if kind is not None:
            assert msgspec.json.schema(kind)
            assert kind.__struct_config__.frozen
    assert operation.request.__struct_config__.forbid_unknown_fields
