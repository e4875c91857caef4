"""A key and a value before anything is touched: what passes, as what, and what is refused how."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.catalogue.check import (
    Applies,
    WrongSetting,
    check_setting,
    describe,
    is_secret,
    rivals,
)
from warrener.cluster.catalogue.schema import Schema, read_schema

SOURCE = """
{mapping, "heartbeat", "rabbit.heartbeat", [{datatype, integer}]}.
{mapping, "connection_max", "rabbit.connection_max", [{datatype, [{atom, infinity}, integer]}]}.
{mapping, "frame_max", "rabbit.frame_max", [{datatype, bytesize}]}.
{mapping, "max_message_size", "rabbit.max_message_size",
    [{datatype, integer}, {validators, ["max_message_size"]}]}.
{mapping, "vm_memory_high_watermark.relative", "rabbit.vm_memory_high_watermark",
    [{datatype, float}]}.
{mapping, "vm_memory_high_watermark.absolute", "rabbit.vm_memory_high_watermark",
    [{datatype, [integer, string]}]}.
{mapping, "vm_memory_high_watermark_paging_ratio", "rabbit.paging",
    [{datatype, float}, {validators, ["less_than_1"]}]}.
{mapping, "log.console", "rabbit.log.console.enabled", [{datatype, {enum, [true, false]}}]}.
{mapping, "log.file.level", "rabbit.log.file.level", [{datatype, {enum, [debug, info]}}]}.
{mapping, "sysmon_handler.triggers.port", "sysmon_handler.busy_port", [{datatype, flag}]}.
{mapping, "some.wait", "rabbit.wait", [{datatype, {duration, ms}}]}.
{mapping, "auth_backends.$num", "rabbit.auth_backends", [{datatype, atom}]}.
{mapping, "listeners.tcp.$name", "rabbit.tcp_listeners", [{datatype, [integer, ip]}]}.
{mapping, "ssl_options.password", "rabbit.ssl_options.password", [{datatype, string}]}.
{mapping, "plugin.only.in.schema", "plugin.key", [{datatype, integer}]}.
"""
SCHEMA = Schema.of("3.10.8", read_schema(SOURCE)[0])


@pytest.mark.parametrize(
    ("key", "value", "written"),
    [
        ("heartbeat", 30, "30"),
        ("heartbeat", " 030 ", "30"),
        ("connection_max", "infinity", "infinity"),
        ("connection_max", "1000", "1000"),
        ("frame_max", "64KB", "64KB"),
        ("vm_memory_high_watermark.relative", 0.4, "0.4"),
        ("vm_memory_high_watermark.relative", ".4", "0.4"),
        ("vm_memory_high_watermark.relative", 1, "1.0"),
        ("vm_memory_high_watermark.absolute", "2GB", "2GB"),
        ("vm_memory_high_watermark.absolute", "2147483648", "2147483648"),
        ("log.console", True, "true"),
        ("sysmon_handler.triggers.port", True, "on"),
        ("some.wait", "1h30m", "1h30m"),
        ("auth_backends.1", "ldap", "ldap"),
        ("plugin.only.in.schema", "-5", "-5"),
    ],
)
def test_right_values_are_written_as_the_file_has_them(
    key: str, value: object, written: str
) -> None:
    assert check_setting(key, value, SCHEMA).value == written


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("heartbeat", "x", "'x' is not a whole number; allowed: a whole number, 0 to 65535 (s)"),
        ("heartbeat", 1 << 20, "1048576 is out of range"),
        ("heartbeat", "", "the value is empty"),
        ("heartbeat", ["1"], "a list is no value"),
        ("frame_max", "1KB", "1KB is out of range"),
        ("frame_max", "2MiB", "'2MiB' is not bytes, or a size"),
        ("max_message_size", "536870913", "out of range; allowed: a whole number, 1 to 536870912"),
        ("vm_memory_high_watermark.relative", "1.5", "1.5 is out of range"),
        ("vm_memory_high_watermark.absolute", "2 lots", "'2 lots' is no size"),
        ("vm_memory_high_watermark_paging_ratio", "1.0", "more than 0, less than 1"),
        ("log.file.level", "debgu", "allowed: debug, info; did you mean 'debug'?"),
        ("some.wait", "500", "a duration such as 500ms"),
        ("auth_backends.1", "a b", "is not a word"),
        ("auth_backends.$num", "ldap", "stands for many keys; allowed: auth_backends.NAME"),
        ("hartbeat", "30", "has no such key; did you mean 'heartbeat'?"),
        ("listeners.tcp.x", "5672", "`port` under [balancer] in warrener.toml"),
        ("vm_memory_high_watermark", "0.4", "it is vm_memory_high_watermark.relative (0.4) or"),
        ("quorum_cluster_size", "5", "advanced.config"),
        ("ssl_options.password", "a#b", "takes what follows a # for a comment"),
        ("ssl_options.password", "a\nb", "printable ASCII on one line"),
        ("ssl_options.password", "pässe", "printable ASCII on one line"),
    ],
)
def test_wrong_ones_are_refused_with_what_is_allowed(key: str, value: object, told: str) -> None:
    with pytest.raises(WrongSetting) as caught:
        check_setting(key, value, SCHEMA)
    assert told in str(caught.value)


def test_a_key_of_a_later_release_says_so() -> None:
    with pytest.raises(WrongSetting, match=r"from 4\.1 on, and this is 3\.10\.8"):
        check_setting("quorum_queue.initial_cluster_size", "5", SCHEMA)


def test_live_or_restart_goes_by_the_release() -> None:
    assert check_setting("heartbeat", "30", SCHEMA).applies is Applies.LIVE
    assert check_setting("connection_max", "30", SCHEMA).applies is Applies.RESTART
    assert check_setting("plugin.only.in.schema", "1", SCHEMA).applies is Applies.RESTART
    newer = Schema.of("3.13.7", SCHEMA.known.values())
    assert describe("max_message_size", SCHEMA).applies is Applies.LIVE
    assert describe("max_message_size", newer).applies is Applies.RESTART


def test_secrets_are_known_by_their_names_and_never_told() -> None:
    for key in ("ssl_options.password", "default_pass", "auth_oauth2.client_secret",
                "ssl_options.key.RSAPrivateKey", "default_users.a.password"):  # fmt: skip
        assert is_secret(key)
    assert not is_secret("password_hashing_module")
    with pytest.raises(WrongSetting) as caught:
        check_setting("ssl_options.password", "hunter2#", SCHEMA)
    assert "hunter2" not in str(caught.value)


def test_relative_and_absolute_exclude_one_another() -> None:
    keys = ("heartbeat", "vm_memory_high_watermark.relative")
    assert rivals("vm_memory_high_watermark.absolute", keys, SCHEMA) == keys[1:]
    assert rivals("heartbeat", keys, SCHEMA) == ()


@given(st.sampled_from(sorted(SCHEMA.known)), st.text(max_size=30))
def test_what_passes_is_one_line_that_says_just_this(key: str, value: str) -> None:
    """No value makes two settings of one, begins a comment or is lost."""
    try:
        written = check_setting(key, value, SCHEMA).value
    except WrongSetting:
        return
    assert written
    assert written == written.strip()
    assert written.isascii()
    assert written.isprintable()
    assert "#" not in written
    assert check_setting(key, written, SCHEMA).value == written
