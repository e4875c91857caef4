"""HAProxy's configuration as text; that HAProxy takes it is tested in tests/integration."""

from warrener.bench.haproxy import Listener, Server, free_ports, render

SERVERS = (Server("n1", "127.0.0.1", 5001), Server("n2", "127.0.0.1", 5002))


def test_each_listener_has_its_port_its_way_and_its_checked_servers() -> None:
    text = render(
        [
            Listener("rr", 6001, "roundrobin", SERVERS),
            Listener("pinned", 6002, "roundrobin", SERVERS[:1]),
        ]
    )
    rr, pinned = text.split("listen ")[1:]
    assert rr.splitlines() == [
        "rr",
        "    bind 127.0.0.1:6001",
        "    balance roundrobin",
        "    server n1 127.0.0.1:5001 check inter 1s rise 2 fall 2",
        "    server n2 127.0.0.1:5002 check inter 1s rise 2 fall 2",
        "",
    ]
    assert pinned.count("server ") == 1
    assert "mode tcp" in text


def test_free_ports_are_different_ones() -> None:
    assert len(set(free_ports(20))) == 20
