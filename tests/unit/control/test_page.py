"""The link to the page."""

from pathlib import Path

import pytest

from warrener.control.page import page_folder, page_link


def test_the_token_is_in_the_fragment(tmp_path: Path) -> None:
    page_folder(tmp_path).mkdir()
    (page_folder(tmp_path) / "token").write_text("abc\n")
    assert page_link(tmp_path, "http://127.0.0.1:1/") == "http://127.0.0.1:1/#token=abc"


def test_without_a_token_there_is_no_link(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        page_link(tmp_path, "http://127.0.0.1:1/")
