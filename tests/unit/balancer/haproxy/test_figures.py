"""HAProxy's answers as values. The samples are HAProxy 2.6.12's own, cut to the columns that say
something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.balancer.haproxy.figures import (
    BadAnswer,
    Figures,
    Info,
    Traffic,
    read_info,
    read_policy,
    read_servers,
    read_stat,
)
from warrener.balancer.haproxy.plan import Admission, Seen, Spot
from warrener.facts.settings import PolicyName

STAT = """\
# pxname,svname,qcur,scur,stot,bin,bout,econ,wretr,wredis,status,weight,dcon,-,
amqp,FRONTEND,,3,9,100,2000,,,,OPEN,,2,-,
roundrobin,n1,0,2,3,60,1200,0,0,0,no check,100,,-,
roundrobin,n2,0,0,5,0,0,1,1,2,no check,100,,-,
roundrobin,BACKEND,0,2,6,60,1200,4,1,2,UP,200,,-,
p2c,n1,0,1,1,40,800,0,0,0,MAINT,1,,-,
p2c,BACKEND,0,1,3,40,800,0,0,0,UP,200,,-,
other,n1,0,7,7,7,7,7,7,7,UP,1,,-,

"""
SERVERS = """\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_fqdn srv_port
3 roundrobin 1 n1 127.0.0.1 2 0 100 - 42599
3 roundrobin 2 n2 127.0.0.1 0 5 100 - 1
3 roundrobin 3 n3 ::1 2 12 0 - 5003
3 roundrobin 4 n4 127.0.0.1 2 4 1 - 5004
9 elsewhere 3 n3 127.0.0.1 2 8 0 - 5003

"""
MAP = "0x564a169a8460 policy weighted-leastconn\n\n"
INFO = "Name: HAProxy\nVersion: 2.6.12-1+deb12u3\nPid: 9004\nnode: vm\nBuild info: 2.6.12\n\n"

READERS = (read_stat, read_servers, read_info)


def test_statistics_are_added_up_over_the_policies() -> None:
    found = read_stat(STAT)
    assert found.clients == Traffic(sessions=3, total=9, bytes_in=100, bytes_out=2000)
    assert found.servers["n1"] == Traffic(3, 4, 0, 100, 2000)


def test_failed_connects_are_no_sessions() -> None:
    assert read_stat(STAT).servers["n2"] == Traffic(sessions=0, total=1, failures=4)


def test_rejected_are_those_over_the_limit_and_those_without_a_node() -> None:
    assert read_stat(STAT).rejected == 2 + 4


def test_what_has_ended_is_kept_when_haproxy_begins_anew() -> None:
    before = read_stat(STAT).closed()
    assert before.clients == Traffic(0, 9, 0, 100, 2000)
    both = before + Figures(Traffic(1, 1, 0, 5, 5), 1, {"n3": Traffic(1, 1)})
    assert both.clients == Traffic(1, 10, 0, 105, 2005)
    assert both.rejected == 7
    assert both.servers == {"n1": Traffic(0, 4, 0, 100, 2000), "n2": Traffic(0, 1, 4),
                            "n3": Traffic(1, 1)}  # fmt: skip


def test_servers_states() -> None:
    assert read_servers(SERVERS) == {
        Spot(PolicyName.ROUNDROBIN, "n1"): Seen("127.0.0.1", 42599, Admission.READY, 100),
        Spot(PolicyName.ROUNDROBIN, "n2"): Seen("127.0.0.1", 1, Admission.MAINT, 100),
        Spot(PolicyName.ROUNDROBIN, "n3"): Seen("::1", 5003, Admission.DRAIN, 0),
        Spot(PolicyName.ROUNDROBIN, "n4"): Seen("127.0.0.1", 5004, Admission.READY, 1),
    }


def test_the_policy() -> None:
    assert read_policy(MAP) is PolicyName.WEIGHTED_LEASTCONN
    assert read_policy("0x1 policy fastest\n") is None
    assert read_policy("0x1 other p2c\n") is None
    assert read_policy("Unknown map identifier.\n") is None


def test_the_version_and_the_process() -> None:
    assert read_info(INFO) == Info("2.6.12-1+deb12u3", 9004)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "begin with ''"),
        ("Permission denied\n", "begin with 'Permission denied"),
        ("# pxname,svname,scur\np2c,n1,1\n", "econ is None"),
        ("# pxname,svname,scur\n", "without the frontend's"),
        (STAT.replace(",9,100,", ",nine,100,"), "stot is 'nine'"),
        (STAT.replace(",9,100,", ",-9,100,"), "stot is '-9'"),
        (STAT.replace(",9,100,", ",\u0669,100,"), "stot is '\u0669'"),
        (STAT.replace(",9,100,", f",{2**64},100,"), "too large"),
        (STAT.replace("amqp,FRONTEND", '"amqp"x,FRONTEND'), "aren't CSV"),
    ],
)
def test_statistics_that_are_none(text: str, problem: str) -> None:
    with pytest.raises(BadAnswer, match=problem):
        read_stat(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "begin with"),
        ("2\n# be_id be_name\n", "begin with"),
        (SERVERS.replace(" - 1\n", " 1\n"), "has 9 fields, not 10"),
        (SERVERS.replace(" 5 100", " five 100"), "srv_admin_state is 'five'"),
    ],
)
def test_states_that_are_none(text: str, problem: str) -> None:
    with pytest.raises(BadAnswer, match=problem):
        read_servers(text)


@pytest.mark.parametrize("text", ["", "Version: 2.6\n", "Pid: 7\n", "Version: 2.6\nPid: x\n"])
def test_info_that_is_none(text: str) -> None:
    with pytest.raises(BadAnswer):
        read_info(text)


@given(st.sampled_from([STAT, SERVERS, INFO]), st.data())
def test_any_answer_is_read_or_bad(sample: str, data: st.DataObject) -> None:
    """Cut off, or with bytes of it changed."""
    text = list(sample[: data.draw(st.integers(0, len(sample)))])
    for _ in range(data.draw(st.integers(0, 6))):
        if text:
            at = data.draw(st.integers(0, len(text) - 1))
            text[at] = data.draw(st.sampled_from('0,\n"#\x00 \u0669-x\r'))
    for read in READERS:
        try:
            read("".join(text))
        except BadAnswer:
            continue


@given(st.text())
def test_any_text_is_read_or_bad(text: str) -> None:
    read_policy(text)
    for read in READERS:
        for head in ("", "# pxname,svname,", "1\n# be_id "):
            try:
                read(head + text)
            except BadAnswer:
                continue


def test_failed_handshakes_count_among_the_rejected_and_by_themselves() -> None:
    text = (
        "# pxname,svname,scur,stot,bin,bout,econ,dcon,-,ssl_failed_handshake,\n"
        "amqp,FRONTEND,1,2,3,4,,5,-,7,\n"
    )
    found = read_stat(text)
    assert (found.rejected, found.tls_rejected) == (12, 7)
    both = found.closed() + found
    assert (both.rejected, both.tls_rejected) == (24, 14)
