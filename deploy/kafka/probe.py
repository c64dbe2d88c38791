"""Ask a Kafka whether it serves: one Metadata request by hand, cheaper than a client and safe in any thread."""

from __future__ import annotations

import socket
import struct

_METADATA_V1 = struct.pack(">hhih", 3, 1, 1, -1) + struct.pack(">i", 0)
"""Header (api key, version, correlation id, no client id), then an empty list of topics: brokers only."""


def kafka_answers(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether a broker listens there and knows itself to be part of a cluster."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack(">i", len(_METADATA_V1)) + _METADATA_V1)
            reply = _exactly(connection, struct.unpack(">i", _exactly(connection, 4))[0])
    except (OSError, EOFError, struct.error):
        return False
    _, brokers = struct.unpack_from(">ii", reply)
    return bool(brokers > 0)


def _exactly(connection: socket.socket, count: int) -> bytes:
    if not 0 <= count < 1 << 24:
        raise EOFError
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        if not chunk:
            raise EOFError
        received += chunk
    return received


def any_broker_answers(bootstrap: str, timeout_s: float = 1.0) -> bool:
    """Whether one of host:port[,host:port] serves."""
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if host and port.isdigit() and kafka_answers(host.strip("[]"), int(port), timeout_s):
            return True
    return False
