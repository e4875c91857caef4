"""What the lines of a node's log say."""

from warrener.cluster.drivers.boot_log import stage, telling_lines

BANNER = """\
2026-11-23 00:37:32.183 [info] <0.223.0>  Starting RabbitMQ 3.10.8 on Erlang 25.2.3 [jit]
2026-11-23 00:37:40.667 [info] <0.223.0> Running boot step pre_boot defined by app rabbit
"""
STARTED = "2026-11-23 00:37:47.1 [info] <0.9.0> Server startup complete; 4 plugins started.\n"


def test_stage_is_the_last_one_seen() -> None:
    assert stage("") is None
    assert stage("something else") is None
    assert stage(BANNER) == "running boot steps"
    assert stage(BANNER + STARTED) == "started"
    assert stage(STARTED + BANNER) == "running boot steps", "a new boot in the same log"


def test_errors_of_the_log_tell_most() -> None:
    log = BANNER + (
        "2026-11-23 00:37:41 [error] <0.223.0> \n"
        "2026-11-23 00:37:41 [error] <0.223.0> BOOT FAILED\n"
        "2026-11-23 00:37:41 [error] <0.223.0> ===========\n"
        "2026-11-23 00:37:41 [error] <0.223.0> ERROR: could not bind to port 5672\n"
        "2026-11-23 00:37:41 [error] <0.223.0> BOOT FAILED\n"
    )
    assert telling_lines(log, "console") == ["ERROR: could not bind to port 5672"]


def test_errors_before_logging_is_set_up_are_on_the_console() -> None:
    """As RabbitMQ 3.10.8 wrote it, the crash reports shortened."""
    at = "2026-11-23 01:51:23.328070+00:00 [error] <0.132.0>"
    console = (
        f'{at} Failed to load advanced configuration file "/x/advanced.config": bad\n'
        f"\nBOOT FAILED\n{at} \n{at} BOOT FAILED\n{at} ===========\n"
        f"{at} Error during startup: {{error,failed_to_read}}\n{at} \n===========\n"
        f"{at}     supervisor: {{local,rabbit_prelaunch_sup}}\n{at}     reason: failed_to_read\n"
        f"{at}   crasher:\n{at}   neighbours:\n"
        "Kernel pid terminated (application_controller)\nCrash dump is being written\n"
    )
    assert telling_lines("", console) == [
        'Failed to load advanced configuration file "/x/advanced.config": bad',
        "Error during startup: {error,failed_to_read}",
    ]


def test_the_console_tells_when_the_log_does_not() -> None:
    console = "\x1b[48m  \x1b[0m\n  ##  ##\n\nFailed to read config: bad line 3\nStopped.\n"
    assert telling_lines(BANNER, console) == ["Failed to read config: bad line 3"]


def test_the_last_lines_tell_when_nothing_sounds_like_an_error() -> None:
    assert telling_lines("", "one\ntwo\n---\nthree\n", limit=2) == ["two", "three"]
    assert telling_lines("only this", "") == ["only this"]
    assert telling_lines("", "") == []


def test_lines_are_shortened() -> None:
    (line,) = telling_lines("", "error " + "x" * 1000)
    assert len(line) == 300
