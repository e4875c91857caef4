"""The configuration of a local cluster's nodes: what their files say, and what is in force.

A node's ``rabbitmq.conf`` is made of three layers, the later ones over the earlier: what Warrener
itself sets (``node_config``), what was chosen by ``config set`` (config.json in the state folder,
which outlives ``down``), and what the cluster's description sets (warrener.toml). What ``apply``
puts in force is chosen as well, so that it stays when the cluster is started without the file.

    every node's file is what the three layers say, except that of a node on which a new value is
    being tried

So after a kill -9 there is nothing to repair: the next start writes all files anew from the record,
and the record has a new value only once a node was seen to run with it.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from warrener.cluster.catalogue.check import (
    WrongSetting,
    check_setting,
    is_secret,
    rivals,
)
from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers import config_scripts
from warrener.cluster.drivers.config_scripts import NotUnderstood, Told
from warrener.cluster.drivers.node import Node
from warrener.cluster.drivers.node_config import config_text
from warrener.cluster.drivers.private_files import Chosen, PrivateFiles, write_private
from warrener.cluster.drivers.upkeep import Upkeep
from warrener.cluster.errors import NotRunning, SettingRefused, ToolFailed
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState

SECRET: Final = "********"  # noqa: S105  what stands for one


class Configuration:
    """What the nodes of one cluster are configured with."""

    def __init__(
        self,
        files: PrivateFiles,
        described: Mapping[str, str],
        schema: Callable[[], Schema],
    ) -> None:
        self._files = files
        self._described = dict(described)
        self._load_schema = schema
        self._schema: Schema | None = None
        self._own: dict[NodeName, dict[str, str]] = {}
        self._nodes: Mapping[NodeName, Node] = {}
        self._upkeep: Upkeep | None = None
        self._chosen = Chosen()
        # Who asks a node has files of fixed names in its folder: one asks at a time.
        self._asking: defaultdict[NodeName, asyncio.Lock] = defaultdict(asyncio.Lock)

    # -- layers

    @property
    def schema(self) -> Schema:
        """What the installed RabbitMQ knows. The first time it takes half a second."""
        if self._schema is None:
            self._schema = self._load_schema()
        return self._schema

    def forget_schema(self) -> None:
        """The nodes run another RabbitMQ from here on."""
        self._schema = None

    @property
    def described(self) -> Mapping[str, str]:
        """What warrener.toml sets."""
        return self._described

    @property
    def chosen(self) -> Mapping[str, str]:
        """What was chosen by ``config set``."""
        return self._chosen.settings

    @property
    def by_hand(self) -> frozenset[str]:
        """The keys that aren't left to Warrener."""
        return frozenset((*self._described, *self._chosen.settings))

    def describe(self, key: str, value: str | None) -> None:
        """From here on warrener.toml says this of a key, or nothing. Files are written later."""
        if value is None:
            self._described.pop(key, None)
        else:
            self._described[key] = value

    def own(self, name: NodeName) -> Mapping[str, str]:
        """What Warrener itself sets on a node."""
        return self._own[name]

    def read(self) -> list[str]:
        """Reads the record anew. Settings that the installed RabbitMQ doesn't take (another version
        than when they were chosen) stay in it, but get into no file: a sentence for each."""
        self._chosen = self._files.read_chosen()
        return [str(wrong) for wrong in self._wrong_ones().values()]

    def settings(self, name: NodeName, chosen: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a node's file has: the three layers, ``chosen`` in place of the record's."""
        told = dict(self._own[name])
        wrong = self._wrong_ones()
        for layer in (self._chosen.settings if chosen is None else chosen, self._described):
            for key, value in layer.items():
                if key in wrong:
                    continue
                for rival in rivals(key, tuple(told), self.schema):
                    del told[rival]
                told[key] = value
        return told

    def _wrong_ones(self) -> dict[str, WrongSetting]:
        wrong = {}
        for key, value in self._chosen.settings.items():
            try:
                check_setting(key, value, self.schema)
            except WrongSetting as error:
                wrong[key] = error
        return wrong

    def add_node(self, node: NodeName, own: Mapping[str, str]) -> str:
        """A node that is being made: the text of its file."""
        self._own[node] = dict(own)
        return config_text(self.settings(node))

    def run_by(self, nodes: Mapping[NodeName, Node], upkeep: Upkeep) -> None:
        """The nodes are there from here on."""
        self._nodes = nodes
        self._upkeep = upkeep

    # -- files

    def record(self, chosen: Mapping[str, str]) -> None:
        """From here on ``chosen`` is what was chosen, in the record and in every node's file."""
        self._chosen = Chosen(settings=dict(chosen))
        self._files.write_chosen(self._chosen)
        for name in self._nodes:
            self.write_file(name)

    def write_file(self, name: NodeName, chosen: Mapping[str, str] | None = None) -> None:
        """One node's file, with ``chosen`` for what is in the record."""
        text = config_text(self.settings(name, chosen))
        write_private(self._nodes[name].files.config, text.encode())

    # -- nodes

    def running(self) -> list[NodeName]:
        """The nodes that can be asked."""
        return [
            name
            for name, node in self._nodes.items()
            if node.state is NodeState.RUNNING and node.reachable and not node.frozen
        ]

    async def values(self, name: NodeName, targets: Iterable[str]) -> Told:
        """What is in force on a node, beside what its file comes to. Raises
        NotRunning or ToolFailed."""
        file = self._nodes[name].files.config
        async with self._asking[name]:
            await self._nodes[name].host.deliver_file(file)
            return await self._told(name, file, targets)

    async def check(
        self, name: NodeName, chosen: Mapping[str, str], targets: Iterable[str]
    ) -> Told:
        """The same for a file with ``chosen`` in it, which is nowhere yet. Asks a running node
        whether it could boot with that, as far as RabbitMQ's own check of a file goes (files that
        have to be there, keys that exclude one another). Raises SettingRefused with its words,
        NotRunning or ToolFailed."""
        settings = self.settings(name, chosen)
        candidate = self._nodes[name].files.folder / "candidate.conf"
        host = self._nodes[name].host
        async with self._asking[name]:
            write_private(candidate, config_text(settings).encode())
            try:
                await host.deliver_file(candidate)
                told = await self._told(name, candidate, targets)
            finally:
                candidate.unlink(missing_ok=True)
                await host.remove_file(candidate)
        if told.error:
            error = told.error
            for key, value in settings.items():
                if is_secret(key):
                    error = error.replace(value, SECRET)
            raise SettingRefused(f"RabbitMQ would not start with that: {error}")
        return told

    async def apply(self, name: NodeName, targets: Sequence[str]) -> None:
        """Puts what a node's file says of ``targets`` in force. Raises NotRunning or ToolFailed."""
        node = self._nodes[name]
        async with self._asking[name]:
            await node.host.deliver_file(node.files.config)
            await self._run(name, config_scripts.apply(node.host.path(node.files.config), targets))

    async def _told(self, name: NodeName, file: Path, targets: Iterable[str]) -> Told:
        wanted = set(targets)
        hidden = {known.target for known in self.schema.known.values() if is_secret(known.key)}
        there = self._nodes[name].host.path(file)
        script = config_scripts.look(there, wanted, wanted & hidden, SECRET)
        try:
            told = config_scripts.read_answer(await self._run(name, script))
            if not told.error:
                return told
            # What exactly is wrong with the file is only printed, where the script was called.
            return config_scripts.read_answer(await self._run(name, script, by_tool=True))
        except NotUnderstood as error:
            raise ToolFailed(
                f"what {name} says of its configuration isn't understood ({error})",
                self._log_of(name),
            ) from None

    def _log_of(self, name: NodeName) -> Path:
        node = self._nodes[name]
        return node.host.told(node.host.path(node.files.logs / "rabbitmqctl.log"))

    async def _run(self, name: NodeName, script: str, *, by_tool: bool = False) -> str:
        if self._upkeep is None:
            raise NotRunning("the cluster doesn't run")
        node = self._nodes[name]
        # In a file, so that neither its length nor what is in it shows among the processes.
        path = node.files.folder / "ask.erl"
        await asyncio.to_thread(write_private, path, script.encode())
        try:
            return await self._upkeep.evaluate(node, path, by_tool=by_tool)
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
