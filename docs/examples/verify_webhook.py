"""Whether a webhook's request comes from BioTwin: the signature fits, and it was made less than five minutes ago."""

import hashlib
import hmac
import time


def is_genuine(secret: str, header: str, body: bytes) -> bool:
    fields = dict(field.split("=", 1) for field in header.split(","))
    signed = fields["t"].encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    fresh = abs(time.time() - int(fields["t"])) < 300
    return fresh and hmac.compare_digest(expected, fields["v1"])
