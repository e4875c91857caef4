"""What users get of ``warrener.models`` and ``warrener.planner`` themselves."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ["warrener.models", "warrener.planner"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_that_of_its_module(package: str) -> None:
    room = import_module(package)
    assert room.__file__ is not None
    tree = ast.parse(Path(room.__file__).read_text())
    typed = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module is not None
        and node.module.startswith(package)
        for alias in node.names
    }
    assert typed == {(f"{package}.{module}", name) for name, module in room._WHERE.items()}
    for name, module in room._WHERE.items():
        assert getattr(room, name) is getattr(import_module(f"{package}.{module}"), name)
        assert not (Path(room.__file__).parent / f"{name}.py").exists(), "it would hide the module"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        room.nothing  # noqa: B018  # it is what is tried


def test_importing_them_brings_in_nothing_large() -> None:
    text = (
        f"import sys, {', '.join(PACKAGES)}; print([m for m in ('scipy', 'numpy') if m in "
        f"sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
