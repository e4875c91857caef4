"""One measurement in a process of its own, so that nothing else of the bench disturbs it.

The parent writes one JSON document to stdin (so no password is in the arguments), the child writes
one to stdout:

    {"kind": "load", "spec": {...}}   ->   {"result": {...}}  or  {"error": "why"}
"""

import contextlib
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

import msgspec

from warrener.amqp.errors import ProtocolViolation
from warrener.bench.alone import AloneResult, AloneSpec, run_alone
from warrener.bench.idle import IdleResult, IdleSpec, run_idle
from warrener.bench.latency import LatencyResult, LatencySpec, run_latency
from warrener.bench.load import LoadResult, LoadSpec, run_load
from warrener.bench.paced import PacedResult, PacedSpec, run_paced
from warrener.bench.setup_rate import SetupResult, SetupSpec, run_setup
from warrener.bench.wire import BenchError

_R = TypeVar("_R", LoadResult, LatencyResult, SetupResult, IdleResult, PacedResult, AloneResult)


@dataclass(frozen=True, slots=True)
class _Kind:
    spec: type[Any]
    result: type[Any]
    run: Callable[[Any], Any]


_KINDS: Final = {
    "load": _Kind(LoadSpec, LoadResult, run_load),
    "latency": _Kind(LatencySpec, LatencyResult, run_latency),
    "setup": _Kind(SetupSpec, SetupResult, run_setup),
    "idle": _Kind(IdleSpec, IdleResult, run_idle),
    "paced": _Kind(PacedSpec, PacedResult, run_paced),
    "alone": _Kind(AloneSpec, AloneResult, run_alone),
}


class _Request(msgspec.Struct):
    kind: str
    spec: msgspec.Raw


class _Answer(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw()  # empty: there is none
    error: str = ""


def measure(
    spec: LoadSpec | LatencySpec | SetupSpec | IdleSpec | PacedSpec | AloneSpec,
    result: type[_R],
    *,
    timeout: float,
) -> _R:
    """Carry ``spec`` out in a child process. ``timeout`` is in seconds.

    Raises BenchError with what the child says; the child is gone in any case.
    """
    kind = next(name for name, known in _KINDS.items() if known.spec is type(spec))
    document = msgspec.json.encode({"kind": kind, "spec": spec})
    with subprocess.Popen(
        [sys.executable, "-m", "warrener.bench.job"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches the bench, which ends its child
    ) as child:
        try:
            output, _ = child.communicate(document, timeout)
        except subprocess.TimeoutExpired:
            raise BenchError(f"not done within {timeout:.0f} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
    try:
        answer = msgspec.json.decode(output, type=_Answer)
    except msgspec.DecodeError:
        raise BenchError(f"the generator ended with {child.returncode} and no figure") from None
    if not bytes(answer.result):
        raise BenchError(answer.error)
    return msgspec.json.decode(answer.result, type=result)


def main() -> None:
    """The child."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:  # idle sessions are one file each
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=_Request)
    kind = _KINDS[request.kind]
    try:
        result = kind.run(msgspec.json.decode(request.spec, type=kind.spec))
        document = msgspec.json.encode({"result": asdict(result)})
    except (BenchError, ProtocolViolation, OSError) as error:
        document = msgspec.json.encode({"error": str(error)})
    sys.stdout.buffer.write(document)


if __name__ == "__main__":
    main()
