"""`warrener page`, and the link that `warrener up` prints."""

import json

import msgspec
import pytest
from tests.unit.cli.conftest import Run
from tests.unit.cli.test_inspect import status

from warrener.control.page import page_folder
from warrener.control.state_folder import StateFolder
from warrener.testing.scripted_daemon import answer, scripted_daemon

URL = "http://127.0.0.1:40123/"
LINK = f"{URL}#token=secret-token"


@pytest.fixture
def token(folder: StateFolder) -> None:
    page_folder(folder.path).mkdir()
    (page_folder(folder.path) / "token").write_text("secret-token")


def test_it_prints_the_link(run: Run, folder: StateFolder, token: None) -> None:
    with scripted_daemon(folder, answer(status(page_url=URL))) as requests:
        done = run("page")
    assert (done.code, done.out, done.err) == (0, f"{LINK}\n", "")
    assert "secret-token" not in str(requests)


def test_json_has_the_link_and_its_parts(run: Run, folder: StateFolder, token: None) -> None:
    with scripted_daemon(folder, answer(status(page_url=URL))):
        told = json.loads(run("page", "--json").out)
    assert (told["url"], told["link"]) == (URL, LINK)
    assert told["token_file"].endswith(".warrener/page/token")


def test_it_says_why_there_is_none(run: Run, folder: StateFolder) -> None:
    assert run("page").code == 3
    with scripted_daemon(folder, answer(status())):
        done = run("page")
    assert done.code == 1
    assert "page_not_served" in done.err
    with scripted_daemon(folder, answer(msgspec.structs.replace(status(), page_url=URL))):
        done = run("page")
    assert done.code == 1
    assert "token can't be read" in done.err
