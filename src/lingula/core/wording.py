"""How text is written for people."""

from __future__ import annotations


def capital(text: str) -> str:
    """Begin with a capital letter; the rest stays, unlike with `str.capitalize`.

    >>> capital("chest CT")
    'Chest CT'
    """
    return text[:1].upper() + text[1:]
