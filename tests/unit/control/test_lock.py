"""The lock is held by one, named while held, and gone with its process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from warrener.control.lock import Held, Holder, Lock, holder_of


def test_nobody_holds_a_lock_that_was_never_made(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "lock") is None
    assert holder_of(tmp_path / "no" / "folder" / "lock") is None


def test_a_held_lock_names_its_holder_and_refuses_a_second(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock(path, now=12.5):
        assert holder_of(path) == Holder(os.getpid(), 12.5)
        with pytest.raises(Held) as caught, Lock(path, now=13.0):
            pass
        assert caught.value.holder == Holder(os.getpid(), 12.5)
        assert holder_of(path) is not None  # the refused one didn't let go of it
    assert holder_of(path) is None
    assert path.read_bytes() == b""


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import sys, os, signal; from pathlib import Path; from warrener.control.lock import Lock\n"
        "Lock(Path(sys.argv[1]), now=1.0).__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert json.loads(path.read_bytes())["pid"] > 0  # an old name is still in it
    assert holder_of(path) is None
    with Lock(path, now=2.0):
        assert holder_of(path) == Holder(os.getpid(), 2.0)


def test_a_lock_file_with_anything_in_it_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"\xff not json")
    assert holder_of(path) is None
    with Lock(path, now=1.0):
        path.write_bytes(b"")
        assert holder_of(path) == Holder(0)


def test_asking_who_holds_it_never_takes_it(tmp_path: Path) -> None:
    """A `status` at the wrong moment must not make an `up` fail."""
    path = tmp_path / "lock"
    path.touch()
    program = (
        "import sys; from pathlib import Path; from warrener.control.lock import holder_of\n"
        "print('ready', flush=True)\n"
        "while True: holder_of(Path(sys.argv[1]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
    ) as asker:
        try:
            assert asker.stdout is not None
            asker.stdout.readline()
            for _ in range(2000):
                with Lock(path, now=1.0):
                    pass
        finally:
            asker.kill()


def test_what_a_killed_holder_leaves_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """Its child has the descriptor, and so the lock, until it execs."""
    path = tmp_path / "lock"
    holding = (
        "import os, sys, time; from pathlib import Path; from warrener.control.lock import Lock\n"
        "with Lock(Path(sys.argv[1]), now=1.0):\n"
        "    if os.fork():\n"
        "        os.kill(os.getpid(), 9)\n"
        "    time.sleep(1)\n"
        "    os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", holding, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert holder_of(path) is None
    with Lock(path, now=2.0):
        assert holder_of(path) == Holder(os.getpid(), 2.0)
