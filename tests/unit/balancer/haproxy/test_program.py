"""HAProxy is found, or it is said where it was looked for and what to do."""

from pathlib import Path

import pytest
from tests.unit.balancer.haproxy.fake import program

from warrener.balancer.haproxy import program as module
from warrener.balancer.haproxy.program import HaproxyError, find_program


@pytest.fixture(autouse=True)
def _nothing_of_debians(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WHERE_DEBIAN_PUTS_IT", "")


def test_on_the_path(tmp_path: Path) -> None:
    found = program(tmp_path)
    assert find_program("", f"/nowhere:{tmp_path}") == found


def test_where_the_file_says(tmp_path: Path) -> None:
    found = program(tmp_path)
    assert find_program(found, "/nowhere") == found
    assert find_program("haproxy", str(tmp_path)) == found


def test_not_installed() -> None:
    with pytest.raises(
        HaproxyError, match=r"not installed.*apt-get install.*haproxy.*warrener.toml"
    ):
        find_program("", "/nowhere")


def test_not_where_the_file_says(tmp_path: Path) -> None:
    with pytest.raises(HaproxyError, match=r"no HAProxy: /no/haproxy isn't there; .*\[balancer\]"):
        find_program("/no/haproxy", "")
    with pytest.raises(HaproxyError, match="is a folder, not a program"):
        find_program(str(tmp_path), "")
    plain = tmp_path / "plain"
    plain.write_text("")
    plain.chmod(0o600)
    with pytest.raises(HaproxyError, match="can't be run by this user"):
        find_program(str(plain), "")
