"""Signatures of licences: Ed25519, so that whoever checks a licence cannot make one.

A private key is its 32-byte seed, a public key its 32 raw bytes (RFC 8032).
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32


def public_key_of(private_key: bytes) -> bytes:
    """Return the public key that belongs to a private one; both have 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def signature_of(text: str, private_key: bytes) -> str:
    """Return the signature of a text, 128 hex digits; the same text has always the same."""
    return Ed25519PrivateKey.from_private_bytes(private_key).sign(text.encode()).hex()


def fits(signature: str, text: str, public_key: bytes) -> bool:
    """Return whether the owner of the key has signed exactly this text.

    A signature is written in one way only, in small digits: a changed one does not fit.
    """
    try:
        signed = bytes.fromhex(signature)
        if signed.hex() != signature:
            return False
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed, text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
