"""Damage inside a JPEG that decoders pass over in silence."""

import os
import warnings

import numpy as np

from keras_cnns._quiet import held_back
from keras_cnns.errors import SourceWarning
from keras_cnns.typing import Path

JPEG_START = b"\xff\xd8\xff"
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
DAMAGED = "{path}: is a JPEG that is damaged in its middle ({reason}), so that a part of it shows wrong. Replace it."
# After the start of the pixels, 0xFF may be followed by 0 or 0xFF (a literal byte), by a restart marker, or by the
# header of a further scan. Any other code is stray.
STRAY = np.array([not (code in (0, 0xC4, 0xFE, 0xFF) or 0xD0 <= code <= 0xEF) for code in range(256)])


def warn_if_damaged(path: Path, content: bytes) -> None:
    """Warn of a JPEG with stray markers among its pixels.

    Something has then overwritten a part of the file.

    Args:
        path: path of the file, for the message.
        content: bytes of the file.

    Warns:
        SourceWarning: naming the file.
    """
    if _has_stray_markers(content):
        warnings.warn(DAMAGED.format(path=path, reason="markers among its pixels"), SourceWarning, stacklevel=2)


def _has_stray_markers(content: bytes) -> bool:
    """Return whether a stray marker interrupts the pixels of a JPEG."""
    start = 2
    while content.startswith(JPEG_START) and start + 4 <= len(content) and content[start] == 0xFF:
        length = int.from_bytes(content[start + 2 : start + 4], "big")
        if content[start + 1] == START_OF_SCAN:
            pixels = np.frombuffer(content, "uint8", offset=start + 2 + length)
            markers = pixels[1:][pixels[:-1] == 0xFF]
            ends = np.flatnonzero(markers == END_OF_IMAGE)
            markers = markers[: ends[0]] if len(ends) else markers
            return bool(STRAY[markers].any())
        start += 2 + length
    return False


def decoder_warning(content: bytes) -> str:
    """Return libjpeg's warning about damage that it tolerates.

    libjpeg prints the warning to stderr, and no Python library returns it. This function therefore captures stderr
    while TensorFlow decodes; text of other origin is written to stderr afterwards. Do not call it in several threads
    at once.

    Args:
        content: bytes of an image file.

    Returns:
        "" for a JPEG without damage and for any other file.
    """
    if not content.startswith(JPEG_START):
        return ""
    import tensorflow as tf

    captured: list[str] = []
    with held_back(captured):
        try:
            with tf.device("CPU"):
                tf.raw_ops.DecodeJpeg(contents=content, ratio=8)
        except tf.errors.InvalidArgumentError:
            pass  # read_image raises the error that names the file
    lines = "".join(captured).splitlines(keepends=True)
    complaints = [
        line for line in lines if line.startswith(("Corrupt JPEG data", "Premature end", "Inconsistent prog"))
    ]
    if others := "".join(line for line in lines if line not in complaints):
        os.write(2, others.encode())
    return complaints[0].strip() if complaints else ""
