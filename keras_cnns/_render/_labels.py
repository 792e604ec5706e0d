"""Texts in plots: characters that can be drawn, fonts, and widths.

Names of classes, files and layers come from users, with any length and in any script. Every text in a plot passes
through `fit` or `printable`, and `_figure.save` sets the fonts that each text needs.
"""

import functools
import unicodedata
from typing import Any

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
INCHES_PER_POINT = 1 / 72
# Widths are measured without hinting and kerning, which change them by a few percent.
ROUNDING = 1.03
COLOR = 1 << 14  # FreeType's FT_FACE_FLAG_COLOR: fonts of colored emoji, which matplotlib draws as empty boxes


def printable(text: str) -> str:
    """Return a text with escapes for characters that no installed font has.

    The escapes are Python's. Invisible characters that no font has are dropped. A text without visible characters is
    put in quotes.
    """
    text = "".join(map(_visible, text))
    has_ink = any(unicodedata.category(character) not in ("Cf", "Zs") for character in text)
    return text if has_ink else f'"{text}"'


def fit(text: str, inches: float, size: float, lines: int = 1, tail: str = "") -> str:
    """Return a text that fits into a width.

    It is wrapped, and if that is not enough, shortened in the middle.

    Args:
        text: to draw, of any length and script.
        inches: width of a line.
        size: of the font, in points.
        lines: most lines of the result.
        tail: words after the text that are never shortened, such as a probability.

    Returns:
        At most `lines` lines, joined by line feeds; more only if the tail alone needs more.
    """
    text = printable(text)
    wrapped = _wrap(text + tail, inches, size)
    # Binary search for the number of characters to keep. One is assumed to fit; all are known not to.
    least, most = 1, len(text)
    if len(wrapped) > lines:
        while most - least > 1:
            kept = (least + most) // 2
            if len(_wrap(_shorten(text, kept) + tail, inches, size)) <= lines:
                least = kept
            else:
                most = kept
        wrapped = _wrap(_shorten(text, least) + tail, inches, size)
    return "\n".join(wrapped)


def families(text: str) -> list[str]:
    """Return the font families that a text needs, matplotlib's default first."""
    from matplotlib import rcParams

    needed = filter(None, map(_family, sorted(set(text) - {"\n"})))
    return list(dict.fromkeys([*rcParams["font.family"], *needed]))


def text_width(text: str, size: float) -> float:
    """Return the width of a line in inches; `size` is in points."""
    return ROUNDING * size * INCHES_PER_POINT * sum(map(_advance, text))


def _shorten(text: str, kept: int) -> str:
    """Return a text of which the middle is replaced by an ellipsis.

    Args:
        text: to shorten.
        kept: number of characters that stay, half of them at each end.
    """
    head = kept - kept // 2
    return text[:head].rstrip() + ELLIPSIS + text[len(text) - kept // 2 :].lstrip()


def _wrap(text: str, inches: float, size: float) -> list[str]:
    """Return the lines of a text, broken at spaces if possible."""
    done: list[str] = []
    line = ""
    for word in text.split(" "):
        if done or line:
            if text_width(f"{line} {word}", size) <= inches:
                line += f" {word}"
                continue
            done.append(line.rstrip())
        line = word
        while text_width(line, size) > inches and len(line) > 1:
            end = _break(line, inches, size)
            done.append(line[:end])
            line = line[end:]
    return [*done, line.rstrip()]


def _break(word: str, inches: float, size: float) -> int:
    """Return where to break a word, preferably after a separator."""
    end = 1
    while end < len(word) and text_width(word[: end + 1], size) <= inches:
        end += 1
    separators = [k + 1 for k in range(end) if word[k] in "-_./\\" and k + 1 > end // 2]
    while end > 1 and unicodedata.combining(word[end]):  # an accent stays with its letter
        end -= 1
    return separators[-1] if separators else end


@functools.cache
def _visible(character: str) -> str:
    """Return a character, or its replacement if it cannot be drawn."""
    kind = unicodedata.category(character)
    # Line ends and other control characters, and bytes of file names that are not valid in their encoding
    control = kind in ("Cc", "Cs", "Zl", "Zp")
    if not control and (_own_font().get_char_index(ord(character)) or _family(character)):
        return character
    return "" if kind == "Cf" else character.encode("unicode_escape").decode()


@functools.cache
def _family(character: str) -> str | None:
    """Return the family of an installed font that has a character.

    None: matplotlib's default font has it, or no font has.
    """
    if _own_font().get_char_index(ord(character)):
        return None
    return next((name for name, font in _other_fonts() if font.get_char_index(ord(character))), None)


@functools.cache
def _advance(character: str) -> float:
    """Return the width of a character divided by the font size."""
    family = _family(character)
    font = _own_font() if family is None else dict(_other_fonts())[family]
    font.set_size(100, 72)  # a point is a pixel at 72 dpi; matplotlib sets the size again before it draws
    return font.load_char(ord(character)).linearHoriAdvance / 65536 / 100


@functools.cache
def _own_font() -> Any:
    """Return matplotlib's default font."""
    from matplotlib import font_manager

    return font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))


@functools.cache
def _other_fonts() -> list[tuple[str, Any]]:
    """Return (family, font) of upright fonts of normal weight, sans-serif first."""
    from matplotlib import font_manager

    entries: dict[str, str] = {}
    for entry in font_manager.fontManager.ttflist:
        if entry.style == "normal" and entry.weight in (400, "normal", "regular") and entry.stretch == "normal":
            entries.setdefault(entry.name, entry.fname)
    fonts = []
    for name in sorted(entries, key=lambda name: ("Sans" not in name, "Mono" in name, name)):
        if name.startswith("Last Resort"):  # it draws a box for every character
            continue
        try:
            font = font_manager.get_font(entries[name])
        except (OSError, RuntimeError):  # the file is damaged, or was removed since matplotlib listed it
            continue
        flags: Any = font.face_flags  # an integer, or in newer versions of matplotlib an enum
        if not getattr(flags, "value", flags) & COLOR:
            fonts.append((name, font))
    return fonts
