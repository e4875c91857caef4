"""The Erlang that asks a node, and what it answers."""

import base64
import json
from pathlib import Path

import pytest

from warrener.cluster.drivers.config_scripts import (
    NotUnderstood,
    Value,
    apply,
    complaints,
    look,
    read_answer,
)


def printed(answer: object) -> str:
    """As the tool prints it: a long binary in several strings."""
    text = base64.b64encode(json.dumps(answer).encode()).decode()
    folded = '"\n "'.join(text[at : at + 40] for at in range(0, len(text), 40))
    return f'noise\n{{warrener,<<"{folded}">>}}\n'


def test_an_answer_is_read() -> None:
    rows = [["rabbit.heartbeat", "30", "60", False], ["ra.x", None, None, True]]
    told = read_answer(printed({"error": "", "rows": rows, "loaded": ["rabbit"]}))
    assert told.values == {
        "rabbit.heartbeat": Value("30", "60", False),
        "ra.x": Value(None, None, True),
    }
    assert told.error == ""
    assert told.uses("rabbit.heartbeat")
    assert not told.uses("rabbitmq_mqtt.prefetch")


def test_why_a_file_is_wrong_is_told_in_cuttlefish_s_words() -> None:
    said = (
        "\n09:44:58.732 [error] You've tried to set a.b, but there is no such setting.\n"
        "\n09:44:58.788 [error] Error preparing configuration in phase transform_datatypes:\n"
        "09:44:58.788 [error]   - Conf file attempted to set unknown variable: a.b\n"
    )
    assert complaints(said) == ["Conf file attempted to set unknown variable: a.b"]
    told = read_answer(said + printed({"error": "{error,failed}", "rows": []}))
    assert told.error == "Conf file attempted to set unknown variable: a.b"
    assert read_answer(printed({"error": "{error,undef}", "rows": []})).error == "{error,undef}"


@pytest.mark.parametrize("text", ["", "Error: no", '{warrener,<<"!">>}', '{warrener,<<"e30">>}'])
def test_what_is_no_answer_is_told(text: str) -> None:
    with pytest.raises(NotUnderstood):
        read_answer(text)


def test_targets_are_quoted_and_secrets_not_asked_for() -> None:
    script = look(Path('/a "b".conf'), ["rabbit.x.+K", "rabbit.pass"], ["rabbit.pass"], "***")
    assert 'File = "/a \\"b\\".conf"' in script
    assert "{\"rabbit.x.+K\",'rabbit',['x','+K'],plain}" in script
    assert "{\"rabbit.pass\",'rabbit',['pass'],hidden}" in script
    assert "@" not in script.replace("n1@", "")


def test_what_a_process_holds_is_set_there() -> None:
    script = apply(Path("/f"), ["rabbit.disk_free_limit", "kernel.net_ticktime"])
    assert "['disk_free_limit'],disk}" in script
    assert "['net_ticktime'],tick}" in script
