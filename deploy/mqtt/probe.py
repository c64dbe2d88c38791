"""Ask an MQTT broker whether it admits clients: one CONNECT by hand, cheaper than a client."""

from __future__ import annotations

import socket

_CONNECT = bytes.fromhex("100d 0004 4d515454 05 02 0005 00 0000".replace(" ", ""))
"""MQTT 5 CONNECT: clean start, keep-alive 5 s, no properties, no client id."""


def mqtt_answers(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether the broker there answers a CONNECT, with whatever verdict."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(_CONNECT)
            return connection.recv(1)[:1] == b"\x20"
    except OSError:
        return False
