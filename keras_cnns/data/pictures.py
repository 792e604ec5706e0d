"""One picture file -> uint8 pixels, whatever its format, or an error that names the file."""

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_cnns.errors import SourceError

SUFFIXES = frozenset(".avif .bmp .gif .jfif .jpeg .jpg .png .ppm .pgm .tif .tiff .webp".split())
MINIMUM_SIDE = 4  # pixels; in less than that no network sees anything


def read_picture(path, channels=3):
    """Return the pixels of the picture file at `path`.

    The orientation that a camera noted is applied; transparent parts become white; of an animation the first
    frame is taken; 16-bit gray is brought to 8 bits.

    Args:
        path: a file in any format that Pillow reads.
        channels: 1 (gray) or 3 (RGB).

    Returns:
        uint8 array (height, width, channels).

    Raises:
        SourceError: if the file is missing, no picture, damaged or smaller than 4 pixels a side.
    """
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(_eight_bit(ImageOps.exif_transpose(picture)).convert("L" if channels == 1 else "RGB"))
    except UnidentifiedImageError:
        raise SourceError(f"{path}: is no picture in a format that is known. Remove it or convert it to PNG.") from None
    except Exception as error:  # each decoder has its own
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SourceError(f"{path}: cannot be read as a picture ({reason}). Replace or remove it.") from None
    height, width = pixels.shape[:2]
    if min(height, width) < MINIMUM_SIDE:
        raise SourceError(
            f"{path}: is only {width}x{height} pixels, too small to show anything. "
            f"Use a picture of at least {MINIMUM_SIDE}x{MINIMUM_SIDE} pixels."
        )
    return pixels.reshape(height, width, channels)


def _eight_bit(picture):
    """Return the picture without transparency, at most 8 bits a channel."""
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no fixed white; convert it to 8 bits")
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype("int64")
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError("more than 16 bits a pixel; convert it to 8 bits")
        return Image.fromarray((wide // 257).astype("uint8"))
    if picture.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture
