"""Field tables as RabbitMQ and its clients write them.

The specification's table of field types (4.2.1) was never what anybody implemented; this follows
RabbitMQ's published errata: ``b`` is a signed octet, ``B`` unsigned, ``s`` a signed 16-bit
integer, ``u`` unsigned, ``I`` and ``i`` 32-bit, ``l`` signed 64-bit (``L`` is read likewise, as
old clients send it), ``S`` a long string, ``x`` a byte array, ``V`` nothing.

Strings that aren't UTF-8 survive a round trip: they are decoded with ``surrogateescape``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from struct import Struct, error
from typing import Any, Final

from warrener.amqp.errors import SyntaxViolation

Table = Mapping[str, Any]
"""Names to values: None, bool, int, float, str, bytes, Decimal, Timestamp, list, or a Table."""

MAX_DEPTH: Final = 32
"""Nesting of tables and arrays; deeper ones are refused before Python's own stack is in danger."""

_U8: Final = Struct(">B")
_I8: Final = Struct(">b")
_U16: Final = Struct(">H")
_I16: Final = Struct(">h")
_U32: Final = Struct(">I")
_I32: Final = Struct(">i")
_I64: Final = Struct(">q")
_U64: Final = Struct(">Q")
_F32: Final = Struct(">f")
_F64: Final = Struct(">d")
_NUMBERS: Final = {
    0x62: _I8,  # b
    0x42: _U8,  # B
    0x73: _I16,  # s
    0x75: _U16,  # u
    0x49: _I32,  # I
    0x69: _U32,  # i
    0x6C: _I64,  # l
    0x4C: _I64,  # L
    0x66: _F32,  # f
    0x64: _F64,  # d
}


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Seconds since the epoch. Kept as a number: clients send values no datetime can hold."""

    seconds: int

    def datetime(self) -> datetime:
        """The same as an aware datetime; OverflowError if it can't be one."""
        return datetime.fromtimestamp(self.seconds, UTC)


def decode_table(data: bytes, pos: int) -> tuple[dict[str, Any], int]:
    """The table whose length stands at ``pos``, and the offset behind it.

    Raises SyntaxViolation for anything that isn't one.
    """
    try:
        return _table(data, pos, 0)
    except (error, IndexError, ValueError) as problem:
        raise SyntaxViolation(f"field table can't be decoded: {problem}") from problem


def encode_table(table: Table) -> bytes:
    """The table with its length. ValueError for a value no field type can hold."""
    fields = b"".join(_name(name) + _encode_value(value) for name, value in table.items())
    return _U32.pack(len(fields)) + fields


def _table(data: bytes, pos: int, depth: int) -> tuple[dict[str, Any], int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    end, pos = _bounded(data, pos)
    table: dict[str, Any] = {}
    while pos < end:
        size = data[pos]
        name = data[pos + 1 : pos + 1 + size].decode("utf-8", "surrogateescape")
        table[name], pos = _value(data, pos + 1 + size, depth)
    if pos != end:
        raise ValueError("a field reaches over the table's end")
    return table, pos


def _bounded(data: bytes, pos: int) -> tuple[int, int]:
    end = pos + 4 + _U32.unpack_from(data, pos)[0]
    if end > len(data):
        raise ValueError("the length is greater than what is there")
    return end, pos + 4


def _value(data: bytes, pos: int, depth: int) -> tuple[Any, int]:
    kind = data[pos]
    pos += 1
    if kind == 0x53:  # S
        end, pos = _bounded(data, pos)
        return data[pos:end].decode("utf-8", "surrogateescape"), end
    if kind == 0x46:  # F
        return _table(data, pos, depth + 1)
    if kind == 0x74:  # t
        return data[pos] != 0, pos + 1
    number = _NUMBERS.get(kind)
    if number is not None:
        return number.unpack_from(data, pos)[0], pos + number.size
    if kind == 0x41:  # A
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        end, pos = _bounded(data, pos)
        items = []
        while pos < end:
            item, pos = _value(data, pos, depth + 1)
            items.append(item)
        if pos != end:
            raise ValueError("an item reaches over the array's end")
        return items, pos
    if kind == 0x54:  # T
        return Timestamp(_U64.unpack_from(data, pos)[0]), pos + 8
    if kind == 0x56:  # V
        return None, pos
    if kind == 0x78:  # x
        end, pos = _bounded(data, pos)
        return data[pos:end], end
    if kind == 0x44:  # D
        scale = data[pos]
        return Decimal(_I32.unpack_from(data, pos + 1)[0]).scaleb(-scale), pos + 5
    raise ValueError(f"unknown field type {bytes([kind])!r}")


def _name(name: str) -> bytes:
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) > 255:
        raise ValueError(f"field name of {len(raw)} bytes; 255 are allowed")
    return bytes([len(raw)]) + raw


def _long_string(raw: bytes) -> bytes:
    return _U32.pack(len(raw)) + raw


def _encode_value(value: object) -> bytes:
    match value:
        case None:
            return b"V"
        case bool():
            return b"t\x01" if value else b"t\x00"
        case int():
            if -(2**31) <= value < 2**31:
                return b"I" + _I32.pack(value)
            if -(2**63) <= value < 2**63:
                return b"l" + _I64.pack(value)
            raise ValueError(f"{value} doesn't fit a 64-bit field")
        case str():
            return b"S" + _long_string(value.encode("utf-8", "surrogateescape"))
        case bytes():
            return b"x" + _long_string(value)
        case float():
            return b"d" + _F64.pack(value)
        case Timestamp():
            if not 0 <= value.seconds < 2**64:
                raise ValueError(f"{value.seconds} s doesn't fit a timestamp field")
            return b"T" + _U64.pack(value.seconds)
        case Decimal():
            return _encode_decimal(value)
        case list() | tuple():
            return b"A" + _long_string(b"".join(_encode_value(item) for item in value))
        case Mapping():
            return b"F" + encode_table(value)
    raise ValueError(f"no field type holds a {type(value).__name__}")


def _encode_decimal(value: Decimal) -> bytes:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"{value} is not a number")
    scale = max(0, -exponent)
    unscaled = int(value.scaleb(scale))
    if scale > 255 or not -(2**31) <= unscaled < 2**31:
        raise ValueError(f"{value} doesn't fit a decimal field")
    return b"D" + _U8.pack(scale) + _I32.pack(unscaled)
