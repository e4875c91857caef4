"""A stand-in for the configuration of a cluster: files and values in force are dictionaries."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from warrener.cluster.catalogue.check import rivals
from warrener.cluster.catalogue.schema import Schema, read_schema
from warrener.cluster.drivers.config_scripts import Told, Value
from warrener.daemon.errors import DaemonError
from warrener.facts.ids import NodeName

SCHEMA = Schema.of(
    "3.10.8",
    read_schema(
        """
        {mapping, "heartbeat", "rabbit.heartbeat", [{datatype, integer}]}.
        {mapping, "connection_max", "rabbit.connection_max", [{datatype, integer}]}.
        {mapping, "ssl_options.password", "rabbit.ssl_options.password", [{datatype, string}]}.
        {mapping, "mqtt.prefetch", "rabbitmq_mqtt.prefetch", [{datatype, integer}]}.
        {mapping, "cluster_name", "rabbit.cluster_name", [{datatype, string}]}.
        """
    )[0],
    {"rabbit.heartbeat": "60", "rabbit.connection_max": "infinity"},
)


class FakeConfiguration:
    """``apply`` and a restart put a file in force; what fails is up to the test."""

    def __init__(self, story: list[str], names: Sequence[NodeName]) -> None:
        self.schema = SCHEMA
        self.described: dict[str, str] = {}
        self.chosen: dict[str, str] = {}
        self.story = story
        self.names = list(names)
        self.files: dict[NodeName, dict[str, str]] = {name: {} for name in names}
        self.in_force = {name: dict(self.own(name)) for name in names}
        self.refuse: str = ""
        self.apply_with: Callable[[NodeName], None] = lambda _: None
        self.down: set[NodeName] = set()

    def own(self, name: NodeName) -> Mapping[str, str]:
        return {"cluster_name": "warren"}

    def settings(self, name: NodeName, chosen: Mapping[str, str] | None = None) -> dict[str, str]:
        told = dict(self.own(name))
        layer = self.chosen if chosen is None else chosen
        for key, value in {**layer, **self.described}.items():
            for rival in rivals(key, tuple(told), self.schema):
                del told[rival]
            told[key] = value
        return told

    def describe(self, key: str, value: str | None) -> None:
        self.described.pop(key, None)
        if value is not None:
            self.described[key] = value

    def record(self, chosen: Mapping[str, str]) -> None:
        self.story.append(f"recorded {dict(chosen)}")
        self.chosen = dict(chosen)
        for name in self.names:
            self.files[name] = self.settings(name)

    def write_file(self, name: NodeName, chosen: Mapping[str, str] | None = None) -> None:
        self.files[name] = self.settings(name, chosen)

    def boot(self, name: NodeName) -> None:
        """What a start does: the file is in force."""
        self.in_force[name] = dict(self.files[name])

    def running(self) -> list[NodeName]:
        return [name for name in self.names if name not in self.down]

    async def values(self, name: NodeName, targets: Iterable[str]) -> Told:
        return self._told(name, self.files[name], targets)

    async def check(
        self, name: NodeName, chosen: Mapping[str, str], targets: Iterable[str]
    ) -> Told:
        if self.refuse:
            raise DaemonError(self.refuse)
        return self._told(name, self.settings(name, chosen), targets)

    async def apply(self, name: NodeName, targets: Sequence[str]) -> None:
        self.story.append(f"{name} takes {' '.join(targets)}")
        self.apply_with(name)
        self.boot(name)

    def _told(self, name: NodeName, file: Mapping[str, str], targets: Iterable[str]) -> Told:
        values = {}
        for target in targets:
            key = next(one.key for one in self.schema.known.values() if one.target == target)
            default = self.schema.defaults.get(target)
            now, then = self.in_force[name].get(key, default), file.get(key, default)
            values[target] = Value(now, then, now == then)
        return Told(values, frozenset({"rabbit"}), "")
