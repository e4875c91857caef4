"""The file that keeps a calibration: what is written is read, and nothing else is taken for it."""

import stat
from pathlib import Path

import pytest

from warrener.facts.ids import NodeName
from warrener.planner.calibration_file import (
    FILE,
    BrokenCalibration,
    read_calibration,
    write_calibration,
)
from warrener.planner.costs import Act, Calibration, Cost, Limit, QueueType

N1 = NodeName("n1@here")
KEPT = Calibration(
    taken_at=1_700_000_000.5,
    seconds=88.0,
    cluster="warren",
    version="3.10.8",
    hosts={N1: "here"},
    cores={"here": 2},
    costs={QueueType.QUORUM: {Act.PUBLISH: Cost(3e-5, 1e-9, 0.1), Act.REPLICATE: Cost(2e-5)}},
    limits={QueueType.QUORUM: (Limit(20_000, 100, 0.02, at_least=True), Limit(9_000, 4096))},
    idle={N1: 0.02},
    client={Act.PUBLISH: Cost(1e-6)},
    balancer=Cost(2e-6, 1e-9),
    warnings=("a host's CPU was used up",),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    write_calibration(tmp_path, KEPT)
    assert read_calibration(tmp_path) == KEPT
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_new_one_takes_the_place_of_the_last(tmp_path: Path) -> None:
    (tmp_path / f"{FILE}.new").write_text("left by a process that was killed")
    write_calibration(tmp_path, KEPT)
    write_calibration(tmp_path, KEPT)
    assert read_calibration(tmp_path) == KEPT


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "can't be read"),
        ("{", "can't be read"),
        ("[]", "can't be read"),
        ('{"schema": "one"}', "can't be read"),
        ('{"schema": 1, "calibration": {"taken_at": 1}}', "can't be read"),
        ('{"schema": 2, "calibration": {}}', "has form 2, and this Warrener knows 1"),
        ("\udcff", "can't be read"),
    ],
)
def test_what_isnt_one_is_refused_with_what_to_do(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BrokenCalibration) as error:
        read_calibration(tmp_path)
    assert str(tmp_path / FILE) in str(error.value)
    assert why in str(error.value)
    assert "`warrener plan calibrate` measures anew" in str(error.value)


def test_a_file_without_end_isnt_read(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b" " * (1024 * 1024 + 1))
    with pytest.raises(BrokenCalibration, match="not a calibration"):
        read_calibration(tmp_path)
