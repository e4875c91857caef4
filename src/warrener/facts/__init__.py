"""Frozen values every room shares: ids, reasons, settings, snapshots, statistics.

Nothing here imports another room, does I/O or reads a clock. A value that crosses a room's
boundary is declared here; a value that stays inside one room is declared there.
"""
