"""The chunks of PNG files. Standard library only."""

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, PALETTE = b"\x00", b"\x03"  # color types
# Chunks that may say how the camera was held: Pillow turns such images
TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type of each chunk, and the whole chunk.

    Args:
        content: a PNG file, which may be incomplete.
    """
    place = len(SIGNATURE)
    while place + 12 <= len(content):
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        yield content[place + 4 : place + 8], content[place:end]
        place = end


def labels_as_gray(content: bytes) -> bytes:
    """Return a PNG whose gray values are the labels of a mask.

    A palette image stores indices as a gray image stores values, so that another header is enough.

    Args:
        content: a file.

    Returns:
        A PNG file; empty if this one is not a PNG with labels of 8 bits, or says that it must be turned.

    Examples:
        >>> from keras_cnns.data.png import labels_as_gray
        >>> labels_as_gray(b"no image")
        b''
    """
    if not content.startswith(SIGNATURE):
        return b""
    kept = [SIGNATURE]
    for kind, chunk in chunks(content):
        if kind == b"eXIf" or (kind in TEXTS and (b"exif" in chunk or b"xmp" in chunk)):
            return b""
        if kind == b"IHDR":
            sides, depth, color, rest = chunk[8:16], chunk[16:17], chunk[17:18], chunk[18:21]
            if (depth, color) not in ((b"\x08", GRAY), (b"\x08", PALETTE)):
                return b""
            body = kind + sides + depth + GRAY + rest
            kept += [chunk[:4], body, zlib.crc32(body).to_bytes(4, "big")]
        elif kind in (b"IDAT", b"IEND"):
            kept.append(chunk)
    return b"".join(kept)
