"""How the certificate of a server that we connect to is verified."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Verify:
    """``context`` gives what is trusted at the time: certificates are renewed while we run.
    ``server_name`` is the name that the certificate has to be for; empty: the one that is
    connected to."""

    context: Callable[[], ssl.SSLContext]
    server_name: str = ""


def options(verify: Verify | None) -> dict[str, Any]:
    """What asyncio's ``open_connection`` and ``create_connection`` are told; nothing for None."""
    if verify is None:
        return {}
    name = {"server_hostname": verify.server_name} if verify.server_name else {}
    return {"ssl": verify.context(), **name}
