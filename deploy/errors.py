"""Errors that a user can put right: `biotwin` prints their text without a traceback and ends with exit code 1."""

from __future__ import annotations


class UserError(Exception):
    """What went wrong, where, and how to go on."""
