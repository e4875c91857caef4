"""The history from a Prometheus: asked over HTTP, and what goes wrong with that."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.daemon.scene import N1, N2, Scene, ask

from warrener.control.history_operations import HISTORY, HistoryRequest
from warrener.control.wire import Refusal, Refused
from warrener.daemon import history as module
from warrener.facts.balance import ClientWork
from warrener.facts.history import HistorySettings

Answer = Callable[[dict[str, str]], Any]


@asynccontextmanager
async def prometheus(answer: Answer) -> AsyncIterator[str]:
    """``answer`` gets each question's form; a number is an HTTP status."""

    async def handle(request: web.Request) -> web.Response:
        told = answer({key: str(value) for key, value in (await request.post()).items()})
        if isinstance(told, int):
            return web.Response(status=told, text="<html>")
        return web.json_response(told)

    app = web.Application()
    app.router.add_post("/api/v1/query_range", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def success(*series: tuple[dict[str, str], float]) -> dict[str, Any]:
    return {
        "status": "success",
        "data": {
            "resultType": "matrix",
            "result": [
                {"metric": labels, "values": [[at, str(value)] for at in (61, 81, 101)]}
                for labels, value in series
            ],
        },
    }


def scraped(form: dict[str, str]) -> dict[str, Any]:
    """One queue that N1 leads, published to there and at N2."""
    query = form["query"]
    if "identity" in query:
        return success(
            *(
                ({"instance": at, "rabbitmq_node": node, "rabbitmq_cluster": "warren"}, 1)
                for at, node in (("a", N1), ("b", N2))
            )
        )
    if "published" in query:
        labels = {"queue_vhost": "/", "queue": "q"}
        return success(({"instance": "a", **labels}, 30), ({"instance": "b", **labels}, 10))
    if "messages_ready" in query:
        return success(({"instance": "b", "vhost": "/", "queue": "q"}, 4))
    return success()


async def asked(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "FIRST", 3600.0)
    scene = Scene(tmp_path, history=HistorySettings(prometheus=url))
    async with scene.running():
        history = scene.service.history
        await history.sample()
        scene.now += 10
        scene.balancers[0].work = {("/", "q"): ClientWork(5.0, 250)}
        own = await history.sample()
        assert own is not None
        assert own.nodes == ()
        assert [(one.name, one.published, one.worked) for one in own.queues] == [("q", 0, 25)]
        assert own.balancer is not None
        answer = (await ask(scene.folder, HISTORY, HistoryRequest(60)))[0]
        (queue,) = (await history.look(60)).queues
        assert (queue.means.at_work, queue.means.worked) == pytest.approx((0.5, 25))
        return answer


async def test_nodes_and_queues_are_prometheus_and_the_balancer_is_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = []

    def answer(form: dict[str, str]) -> Any:
        forms.append(form)
        return scraped(form)

    async with prometheus(answer) as url:
        found = await asked(tmp_path, url, monkeypatch)
    assert found.source == url
    (queue,) = found.queues
    assert queue.published.mean == pytest.approx(40)
    assert queue.entering == {N1: pytest.approx(0.75)}  # N2 leads it
    assert queue.ready.mean == pytest.approx(4)
    assert found.balancer is not None
    assert {form["step"] for form in forms} == {"15.000"}
    assert float(forms[0]["end"]) - float(forms[0]["start"]) == 45


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: success(), "has to scrape /metrics and /metrics/detailed"),
        (lambda _: {"status": "error", "error": "too many samples"}, "too many samples"),
        (lambda _: 404, "HTTP status 404, and not what Prometheus answers"),
        (lambda _: ["no", "Prometheus"], "is it another service"),
    ],
)
async def test_what_goes_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    async with prometheus(answer) as url:
        with pytest.raises(BaseExceptionGroup) as group:
            await asked(tmp_path, url, monkeypatch)
    refused = group.value.exceptions[0]
    assert isinstance(refused, Refused)
    assert refused.refusal is Refusal.FAILED
    assert words in refused.message


async def test_nobody_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BaseExceptionGroup) as group:
        await asked(tmp_path, "http://127.0.0.1:9", monkeypatch)
    refused = group.value.exceptions[0]
    assert isinstance(refused, Refused)
    assert "http://127.0.0.1:9: no connection" in refused.message
