"""Programs are started, followed, stopped and buried; what a dead one noticed is in the books.

The programs here talk through a folder instead of a broker: a publisher confirms its own messages
and leaves them there, a consumer takes them.
"""

import sys
import time
from pathlib import Path

import psutil
import pytest

from warrener.drills.notes import BadNote, NoteKind, TroubleKind
from warrener.drills.program import Job
from warrener.drills.workload import NUMBERS, NotInTime, Program, Role, Workload

PUBLISHER = """
import pathlib, sys, time
from warrener.drills.program import Messages, Notebook, read_job, stop_when_told
job, book = read_job(), Notebook()
stop = stop_when_told()
messages = Messages(job)
folder = pathlib.Path(job.url)
while not stop.is_set():
    number, body = messages.next()
    book.published(number)
    if number % 1000 != {lost}:
        (folder / "new").write_bytes(body)
        (folder / "new").rename(folder / f"{{number}}.message")
    book.confirmed(number)
    time.sleep(0.002)
book.ended()
"""

CONSUMER = """
import pathlib, sys, time
from warrener.drills.program import Notebook, read_job, stop_when_told
job, book = read_job(), Notebook()
stop = stop_when_told()
folder = pathlib.Path(job.url)
while not stop.is_set():
    for path in sorted(folder.glob("*.message")):
        for _ in range({copies}):
            book.acked(book.delivered(path.read_bytes(), False))
        path.unlink()
    time.sleep(0.002)
book.ended()
"""


def program(role: Role, text: str) -> Program:
    job = Job(name=f"the {role}", kind="", url="", queue="q")
    return Program(role, (sys.executable, "-c", text), job)


def pair(lost: int = -1, copies: int = 1) -> list[Program]:
    return [
        program(Role.PUBLISHER, PUBLISHER.format(lost=lost)),
        program(Role.CONSUMER, CONSUMER.format(copies=copies)),
    ]


@pytest.fixture
def url(tmp_path: Path) -> str:
    folder = tmp_path / "queue"
    folder.mkdir()
    return str(folder)


def test_a_healthy_run_to_its_end(url: str, tmp_path: Path) -> None:
    with Workload(pair(), url, tmp_path / "books") as load:
        load.wait_flowing()
        with load.fault("nothing, really"):
            load.run_for(0.1)
        load.stop_publishers()
        load.wait_drained()
        load.stop_consumers()
        verdict = load.verdict()
        assert load.counts(NoteKind.ENDED) == {"the publisher": 1, "the consumer": 1}
    assert load.verdict() == verdict  # the books outlive the programs
    assert verdict.objections(duplicates=False) == ()
    assert verdict.published == verdict.confirmed == verdict.delivered > 5
    (fault,) = load.ledger.faults
    assert fault.label == "nothing, really"
    assert 0.1 <= fault.end - fault.begin < 5


def test_a_loss_and_a_duplicate_on_the_way_are_seen(url: str, tmp_path: Path) -> None:
    with Workload(pair(lost=3, copies=2), url, tmp_path / "books") as load:
        load.wait_flowing()
        load.stop_publishers()
        load.wait_drained(timeout=0.5)
        load.stop_consumers()
        verdict = load.verdict()
    assert [message.number for message in verdict.lost] == [3]
    assert len(verdict.duplicates.unexplained) == verdict.delivered
    assert verdict.unexpected == ()


def test_a_program_that_dies_is_in_the_books_once(url: str, tmp_path: Path) -> None:
    dies = "import sys; sys.stdin.readline(); sys.exit('it was too much')"
    with Workload([program(Role.CONSUMER, dies)], url, tmp_path / "books") as load:
        with pytest.raises(NotInTime, match="nothing moves any more for the consumer: ended"):
            load.wait_flowing(timeout=600)
        verdict = load.verdict()
    (trouble,) = verdict.troubles
    assert trouble.kind is TroubleKind.DIED
    assert trouble.text == "exit code 1; it was too much"


def test_a_program_that_fails_after_its_end_is_seen_too(url: str, tmp_path: Path) -> None:
    text = CONSUMER.format(copies=1) + "raise SystemExit(3)"
    with Workload([program(Role.CONSUMER, text)], url, tmp_path / "books") as load:
        load.stop_consumers()
        (trouble,) = load.verdict().troubles
    assert trouble.text.startswith("exit code 3")


def words_of(child: psutil.Process) -> str:
    """Its command line; empty for one that has ended, as another test's child may have just now."""
    try:
        return str(child.cmdline())
    except psutil.NoSuchProcess:  # a zombie too
        return ""


def test_one_that_hears_nothing_is_named_and_ended(url: str, tmp_path: Path) -> None:
    deaf = "import time; time.sleep(600)"
    with Workload([program(Role.PUBLISHER, deaf)], url, tmp_path / "books") as load:
        with pytest.raises(NotInTime, match=r"nothing moves for: the publisher, within 0\.3 s"):
            load.wait_flowing(timeout=0.3)
        with pytest.raises(NotInTime, match=r"not stopped: the publisher, within 0\.3 s"):
            load.stop_publishers(timeout=0.3)
        (pid,) = [child.pid for child in psutil.Process().children() if "600" in words_of(child)]
    assert not psutil.pid_exists(pid)


def test_a_program_that_writes_rubbish_is_a_mistake(url: str, tmp_path: Path) -> None:
    talks = "import time; print('hello', flush=True); time.sleep(600)"
    with Workload([program(Role.PUBLISHER, talks)], url, tmp_path / "books") as load:  # noqa: SIM117
        with pytest.raises(BadNote, match="hello"):
            load.run_for(20)


def test_each_publisher_has_numbers_of_its_own_and_half_a_line_waits(
    url: str, tmp_path: Path
) -> None:
    text = (
        "import time; from warrener.drills.program import *; job = read_job(); book = Notebook()\n"
        "os.write(1, b'[1, \"publ'); time.sleep(0.3)\n"
        "os.write(1, b'ished\", %d]\\n' % job.first_number); time.sleep(600)"
    )
    both = [
        Program(
            Role.PUBLISHER,
            (sys.executable, "-c", text),
            Job(name=name, kind="", url="", queue="q"),
        )
        for name in ("first", "second")
    ]
    with Workload(both, url, tmp_path / "books") as load:
        deadline = time.monotonic() + 20
        while load.read().counts.total() < 2 and time.monotonic() < deadline:
            load.run_for(0.05)
        numbers = [message.number for message in load.verdict().unanswered]
    assert numbers == [1, NUMBERS + 1]
