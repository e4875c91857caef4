"""A daemon for `warrener top`: it answers each operation by its name, with figures that move on.

with Daemon(folder, Figures()) as daemon:
    ...
    daemon.figures.messages += 100
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from warrener.control import history_operations as past
from warrener.control import operations as ops
from warrener.control import wire
from warrener.control.lock import Lock
from warrener.control.plan_history_operations import PlanWorkAnswer
from warrener.control.state_folder import StateFolder, listen
from warrener.control.traffic_operations import TrafficAnswer, TrafficLine
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import QueueView

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))
NODES = (N1, N2, N3)
GIB = 1024**3


def node(name: NodeName, **changes: Any) -> ops.NodeStatus:
    whole = {
        "name": name,
        "state": NodeState.RUNNING,
        "running": True,
        "pid": 4711,
        "host": "127.0.0.1",
        "amqp_port": 5673,
        "management_port": 15673,
        "prometheus_port": 0,
        "version": "3.10.8",
        "erlang_version": "25.2.3",
        "uptime": 11_520.0,
        "memory_used": 412 * 1024**2,
        "memory_limit": 3 * GIB,
        "disk_free": 51 * GIB,
        "disk_free_limit": 50_000_000,
        "alarms": (),
        "being_drained": False,
        "leaders": 2,
        "sessions": 4,
        "sessions_total": 40,
        "weight": 100,
        "fit": True,
        "unfit_reason": None,
        "unfit_detail": "",
        "bytes_in": 0,
        "bytes_out": 0,
    }
    return ops.NodeStatus(**(whole | changes))


def queue(number: int, **changes: Any) -> QueueView:
    whole = {
        "vhost": "/",
        "name": f"orders-{number:04}",
        "type": "quorum",
        "leader": NODES[number % 3],
        "members": NODES,
        "online": NODES,
        "state": "running",
        "messages": number,
        "messages_ready": number,
        "consumers": 2,
    }
    return QueueView(**(whole | changes))


def session(number: int, **changes: Any) -> ops.SessionLine:
    whole = {
        "id": number,
        "client": f"10.20.30.{number % 250}:{40_000 + number}",
        "user": "shop",
        "vhost": "/",
        "name": f"worker-{number}",
        "node": NODES[number % 3],
        "state": "open",
        "channels": 2,
        "age": 10_000.0 - number,
        "bytes_in": 0,
        "bytes_out": 0,
        "published": 0,
        "delivered": 0,
        "links": (NODES[number % 3],),
    }
    return ops.SessionLine(**(whole | changes))


def event(number: int, **changes: Any) -> ops.EventLine:
    whole = {
        "number": number,
        "at": 1_764_200_000.0 + number,
        "kind": "node.unfit",
        "subject": "n2@localhost",
        "reason": "refuses",
        "detail": {"error": "connection refused"},
    }
    return ops.EventLine(**(whole | changes))


def status(**changes: Any) -> ops.StatusAnswer:
    whole = {
        "phase": ops.Phase.RUNNING,
        "cluster": "warren",
        "version": "0.1.0",
        "pid": 99,
        "state_folder": "/somewhere",
        "uptime": 11_520.0,
        "nodes": [node(name) for name in NODES],
        "balancer": balancer(),
        "queues": [queue(number) for number in range(6)],
        "management": ops.ViewStatus(source=N1, taken_at=1.0, age=1.0, error=""),
    }
    return ops.StatusAnswer(**(whole | changes))


def balancer(**changes: Any) -> ops.BalancerStatus:
    whole = {
        "host": "127.0.0.1",
        "port": 5672,
        "pid": 99,
        "policy": PolicyName.LEASTCONN,
        "locality": True,
        "fit_nodes": 3,
        "sessions": 12,
        "sessions_total": 40,
        "sessions_ended": {},
        "rejected_total": 0,
        "bytes_in": 0,
        "bytes_out": 0,
        "published": 0,
        "delivered": 0,
        "messages_local": 0,
        "messages_remote": 0,
        "data_plane": DataPlane.WARRENER,
    }
    return ops.BalancerStatus(**(whole | changes))


DRAINED = {
    "being_drained": True,
    "fit": False,
    "unfit_reason": Unfit.DRAINED,
    "sessions": 0,
    "leaders": 0,
}


def history(queues: list[QueueView]) -> past.HistoryAnswer:
    def figure(mean: float) -> past.FigureLine:
        return past.FigureLine(mean=mean, min=mean, max=mean)

    return past.HistoryAnswer(
        since=0.0,
        until=30.0,
        seconds=30.0,
        samples=3,
        source="warrener",
        nodes=[
            past.HistoryNodeLine(
                node=name,
                host="localhost",
                running=True,
                cpu=figure(0.25),
                memory_used=None,
                memory_limit=0,
                sessions=figure(4),
                published=0,
                delivered=0,
            )
            for name in NODES
        ],
        queues=[
            past.HistoryQueueLine(
                vhost=view.vhost,
                name=view.name,
                type=view.type,
                leader=view.leader,
                members=view.members,
                published=figure(len(view.name) + view.messages),
                delivered=figure(view.messages),
                acked=figure(view.messages),
                ready=figure(0),
                unacked=figure(0),
                consumers=1,
                prefetch=0,
                body=0,
                body_from="unknown",
                service_time=None,
                service_from="",
                entering={},
                leaving={},
            )
            for view in queues
        ],
        queues_total=len(queues),
        rest=past.HistoryRestLine(queues=0, published=0, delivered=0, acked=0, ready=0, unacked=0),
        hosts=[],
        balancer=None,
        warnings=[],
    )


@dataclass
class Figures:
    """What the daemon says. ``messages`` so far, of each node and each session, in and out."""

    status: ops.StatusAnswer = field(default_factory=status)
    sessions: list[ops.SessionLine] = field(
        default_factory=lambda: [session(number) for number in range(1, 13)]
    )
    events: list[ops.EventLine] = field(
        default_factory=lambda: [event(number) for number in range(1, 41)]
    )
    messages: int = 0
    answers: dict[str, msgspec.Struct | wire.Refused] = field(default_factory=dict)
    steps: dict[str, list[ops.ProgressLine]] = field(default_factory=dict)
    go_on: threading.Event = field(default_factory=threading.Event)

    def answer(self, operation: str, request: Any) -> msgspec.Struct:
        if operation in self.answers:
            found = self.answers[operation]
            if isinstance(found, wire.Refused):
                raise found
            return found
        done = self.messages
        match operation:
            case "status":
                whole = self.status
                return msgspec.structs.replace(
                    whole,
                    balancer=whole.balancer
                    and msgspec.structs.replace(
                        whole.balancer,
                        published=3 * done,
                        delivered=3 * done,
                        messages_local=3 * done,
                        messages_remote=done,
                    ),
                    nodes=[
                        msgspec.structs.replace(one, bytes_in=100 * done, bytes_out=100 * done)
                        for one in whole.nodes
                    ],
                    queues=whole.queues if request.queues else [],
                )
            case "traffic":
                return TrafficAnswer(
                    nodes=[
                        TrafficLine(
                            node=one.name,
                            channels=8,
                            in_local=done,
                            out_local=done // 2,
                            out_remote=done - done // 2,
                        )
                        for one in self.status.nodes
                    ]
                )
            case "history":
                return history(self.status.queues)
            case "sessions":
                lines = [
                    msgspec.structs.replace(
                        line, published=done, delivered=2 * done, messages_local=done
                    )
                    for line in self.sessions[: request.limit]
                ]
                return ops.SessionsAnswer(total=len(self.sessions), sessions=lines)
            case "events":
                return ops.EventsAnswer(sent=0, missed=0)
            case "plan-work":  # costs: nobody knows
                return PlanWorkAnswer(
                    since=0.0,
                    seconds=60.0,
                    cluster="warren",
                    version="3.10.8",
                    hosts={},
                    cores={},
                    shares={},
                    stretches=[],
                    left_out={},
                    told_by_nodes=False,
                )
        raise AssertionError(f"nobody said what {operation} answers")


class Daemon:
    """Serves any number of connections, until the end of the ``with``. ``asked`` has what was asked
    for, as name and request."""

    def __init__(self, folder: StateFolder, figures: Figures) -> None:
        self.figures = figures
        self.asked: list[tuple[str, Any]] = []
        self.hung_up = threading.Event()
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._streams: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._stack.enter_context(Lock(self._folder.lock, now=0.0))
        listener = self._stack.enter_context(listen(self._folder.socket))
        listener.settimeout(None)
        threads = [threading.Thread(target=self._accept, args=(listener,), daemon=True)]
        threads[0].start()
        self._stack.callback(lambda: [self._end(stream) for stream in self._streams])
        self._stack.callback(lambda: listener.shutdown(socket.SHUT_RDWR))
        self._threads = threads
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for thread in self._threads:
            thread.join(10)

    @staticmethod
    def _end(stream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            self._streams.append(stream)
            thread = threading.Thread(target=self._serve, args=(stream,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, stream: socket.socket) -> None:
        with stream, contextlib.suppress(OSError), stream.makefile("rb") as lines:
            for line in lines:
                operation, request = wire.decode_request(line)
                self.asked.append((operation.name, request))
                for answer in self._answers(operation.name, request, stream):
                    stream.sendall(answer)

    def _answers(self, name: str, request: Any, stream: socket.socket) -> Iterator[bytes]:
        for step in self.figures.steps.get(name, []):
            yield wire.encode_answer(wire.AnswerKind.STREAM, step)
        if self.figures.steps.get(name):
            # As an operation that takes its time: until it may go on, or is called off.
            stream.settimeout(0.02)
            while not self.figures.go_on.is_set():
                with contextlib.suppress(TimeoutError):
                    if not stream.recv(1):
                        self.hung_up.set()
                        yield wire.encode_refusal(
                            wire.Refused(wire.Refusal.CALLED_OFF, "called off: undone")
                        )
                        return
            stream.settimeout(None)
        if name == "events":
            for line in self.figures.events[-request.last :] if request.last else []:
                yield wire.encode_answer(wire.AnswerKind.STREAM, line)
        try:
            yield wire.encode_answer(wire.AnswerKind.ANSWER, self.figures.answer(name, request))
        except wire.Refused as refused:
            yield wire.encode_refusal(refused)


def many(queues: int, sessions: int) -> Figures:
    """A large cluster."""
    whole = status(queues=[queue(number) for number in range(queues)])
    return Figures(
        status=msgspec.structs.replace(
            whole, balancer=msgspec.structs.replace(whole.balancer, sessions=sessions)
        ),
        sessions=[session(number) for number in range(1, sessions + 1)],
    )


def wait_until(true: Any, what: str, patience: float = 10.0) -> None:
    """Polls; for what another thread does."""
    deadline = time.monotonic() + patience
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {patience} s: {what}")
        time.sleep(0.01)
