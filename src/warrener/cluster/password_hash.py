"""RabbitMQ's password hashes, to tell whether a password is the one that is wanted. Pure.

The management API gives ``password_hash``: Base64 of four bytes of salt and the digest of the salt
and the password (RabbitMQ's "Credentials and Passwords" guide, "Computing Password Hash").
"""

import binascii
import hashlib
import hmac
from base64 import b64decode
from typing import Final

_SALT: Final = 4
_DIGESTS: Final = {
    "rabbit_password_hashing_sha256": "sha256",
    "rabbit_password_hashing_sha512": "sha512",
}


def is_password(password: str, salted: str, hashing: str) -> bool:
    """Whether ``salted``, made by the module ``hashing``, is of this password. False also where
    that can't be told (MD5, a module of somebody's own): the password is then set anew."""
    digest = _DIGESTS.get(hashing)
    if digest is None:
        return False
    try:
        raw = b64decode(salted, validate=True)
    except (binascii.Error, ValueError):
        return False
    salt, found = raw[:_SALT], raw[_SALT:]
    made = hashlib.new(digest, salt + password.encode()).digest()
    return hmac.compare_digest(made, found)
