"""What TLS costs: the same load over four paths, side by side, round after round.

    python -m warrener.bench.tls_cost --rounds 5 --seconds 3

One queue, one publisher with confirms, one consumer, each on a connection of its own. All paths
end at the node that leads the queue, so that none has a head start by locality. A cluster without
TLS is measured in the same way afterwards; a ratio between the two is one between medians, for they
can't run side by side. Beside the rate stands what the process in between (Warrener's daemon,
HAProxy) used: microseconds of CPU a message, publish, confirm, delivery and ack together. That
figure depends less on what else the machine does.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil

from warrener.bench.haproxy import find_haproxy, free_ports
from warrener.bench.job import measure
from warrener.bench.load import Flow, LoadResult, LoadSpec
from warrener.bench.say import say
from warrener.bench.stand import Stand, temporary_stand
from warrener.bench.topology import declare
from warrener.bench.wire import BenchError, Target, connect

KINDS: Final = ("classic", "quorum")
WITH_TLS: Final = "[tls]\n[balancer]\nplain = true\n"
_START: Final = 10.0  # s


def main() -> None:
    """Measures, and prints medians and ratios; ``--json`` also every sample."""
    parser = argparse.ArgumentParser(description="What TLS costs, side by side.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--body", type=int, default=100, help="bytes of a message")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    options = parser.parse_args()
    samples: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    for title, description in (("tls", WITH_TLS), ("plain", "")):
        with temporary_stand(3, description) as stand, _paths(stand) as paths:
            for number in range(options.rounds):
                for kind in KINDS:
                    for path, target in _turned(paths(kind), number).items():
                        name = f"{kind} {title} {path}"
                        pid = paths.pids.get(path)
                        before = _cpu(pid)
                        done = _run(f"{title}-{kind}", target, options.seconds, options.body)
                        used = (_cpu(pid) - before) / done.published * 1e6
                        samples.setdefault(name, []).append(done.rate)
                        cpu.setdefault(name, []).append(used)
                        say(f"round {number + 1}: {name}: {done.rate:,.0f} msg/s, {used:.1f} us")
    for name, found in samples.items():
        say(
            f"{name}: median {statistics.median(found):,.0f} msg/s of {len(found)}; "
            f"{statistics.median(cpu[name]):.1f} us of CPU a message in between"
        )
    for kind in KINDS:
        _ratios(kind, samples)
    if options.json is not None:
        options.json.write_text(json.dumps({"rates": samples, "cpu_us": cpu}, indent=2) + "\n")


def _ratios(kind: str, samples: Mapping[str, list[float]]) -> None:
    mine = samples[f"{kind} tls warrener"]
    for path in ("direct", "haproxy", "warrener-plain-clients"):
        ratios = sorted(a / b for a, b in zip(mine, samples[f"{kind} tls {path}"], strict=True))
        say(
            f"{kind}: warrener with TLS / {path}: {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    for path in ("direct", "warrener"):
        with_tls = statistics.median(samples[f"{kind} tls {path}"])
        without = statistics.median(samples[f"{kind} plain {path}"])
        say(f"{kind}: {path} with TLS / the same without, medians: {with_tls / without:.2f}")


def _turned(paths: dict[str, Target], number: int) -> dict[str, Target]:
    """Another one begins in each round."""
    names = list(paths)
    at = number % len(names)
    return {name: paths[name] for name in (*names[at:], *names[:at])}


def _run(queue: str, target: Target, seconds: float, body: int) -> LoadResult:
    spec = LoadSpec((Flow(queue, target, target),), body=body, seconds=seconds)
    return measure(spec, LoadResult, timeout=seconds + 60)


def _cpu(pid: int | None) -> float:
    """Seconds of CPU that a process has used; 0 where there is none in between."""
    if pid is None:
        return 0.0
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


class _Paths:
    """Where each path goes for a kind of queue: its queue is made when it is first asked for.
    ``pids``: the process in between, that of the kind asked for last."""

    def __init__(self, stand: Stand, haproxy: contextlib.ExitStack) -> None:
        self._stand = stand
        self._haproxy = haproxy
        self._found: dict[str, dict[str, Target]] = {}
        self._proxies: dict[str, int] = {}
        self.pids = dict.fromkeys(("warrener", "warrener-plain-clients"), stand.balancer_pid)

    def __call__(self, kind: str) -> dict[str, Target]:
        if kind not in self._found:
            self._found[kind] = self._make(kind)
        self.pids["haproxy"] = self._proxies.get(kind, 0)
        return dict(self._found[kind])

    def _make(self, kind: str) -> dict[str, Target]:
        stand = self._stand
        queue = f"{'tls' if stand.tls else 'plain'}-{kind}"
        declare(stand.node_target(0), queue, quorum=kind == "quorum")
        leader = stand.leaders()[queue]
        index = next(i for i, node in enumerate(stand.nodes) if node.name == leader)
        direct = replace(stand.node_target(index), server_name=stand.nodes[index].short)
        found = {"direct": direct, "warrener": stand.balancer}
        if stand.plain_port is not None:
            found["warrener-plain-clients"] = replace(stand.balancer, port=stand.plain_port, ca="")
        if stand.tls:
            port, pid = self._haproxy.enter_context(_haproxy(stand, direct))
            found["haproxy"] = replace(stand.balancer, port=port)
            self._proxies[kind] = pid
        return found


@contextlib.contextmanager
def _paths(stand: Stand) -> Iterator[_Paths]:
    with contextlib.ExitStack() as haproxy:
        yield _Paths(stand, haproxy)


@contextlib.contextmanager
def _haproxy(stand: Stand, node: Target) -> Iterator[tuple[int, int]]:
    """A HAProxy that ends the clients' TLS and begins another to one node, verified as Warrener's
    links are. Its port and its process."""
    (port,) = free_ports(1)
    files = stand.state / "tls"
    with tempfile.TemporaryDirectory(prefix="warrener-bench-") as folder:
        config = Path(folder) / "haproxy.cfg"
        config.write_text(
            "global\n    maxconn 1000\n    ssl-default-bind-options ssl-min-ver TLSv1.2\n"
            "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 3h\n"
            "    timeout server 3h\n"
            f"listen amqps\n    bind 127.0.0.1:{port} ssl crt {files / 'balancer.pem'}\n"
            f"    server node {node.host}:{node.port} ssl verify required "
            f"ca-file {files / 'trust.pem'} verifyhost {node.server_name}\n"
        )
        with subprocess.Popen([find_haproxy(), "-db", "-f", str(config)]) as process:
            try:
                _until_it_serves(replace(stand.balancer, port=port), process)
                yield port, process.pid
            finally:
                process.terminate()


def _until_it_serves(target: Target, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START
    while True:
        if process.poll() is not None:
            raise BenchError(f"HAProxy ended with {process.returncode}")
        try:
            connect(target, 1.0).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise BenchError(f"HAProxy doesn't serve: {error}") from None
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"tls_cost: {error}")
