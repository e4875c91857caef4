"""`warrener plan show` and `what-if` against a scripted daemon, with a calibration that is kept."""

import json

import msgspec
import pytest
from tests.unit.planner.scene import N2, NODES, calibration, load, queue, work_told

from warrener.control.balance_operations import PlanSessionsAnswer, SessionKindLine
from warrener.control.state_folder import StateFolder
from warrener.facts.settings import PolicyName
from warrener.planner import policies
from warrener.planner.calibration_file import write_calibration
from warrener.planner.load_wire import to_wire
from warrener.testing.scripted_daemon import answer, scripted_daemon

LOAD = load(
    queue("jobs", 4_000),
    queue("billing", 90, N2, vhost="shop", consumers=4, service_time=0.02),
    warnings=("only 40 s of history",),
)


@pytest.fixture
def calibrated(folder: StateFolder) -> StateFolder:
    write_calibration(folder.path, calibration(warnings=("the machine was busy",)))
    return folder


def test_show(run, calibrated: StateFolder) -> None:
    with scripted_daemon(calibrated, answer(to_wire(LOAD))) as requests:
        result = run("plan", "show", "--window", "2m")
    assert result.code == 0
    assert json.loads(requests[0])["args"] == {"window": 120.0}
    for words in (
        "Carries 8,180 messages/s in today's proportions, 2.00 times what goes through now.",
        "First to break: queue jobs, whose own limit is 8,000 messages/s.",
        "Note: only 40 s of history",
        "Note: the machine was busy",
        "Load of the last 2m; what messages cost was measured on",
    ):
        assert words in result.out


def test_json(run, calibrated: StateFolder) -> None:
    with scripted_daemon(calibrated, answer(to_wire(LOAD)), answer(to_wire(LOAD))):
        told = json.loads(run("plan", "show", "--json").out)
        assert (told["published"], told["breaks_at"]) == (4_090, 2.0)
        told = json.loads(run("plan", "what-if", "--load", "x2", "--json").out)
    assert (told["before"]["breaks_at"], told["after"]["breaks_at"]) == (2.0, 1.0)


def test_what_if(run, calibrated: StateFolder) -> None:
    asked = ("--load", "x4", "--consumers", "shop/billing=+6", "--kill", "n3")
    with scripted_daemon(calibrated, answer(to_wire(LOAD))):
        result = run("plan", "what-if", *asked)
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "published/s 4,090 16,360" in lines
    assert "breaks at 2.00 x 0.50 x" in lines
    assert "jobs grows by 8,000 messages/s" in result.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say what is to be different"),
        (("--load", "twice"), "the load 'twice' isn't understood; say x2"),
        (("--kill", "n9"), "there is no node n9; there are n1, n2, n3"),
        (("--consumers", "bill=+3"), "there is no queue bill; there are jobs, shop/billing"),
        (("--load", "x2", "--window", "soon"), "'soon' is no length of time"),
    ],
)
def test_what_makes_no_sense_is_told(
    run, calibrated: StateFolder, words: tuple[str, ...], told: str
) -> None:
    with scripted_daemon(calibrated, answer(to_wire(LOAD))):
        result = run("plan", "what-if", *words)
    assert (result.code, told in result.err) == (2, True), result.err


SESSIONS = PlanSessionsAnswer(
    seconds=300.0,
    kinds=(SessionKindLine(sessions=60, rate=218.0),),
    opened=0.1,
    lifetime=600.0,
    addresses={"10.0.0.1": 60},
    local=100.0,
    remote=200.0,
    policy=PolicyName.SOURCE,
    locality=False,
    weights=dict.fromkeys(NODES, 100),
    follows_capacity=False,
    can_be_placed=True,
    warnings=(),
)


@pytest.fixture
def short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they say is tested elsewhere; a busy machine shall have the time."""
    monkeypatch.setattr(policies, "MESSAGES", 8_000)
    monkeypatch.setattr(policies, "REPETITIONS", (12, 12))


@pytest.mark.usefixtures("short_trials")
def test_advise(run, calibrated: StateFolder) -> None:
    busy = load(queue("jobs", 6_000), queue("billing", 540, N2, consumers=4, service_time=0.02))
    answers = (answer(to_wire(busy)), answer(SESSIONS))
    with scripted_daemon(calibrated, *answers, *answers) as requests:
        result = run("plan", "advise", "--profile", "orders")
        told = json.loads(run("plan", "advise", "--json", "--window", "2m").out)
    assert result.code == 0
    assert json.loads(requests[3])["args"] == {"window": 120.0}
    first, *_ = result.out.splitlines()
    assert first.startswith("1. billing: grows by 340 messages/s")
    assert "Do: 10 consumers more." in result.out
    assert "R of" in result.out
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert any(line.startswith("quorum 201 8,000/s orders") for line in lines)
    assert any(line.startswith("stream not measured - logs") for line in lines)
    assert told["pieces"][0]["urgent"] is True
    assert {line["type"] for line in told["types"]} == {"classic", "quorum", "stream"}


@pytest.mark.usefixtures("short_trials")
def test_advise_on_the_policy(run, calibrated: StateFolder) -> None:
    """All clients come from one address, which source hash sends to one node."""
    queues = [
        queue(f"q{number}", 2_200, node, **dict.fromkeys(("entering", "leaving"), ((N2, 0.5),)))
        for number, node in enumerate(NODES)
    ]
    answers = (answer(to_wire(load(*queues))), answer(SESSIONS))
    with scripted_daemon(calibrated, *answers, *answers, *answers):
        result = run("plan", "advise")
        told = json.loads(run("plan", "advise", "--json").out)["balancing"]
        again = json.loads(run("plan", "advise", "--json").out)["balancing"]
    assert result.code == 0, result.err
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert any(line.startswith("policy mean, ms p99, ms busiest full at behind") for line in lines)
    assert any(line.startswith("source ") and line.endswith("as it is") for line in lines)
    assert any(line.startswith("locality on: ") for line in lines)
    assert "`warrener balance set-policy roundrobin`" in lines
    assert any(line.startswith("n1 100 100 2.00 cores (its host's), less") for line in lines)
    assert "Locality: switched on, a message would take" in result.out
    assert told["policies"]["best"]["policy"] == "roundrobin"
    assert told["policies"]["commands"] == ["warrener balance set-policy roundrobin"]
    assert told == again


def test_advise_where_all_is_well(run, calibrated: StateFolder) -> None:
    nobody = msgspec.structs.replace(SESSIONS, kinds=())
    calm = answer(to_wire(load(queue("jobs", 10))))
    with scripted_daemon(calibrated, calm, answer(nobody)):
        told = run("plan", "advise").out
    assert told.startswith("Nothing to change")
    assert "Policies weren't tried: no client is connected to the balancer." in told
    result = run("plan", "advise", "--profile", "fast")
    assert (result.code, "there is no profile 'fast'" in result.err) == (2, True)
    result = run("plan", "advise", "--load", "twice")
    assert (result.code, "the load 'twice' isn't understood" in result.err) == (2, True)


def test_size(run, calibrated: StateFolder) -> None:
    asked = ("--rate", "2000", "--p99", "100ms", "--service-time", "5ms")
    result = run("plan", "size", *asked)
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert any(line.startswith("nodes 3 the busiest") for line in lines)
    assert any(line.startswith("queues 3 quorum, 3 replicas each") for line in lines)
    assert "99 of 100 messages are acked within" in result.out
    assert "`warrener init --profile orders`" in result.out
    assert "Note: the machine was busy" in result.out
    told = json.loads(run("plan", "size", *asked, "--json").out)
    assert (told["nodes"], told["type"], told["replicas"]) == (3, "quorum", 3)
    assert told["consumers"] >= 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--rate", "-1"), "the rate is -1"),
        (("--rate", "10", "--profile", "fast"), "there is no profile 'fast'; there are orders"),
        (("--rate", "10", "--p99", "20"), "the time '20' isn't understood"),
        (("--rate", "10", "--body", "big"), "the size 'big' isn't understood"),
        (("--rate", "10", "--profile", "logs"), "`warrener plan calibrate --types stream` does"),
    ],
)
def test_a_size_that_makes_no_sense(
    run, calibrated: StateFolder, words: tuple[str, ...], told: str
) -> None:
    result = run("plan", "size", *words)
    assert (result.code, told in " ".join(result.err.split())) == (2, True), result.err


def test_without_a_calibration_the_history_is_asked(run, folder: StateFolder) -> None:
    answers = (answer(to_wire(LOAD)), answer(work_told([100.0 * n for n in range(40)])))
    with scripted_daemon(folder, *answers, *answers) as requests:
        result = run("plan", "show", "--window", "2m")
        told = json.loads(run("plan", "show", "--json").out)
    assert result.code == 0, result.err
    assert json.loads(requests[1])["op"] == "plan-work"
    for words in (
        "Note: what messages cost is told by 6.67 min of history; `warrener plan calibrate`",
        "Note: 10 of 50 samples of the history are left out: a calibration ran (10)",
        "publish, deliver rise and fall together",
        "nodes' CPU is by their own metrics",
        "what one quorum queue gets through isn't known",
        "Load of the last 2m; what messages cost by the history, not measured",
    ):
        assert words in result.out
    assert told["costs_from"] == "history"
    # n1 has 2 cores, 0.02 of them idle, and 4,090 messages/s at 100 us (and n1 leads them all).
    (host,) = (part for part in told["parts"] if (part["kind"], part["name"]) == ("host", "h1"))
    assert host["breaks_at"] == pytest.approx((2 - 0.02) / (4_000 * 1e-4 + 90 * 5e-5), rel=0.03)


def test_where_neither_tells_it_is_said_what_to_do(run, folder: StateFolder) -> None:
    answers = (answer(to_wire(LOAD)), answer(work_told([1_000.0] * 40)))
    with scripted_daemon(folder, *answers, answer(to_wire(LOAD))):
        result = run("plan", "show")
        measured = run("plan", "what-if", "--load", "x2", "--calibration", "measured")
    assert (result.code, measured.code) == (1, 1)
    assert "`warrener plan calibrate` does, in a minute and a half" in result.err
    assert "quorum queues: what their messages cost can't be told" in result.err
    assert "`warrener plan calibrate` does" in measured.err
    assert "history" not in measured.err


def test_the_history_can_be_preferred(run, calibrated: StateFolder) -> None:
    answers = (answer(to_wire(LOAD)), answer(work_told([100.0 * n for n in range(40)])))
    with scripted_daemon(calibrated, *answers, *answers, answer(SESSIONS)):
        told = json.loads(run("plan", "show", "--calibration", "history", "--json").out)
        result = run("plan", "advise", "--calibration", "history")
    assert told["costs_from"] == "history"
    assert result.code == 0, result.err
    assert run("plan", "show", "--calibration", "guess").code == 2
