"""Texts in drawings: which letters can be drawn, in which font, and how a text fits into its place.

Names of classes, files and layers come from users: of any length, in any script. Whatever goes into a drawing goes
through `fit` or `printable`, and `_figure.save` gives each text the fonts that it needs.
"""

import functools
import unicodedata

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
INCHES_PER_POINT = 1 / 72
# Advances are measured without hinting and kerning, which change a text's width by a few percent
ROUNDING = 1.03
COLOR = 1 << 14  # FreeType's FT_FACE_FLAG_COLOR: fonts of emoji bitmaps, which matplotlib draws as empty boxes


def printable(text):
    """Return a text in which a character that no installed font has is written as its escape, as Python does.

    Invisible characters are dropped where no font has them. A text of which nothing can be seen is put in quotes.
    """
    text = "".join(map(_visible, text))
    seen = any(unicodedata.category(character) not in ("Cf", "Zs") for character in text)
    return text if seen else f'"{text}"'


def fit(text, inches, size, lines=1, tail=""):
    """Return a text that fits into a width: wrapped, and where that does not do, shortened in its middle.

    Args:
        text: to draw, of any length and script.
        inches: room for a line.
        size: of the font, in points.
        lines: how many lines there may be.
        tail: words after the text that are never shortened, such as a probability.

    Returns:
        At most `lines` lines, joined by line feeds; more only where the tail alone takes more.
    """
    text = printable(text)
    wrapped = _wrap(text + tail, inches, size)
    least, most = 1, len(text)  # characters to keep: one is taken to fit, all are known not to
    if len(wrapped) > lines:
        while most - least > 1:
            kept = (least + most) // 2
            if len(_wrap(_shorten(text, kept) + tail, inches, size)) <= lines:
                least = kept
            else:
                most = kept
        wrapped = _wrap(_shorten(text, least) + tail, inches, size)
    return "\n".join(wrapped)


def families(text):
    """Return the names of the font families that a text needs, matplotlib's own first."""
    from matplotlib import rcParams

    needed = filter(None, map(_family, sorted(set(text) - {"\n"})))
    return list(dict.fromkeys([*rcParams["font.family"], *needed]))


def text_width(text, size):
    """Return the width of one line in inches."""
    return ROUNDING * size * INCHES_PER_POINT * sum(map(_advance, text))


def _shorten(text, kept):
    """Return a text of which so many characters are left, half of them at each end."""
    head = kept - kept // 2
    return text[:head].rstrip() + ELLIPSIS + text[len(text) - kept // 2 :].lstrip()


def _wrap(text, inches, size):
    """Return the lines of a text, broken at spaces, and inside of words that are wider than a line."""
    done, line = [], ""
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


def _break(word, inches, size):
    """Return where to break a word that is too wide: after a sign between words, or where the line is full."""
    end = 1
    while end < len(word) and text_width(word[: end + 1], size) <= inches:
        end += 1
    signs = [k + 1 for k in range(end) if word[k] in "-_./\\" and k + 1 > end // 2]
    while end > 1 and unicodedata.combining(word[end]):  # an accent stays with its letter
        end -= 1
    return signs[-1] if signs else end


@functools.cache
def _visible(character):
    """Return a character, or what stands for it where it cannot be drawn."""
    kind = unicodedata.category(character)
    breaks = kind in ("Cc", "Cs", "Zl", "Zp")  # line ends and the like, and bytes of file names in no encoding
    if not breaks and (_own_font().get_char_index(ord(character)) or _family(character)):
        return character
    return "" if kind == "Cf" else character.encode("unicode_escape").decode()


@functools.cache
def _family(character):
    """Return the family of an installed font that has a character; None: matplotlib's own has it, or none has."""
    if _own_font().get_char_index(ord(character)):
        return None
    return next((name for name, font in _other_fonts() if font.get_char_index(ord(character))), None)


@functools.cache
def _advance(character):
    """Return the width of a character, as a share of the font's size."""
    family = _family(character)
    font = _own_font() if family is None else dict(_other_fonts())[family]
    font.set_size(100, 72)  # so that a point is a pixel; matplotlib sets the size again whenever it draws
    return font.load_char(ord(character)).linearHoriAdvance / 65536 / 100


@functools.cache
def _own_font():
    from matplotlib import font_manager

    return font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))


@functools.cache
def _other_fonts():
    """Return (family, font) of each upright family of ordinary weight, those without serifs first."""
    from matplotlib import font_manager

    entries = {}
    for entry in font_manager.fontManager.ttflist:
        if entry.style == "normal" and entry.weight in (400, "normal", "regular") and entry.stretch == "normal":
            entries.setdefault(entry.name, entry.fname)
    fonts = []
    for name in sorted(entries, key=lambda name: ("Sans" not in name, "Mono" in name, name)):
        if name.startswith("Last Resort"):  # it has a box for every character
            continue
        try:
            font = font_manager.get_font(entries[name])
        except (OSError, RuntimeError):  # removed since matplotlib listed it, or damaged
            continue
        if not getattr(font.face_flags, "value", font.face_flags) & COLOR:
            fonts.append((name, font))
    return fonts
