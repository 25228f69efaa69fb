"""One spelling for text that says the same: Unicode, control characters, white space."""

from __future__ import annotations

import re
import unicodedata

_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"
_INVISIBLE = re.compile(rf"[{_CONTROL}\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufffd\ud800-\udfff]")
_BREAKS = re.compile(r"\\\.br\\|<br\s?/?>", re.IGNORECASE)
"""Line breaks of HL7 messages and of web pages."""


def normalise_text(text: str) -> str:
    r"""Return the text in Unicode NFC, without control or invisible characters, every run of white space as one space.

    >>> normalise_text(" No\u00a0acute\r\n disease.\x00 ")
    'No acute disease.'
    """
    return " ".join(clean_text(text).split())


def clean_text(text: str) -> str:
    r"""Return the text in Unicode NFC, without control or invisible characters, every line break as `\n`.

    HL7's `\.br\` and `<br>` are line breaks too.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return _BREAKS.sub("\n", _INVISIBLE.sub("", text))
