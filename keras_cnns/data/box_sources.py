"""Sources of images with boxes: PASCAL VOC, YOLO, COCO, CSV."""

import csv
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from keras_cnns.data.box_checks import BoxChecks, Found, shown_size
from keras_cnns.data.box_target import Rows
from keras_cnns.data.coco import parse
from keras_cnns.data.folders import ORDER_FILE, PARTS, split_folders, text_lines, visible_folders
from keras_cnns.data.image_listing import Listing, Skipped
from keras_cnns.data.mask_sources import (
    VOC_CLASSES,
    VOC_IMAGES,
    VOC_PARTS,
    by_stem,
    images_beside,
)
from keras_cnns.errors import SourceError
from keras_cnns.typing import Path, Size

ANNOTATIONS, LISTS = "Annotations", os.path.join("ImageSets", "Main")
SAMPLE = 50  # images whose size is compared with that of their annotations
NAMES = (ORDER_FILE, "class_names.txt")
# Columns of a CSV file that say a box: top, left, bottom, right; VOC's; COCO's
BOX_COLUMNS = (("top", "left", "bottom", "right"), ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "width", "height"))

Objects = dict[str, tuple[str, Size, list[Found]]]  # by image: file of the annotations, size of the image, objects


@dataclasses.dataclass(frozen=True)
class BoxFiles:
    """Images with boxes, as a source has them.

    Attributes:
        class_names: one per class.
        splits: by the name of the split, (path of an image, its rows); one split "" is not divided yet.
        skipped: files that were left out, one record per reason.
        notes: sentences on the source.
    """

    class_names: tuple[str, ...]
    splits: dict[str, list[tuple[str, Rows]]]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def box_format(path: Path) -> str | None:
    """Return in which format a folder has boxes.

    Args:
        path: path of a folder.

    Returns:
        "voc" for a folder of images and one of Annotations with XML files, "yolo" for images and labels; None for
        another folder.
    """
    folders = _folders(path)
    if "annotations" in folders and {"jpegimages", "images"} & folders.keys():
        with os.scandir(folders["annotations"]) as entries:
            if any(entry.name.endswith(".xml") for entry in entries):
                return "voc"
    return "yolo" if _yolo_folders(path) else None


def read_voc_boxes(path: Path) -> BoxFiles:
    """Return the images and boxes of a PASCAL VOC folder.

    VOC counts pixels from 1, and a box includes its last row and column: here left is xmin - 1 and right is xmax.

    Args:
        path: path of a folder with JPEGImages (or images) and Annotations. ImageSets/Main, or the folder itself, has
            train.txt, val.txt and perhaps test.txt with one name per line, or trainval.txt alone. Without lists, all
            annotated images are one split. DIR/classes.txt may name the classes, one per line; without it they are
            VOC's 20 if all names are among them, otherwise those that occur, sorted.

    Raises:
        SourceError: if an annotation cannot be read or used, or no training image is annotated.
    """
    folders, listing = _folders(path), Listing()
    image_folder = folders.get("jpegimages") or folders["images"]
    images = by_stem(listing.images(image_folder))
    files = {
        pathlib.Path(entry).stem: entry
        for entry in sorted(map(str, pathlib.Path(folders["annotations"]).glob("*.xml")))
    }
    splits = _listed(path, list(files))
    wanted = {name for names in splits.values() for name in names}
    listing.skip(f"without an image in {VOC_IMAGES}", [files[name] for name in files if name not in images])
    listing.skip(
        f"listed without annotations in {ANNOTATIONS}",
        [images[name] for name in sorted(wanted) if name in images and name not in files],
    )
    objects = {
        images[name]: _read_xml(files[name], images[name]) for name in files if name in wanted and name in images
    }
    if not objects:
        raise SourceError(f"{path}: no image in {image_folder} is annotated{listing.hint()}. Add the annotations.")
    found = {each.name for _, _, of_image in objects.values() for each in of_image}
    names = _named(path) or (VOC_CLASSES[1:] if found <= set(VOC_CLASSES[1:]) else tuple(sorted(found)))
    paired = {
        split: [images[name] for name in of_split if name in images and name in files]
        for split, of_split in splits.items()
    }
    return _checked(path, names, objects, paired, listing)


def read_yolo(path: Path) -> BoxFiles:
    """Return the images and boxes of a folder in YOLO's format.

    Args:
        path: path of one of these folders, in which an image and its text file have the same name up to the suffix:
            DIR/images and DIR/labels; DIR/train/images and DIR/train/labels, and others likewise; DIR/images/train and
            DIR/labels/train. A line of a text file is `class center_x center_y width height`, relative to the image; of
            a polygon, which has more numbers, the box around it counts. An image without a file has no objects.
            DIR/data.yaml (names) or DIR/classes.txt names the classes; otherwise they are numbered.

    Raises:
        SourceError: if a line cannot be read, or the classes cannot be known.
    """
    listing = Listing()
    objects: Objects = {}
    splits: dict[str, list[str]] = {}
    for split, (image_folder, label_folder) in _yolo_folders(path).items():
        images = listing.images(image_folder)
        texts = {file.stem: str(file) for file in pathlib.Path(label_folder).glob("*.txt")}
        stems = {pathlib.Path(image).stem for image in images}
        listing.skip(
            f"without an image in {image_folder}", sorted(texts[stem] for stem in texts.keys() - stems - {"classes"})
        )
        for image in images:
            text = texts.get(pathlib.Path(image).stem)
            size = shown_size(image)
            objects[image] = text or image, size, _read_yolo_lines(text, size) if text else []
        splits[split] = images
    found = [int(each.name) for _, _, of_image in objects.values() for each in of_image]
    names = _named(path) or _yaml_names(path) or tuple(f"class {k}" for k in range(max(found, default=-1) + 1))
    if not names:
        raise SourceError(f"{path}: has no objects and no names of classes. Add the text files, or {ORDER_FILE}.")
    for image, (file, size, of_image) in objects.items():
        wrong = [each.name for each in of_image if int(each.name) >= len(names)]
        if wrong:
            raise SourceError(
                f"{file}: has an object of class {wrong[0]}, and there are {len(names)} classes, 0 to "
                f"{len(names) - 1}. Correct the number, or name all classes."
            )
        objects[image] = file, size, [each._replace(name=names[int(each.name)]) for each in of_image]
    return _checked(path, names, objects, splits, listing)


def read_coco_boxes(path: Path) -> BoxFiles:
    """Return the images and boxes of a COCO file.

    The classes are its categories in the order of their ids. Images without annotations have no objects.

    Args:
        path: path of the JSON file, as for `mask_sources.read_coco`.

    Raises:
        SourceError: if it is no COCO file, or has no images there.
    """
    content = parse(path)
    listing = Listing()
    try:
        categories = {int(each["id"]): str(each["name"]) for each in content["categories"]}
        files = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        sizes = {int(image["id"]): (int(image["height"]), int(image["width"])) for image in content["images"]}
        by_image: dict[int, list[Found]] = {}
        for annotation in content["annotations"]:
            left, top, width, height = map(float, annotation["bbox"])
            area = annotation.get("area")
            found = Found(
                box=(top, left, top + height, left + width),
                name=categories[annotation["category_id"]],
                crowd=bool(annotation.get("iscrowd", 0)),
                area=None if area is None else float(area),
            )
            by_image.setdefault(int(annotation["image_id"]), []).append(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"{path}: an entry lacks a field of the COCO format, or has another value there "
            f"({type(error).__name__}: {error}). Export the annotations again."
        ) from None
    names = tuple(categories[number] for number in sorted(categories))
    if len(set(names)) < len(names) or not names:
        raise SourceError(f"{path}: its categories must be some, of different names. Correct them.")
    if unknown := sorted(by_image.keys() - files.keys()):
        raise SourceError(
            f"{path}: has annotations of the image {unknown[0]}, which is not among its images. Remove them."
        )
    places = images_beside(path, files)
    listing.skip(
        f"named in {os.path.basename(path)} that do not exist",
        [place for place in places.values() if not os.path.lexists(place)],
    )
    there = {number: place for number, place in places.items() if os.path.lexists(place)}
    objects: Objects = {
        place: (os.fspath(path), sizes[number], by_image.get(number, [])) for number, place in there.items()
    }
    return _checked(path, names, objects, {"": list(objects)}, listing)


def read_box_table(path: Path) -> BoxFiles:
    """Return the images and boxes of a CSV file.

    Args:
        path: path of a UTF-8 file with a header and one line per box, in which commas, semicolons or tabs separate the
            columns: `path`, relative to the file; `class`; the box in pixels as top, left, bottom, right, or xmin,
            ymin, xmax, ymax, or x, y, width, height; and optionally `split`. A line with a path alone is an image
            without objects.

    Raises:
        SourceError: naming the line, if a column or a value is missing, or cannot be used.
    """
    folder = pathlib.Path(path).parent
    splits: dict[str, dict[str, list[Found]]] = {}
    for line, values in _table_lines(path):
        part = values.get("split", "").casefold()
        if part and part not in PARTS:
            raise SourceError(f"{path}: line {line} has a split that is not known; use train, validation or test.")
        image = os.path.join(folder, values["path"])
        of_image = splits.setdefault(PARTS[part] if part else "", {}).setdefault(image, [])
        if values["class"]:
            of_image.append(Found(_table_box(path, line, values), values["class"]))
    by_image = {image: found for of_split in splits.values() for image, found in of_split.items()}
    if sum(map(len, splits.values())) > len(by_image):
        raise SourceError(f"{path}: an image is in two splits. Let it be in one.")
    names = tuple(sorted({each.name for found in by_image.values() for each in found}))
    if not names:
        raise SourceError(f"{path}: has no box. Add lines with a class and a box.")
    objects: Objects = {image: (os.fspath(path), shown_size(image), found) for image, found in by_image.items()}
    return _checked(path, names, objects, {split: list(of_split) for split, of_split in splits.items()}, Listing())


def is_box_table(path: Path) -> bool:
    """Return whether the header of a CSV file names a box.

    Args:
        path: path of the file.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head = {name.strip().strip('"').casefold() for name in re.split("[,;\t]", file.readline())}
    except (OSError, UnicodeDecodeError):
        return False
    return any(head >= set(columns) for columns in BOX_COLUMNS)


def _checked(
    path: Path, names: Sequence[str], objects: Objects, splits: Mapping[str, list[str]], listing: Listing
) -> BoxFiles:
    """Return the source after a check of its boxes."""
    checks = BoxChecks(names, path)
    rows = {image: checks.rows(*of_image) for image, of_image in objects.items()}
    if not any(len(of_image) for of_image in rows.values()):
        raise SourceError(f"{path}: no image has an object. Add annotations.")
    if not splits.get("train", splits.get("")):
        raise SourceError(f"{path}: has no image to train on{listing.hint()}. Add a list of them.")
    pairs = {split: [(image, rows[image]) for image in images] for split, images in splits.items() if images}
    return BoxFiles(tuple(names), pairs, listing.skipped, (*checks.notes, *_other_sizes(objects)))


def _other_sizes(objects: Objects) -> Iterable[str]:
    """Yield a note if annotations have another size than their images."""
    places = np.linspace(0, len(objects) - 1, min(SAMPLE, len(objects))).round().astype("int64")
    images = list(objects)
    for image in (images[place] for place in places):
        file, size, _ = objects[image]
        try:
            own = shown_size(image)
        except SourceError:
            continue  # reading the image names it
        if own != size:
            yield (
                f"{file} says {size[1]}x{size[0]} pixels, and its image has {own[1]}x{own[0]}; check whether the boxes "
                "lie right (--preview)"
            )
            return


def _folders(path: Path) -> dict[str, str]:
    """Return the folders in a folder, by name in lower case."""
    return {os.path.basename(folder).casefold(): folder for folder in visible_folders(path)}


def _listed(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names in the lists of splits, or all."""
    for folder in (os.path.join(path, LISTS), os.fspath(path)):
        lists = {part: os.path.join(folder, f"{part}.txt") for part in (*VOC_PARTS, "trainval")}
        if os.path.isfile(lists["train"]):
            found = {split: lists[part] for part, split in VOC_PARTS.items() if os.path.isfile(lists[part])}
        elif os.path.isfile(lists["trainval"]):
            found = {"": lists["trainval"]}
        else:
            continue
        # VOC's lists of one class have a second column
        return {split: [line.split()[0] for line in text_lines(file) if line] for split, file in found.items()}
    return {"": list(names)}


def _named(path: Path) -> tuple[str, ...] | None:
    """Return the class names in a text file of the folder."""
    for name in NAMES:
        if os.path.isfile(file := os.path.join(path, name)):
            lines = tuple(line for line in text_lines(file) if line)
            if len(set(lines)) < len(lines) or not lines:
                raise SourceError(f"{file}: must name each class once. Correct it.")
            return lines
    return None


def _read_xml(file: str, image: str) -> tuple[str, Size, list[Found]]:
    """Return what an annotation of VOC says."""
    try:
        content = pathlib.Path(file).read_bytes()
        if b"<!ENTITY" in content:
            raise SourceError(f"{file}: defines entities, which annotations do not need. Remove them.")
        root = ElementTree.fromstring(content)
        sides = [int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width")]
        objects = []
        for each in root.iter("object"):
            box = each.find("bndbox")  # its own; parts of a person have theirs
            if box is None:
                raise ValueError("an object without <bndbox>")
            xmin, ymin, xmax, ymax = (float(box.findtext(name) or "nan") for name in ("xmin", "ymin", "xmax", "ymax"))
            name = (each.findtext("name") or "").strip()
            # The last row and column are of the box, so that only equal numbers are no area
            corners = (ymin, xmin, ymax, xmax) if xmin == xmax or ymin == ymax else (ymin - 1, xmin - 1, ymax, xmax)
            if xmax < xmin or ymax < ymin:
                corners = (max(ymin, ymax), max(xmin, xmax), min(ymin, ymax) - 1, min(xmin, xmax) - 1)
            objects.append(Found(corners, name, (each.findtext("difficult") or "0").strip() == "1"))
    except (ElementTree.ParseError, ValueError) as error:
        raise SourceError(f"{file}: is no annotation of PASCAL VOC ({error}). Export it again.") from None
    except OSError as error:
        raise SourceError(f"{file}: cannot be read ({error.strerror or error}). Check it.") from None
    size = (sides[0], sides[1]) if min(sides) > 0 else shown_size(image)
    return file, size, objects


def _yolo_folders(path: Path) -> dict[str, tuple[str, str]]:
    """Return the folders of images and of labels, by split."""
    folders = _folders(path)
    images, labels = folders.get("images"), folders.get("labels")
    if images and labels:
        image_splits, label_splits = split_folders(images), split_folders(labels)
        if "train" in image_splits and "train" in label_splits:
            return {
                split: (folder, label_splits[split]) for split, folder in image_splits.items() if split in label_splits
            }
        return {"": (images, labels)}
    inner = {split: _folders(folder) for split, folder in split_folders(path).items()}
    pairs = {split: (of["images"], of["labels"]) for split, of in inner.items() if {"images", "labels"} <= of.keys()}
    return pairs if "train" in pairs else {}


def _read_yolo_lines(file: str, size: Size) -> list[Found]:
    """Return the objects of a text file; their names are numbers."""
    height, width = size
    objects = []
    for number, line in enumerate(text_lines(file, "object"), 1):
        if not line:
            continue
        try:
            label, *values = line.split()
            numbers = np.array(values, "float64")
            if not label.isdecimal() or len(numbers) < 4 or len(numbers) % 2:
                raise ValueError("it must be `class center_x center_y width height`")
        except ValueError as error:
            raise SourceError(
                f"{file}: line {number} cannot be used ({error}). Correct it. Received: {line!r}"
            ) from None
        if len(numbers) == 4:
            x, y, wide, high = numbers * (width, height, width, height)
            box = (y - high / 2, x - wide / 2, y + high / 2, x + wide / 2)
        else:  # a polygon
            x, y = numbers[0::2] * width, numbers[1::2] * height
            box = (y.min(), x.min(), y.max(), x.max())
        objects.append(Found(tuple(map(float, box)), label))  # type: ignore[arg-type]
    return objects


def _yaml_names(path: Path) -> tuple[str, ...] | None:
    """Return the names in data.yaml: a list, or a mapping from numbers."""
    file = next((file for name in ("data.yaml", "data.yml") if (file := pathlib.Path(path, name)).is_file()), None)
    if file is None:
        return None
    text = "\n".join(line.split(" #")[0].rstrip() for line in text_lines(file, "setting"))
    match = re.search(r"^names:\s*\[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    if match:
        names = [name.strip().strip("'\"") for name in match[1].split(",")]
    else:
        block = re.search(r"^names:\s*\n((?:(?:-|\d+:).*\n?)+)", text, re.MULTILINE)
        lines = block[1].splitlines() if block else []
        names = [re.sub(r"^(-|\d+:)\s*", "", line).strip().strip("'\"") for line in lines]
    if not all(names) or not names:
        raise SourceError(f"{file}: `names` must be a list of class names. Write them to {ORDER_FILE}, one per line.")
    return tuple(names)


def _table_lines(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    """Yield number and values of each line of a CSV file."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=head.count))
            header = [name.strip().casefold() for name in next(reader, [])]
            if missing := [name for name in ("path", "class") if name not in header]:
                raise SourceError(
                    f"{path}: its first line must name the columns path and class. It lacks {missing[0]}."
                )
            for row in filter(None, reader):
                values = dict(zip(header, map(str.strip, row), strict=False))
                yield reader.line_num, {"class": "", **values}
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not UTF-8 text. Save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise SourceError(f"{path}: is no CSV file ({error}). Save it as CSV.") from None


def _table_box(path: Path, line: int, values: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return the box of a line."""
    columns = next(columns for columns in BOX_COLUMNS if set(columns) <= values.keys() or columns is BOX_COLUMNS[-1])
    try:
        first, second, third, fourth = (float(values[name]) for name in columns)
    except (KeyError, ValueError):
        raise SourceError(f"{path}: line {line} has no box; give {', '.join(columns)} in pixels.") from None
    if columns is BOX_COLUMNS[0]:
        return first, second, third, fourth
    if columns is BOX_COLUMNS[1]:
        return second, first, fourth, third
    return second, first, second + fourth, first + third
