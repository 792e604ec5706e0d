"""Words for people. Standard library only."""


def counted(count, noun):
    """Return a number with its noun in the singular or plural: "1 image", "1,797 images".

    Args:
        count: how many.
        noun: in the singular, of those that take an s or, after "s", "sh", "tch" and "x", an es ("batches", "epochs").
    """
    ending = "" if count == 1 else "es" if noun.endswith(("s", "sh", "tch", "x")) else "s"
    return f"{count:,} {noun}{ending}"
