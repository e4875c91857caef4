"""New certificates for a HAProxy that runs: no session ends, no process is started anew."""

import asyncio

import structlog

from warrener.balancer.haproxy.runtime_api import RuntimeApi
from warrener.balancer.haproxy.tls import HaproxyTls, is_taken, kind

log = structlog.get_logger(__name__)


class Renewal:
    """Whether HAProxy is to read its certificates again, and how that went.

    What is asked for is counted: ``tried`` is up to where HAProxy was given the files, and
    ``problem`` what it hasn't taken then; empty: it has them all. What is given was read a moment
    before: should a HAProxy that was started anew have read it already, it gets the same again.
    """

    def __init__(self, tls: HaproxyTls) -> None:
        self._tls = tls
        self._asked = 0
        self.tried = 0
        self.problem = ""

    def ask(self) -> int:
        """The files are new; ``tried`` gets to this number."""
        self._asked += 1
        return self._asked

    @property
    def due(self) -> bool:
        """Whether there is something to give, or to give again."""
        return self.tried < self._asked or self.problem != ""

    async def give(self, api: RuntimeApi) -> None:
        """What is in the files now, to HAProxy. NoAnswer."""
        asked = self._asked
        try:
            self.problem = await self._give_all(api)
        except OSError as error:
            self.problem = f"a file that can't be read: {error}"
        self.tried = asked

    async def _give_all(self, api: RuntimeApi) -> str:
        for file, path in self._tls.changeable().items():
            pem = await asyncio.to_thread(path.read_bytes)
            what = kind(file)
            # Of one that wasn't finished nothing may be left, or this one is refused.
            await api.ask(f"abort ssl {what} {file}")
            said = [
                await api.give(f"set ssl {what} {file}", pem),
                await api.ask(f"commit ssl {what} {file}"),
            ]
            words = " / ".join(" ".join(said).split("\n")).strip()
            log.debug("haproxy_renewed", file=file, said=words)
            if not is_taken(file, pem, await api.ask(f"show ssl {what} {file}")):
                return f"{path} ({len(pem)} bytes, of 16,000 at most): it says {words!r:.300}"
        return ""
