"""One image file -> uint8 pixels, whatever its format, or an error that names the file."""

import contextlib
import functools
import io
import os
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from keras_cnns._quiet import held_back
from keras_cnns.errors import SourceError, SourceWarning

SUFFIXES = frozenset(
    ".apng .avif .bmp .dib .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
# Formats that are known by their first bytes; of others a file's content alone says too little
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
DAMAGED = "{path}: is a JPEG that is damaged in its middle ({reason}), so that a part of it shows wrong. Replace it."
# What may follow 0xFF after the start of a JPEG's pixels: 0 and 0xFF stand for themselves; else restarts, and the
# headers of further scans
STRAY = np.array([not (code in (0, 0xC4, 0xFE, 0xFF) or 0xD0 <= code <= 0xEF) for code in range(256)])
MINIMUM_SIDE = 4  # pixels; in less than that no network sees anything
DIVISORS = (0, 1, 2, 4, 8)  # of a JPEG's size while it is decoded; 0: by TensorFlow not at all


def read_image(path, channels=3):
    """Return the pixels of the image file at `path`.

    The orientation that a camera noted is applied; transparent parts become white; of an animation the first
    frame is taken; 16-bit gray is brought to 8 bits.

    Args:
        path: a file in any format that Pillow reads.
        channels: 1 (gray) or 3 (RGB).

    Returns:
        uint8 array (height, width, channels).

    Raises:
        SourceError: if the file is missing, no image, damaged or smaller than 4 pixels a side.
    """
    try:
        with _open(path) as image:
            turned = ImageOps.exif_transpose(image)
            pixels = np.asarray(_eight_bit(turned, image.format).convert("L" if channels == 1 else "RGB"))
    except UnidentifiedImageError:
        if is_heif(path):
            fault = "is a HEIC image, which needs pillow-heif. Run pip install pillow-heif, or convert it to JPEG"
        else:
            fault = "is no image in a format that is known. Remove it or convert it to PNG"
        raise SourceError(f"{path}: {fault}.") from None
    except Exception as error:  # each decoder has its own
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SourceError(f"{path}: cannot be read as an image ({reason}). Replace or remove it.") from None
    height, width = pixels.shape[:2]
    if min(height, width) < MINIMUM_SIDE:
        raise SourceError(
            f"{path}: is only {width}x{height} pixels, too small to show anything. "
            f"Use an image of at least {MINIMUM_SIDE}x{MINIMUM_SIDE} pixels."
        )
    return pixels.reshape(height, width, channels)


@functools.cache
def can_read_heif():
    """Return whether HEIC images can be read; if the package pillow-heif is there, Pillow learns it from it."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def is_image(path):
    """Return whether a file's first bytes are those of an image that `read_image` knows; no pixel is decoded."""
    can_read_heif()
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    with contextlib.suppress(Exception), Image.open(path, formats=formats):  # each decoder has its own errors
        return True
    return False


def _open(path):
    """Return an image file as Pillow opens it, a HEIC one with the help of pillow-heif where that is installed."""
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        if not (is_heif(path) and can_read_heif()):
            raise
        return Image.open(path)


def is_heif(path):
    """Return whether a file, by its path or open, begins as HEIC images do."""
    with contextlib.suppress(OSError, AttributeError), contextlib.ExitStack() as stack:
        file = path if hasattr(path, "read") else stack.enter_context(open(path, "rb"))
        file.seek(0)
        head = file.read(12)
        file.seek(0)
        return head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
    return False


def plan_window(content, channels, choose=None, size=None):
    """Return how to decode a window of an image file: the divisor of its size, and the window at that size.

    Args:
        content: bytes of the file.
        channels: 1 (gray) or 3 (RGB).
        choose: function of the image's height and width that returns (top, left, height, width) in whole pixels;
            None: all of it.
        size: (height, width) that the window will be resized to. None: it is not.

    Returns:
        For a whole and plain JPEG, which every decoder shows alike, 1, 2, 4 or 8 and (top, left, height, width); for
        any other file 0 and zeros.
    """
    sides = _plain_jpeg(content, channels)
    if sides is None:
        return 0, (0, 0, 0, 0)
    window = choose(*sides) if choose else (0, 0, *sides)
    divisor = _divisor(window, size)
    return divisor, tuple(side // divisor for side in window)


def read_window(path, channels=3, choose=None, size=None):
    """Return the pixels of a window of the image file at `path`, as `read_image` gives them, but faster.

    A plain JPEG is decoded by TensorFlow, and of it no more than the window; every other file, and one that
    TensorFlow refuses, by `read_image`, which knows what is wrong with it.

    Args:
        path, channels, choose, size: as for `plan_window`. A window at least 2, 4 or 8 times as large as `size` comes
            at that part of its size, which a JPEG's cosine transform gives for less.

    Returns:
        uint8 array (height, width, channels).

    Raises:
        SourceError: as `read_image`. Damage below the window may go unseen, but for a file cut off.
    """
    content = read_file(path)
    warn_if_damaged(path, content)
    divisor, window = plan_window(content, channels, choose, size)
    if divisor:
        import tensorflow as tf

        try:
            with tf.device("CPU"):
                return decode_jpeg(content, window, channels, divisor).numpy()
        except tf.errors.InvalidArgumentError:
            pass  # read_image says why, or reads it
    pixels = read_image(path, channels)
    return pixels if choose is None else cut(pixels, choose(*pixels.shape[:2]), size)


def read_file(path):
    """Return the bytes of a file, by its path or open; none if it cannot be read: then `read_image` says why."""
    try:
        with contextlib.nullcontext(path) if hasattr(path, "read") else open(path, "rb") as file:
            file.seek(0)
            return file.read()
    except OSError:
        return b""


def warn_if_damaged(path, content):
    """Warn of a JPEG that holds markers where only pixels should be: something has overwritten a part of it."""
    if _has_stray_markers(content):
        warnings.warn(DAMAGED.format(path=path, reason="markers among its pixels"), SourceWarning, stacklevel=2)


def _has_stray_markers(content):
    """Return whether the pixels of a JPEG are interrupted by a marker that cannot be there."""
    start = 2
    while content.startswith(b"\xff\xd8\xff") and start + 4 <= len(content) and content[start] == 0xFF:
        length = int.from_bytes(content[start + 2 : start + 4], "big")
        if content[start + 1] == 0xDA:
            pixels = np.frombuffer(content, "uint8", offset=start + 2 + length)
            markers = pixels[1:][pixels[:-1] == 0xFF]
            ends = np.flatnonzero(markers == 0xD9)
            markers = markers[: ends[0]] if len(ends) else markers
            return bool(STRAY[markers].any())
        start += 2 + length
    return False


def decoder_warning(content):
    """Return what libjpeg says of damage that it passes over in a JPEG, "" of any other file.

    It prints that to stderr, and no library for Python hands it on: so the stream is caught while TensorFlow decodes.
    What others print meanwhile goes on to stderr. Not for several threads at once.
    """
    if not content.startswith(b"\xff\xd8\xff"):
        return ""
    import tensorflow as tf

    said = []
    with held_back(said):
        try:
            with tf.device("CPU"):
                tf.raw_ops.DecodeJpeg(contents=content, ratio=8)
        except tf.errors.InvalidArgumentError:
            pass  # read_image says what it is
    lines = "".join(said).splitlines(keepends=True)
    own = [line for line in lines if line.startswith(("Corrupt JPEG data", "Premature end", "Inconsistent prog"))]
    if others := "".join(line for line in lines if line not in own):
        os.write(2, others.encode())
    return own[0].strip() if own else ""


def decode_jpeg(content, window, channels, divisor):
    """Return the pixels of a JPEG's window as a TensorFlow tensor, the same as Pillow's."""
    import tensorflow as tf

    return tf.raw_ops.DecodeAndCropJpeg(
        contents=content, crop_window=window, channels=channels, ratio=divisor, dct_method="INTEGER_ACCURATE"
    )


def cut(pixels, window, size):
    """Return a window of an image, uint8 (height, width, channels), averaged down as `read_window` does."""
    top, left, height, width = window
    pixels = pixels[top : top + height, left : left + width]
    if (divisor := _divisor(window, size)) == 1:
        return pixels
    small = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).reduce(divisor)
    return np.asarray(small).reshape(small.height, small.width, -1)


def _divisor(window, size):
    """Return 8, 4 or 2 where the window has so many times the size, else 1."""
    room = min(window[2] // size[0], window[3] // size[1]) if size else 1
    return max(divisor for divisor in DIVISORS if divisor <= max(room, 1))


def _plain_jpeg(content, channels):
    """Return (height, width) of a whole JPEG that needs no more than decoding, None of any other file.

    TensorFlow's decoder fails on CMYK, ignores the orientation, and reads the upper part of a file cut off without
    complaint.
    """
    if not (content.startswith(b"\xff\xd8\xff") and content.endswith(b"\xff\xd9")):
        return None
    try:
        with Image.open(io.BytesIO(content)) as image:  # reads the header alone
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            plain = image.format == "JPEG" and (image.mode == "L" or (image.mode == "RGB" and channels == 3))
            return None if turned or not plain or min(image.size) < MINIMUM_SIDE else image.size[::-1]
    except Exception:  # whatever it is, read_image will find it and name the file
        return None


def _eight_bit(image, format=None):
    """Return the image without transparency, at most 8 bits a channel.

    Args:
        image: Pillow's image.
        format: of its file, as Pillow names it. It says what is white where the mode does not: 32-bit integers have no
            fixed white, but Pillow itself scales those of a PGM file to 16 bits.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed white; convert it to 8 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype("int64")
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError("more than 16 bits a pixel; convert it to 8 bits")
        if image.mode == "I" and format not in ("PNG", "PPM") and wide.max() <= 255:
            return Image.fromarray(wide.astype("uint8"))
        return Image.fromarray((wide // 257).astype("uint8"))
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image
