"""What a peer can do wrong on the wire, with the reply code that answers it."""

from typing import Final

from warrener.amqp.constants import ReplyCode


class ProtocolViolation(Exception):
    """The peer broke the protocol.

    ``code`` is the AMQP reply code that RabbitMQ uses for the same mistake, ``text`` a sentence
    without the code's name. ``method`` is (class, method) of the method at fault, or (0, 0).
    """

    code: Final[ReplyCode]
    text: Final[str]
    method: Final[tuple[int, int]]

    def __init__(self, code: ReplyCode, text: str, method: tuple[int, int] = (0, 0)) -> None:
        super().__init__(f"{code.value} {code.name} - {text}")
        self.code = code
        self.text = text
        self.method = method


class FrameError(ProtocolViolation):
    """A frame that can't be one: too large, without its end octet, out of place. The stream is
    lost.

    ``at`` is the offset at which the frame begins in the bytes that were scanned; what lies
    before it is good.
    """

    at: Final[int]

    def __init__(self, text: str, at: int, code: ReplyCode = ReplyCode.FRAME_ERROR) -> None:
        super().__init__(code, text)
        self.at = at


class SyntaxViolation(ProtocolViolation):
    """A well-framed method whose arguments can't be decoded."""

    def __init__(self, text: str, method: tuple[int, int] = (0, 0)) -> None:
        super().__init__(ReplyCode.SYNTAX_ERROR, text, method)
