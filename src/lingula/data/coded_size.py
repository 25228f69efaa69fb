"""Rows and columns that a compressed frame itself claims, so that a header cannot hide a far larger image in it."""

from __future__ import annotations

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Start-of-frame markers: JPEG without DHT, JPG and DAC, and JPEG-LS."""
_JPEG_ALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
"""Markers without a length."""
_J2K_START = b"\xff\x4f\xff\x51"


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """Return rows and columns from the codestream of a JPEG, JPEG-LS or JPEG 2000 frame; None where none is found."""
    start = frame.find(_J2K_START, 0, 4096)
    if start >= 0:
        return _j2k_size(frame[start : start + 24])
    return _jpeg_size(frame) if frame[:2] == b"\xff\xd8" else None


def _j2k_size(head: bytes) -> tuple[int, int] | None:
    """Read the SIZ segment (ISO 15444-1 A.5.1): reference grid minus its offset."""
    if len(head) < 24:
        return None
    columns, rows, left, top = (int.from_bytes(head[at : at + 4], "big") for at in (8, 12, 16, 20))
    return rows - top, columns - left


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Walk from marker to marker to the start of the frame (ISO 10918-1 B.2.2)."""
    at = 2
    while at + 9 <= len(frame):
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_ALONE:
            at += 2
        elif marker in _JPEG_FRAMES:
            return int.from_bytes(frame[at + 5 : at + 7], "big"), int.from_bytes(frame[at + 7 : at + 9], "big")
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None
