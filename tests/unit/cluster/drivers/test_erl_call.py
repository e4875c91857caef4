"""What is said to ``erl_call``, and what its answers come to."""

import base64
import subprocess
from pathlib import Path

import pytest

from warrener.cluster.drivers.erl_call import answer, can_reach, command, of_file
from warrener.cluster.drivers.tools import drained_in
from warrener.facts.ids import NodeName

N1 = NodeName("n1@localhost")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("text", ["ok", "[{migrated,n1@localhost}]", 'say "hällo" \\ {}', ""])
def test_a_short_answer_is_a_string_a_long_one_a_list(text: str) -> None:
    assert answer(f'{{ok, "{encoded(text)}"}}') == text
    numbers = ", ".join(str(byte) for byte in encoded(text).encode())
    assert answer(f"{{ok, [{numbers}]}}\n") == text


@pytest.mark.parametrize(
    "printed",
    [
        "",
        '{error, "Incomplete form (missing .<cr>)??"}',
        '{ok, "not base64!"}',
        '{ok, "YQ"}',
        "{ok, [1, 300]}",
        "{ok, atom}",
        "erl_call: failed to connect to node n1@localhost",
    ],
)
def test_what_is_no_answer(printed: str) -> None:
    assert answer(printed) is None


def test_short_and_long_names() -> None:
    assert "-sname" in command(N1, "node().")
    assert "-name" in command(NodeName("n1@10.0.0.1"), "node().")


def test_a_node_whose_erlang_speaks_tls_is_out_of_reach() -> None:
    assert can_reach({"HOME": "/h", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput"})
    assert not can_reach({"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-proto_dist inet_tls -x"})


def test_the_expression_arrives_as_it_is(tmp_path: Path) -> None:
    """Whatever a shell would make of it."""
    program = tmp_path / "erl_call"
    program.write_text('#!/bin/sh\necho "$@" > "$0.arguments"; cat > "$0.input"\n')
    program.chmod(0o755)
    nasty = """X = "$HOME `id` $(id) \\\\ 'a' END", [X]."""
    subprocess.run(
        command(N1, nasty), env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, timeout=10
    )
    assert (tmp_path / "erl_call.arguments").read_text() == "-r -sname n1@localhost -e\n"
    said = (tmp_path / "erl_call.input").read_text()
    assert nasty.removesuffix(".") in said
    assert said.endswith(".\n\n")


@pytest.mark.parametrize(
    ("printed", "drained"),
    [
        ("[{n1@localhost,regular}]", set()),
        ("[{n1@localhost,regular},{'n2@my-host.lan',draining}]\n", {"n2@my-host.lan"}),
        ("", None),
        ("[]", None),
        ("[{n1@localhost,{'EXIT',undef}}]", None),
        ("[{n1@localhost,sleeping}]", None),
    ],
)
def test_who_is_drained(printed: str, drained: set[str] | None) -> None:
    assert drained_in(printed) == drained


def test_the_name_of_a_file_is_no_erlang() -> None:
    """Whatever is in it: it goes as base64."""
    text = of_file(Path('/run/d\u00f6rs "0"/ask.erl'))
    assert encoded('/run/d\u00f6rs "0"/ask.erl') in text
    assert text.startswith("{ok, Answer} = file:script(")
    assert text.isascii()
