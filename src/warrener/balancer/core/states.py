"""The state machines of a session as tables: the client's side and a link.

A table maps a state to what may happen in it and the state that follows. ``follow`` looks a move
up; a move that isn't there raises ``IllegalMove``. Where the peer can cause that, the caller asks
``allowed`` first and answers with a protocol error; everywhere else it is our own bug.

                        the client's side                     a link
    connected           AWAIT_HEADER                          CONNECTING
    header              AWAIT_START                           AWAIT_START
    connection.start    AWAIT_START_OK                        HAVE_START
    start-ok            AWAIT_TUNE        (secure: and back)  AWAIT_TUNE
    tune                AWAIT_TUNE_OK                         HAVE_TUNE
    tune-ok             AWAIT_OPEN
    open                AWAIT_OPEN_OK                         AWAIT_OPEN_OK
    open-ok             OPEN                                  OPEN

The two run side by side and may be out of step: when a node fails in the middle of a handshake,
the client waits in AWAIT_TUNE while a link to the next node starts again from CONNECTING. What a
channel goes through is in ``channel``: its modes are about where it is, not what may be said.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, TypeVar


class IllegalMove(AssertionError):
    """A move that the table doesn't have."""


class ClientState(Enum):
    """What the client's side waits for."""

    AWAIT_HEADER = auto()
    AWAIT_START = auto()
    AWAIT_START_OK = auto()
    AWAIT_TUNE = auto()
    AWAIT_SECURE_OK = auto()
    AWAIT_TUNE_OK = auto()
    AWAIT_OPEN = auto()
    AWAIT_OPEN_OK = auto()
    OPEN = auto()
    CLOSING = auto()  # the client sent connection.close, the broker's close-ok is awaited
    CLOSED_BY_US = auto()  # connection.close went to the client, its close-ok is awaited
    FOREIGN = auto()  # another protocol, passed on as plain TCP
    DONE = auto()


class ClientMove(Enum):
    """What happens on the client's side."""

    HEADER = auto()
    FOREIGN_HEADER = auto()
    START = auto()
    START_OK = auto()
    SECURE = auto()
    SECURE_OK = auto()
    TUNE = auto()
    TUNE_OK = auto()
    OPEN = auto()
    OPEN_OK = auto()
    CLOSE = auto()  # from the client
    CLOSE_SENT = auto()  # to the client
    END = auto()


_C = ClientState
_M = ClientMove

_AFTER_START: Final = {_M.CLOSE: _C.CLOSING, _M.CLOSE_SENT: _C.CLOSED_BY_US, _M.END: _C.DONE}

CLIENT: Final[Mapping[ClientState, Mapping[ClientMove, ClientState]]] = {
    _C.AWAIT_HEADER: {
        _M.HEADER: _C.AWAIT_START,
        _M.FOREIGN_HEADER: _C.FOREIGN,
        _M.END: _C.DONE,
    },
    _C.AWAIT_START: {_M.START: _C.AWAIT_START_OK, _M.END: _C.DONE},
    _C.AWAIT_START_OK: {_M.START_OK: _C.AWAIT_TUNE, **_AFTER_START},
    _C.AWAIT_TUNE: {
        _M.SECURE: _C.AWAIT_SECURE_OK,
        _M.TUNE: _C.AWAIT_TUNE_OK,
        **_AFTER_START,
    },
    _C.AWAIT_SECURE_OK: {_M.SECURE_OK: _C.AWAIT_TUNE, **_AFTER_START},
    _C.AWAIT_TUNE_OK: {_M.TUNE_OK: _C.AWAIT_OPEN, **_AFTER_START},
    _C.AWAIT_OPEN: {_M.OPEN: _C.AWAIT_OPEN_OK, **_AFTER_START},
    _C.AWAIT_OPEN_OK: {_M.OPEN_OK: _C.OPEN, **_AFTER_START},
    _C.OPEN: _AFTER_START,
    _C.CLOSING: {_M.END: _C.DONE},
    _C.CLOSED_BY_US: {_M.END: _C.DONE},
    _C.FOREIGN: {_M.END: _C.DONE},
    _C.DONE: {},
}

HANDSHAKING: Final = frozenset(
    {
        _C.AWAIT_HEADER,
        _C.AWAIT_START,
        _C.AWAIT_START_OK,
        _C.AWAIT_TUNE,
        _C.AWAIT_SECURE_OK,
        _C.AWAIT_TUNE_OK,
        _C.AWAIT_OPEN,
        _C.AWAIT_OPEN_OK,
    }
)
"""Not open yet, and not given up."""

WAITING_FOR_BROKER: Final = frozenset({_C.AWAIT_START, _C.AWAIT_TUNE, _C.AWAIT_OPEN_OK})
"""The client has done its part; what it sends meanwhile is held back."""


class LinkState(Enum):
    """How far a link is."""

    CONNECTING = auto()
    AWAIT_START = auto()
    HAVE_START = auto()
    AWAIT_TUNE = auto()
    HAVE_SECURE = auto()
    HAVE_TUNE = auto()
    AWAIT_OPEN_OK = auto()
    OPEN = auto()
    FOREIGN = auto()  # bytes of another protocol
    CLOSING = auto()  # a close has been sent or received
    CLOSED = auto()


class LinkMove(Enum):
    """What happens on a link."""

    CONNECTED = auto()
    CONNECTED_FOREIGN = auto()
    START = auto()
    START_OK = auto()  # sent
    SECURE = auto()
    SECURE_OK = auto()  # sent
    TUNE = auto()
    OPEN = auto()  # tune-ok and open sent
    OPEN_OK = auto()
    CLOSE = auto()  # either way
    END = auto()


_L = LinkState
_N = LinkMove

_UNTIL_OPEN: Final = {_N.CLOSE: _L.CLOSING, _N.END: _L.CLOSED}

LINK: Final[Mapping[LinkState, Mapping[LinkMove, LinkState]]] = {
    _L.CONNECTING: {
        _N.CONNECTED: _L.AWAIT_START,
        _N.CONNECTED_FOREIGN: _L.FOREIGN,
        _N.END: _L.CLOSED,
    },
    _L.AWAIT_START: {_N.START: _L.HAVE_START, **_UNTIL_OPEN},
    _L.HAVE_START: {_N.START_OK: _L.AWAIT_TUNE, **_UNTIL_OPEN},
    _L.AWAIT_TUNE: {_N.SECURE: _L.HAVE_SECURE, _N.TUNE: _L.HAVE_TUNE, **_UNTIL_OPEN},
    _L.HAVE_SECURE: {_N.SECURE_OK: _L.AWAIT_TUNE, **_UNTIL_OPEN},
    _L.HAVE_TUNE: {_N.OPEN: _L.AWAIT_OPEN_OK, **_UNTIL_OPEN},
    _L.AWAIT_OPEN_OK: {_N.OPEN_OK: _L.OPEN, **_UNTIL_OPEN},
    _L.OPEN: _UNTIL_OPEN,
    _L.FOREIGN: {_N.END: _L.CLOSED},
    _L.CLOSING: _UNTIL_OPEN,
    _L.CLOSED: {},
}


_S = TypeVar("_S")
_T = TypeVar("_T")


def allowed(table: Mapping[_S, Mapping[_T, _S]], state: _S, move: _T) -> bool:
    """Whether ``move`` may happen in ``state``."""
    return move in table[state]


def follow(table: Mapping[_S, Mapping[_T, _S]], state: _S, move: _T) -> _S:
    """The state after ``move``. Raises IllegalMove if it may not happen in ``state``."""
    try:
        return table[state][move]
    except KeyError:
        raise IllegalMove(f"{move} may not happen in {state}") from None
