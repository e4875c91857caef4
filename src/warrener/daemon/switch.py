"""The one way to stop a daemon: signals and the ``stop`` operation both turn the switch."""

import asyncio


class Switch:
    """Turned once: stop in order. Turned again: stop now, still leaving nothing."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._hurried = asyncio.Event()

    def turn(self, *, hurry: bool = True) -> None:
        """Asks for a stop; if one was asked for already and ``hurry``, speeds it up."""
        if self._asked.is_set() and hurry:
            self._hurried.set()
        self._asked.set()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    async def wait_asked(self) -> None:
        await self._asked.wait()

    async def wait_hurried(self) -> None:
        await self._hurried.wait()
