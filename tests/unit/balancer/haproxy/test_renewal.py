"""New certificates are given in order, looked for afterwards, and given again until they are there.
``test_balancer`` has it with a HAProxy."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from warrener.balancer.haproxy.renewal import Renewal
from warrener.balancer.haproxy.runtime_api import NoAnswer, RuntimeApi
from warrener.balancer.haproxy.tls import HaproxyTls
from warrener.cluster.tls.certificates import make_authority


class Api(RuntimeApi):
    """Keeps what it is given; ``silent``: it doesn't answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.has: dict[str, bytes] = {}
        self.silent = False
        self.pause = asyncio.Event()
        self.pause.set()

    async def ask(self, question: str) -> str:
        await self.pause.wait()
        if self.silent:
            raise NoAnswer("no answer within 5 s")
        self.asked.append(question)
        if not question.startswith("show"):
            return ""
        found = x509.load_pem_x509_certificates(self.has[question.rsplit(maxsplit=1)[-1]])
        prints = [one.fingerprint(hashes.SHA1()).hex().upper() for one in found]
        return "".join(f"SHA1 FingerPrint: {one}\n" for one in prints)

    async def give(self, command: str, payload: bytes) -> str:
        self.asked.append(command)
        self.has[command.rsplit(maxsplit=1)[-1]] = payload
        return "Transaction created!"


def write(path: Path) -> Path:
    path.write_bytes(make_authority("any", datetime.now(UTC)).pem)
    return path


@pytest.fixture
def tls(tmp_path: Path) -> HaproxyTls:
    return HaproxyTls(write(tmp_path / "shown"), None, write(tmp_path / "trust"), b"any")


async def test_authorities_first_and_each_is_looked_for(tls: HaproxyTls) -> None:
    renewal, api = Renewal(tls), Api()
    assert not renewal.due
    number = renewal.ask()
    assert renewal.due
    await renewal.give(api)
    assert (renewal.tried, renewal.problem, renewal.due) == (number, "", False)
    assert api.asked == [
        f"{verb} ssl {what}"
        for what in ("ca-file trust.pem", "cert certificate.pem")
        for verb in ("abort", "set", "commit", "show")
    ]


async def test_what_is_asked_for_meanwhile_is_given_as_well(
    tls: HaproxyTls, tmp_path: Path
) -> None:
    """Who asks while files are being given can't know which content that was."""
    renewal, api = Renewal(tls), Api()
    first = renewal.ask()
    api.pause.clear()
    giving = asyncio.create_task(renewal.give(api))
    await asyncio.sleep(0)
    second = renewal.ask()
    api.pause.set()
    await giving
    assert first == renewal.tried < second
    assert renewal.due
    write(tmp_path / "shown")
    await renewal.give(api)
    assert (renewal.tried, renewal.due) == (second, False)
    assert api.has["certificate.pem"] == (tmp_path / "shown").read_bytes()


async def test_silence_and_a_file_that_is_gone_leave_it_due(
    tls: HaproxyTls, tmp_path: Path
) -> None:
    renewal, api = Renewal(tls), Api()
    number = renewal.ask()
    api.silent = True
    with pytest.raises(NoAnswer):
        await renewal.give(api)
    assert renewal.tried < number
    api.silent = False
    (tmp_path / "shown").unlink()
    await renewal.give(api)
    assert renewal.tried == number
    assert renewal.due
    assert "can't be read" in renewal.problem
    write(tmp_path / "shown")
    await renewal.give(api)
    assert not renewal.due


async def test_where_nothing_has_tls_there_is_nothing_to_give() -> None:
    renewal, api = Renewal(HaproxyTls()), Api()
    renewal.ask()
    await renewal.give(api)
    assert (api.asked, renewal.due) == ([], False)
