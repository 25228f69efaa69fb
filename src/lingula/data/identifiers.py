"""Salted hashes in place of the identifiers of studies and patients."""

from __future__ import annotations

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from lingula.core.errors import UserError
from lingula.core.files import atomic_file, sha256_of
from lingula.data.store_schema import SALT_FILE, SHARDS_FOLDER

SHORTEST_SALT = 16
DIGITS = 16
"""Hexadecimal digits of a hashed identifier, 64 bits: two of a million studies collide with probability 3e-8."""


class Pseudonyms:
    """Replaces identifiers by the first 64 bits of their HMAC-SHA256 (RFC 2104) under a salt.

    Args:
        salt: At least 16 bytes; who has it can test whether an identifier they know is in the store.

    Raises:
        UserError: The salt is too short to be a secret.
    """

    def __init__(self, salt: bytes) -> None:
        if len(salt) < SHORTEST_SALT:
            remedy = "Write a random one (`openssl rand -hex 32`), or leave it out and one is made."
            raise UserError(f"a salt of {len(salt)} bytes is too short; it needs {SHORTEST_SALT}", remedy)
        self.salt = salt

    @property
    def fingerprint(self) -> str:
        """What tells two salts apart without giving them away."""
        return sha256_of("lingula salt", self.salt)

    def study(self, study_id: str) -> str:
        """Return the name that stands for a study."""
        return self._hash("study", study_id)

    def patient(self, patient_id: str) -> str:
        """Return the name that stands for a patient; a study of the same name gets another."""
        return self._hash("patient", patient_id)

    def _hash(self, kind: str, identifier: str) -> str:
        return hmac.new(self.salt, f"{kind}\0{identifier}".encode(), sha256).hexdigest()[:DIGITS]


def read_salt(path: Path) -> bytes:
    """Return the salt in a file, without white space around it.

    Raises:
        UserError: There is no such file.
    """
    if not path.is_file():
        raise UserError(f"no such salt file: {path}", "Write one with `openssl rand -hex 32`, readable by you alone.")
    return path.read_bytes().strip()


def claim_pseudonyms(place: Path, store: Path, given: bytes | None) -> Pseudonyms:
    """Return the pseudonyms of the store that is being written, with its salt in a file that only the owner can read.

    Args:
        place: Where the store is written.
        store: The store's folder, whose salt a replacement takes over.
        given: The salt to use; None: the store's own, or else a random one.

    Raises:
        UserError: The store has another salt, or has lost its own.
    """
    own = place / SALT_FILE
    if own.is_file():
        kept = read_salt(own)
        if given is not None and given != kept:
            raise UserError(f"{store} was prepared with another salt", "Leave the salt out, or choose another folder.")
        return Pseudonyms(kept)
    if given is None and place == store and (place / SHARDS_FOLDER).is_dir():
        raise UserError(f"{store} has lost its {SALT_FILE}", "Give the salt again (--salt-file), or choose another folder.")
    taken_over = read_salt(store / SALT_FILE) if (store / SALT_FILE).is_file() else secrets.token_hex(32).encode()
    pseudonyms = Pseudonyms(taken_over if given is None else given)
    with atomic_file(own) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pseudonyms.salt + b"\n")
    return pseudonyms
