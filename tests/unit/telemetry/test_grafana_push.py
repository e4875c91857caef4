"""Dashboards to a server that keeps to Grafana's HTTP API."""

import dataclasses
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.telemetry.grafana_server import TOKEN, VIEWER, FakeGrafana, serving

from warrener.telemetry import grafana_push
from warrener.telemetry.dashboards.files import dashboards
from warrener.telemetry.grafana_push import Action, CannotPush, Result, Wish, pushed

ALL: dict[str, Any] = {uid: msgspec.json.decode(text) for uid, text in dashboards().items()}
WISH = Wish(ALL, "Warrener", "warrener", "a message")


@pytest.fixture
def grafana() -> Iterator[FakeGrafana]:
    with serving() as found:
        yield found
    assert found.wrong == []


def push(grafana: FakeGrafana, token: str = TOKEN, **changes: Any) -> Result:
    return pushed(grafana.url, token, dataclasses.replace(WISH, **changes))


def refused(grafana: FakeGrafana, token: str = TOKEN, **changes: Any) -> str:
    with pytest.raises(CannotPush) as error:
        push(grafana, token, **changes)
    assert token not in str(error.value)
    return str(error.value)


def writes(grafana: FakeGrafana) -> list[str]:
    return [request for request in grafana.requests if request.startswith("POST")]


def test_all_are_made_in_a_folder_that_is_made(grafana: FakeGrafana) -> None:
    result = push(grafana)
    assert (result.grafana, result.folder, result.folder_uid) == (
        "12.1.0", Action.CREATE, "warrener",
    )  # fmt: skip
    assert [one.uid for one in result.dashboards] == list(ALL)
    assert {one.action for one in result.dashboards} == {Action.CREATE}
    assert {one.version for one in result.dashboards} == {1}
    assert result.dashboards[0].url == f"{grafana.url}/d/warrener-overview/x"
    assert set(grafana.folder_of.values()) == {"warrener"}
    assert grafana.messages == ["a message"] * 5
    for uid, kept in grafana.dashboards.items():
        assert {**kept, "id": None, "version": None} == {**ALL[uid], "id": None, "version": None}


def test_the_second_time_nothing_is_written(grafana: FakeGrafana) -> None:
    push(grafana)
    before = writes(grafana)
    result = push(grafana)
    assert {one.action for one in result.dashboards} == {Action.KEEP}
    assert result.folder is Action.KEEP
    assert writes(grafana) == before


def test_what_was_changed_is_only_replaced_when_asked_for(grafana: FakeGrafana) -> None:
    push(grafana)
    before = writes(grafana)
    grafana.dashboards["warrener-planner"]["title"] = "mine"
    del grafana.dashboards["warrener-overview"]
    message = refused(grafana)
    assert "warrener-planner" in message
    assert "--overwrite" in message
    assert "Nothing was written" in message
    assert writes(grafana) == before
    result = push(grafana, overwrite=True)
    assert {one.uid: one.action for one in result.dashboards} == {
        "warrener-overview": Action.CREATE, "warrener-balancer": Action.KEEP,
        "warrener-queues": Action.KEEP, "warrener-planner": Action.UPDATE,
        "warrener-events": Action.KEEP,
    }  # fmt: skip
    assert grafana.dashboards["warrener-planner"]["title"] == ALL["warrener-planner"]["title"]
    assert grafana.dashboards["warrener-planner"]["version"] == 2


def test_a_folder_of_that_title_keeps_its_uid_also_on_the_second_page(
    grafana: FakeGrafana, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grafana_push, "PAGE", 2)
    for number in range(3):
        grafana.folders[f"u{number}"] = {"id": number, "uid": f"u{number}", "title": f"t{number}"}
    grafana.folders["own"] = {"id": 9, "uid": "own", "title": "Warrener"}
    result = push(grafana)
    assert (result.folder, result.folder_uid) == (Action.KEEP, "own")
    assert set(grafana.folder_of.values()) == {"own"}


def test_dashboards_in_another_folder_are_moved_when_asked_for(grafana: FakeGrafana) -> None:
    push(grafana)
    assert "--overwrite" in refused(grafana, folder="Other", folder_uid="other")
    result = push(grafana, folder="Other", folder_uid="other", overwrite=True)
    assert {one.action for one in result.dashboards} == {Action.UPDATE}
    assert set(grafana.folder_of.values()) == {"other"}


def test_a_dry_run_writes_nothing(grafana: FakeGrafana) -> None:
    result = push(grafana, dry=True)
    assert (result.dry, result.folder) == (True, Action.CREATE)
    assert {one.action for one in result.dashboards} == {Action.CREATE}
    assert {one.url for one in result.dashboards} == {""}
    assert writes(grafana) == []


def test_how_far_it_is_told(grafana: FakeGrafana) -> None:
    told: list[tuple[str, bool]] = []
    pushed(
        grafana.url, TOKEN, WISH,
        on_progress=lambda step: told.append((step.subject, step.done)),
    )  # fmt: skip
    assert told[:2] == [("Grafana", False), ("Grafana", True)]
    assert told[2:] == [(uid, done) for uid in ALL for done in (False, True)]


def test_under_a_path() -> None:
    with serving("/grafana") as grafana:
        result = push(grafana)
        assert result.dashboards[0].url == f"{grafana.url}/d/warrener-overview/x"
        grafana.url = grafana.url.removesuffix("/grafana")
        assert "a path such as /grafana" in refused(grafana)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"/api/health": (503, {"database": "failing"})}, "database doesn't work"),
        ({"/api/health": (200, b"<html>")}, "Is that a Grafana"),
        ({"/api/health": (404, b"nginx")}, "not found (404)"),
        ({"/api/health": (302, b"")}, "the token isn't sent there"),
        ({"GET /api/folders": (403, {"message": "no"})}, "(403): no; it takes folders:read"),
        ({"GET /api/folders": (200, {"a": 1})}, "Is that a Grafana"),
        ({"POST /api/folders": (500, {"message": "disk"})}, "failed at making the folder"),
        ({"POST /api/folders": (412, {"message": "exists"})}, "can't be made"),
        ({"/api/dashboards/uid/warrener-queues": (502, b"")}, "Grafana failed at the dashboard"),
        ({"/api/dashboards/db": (400, {"message": "bad"})}, "was refused (400): bad"),
        ({"/api/dashboards/db": (412, {"message": "x", "status": "version-mismatch"})}, "meantime"),
        ({"/api/dashboards/db": (429, {})}, "too many requests"),
        ({"/api/dashboards/db": (200, b"[]")}, "Is that a Grafana"),
    ],
)
def test_refusals_are_told(grafana: FakeGrafana, broken: dict[str, Any], words: str) -> None:
    grafana.broken = broken
    assert words in refused(grafana)
    assert grafana.dashboards == {}


def test_tokens_that_dont_do(grafana: FakeGrafana) -> None:
    assert "doesn't take this token (401): Invalid API key" in refused(grafana, "glsa_wrong")
    message = refused(grafana, VIEWER)
    assert "making the folder Warrener (403)" in message
    assert "folders:create, which the role Editor has" in message


def test_a_folder_that_the_token_doesnt_see(grafana: FakeGrafana) -> None:
    grafana.folders["warrener"] = {"id": 1, "uid": "warrener", "title": "Warrener"}
    grafana.hidden.add("warrener")
    assert "--folder" in refused(grafana)


def test_a_provisioned_dashboard_is_left_to_its_file(grafana: FakeGrafana) -> None:
    push(grafana)
    grafana.provisioned.add("warrener-events")
    assert "provisioned from a file" in refused(grafana, overwrite=True)


def test_what_was_written_before_it_failed_is_told(
    grafana: FakeGrafana, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = grafana._save

    def save(body: Any) -> Any:
        if len(grafana.dashboards) == 2:
            return 500, {"message": "disk full"}
        return real(body)

    monkeypatch.setattr(grafana, "_save", save)
    message = refused(grafana)
    assert "disk full" in message
    assert "written before that: warrener-overview, warrener-balancer" in message
    monkeypatch.undo()
    assert [one.action for one in push(grafana).dashboards] == [Action.KEEP] * 2 + [
        Action.CREATE
    ] * 3


@pytest.mark.parametrize("version", ["9.5.21", "8.0.0"])
def test_a_grafana_that_is_too_old(version: str) -> None:
    with serving(version=version) as grafana:
        assert f"is Grafana {version}; these dashboards are for 10" in refused(grafana)
        assert writes(grafana) == []


@pytest.mark.parametrize("version", ["10.0.0", "13.0.1", ""])
def test_a_grafana_that_will_do_or_doesnt_tell(version: str) -> None:
    with serving(version=version) as grafana:
        assert push(grafana).grafana == version


def test_an_answer_without_end_is_not_read(
    grafana: FakeGrafana, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grafana_push, "MOST", 1024 * 1024)
    grafana.broken = {"/api/health": (200, b" " * 1_100_000)}
    assert "more than 1 MiB" in refused(grafana)


def test_nobody_there() -> None:
    with serving() as grafana:
        pass
    assert "can't be reached: " in refused(grafana)


def test_nobody_answers(grafana: FakeGrafana, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grafana_push, "TIMEOUT", 0.2)
    waiting = threading.Event()
    monkeypatch.setattr(grafana, "answer", lambda *_: (waiting.wait(10), (200, {}))[1])
    try:
        assert "no answer within 0.2 s" in refused(grafana)
    finally:
        waiting.set()


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """For 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "grafana")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "cert.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, private)
    return file, context


def test_tls(tmp_path: Path) -> None:
    file, context = certificate(tmp_path)
    with serving(context=context) as grafana:
        message = refused(grafana)
        assert "its certificate isn't trusted" in message
        assert "--ca FILE" in message
        assert grafana.requests == []
        verify = ssl.create_default_context(cafile=str(file))
        assert len(pushed(grafana.url, TOKEN, WISH, verify=verify).dashboards) == 5
    with serving() as grafana:
        grafana.url = grafana.url.replace("http:", "https:")
        assert "no TLS" in refused(grafana)
