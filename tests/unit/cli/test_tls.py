"""`warrener tls` against a scripted daemon."""

import json
import stat
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run

from warrener.control import operations as ops
from warrener.control import tls_operations as to
from warrener.control.state_folder import StateFolder
from warrener.testing.scripted_daemon import answer, scripted_daemon


def line(whose: str, what: str = "certificate", **changes: object) -> to.CertificateLine:
    values = {
        "whose": whose, "what": what, "subject": f"CN={whose}", "issuer": "CN=a CA",
        "names": ("localhost",), "begins_at": 0.0, "ends_at": 1_800_000_000.0, "sha256": "AB:CD",
        "file": "f", "made": True, "warning": "",
    }  # fmt: skip
    return to.CertificateLine(**(values | changes))  # type: ignore[arg-type]


SHOWN = to.TlsShowAnswer(
    enabled=True,
    parts={"clients": True, "links": True, "management": False, "inter_node": True},
    min_version="1.2",
    verify_clients=True,
    own=False,
    phase="both_trusted",
    ca="/s/tls/ca.pem",
    certificates=[line("cluster", "CA"), line("n1", warning="expires in 3 days, on 2027-01-15")],
)


def test_show(run: Run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(SHOWN)):
        done = run("tls", "show")
    assert done.code == 0
    assert "clients on, links on, management off, inter-node on" in done.out
    assert "Clients verify with /s/tls/ca.pem" in done.out
    assert "Clients have to show a certificate." in done.out
    assert "both are trusted" in done.out
    assert "sha256 AB:CD" in done.out
    assert "the certificate of n1 expires in 3 days" in done.err


def test_fingerprints_are_no_emoji(run: Run, folder: StateFolder) -> None:
    """``:AB:`` is one to Rich."""
    shown = to.TlsShowAnswer(
        **{
            **{name: getattr(SHOWN, name) for name in SHOWN.__struct_fields__},
            "certificates": [line("n1", sha256="A5:AB:EC:A0")],
        }
    )
    with scripted_daemon(folder, answer(shown)):
        assert "A5:AB:EC:A0" in run("tls", "show").out


def test_show_as_json(run: Run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(SHOWN)):
        done = run("tls", "show", "--json")
    assert json.loads(done.out)["certificates"][1]["sha256"] == "AB:CD"
    assert "expires in 3 days" in done.err


@pytest.mark.parametrize(
    ("phase", "options", "text"),
    [
        ("steady", (), "n1 certificate: BB"),
        ("both_trusted", ("--ca",), "Give /s/tls/ca.pem, which holds both, to every client"),
        ("steady", ("--ca",), "The old CA is dropped"),
    ],
)
def test_rotate(
    run: Run, folder: StateFolder, phase: str, options: tuple[str, ...], text: str
) -> None:
    done_ = to.TlsRotateAnswer(
        phase=phase, ca="/s/tls/ca.pem", own=False, changed={"n1 certificate": ("AA", "BB")},
        seconds=1.0,
    )  # fmt: skip
    with scripted_daemon(folder, answer(done_)):
        done = run("tls", "rotate", *options)
    assert (done.code, text in done.out) == (0, True), done.out + done.err


def test_issue_writes_a_private_key(run: Run, folder: StateFolder, tmp_path: Path) -> None:
    made = to.TlsIssueAnswer(certificate="C", key="K", ca="A")
    with scripted_daemon(folder, answer(made)):
        done = run("tls", "issue", "orders", "--to", "there")
    assert done.code == 0
    key = tmp_path / "there" / "orders.key"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("K", 0o600)
    assert (tmp_path / "there" / "ca.pem").read_text() == "A"
    assert "K" not in done.out.replace("Wrote", "").split()


def test_a_url_for_pika(run: Run, folder: StateFolder) -> None:
    given = ops.UrlAnswer(
        url="amqps://u:p@127.0.0.1:5671/%2F?cacertfile=/a&cafile=/a", host="127.0.0.1", port=5671,
        user="u", password="p", vhost="/", ca="/a",
    )  # fmt: skip
    with scripted_daemon(folder, answer(given), answer(given)):
        plain, done = run("url").out, run("url", "--pika").out
    assert plain.strip() == given.url
    assert done.startswith("amqps://u:p@127.0.0.1:5671/%2F?ssl_options=")
    assert "cacertfile" not in done
