"""Warrener builds, balances, heals, watches and plans RabbitMQ clusters."""

from typing import Final

__version__: Final = "0.1.0"
