"""HTTPS: the certificate is verified, and by what counts at the time."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from warrener.cluster.tls.certificates import (
    Identity,
    Use,
    Wanted,
    make_authority,
    make_certificate,
)
from warrener.cluster.tls.contexts import client_context, server_context
from warrener.facts.tls import TlsVersion
from warrener.management.client import ManagementClient, Unreachable
from warrener.management.metrics import read_metrics
from warrener.management.verify import Verify, options

NOW = datetime.now(UTC)
AUTHORITY, OTHER = make_authority("a CA", NOW), make_authority("a CA", NOW)


def trusts(authority: Identity, folder: Path) -> ssl.SSLContext:
    (folder / "ca.pem").write_bytes(authority.certificate)
    return client_context(folder / "ca.pem", TlsVersion.V1_2)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """The URL of a server that is n1 and answers everything with a user."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"name": "warrener", "tags": ["administrator"]})

    made = make_certificate(AUTHORITY, Wanted("n1", Use.NODE, ("n1",)), NOW)
    (folder / "n1.pem").write_bytes(made.pem)
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    context = server_context(folder / "n1.pem", TlsVersion.V1_2, None)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_nothing_is_told_where_there_is_no_tls() -> None:
    assert options(None) == {}


async def test_the_name_and_the_authority_have_to_be_right(tmp_path: Path) -> None:
    good, other = trusts(AUTHORITY, tmp_path), trusts(OTHER, tmp_path)
    async with serving(tmp_path) as url:
        async with ManagementClient(url, "u", "p", verify=Verify(lambda: good, "n1")) as client:
            assert (await client.whoami()).name == "warrener"
        assert b"warrener" in await read_metrics(url, [], verify=Verify(lambda: good, "n1"))
        for verify in (Verify(lambda: good, "n2"), Verify(lambda: other, "n1"), None):
            async with ManagementClient(url, "u", "p", verify=verify) as client:
                with pytest.raises(Unreachable, match="its certificate isn't accepted: "):
                    await client.whoami()
            with pytest.raises(Unreachable, match="its certificate isn't accepted: "):
                await read_metrics(url, [], verify=verify)


async def test_what_is_trusted_may_change_while_a_client_is_open(tmp_path: Path) -> None:
    """Between two requests: a CA was replaced."""
    now = [trusts(AUTHORITY, tmp_path)]
    async with (
        serving(tmp_path) as url,
        ManagementClient(url, "u", "p", verify=Verify(lambda: now[-1], "n1")) as client,
    ):
        await client.whoami()
        now.append(trusts(OTHER, tmp_path))
        with pytest.raises(Unreachable, match="its certificate isn't accepted: "):
            await client.whoami()
        now.append(trusts(AUTHORITY, tmp_path))
        await client.whoami()
