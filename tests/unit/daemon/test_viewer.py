"""Who is at the other end of a connection on loopback."""

import os
import pwd
import socket
from pathlib import Path

from warrener.daemon.viewer import told, uid_of

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     5        0 1 1 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0
   2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0
   3: 0100007F:C350 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  1001        0 3 1 0
 what: is this
"""


def test_the_login_of_the_end_that_asks_is_found() -> None:
    assert uid_of(TABLE, "127.0.0.1", 50_000, 8080) == 1000
    assert uid_of(TABLE, "127.0.0.1", 50_000, 8081) == 1001
    assert uid_of(TABLE, "127.0.0.1", 50_001, 8080) is None
    assert uid_of(TABLE, "::1", 50_000, 8080) is None
    assert uid_of("", "127.0.0.1", 50_000, 8080) is None


def test_of_a_real_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", own)) as client:
            port = client.getsockname()[1]
            found = told("127.0.0.1", port, own)
    assert found == f"{pwd.getpwuid(os.getuid()).pw_name} at 127.0.0.1:{port}"


def test_where_it_cannot_be_known_there_is_the_address(tmp_path: Path) -> None:
    assert told("127.0.0.1", 50_000, 8080, table=tmp_path / "none") == "127.0.0.1:50000"
    table = tmp_path / "tcp"
    table.write_text(TABLE.replace(" 1000 ", " 4000000000 "))
    assert told("127.0.0.1", 50_000, 8080, table=table) == "user 4000000000 at 127.0.0.1:50000"
