"""The methods of AMQP 0-9-1 (and RabbitMQ's extensions) as frozen values, and their codec.

Each class is one method: ``ID`` is class << 16 | method, the fields stand in wire order and are
annotated with their wire type. Fields the specification reserves are written as zero and skipped
when read. Byte for byte forwarding needs none of this: only methods that change what the balancer
knows are decoded.

Source: specification section 1.4 to 1.9 of the XML, RabbitMQ's extensions (confirm, blocked,
update-secret, exchange.bind, basic.nack, consumer cancel notify).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from struct import Struct, error
from typing import Annotated, Any, ClassVar, Final, TypeVar, dataclass_transform, get_args

from warrener.amqp.constants import FRAME_METHOD
from warrener.amqp.errors import SyntaxViolation
from warrener.amqp.frames import encode_frame
from warrener.amqp.tables import Table, decode_table, encode_table

Octet = Annotated[int, "octet"]
Short = Annotated[int, "short"]
Long = Annotated[int, "long"]
LongLong = Annotated[int, "longlong"]
Bit = Annotated[bool, "bit"]
ShortStr = Annotated[str, "shortstr"]
LongStr = Annotated[bytes, "longstr"]
FieldTable = Annotated[Table, "table"]

_U16: Final = Struct(">H")
_U32: Final = Struct(">I")
_U64: Final = Struct(">Q")


class Method:
    """What all methods have in common."""

    __slots__ = ()
    ID: ClassVar[int]
    RESERVED: ClassVar[str]  # wire types of reserved fields before the first field
    WIRE: ClassVar[tuple[tuple[str, str], ...]]  # (field name, wire type) in order

    @classmethod
    def name(cls) -> str:
        """As the specification spells it: ``queue.declare-ok``."""
        return METHOD_NAMES[cls.ID]


BY_ID: Final[dict[int, type[Method]]] = {}
METHOD_NAMES: Final[dict[int, str]] = {}

_M = TypeVar("_M", bound=Method)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def _method(
    class_id: int, method_id: int, spelled: str, reserved: str = ""
) -> Callable[[type[_M]], type[_M]]:
    def register(cls: type[_M]) -> type[_M]:
        made = dataclass(frozen=True, slots=True)(cls)
        made.ID = class_id << 16 | method_id
        made.RESERVED = reserved
        hints = cls.__annotations__
        made.WIRE = tuple((f.name, get_args(hints[f.name])[1]) for f in fields(made))  # type: ignore[arg-type]  # it is a dataclass: two lines up
        BY_ID[made.ID] = made
        METHOD_NAMES[made.ID] = spelled
        return made

    return register


# -- connection ---------------------------------------------------------------------------------


@_method(10, 10, "connection.start")
class ConnectionStart(Method):
    version_major: Octet
    version_minor: Octet
    server_properties: FieldTable
    mechanisms: LongStr  # separated by spaces
    locales: LongStr


@_method(10, 11, "connection.start-ok")
class ConnectionStartOk(Method):
    client_properties: FieldTable
    mechanism: ShortStr
    response: LongStr = field(repr=False)  # holds the password
    locale: ShortStr


@_method(10, 20, "connection.secure")
class ConnectionSecure(Method):
    challenge: LongStr


@_method(10, 21, "connection.secure-ok")
class ConnectionSecureOk(Method):
    response: LongStr = field(repr=False)  # as above


@_method(10, 30, "connection.tune")
class ConnectionTune(Method):
    channel_max: Short  # 0: no limit
    frame_max: Long  # 0: no limit
    heartbeat: Short  # s; 0: none


@_method(10, 31, "connection.tune-ok")
class ConnectionTuneOk(Method):
    channel_max: Short
    frame_max: Long
    heartbeat: Short


@_method(10, 40, "connection.open")
class ConnectionOpen(Method):
    virtual_host: ShortStr
    capabilities: ShortStr = ""
    insist: Bit = False


@_method(10, 41, "connection.open-ok")
class ConnectionOpenOk(Method):
    known_hosts: ShortStr = ""


@_method(10, 50, "connection.close")
class ConnectionClose(Method):
    reply_code: Short
    reply_text: ShortStr
    class_id: Short = 0
    method_id: Short = 0


@_method(10, 51, "connection.close-ok")
class ConnectionCloseOk(Method):
    pass


@_method(10, 60, "connection.blocked")
class ConnectionBlocked(Method):
    reason: ShortStr


@_method(10, 61, "connection.unblocked")
class ConnectionUnblocked(Method):
    pass


@_method(10, 70, "connection.update-secret")
class ConnectionUpdateSecret(Method):
    new_secret: LongStr = field(repr=False)  # as above
    reason: ShortStr


@_method(10, 71, "connection.update-secret-ok")
class ConnectionUpdateSecretOk(Method):
    pass


# -- channel ------------------------------------------------------------------------------------


@_method(20, 10, "channel.open")
class ChannelOpen(Method):
    out_of_band: ShortStr = ""


@_method(20, 11, "channel.open-ok")
class ChannelOpenOk(Method):
    channel_id: LongStr = b""


@_method(20, 20, "channel.flow")
class ChannelFlow(Method):
    active: Bit


@_method(20, 21, "channel.flow-ok")
class ChannelFlowOk(Method):
    active: Bit


@_method(20, 40, "channel.close")
class ChannelClose(Method):
    reply_code: Short
    reply_text: ShortStr
    class_id: Short = 0
    method_id: Short = 0


@_method(20, 41, "channel.close-ok")
class ChannelCloseOk(Method):
    pass


# -- exchange -----------------------------------------------------------------------------------


@_method(40, 10, "exchange.declare", "short")
class ExchangeDeclare(Method):
    exchange: ShortStr
    type: ShortStr = "direct"
    passive: Bit = False
    durable: Bit = False
    auto_delete: Bit = False
    internal: Bit = False
    no_wait: Bit = False
    arguments: FieldTable = None  # type: ignore[assignment]  # None is written as an empty table


@_method(40, 11, "exchange.declare-ok")
class ExchangeDeclareOk(Method):
    pass


@_method(40, 20, "exchange.delete", "short")
class ExchangeDelete(Method):
    exchange: ShortStr
    if_unused: Bit = False
    no_wait: Bit = False


@_method(40, 21, "exchange.delete-ok")
class ExchangeDeleteOk(Method):
    pass


@_method(40, 30, "exchange.bind", "short")
class ExchangeBind(Method):
    destination: ShortStr
    source: ShortStr
    routing_key: ShortStr = ""
    no_wait: Bit = False
    arguments: FieldTable = None  # type: ignore[assignment]  # as above


@_method(40, 31, "exchange.bind-ok")
class ExchangeBindOk(Method):
    pass


@_method(40, 40, "exchange.unbind", "short")
class ExchangeUnbind(Method):
    destination: ShortStr
    source: ShortStr
    routing_key: ShortStr = ""
    no_wait: Bit = False
    arguments: FieldTable = None  # type: ignore[assignment]  # as above


@_method(40, 51, "exchange.unbind-ok")
class ExchangeUnbindOk(Method):
    pass


# -- queue --------------------------------------------------------------------------------------


@_method(50, 10, "queue.declare", "short")
class QueueDeclare(Method):
    queue: ShortStr = ""
    passive: Bit = False
    durable: Bit = False
    exclusive: Bit = False
    auto_delete: Bit = False
    no_wait: Bit = False
    arguments: FieldTable = None  # type: ignore[assignment]  # as above


@_method(50, 11, "queue.declare-ok")
class QueueDeclareOk(Method):
    queue: ShortStr
    message_count: Long
    consumer_count: Long


@_method(50, 20, "queue.bind", "short")
class QueueBind(Method):
    queue: ShortStr
    exchange: ShortStr
    routing_key: ShortStr = ""
    no_wait: Bit = False
    arguments: FieldTable = None  # type: ignore[assignment]  # as above


@_method(50, 21, "queue.bind-ok")
class QueueBindOk(Method):
    pass


@_method(50, 30, "queue.purge", "short")
class QueuePurge(Method):
    queue: ShortStr
    no_wait: Bit = False


@_method(50, 31, "queue.purge-ok")
class QueuePurgeOk(Method):
    message_count: Long


@_method(50, 40, "queue.delete", "short")
class QueueDelete(Method):
    queue: ShortStr
    if_unused: Bit = False
    if_empty: Bit = False
    no_wait: Bit = False


@_method(50, 41, "queue.delete-ok")
class QueueDeleteOk(Method):
    message_count: Long


@_method(50, 50, "queue.unbind", "short")
class QueueUnbind(Method):
    queue: ShortStr
    exchange: ShortStr
    routing_key: ShortStr = ""
    arguments: FieldTable = None  # type: ignore[assignment]  # as above


@_method(50, 51, "queue.unbind-ok")
class QueueUnbindOk(Method):
    pass


# -- basic --------------------------------------------------------------------------------------


@_method(60, 10, "basic.qos")
class BasicQos(Method):
    prefetch_size: Long
    prefetch_count: Short
    global_: Bit = False


@_method(60, 11, "basic.qos-ok")
class BasicQosOk(Method):
    pass


@_method(60, 20, "basic.consume", "short")
class BasicConsume(Method):
    queue: ShortStr
    consumer_tag: ShortStr = ""
    no_local: Bit = False
    no_ack: Bit = False
    exclusive: Bit = False
    no_wait: Bit = False
    arguments: FieldTable = None  # type: ignore[assignment]  # as above


@_method(60, 21, "basic.consume-ok")
class BasicConsumeOk(Method):
    consumer_tag: ShortStr


@_method(60, 30, "basic.cancel")
class BasicCancel(Method):
    consumer_tag: ShortStr
    no_wait: Bit = False


@_method(60, 31, "basic.cancel-ok")
class BasicCancelOk(Method):
    consumer_tag: ShortStr


@_method(60, 40, "basic.publish", "short")
class BasicPublish(Method):
    exchange: ShortStr = ""
    routing_key: ShortStr = ""
    mandatory: Bit = False
    immediate: Bit = False


@_method(60, 50, "basic.return")
class BasicReturn(Method):
    reply_code: Short
    reply_text: ShortStr
    exchange: ShortStr
    routing_key: ShortStr


@_method(60, 60, "basic.deliver")
class BasicDeliver(Method):
    consumer_tag: ShortStr
    delivery_tag: LongLong
    redelivered: Bit
    exchange: ShortStr
    routing_key: ShortStr


@_method(60, 70, "basic.get", "short")
class BasicGet(Method):
    queue: ShortStr
    no_ack: Bit = False


@_method(60, 71, "basic.get-ok")
class BasicGetOk(Method):
    delivery_tag: LongLong
    redelivered: Bit
    exchange: ShortStr
    routing_key: ShortStr
    message_count: Long


@_method(60, 72, "basic.get-empty")
class BasicGetEmpty(Method):
    cluster_id: ShortStr = ""


@_method(60, 80, "basic.ack")
class BasicAck(Method):
    delivery_tag: LongLong
    multiple: Bit = False


@_method(60, 90, "basic.reject")
class BasicReject(Method):
    delivery_tag: LongLong
    requeue: Bit = True


@_method(60, 100, "basic.recover-async")
class BasicRecoverAsync(Method):
    requeue: Bit = False


@_method(60, 110, "basic.recover")
class BasicRecover(Method):
    requeue: Bit = False


@_method(60, 111, "basic.recover-ok")
class BasicRecoverOk(Method):
    pass


@_method(60, 120, "basic.nack")
class BasicNack(Method):
    delivery_tag: LongLong
    multiple: Bit = False
    requeue: Bit = True


# -- confirm and tx -----------------------------------------------------------------------------


@_method(85, 10, "confirm.select")
class ConfirmSelect(Method):
    no_wait: Bit = False


@_method(85, 11, "confirm.select-ok")
class ConfirmSelectOk(Method):
    pass


@_method(90, 10, "tx.select")
class TxSelect(Method):
    pass


@_method(90, 11, "tx.select-ok")
class TxSelectOk(Method):
    pass


@_method(90, 20, "tx.commit")
class TxCommit(Method):
    pass


@_method(90, 21, "tx.commit-ok")
class TxCommitOk(Method):
    pass


@_method(90, 30, "tx.rollback")
class TxRollback(Method):
    pass


@_method(90, 31, "tx.rollback-ok")
class TxRollbackOk(Method):
    pass


# -- codec --------------------------------------------------------------------------------------


def method_name(method_id: int) -> str:
    """``queue.declare`` for its id; ``method 60.999`` for one that isn't known."""
    return METHOD_NAMES.get(method_id) or f"method {method_id >> 16}.{method_id & 0xFFFF}"


def decode_method(payload: bytes) -> Method:
    """The method in the payload of a method frame.

    Bytes behind the last argument are left alone, as RabbitMQ's own decoder of some versions
    does. Raises SyntaxViolation for an unknown method or arguments that can't be decoded.
    """
    if len(payload) < 4:
        raise SyntaxViolation("a method frame of fewer than 4 bytes")
    method_id = _U32.unpack_from(payload, 0)[0]
    cls = BY_ID.get(method_id)
    which = (method_id >> 16, method_id & 0xFFFF)
    if cls is None:
        raise SyntaxViolation(f"{method_name(method_id)} is unknown", which)
    try:
        return _decode_arguments(cls, payload)
    except (error, IndexError) as problem:
        raise SyntaxViolation(f"{cls.name()} is cut short", which) from problem
    except SyntaxViolation as problem:
        raise SyntaxViolation(f"{cls.name()}: {problem.text}", which) from problem


def _decode_arguments(cls: type[Method], payload: bytes) -> Method:
    values: list[Any] = []
    pos = 4 + (2 if cls.RESERVED else 0)
    bit = 0  # which bit of the octet at pos is next; bits that follow each other share octets
    for _, wire in cls.WIRE:
        if wire == "bit":
            values.append(bool(payload[pos] >> bit & 1))
            bit += 1
            if bit == 8:
                bit, pos = 0, pos + 1
            continue
        if bit:
            bit, pos = 0, pos + 1
        if wire == "shortstr":
            end = pos + 1 + payload[pos]
            if end > len(payload):
                raise SyntaxViolation("a short string reaches over the method's end")
            values.append(payload[pos + 1 : end].decode("utf-8", "surrogateescape"))
            pos = end
        elif wire == "longstr":
            end = pos + 4 + _U32.unpack_from(payload, pos)[0]
            if end > len(payload):
                raise SyntaxViolation("a long string reaches over the method's end")
            values.append(payload[pos + 4 : end])
            pos = end
        elif wire == "table":
            value, pos = decode_table(payload, pos)
            values.append(value)
        elif wire == "octet":
            values.append(payload[pos])
            pos += 1
        else:
            number = {"short": _U16, "long": _U32, "longlong": _U64}[wire]
            values.append(number.unpack_from(payload, pos)[0])
            pos += number.size
    return cls(*values)


def encode_method(method: Method) -> bytes:
    """The payload of the method's frame.

    Raises ValueError for a short string over 255 bytes or a number out of its range.
    """
    parts = [_U32.pack(method.ID)]
    if method.RESERVED:
        parts.append(b"\x00\x00")
    bits = shift = 0
    try:
        for name, wire in method.WIRE:
            value = getattr(method, name)
            if wire == "bit":
                bits |= bool(value) << shift
                shift += 1
                continue
            if shift:
                parts.append(bytes([bits]))
                bits = shift = 0
            parts.append(_encode_value(wire, value))
    except error as problem:
        raise ValueError(f"{method.name()}: {problem}") from problem
    if shift:
        parts.append(bytes([bits]))
    return b"".join(parts)


def _encode_value(wire: str, value: Any) -> bytes:
    match wire:
        case "shortstr":
            raw: bytes = value.encode("utf-8", "surrogateescape")
            if len(raw) > 255:
                raise ValueError(f"a short string holds 255 bytes, not {len(raw)}")
            return bytes([len(raw)]) + raw
        case "longstr":
            return _U32.pack(len(value)) + bytes(value)
        case "table":
            return encode_table(value or {})
        case "octet":
            return bytes([value])
        case "short":
            return _U16.pack(value)
        case "long":
            return _U32.pack(value)
        case "longlong":
            return _U64.pack(value)
    raise AssertionError(f"no codec for wire type {wire}")


def encode_method_frame(channel: int, method: Method) -> bytes:
    """The whole frame of a method."""
    return encode_frame(FRAME_METHOD, channel, encode_method(method))


def short_text(text: str) -> str:
    """``text`` cut so that it fits a short string of 255 bytes (reply-text)."""
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) <= 255:
        return text
    return raw[:252].decode("utf-8", "ignore") + "..."


def printable(text: str) -> str:
    """``text`` that a peer made up, fit for logs, JSON and terminals.

    Control characters and bytes that aren't UTF-8 (which JSON has no place for) become U+FFFD.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
