"""Image files decoded by TensorFlow operations, without Python.

A SavedModel's signature needs them. `image_files.read_image` defines what an image file's pixels are. This module
returns the same pixels for JPEG and PNG files, and fails on a file for which it cannot. Tests compare the two on every
kind of file.
"""

import tensorflow as tf

ORIENTATION = 0x0112  # tag in EXIF's first directory
SHORT = 3  # TIFF's type number of the orientation
LUMA = (19595, 38470, 7471)  # Pillow's weights from RGB to gray, divided by 65536
START_OF_SCAN = 0xDA
START_OF_FRAME = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
APP1 = 0xE1


def decode_image_bytes(content: tf.Tensor, channels: int, name: str | tf.Tensor = "image_bytes") -> tf.Tensor:
    """Decode a JPEG or PNG file to the same pixels as `read_image`.

    The camera's orientation is applied. Transparent parts become white. 16-bit gray is reduced to 8 bits. JPEGs are
    decoded with the exact cosine transform, as Pillow does.

    Args:
        content: scalar string tensor, the file's bytes.
        channels: 1 (gray) or 3 (RGB).
        name: the file's name in messages: a string, or a scalar string tensor.

    Returns:
        uint8 tensor (height, width, channels).

    Raises:
        tf.errors.InvalidArgumentError: when the graph runs, for a damaged file, a format other than JPEG or PNG, a
            CMYK JPEG, and an orientation that is noted in a way that only Pillow reads.
    """
    is_png = tf.strings.substr(content, 0, 8) == b"\x89PNG\r\n\x1a\n"
    is_jpeg = tf.strings.substr(content, 0, 3) == b"\xff\xd8\xff"
    _need(is_png | is_jpeg, name, "is neither a JPEG nor a PNG file. Convert it to PNG.")
    pixels = tf.cond(is_png, lambda: _decode_png(content, name), lambda: _decode_jpeg(content, name))
    sides = tf.shape(pixels)[:2]
    _need(tf.reduce_min(sides) >= 4, name, "has a side of fewer than 4 pixels. Use a larger image.")
    if channels == 1:
        weighted = tf.reduce_sum(tf.cast(pixels, tf.int32) * LUMA, axis=-1, keepdims=True)
        pixels = tf.cast((weighted + 0x8000) // 65536, tf.uint8)
    return tf.ensure_shape(pixels, (None, None, channels))


def _need(condition: tf.Tensor, name: str | tf.Tensor, fault: str) -> None:
    """Fail with a sentence about the file if the condition is false."""
    tf.debugging.Assert(condition, [tf.strings.join([name, " ", fault])])


def _decode_jpeg(content: tf.Tensor, name: str | tf.Tensor) -> tf.Tensor:
    """Return a JPEG's uint8 pixels (height, width, 3), turned upright."""
    bytes_ = _Bytes(content)

    def segment(at, exif, components):
        marker, length = bytes_.number(at + 1, 1), bytes_.number(at + 2, 2)
        is_exif = (marker == APP1) & (exif == 0) & (tf.strings.substr(content, at + 4, 6) == b"Exif\x00\x00")
        is_frame = tf.reduce_any(marker == START_OF_FRAME)
        return (
            tf.where(marker == 0xFF, at + 1, at + 2 + length),  # markers may be filled up with 0xFF
            tf.where(is_exif, at + 10, exif),
            tf.where(is_frame, bytes_.number(at + 9, 1), components),
        )

    def more(at, *_):
        inside = (at + 10 < bytes_.size) & (bytes_.number(at, 1) == 0xFF)
        return inside & (bytes_.number(at + 1, 1) != START_OF_SCAN)

    at, exif, components = tf.while_loop(more, segment, (tf.constant(2), tf.constant(0), tf.constant(0)))
    # TensorFlow converts CMYK to RGB differently from Pillow
    _need(components != 4, name, "is a CMYK JPEG. Convert it to RGB.")
    elsewhere = _mentions_orientation(tf.strings.substr(content, 0, at))
    pixels = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
    return _turned(pixels, _orientation(bytes_, exif, elsewhere, name))


def _decode_png(content: tf.Tensor, name: str | tf.Tensor) -> tf.Tensor:
    """Return a PNG's uint8 pixels (height, width, 3), turned upright, on white."""
    bytes_ = _Bytes(content)

    def chunk(at, exif, has_transparent_color, elsewhere):
        length, kind = bytes_.number(at, 4), tf.strings.substr(content, at + 4, 4)
        is_text = tf.reduce_any(kind == [b"tEXt", b"zTXt", b"iTXt"])
        text = tf.strings.substr(content, at, tf.where(is_text, length + 8, 0))
        return (
            at + 12 + length,
            tf.where(kind == b"eXIf", at + 8, exif),
            has_transparent_color | (kind == b"tRNS"),
            elsewhere | _mentions_orientation(text),
        )

    def more(at, *_):
        return (at >= 8) & (at + 12 <= bytes_.size)

    start = (tf.constant(8), tf.constant(0), tf.constant(False), tf.constant(False))
    _, exif, has_transparent_color, elsewhere = tf.while_loop(more, chunk, start)
    depth, color_type = bytes_.number(24, 1), bytes_.number(25, 1)
    is_gray, is_16_bit = color_type == 0, depth == 16

    # Pillow compares such a transparent color with samples of a different bit depth
    ambiguous = has_transparent_color & ((is_gray & (depth < 8)) | ((color_type == 2) & is_16_bit))
    _need(~ambiguous, name, "has a transparent color that programs read differently. Convert it to RGBA.")

    def gray_16():
        wide = tf.cast(tf.io.decode_png(content, channels=1, dtype=tf.uint16), tf.int32)
        return tf.repeat(tf.cast(wide // 257, tf.uint8), 3, axis=-1)

    def on_white():
        pixels = tf.cast(tf.io.decode_png(content, channels=4), tf.int32)
        colors, alpha = pixels[..., :3], pixels[..., 3:]
        # The integer arithmetic of Pillow's alpha_composite
        blended = (colors * alpha + 255 * (255 - alpha)) * 128 + 0x4000
        return tf.cast(((blended // 256 + blended) // 256) // 128, tf.uint8)

    def opaque():
        # Not with four channels: TensorFlow would decode files of fewer than 8 bits wrongly
        return tf.io.decode_png(content, channels=3)

    is_transparent = has_transparent_color | tf.reduce_any(color_type == (4, 6))
    decoders = [(is_gray & is_16_bit, gray_16), (is_transparent, on_white)]
    pixels = tf.case(decoders, default=opaque)  # calls the first one whose condition is true
    return _turned(pixels, _orientation(bytes_, exif, elsewhere, name))


def _mentions_orientation(metadata: tf.Tensor) -> tf.Tensor:
    """Return whether metadata note an orientation where the graph cannot read it.

    If EXIF has no orientation, Pillow looks into XMP, and into a text chunk that ImageMagick writes into PNG files.
    """
    return tf.strings.regex_full_match(metadata, r'\C*(tiff:Orientation(="|>)[2-8]|Raw profile type exif)\C*')


def _orientation(bytes_: "_Bytes", exif: tf.Tensor, elsewhere: tf.Tensor, name: str | tf.Tensor) -> tf.Tensor:
    """Return EXIF's orientation, 1 to 8, or fail.

    It fails for an orientation that the graph cannot read.

    Args:
        bytes_: bytes of the file.
        exif: position of the EXIF block (a TIFF header); 0 if there is none.
        elsewhere: whether other metadata note an orientation.
        name: the file's name in messages.
    """

    def from_exif():
        little = bytes_.number(exif, 1) == ord("I")
        directory = exif + bytes_.number(exif + 4, 4, little)
        entries = directory + 2 + 12 * tf.range(bytes_.number(directory, 2, little))
        entries = tf.boolean_mask(entries, bytes_.number(entries, 2, little) == ORIENTATION)[:1]
        is_short = bytes_.number(entries + 2, 2, little) == SHORT
        _need(tf.reduce_all(is_short), name, "notes its orientation in an unusual way. Convert it to PNG.")
        # The sum is zero if there is no such entry. A value above 8 has no meaning.
        return tf.reduce_sum(bytes_.number(entries + 8, 2, little))

    orientation = tf.cond(exif > 0, from_exif, lambda: tf.constant(0))
    _need(
        (orientation > 0) | ~elsewhere,
        name,
        "notes its orientation outside of EXIF. Convert it to a plain PNG or JPEG.",
    )
    return tf.where((orientation >= 1) & (orientation <= 8), orientation, 1)


def _turned(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Return pixels (height, width, channels) turned upright by EXIF's orientation."""
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
    rows_mirrored = tf.reduce_any(orientation == (3, 4, 7, 8))
    columns_mirrored = tf.reduce_any(orientation == (2, 3, 6, 7))
    return tf.reverse(pixels, tf.boolean_mask([0, 1], tf.stack([rows_mirrored, columns_mirrored])))


class _Bytes:
    """A file's bytes, read as numbers; beyond the end they are zero."""

    def __init__(self, content: tf.Tensor):
        self.values = tf.io.decode_raw(content, tf.uint8)
        self.size = tf.size(self.values)

    def number(self, at: tf.Tensor, count: int, little: bool | tf.Tensor = False) -> tf.Tensor:
        """Return the unsigned number that some bytes encode.

        Args:
            at: int32 position of the first byte, or several positions.
            count: number of bytes.
            little: whether the least significant byte comes first.

        Returns:
            int32 tensor of the shape of `at`; larger numbers become 2**31 - 1.
        """
        places = tf.expand_dims(at, -1) + tf.range(count)
        inside = (places >= 0) & (places < self.size)
        values = tf.cast(tf.gather(self.values, tf.where(inside, places, 0)), tf.int64)
        weights = tf.constant([256**k for k in range(count)][::-1], tf.int64)
        weights = tf.where(little, weights[::-1], weights)
        total = tf.reduce_sum(tf.where(inside, values, 0) * weights, axis=-1)
        return tf.cast(tf.minimum(total, 2**31 - 1), tf.int32)
