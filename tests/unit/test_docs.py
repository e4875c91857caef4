"""What docs/ shows of Python runs as it is written."""

import doctest
import json
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_python_api(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one session from top to bottom, from the repository's folder."""
    text = (DOCS / "python-api.md").read_text()
    (tmp_path / "docs").symlink_to(DOCS)
    monkeypatch.chdir(tmp_path)
    found = blocks(text, "pycon")
    assert len(found) == text.count("```pycon") > 10
    test = doctest.DocTestParser().get_doctest("\n".join(found), {}, "python-api.md", None, 0)
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0, capsys.readouterr().out
    assert result.attempted > 50
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_the_examples_for_a_running_cluster_are_python() -> None:
    """They run in tests/integration/test_plan.py."""
    for block in blocks((DOCS / "python-api.md").read_text(), "python"):
        compile(block, "python-api.md", "exec")


def test_the_notebook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells in order, in its folder, as Jupyter would run them."""
    book = json.loads((DOCS / "notebooks" / "planning.ipynb").read_text())
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    monkeypatch.chdir(DOCS / "notebooks")
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for cell in book["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        exec(compile(source, cell["id"], "exec"), names)
        printed.append(capsys.readouterr().out)
        assert cell["outputs"] == []  # none are kept: they would grow old
    text = "".join(printed)
    assert "R = 50 ms, L = 4 messages" in text
    assert "the knee is at 21" in text
    assert "limited by\n  consumers: queue orders -> acked" in text
    assert "without n1@localhost: x" in text
    assert names["drawn"].getvalue().startswith(b"\x89PNG")
