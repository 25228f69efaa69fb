"""Words on pictures: one font, and lines that fit."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

from lingula.core.errors import UserError

TEXT_SIZE = 14


def wrap(text: str, width: int, most: int) -> list[str]:
    """Break text into lines of at most `width` pixels; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if font().getlength(longer) <= width or not line:
            line = longer
            continue
        lines.append(line)
        line = word
    lines += [line] if line else []
    if len(lines) <= most:
        return [shorten(each, width) for each in lines]
    return [shorten(each, width) for each in lines[: most - 1]] + [shorten(f"{lines[most - 1]} …", width)]


def shorten(line: str, width: int) -> str:
    """Cut a line to at most `width` pixels; what was cut ends in an ellipsis."""
    if font().getlength(line) <= width:
        return line
    line = line.removesuffix("…").rstrip()
    while line and font().getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"


@lru_cache(maxsize=4)
def font(size: int = TEXT_SIZE) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font.

    Raises:
        UserError: Pillow cannot draw it.
    """
    loaded = ImageFont.load_default(size)
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise UserError("Pillow was built without FreeType", "Reinstall it: uv pip install --force-reinstall pillow.")
    return loaded
