"""The schema reader: against RabbitMQ's own files where they are installed, and on broken ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.catalogue.entries import OLDEST
from warrener.cluster.catalogue.keys import ENTRIES, KEYS, entry_for
from warrener.cluster.catalogue.schema import (
    Datatype,
    Known,
    Schema,
    read_defaults,
    read_schema,
)
from warrener.cluster.drivers.installation import SEARCHED
from warrener.cluster.drivers.schema_files import load_schema

INSTALLED = [root for folder in SEARCHED for root in folder.glob("rabbitmq_server-*")]

SCHEMA = """
%% {mapping, "not.this", "a.b", []}.
{mapping, "listeners.tcp.$name", "rabbit.tcp_listeners", [{datatype, [integer, ip]}]}.
{translation, "rabbit.tcp_listeners", fun(Conf) -> "a. b", $., [ V || {_, V} <- Conf ] end}.
{mapping, "heartbeat", "rabbit.heartbeat", [{datatype, integer}, {validators, ["byte"]}]}.
{mapping, "log.level", "rabbit.log.level",
    [{default, info}, {datatype, [{enum, [info, {"loud", debug}]}, {atom, off}]}, hidden]}.
{mapping, "old", "rabbit.old", []}.
{mapping, "wait", "rabbit.wait", [{datatype, {duration, ms}}]}.
"""


def test_mappings_are_read() -> None:
    known, problems = read_schema(SCHEMA)
    assert problems == []
    assert known == [
        Known("listeners.tcp.$name", "rabbit.tcp_listeners", (Datatype("integer"), Datatype("ip"))),
        Known("heartbeat", "rabbit.heartbeat", (Datatype("integer"),), ("byte",)),
        Known(
            "log.level",
            "rabbit.log.level",
            (Datatype("enum", ("info", "loud")), Datatype("atom", ("off",))),
        ),
        Known("old", "rabbit.old", (Datatype("string"),)),
        Known("wait", "rabbit.wait", (Datatype("duration", unit="ms"),)),
    ]


def test_a_wildcard_stands_for_one_word() -> None:
    schema = Schema.of("3.10.8", read_schema(SCHEMA)[0])
    found = schema.find("listeners.tcp.default")
    assert found is not None
    assert found.target == "rabbit.tcp_listeners"
    for wrong in ("listeners.tcp", "listeners.tcp.a.b", "listeners.tcp.", "listeners.tcp.a b", ""):
        assert schema.find(wrong) is None


def test_what_stands_before_broken_text_is_kept() -> None:
    known, problems = read_schema('{mapping, "a", "b.c", []}.\n{mapping, "d}.\n')
    assert [one.key for one in known] == ["a"]
    assert problems


@given(st.integers(0, len(SCHEMA)), st.text(alphabet="{}[]\"'%.$,\\ a", max_size=3))
def test_any_damage_is_survived(at: int, damage: str) -> None:
    known, _ = read_schema(SCHEMA[:at] + damage + SCHEMA[at + 1 :])
    assert all(isinstance(one, Known) for one in known)


def test_defaults_of_an_application() -> None:
    text = '{application, rabbit, [{vsn, "1"}, {env, [{a, 1}, {o, [{backlog, 128}]}]}]}.'
    assert read_defaults(text) == {
        "rabbit.a": "1",
        "rabbit.o": "[{backlog,128}]",
        "rabbit.o.backlog": "128",
    }
    assert read_defaults("nonsense(") == {}


@pytest.mark.skipif(not INSTALLED, reason="RabbitMQ isn't installed here")
def test_every_entry_agrees_with_the_installed_schema() -> None:
    """A key that this version should have is in it; what has a range is a number there."""
    root = INSTALLED[0]
    schema = load_schema(root, root.name.partition("-")[2])
    assert len(schema.known) > 700
    for entry in ENTRIES:
        if entry.since > schema.release or (entry.until and entry.until <= schema.release):
            continue
        known = schema.known.get(entry.key)
        assert known is not None, f"{entry.key} isn't in the schema of {schema.version}"
        names = {datatype.name for datatype in known.datatypes}
        if entry.low is not None or entry.high is not None:
            assert names & {"integer", "float", "bytesize"}, f"{entry.key} is no number"
        if entry.size:
            assert "string" in names, f"{entry.key} takes no units"
    unknown = {
        d.name for one in schema.known.values() for d in one.datatypes if d.name == "unknown"
    }
    assert not unknown
    assert schema.defaults["rabbit.heartbeat"] == "60"


def test_the_catalogue_is_what_it_claims() -> None:
    assert len(KEYS) == len(ENTRIES) > 150
    for entry in ENTRIES:
        assert entry.purpose
        assert not entry.purpose.endswith("."), entry.key
        assert entry.since >= OLDEST
        assert entry.low is None or entry.high is None or entry.low <= entry.high
    found = entry_for("auth_backends.1.authn")
    assert found is not None
    assert found.key == "auth_backends.$num.authn"


def test_an_installation_of_archives_is_read(tmp_path: Path) -> None:
    import zipfile

    plugins = tmp_path / "plugins"
    plugins.mkdir()
    with zipfile.ZipFile(plugins / "rabbit-9.9.ez", "w") as archive:
        archive.writestr("rabbit-9.9/priv/schema/rabbit.schema", SCHEMA)
        archive.writestr("rabbit-9.9/ebin/rabbit.app", "{application, rabbit, [{env, [{a, 1}]}]}.")
    (plugins / "broken-1.ez").write_bytes(b"no archive")
    schema = load_schema(tmp_path, "9.9.0")
    assert "heartbeat" in schema.known
    assert schema.defaults == {"rabbit.a": "1"}
    assert schema.release == (9, 9)
