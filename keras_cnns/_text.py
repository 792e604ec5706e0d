"""Words for people. Standard library only."""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as "1,797 images".

    Args:
        count: how many.
        noun: in the singular. Its plural must end in s, or in es after "s", "sh", "tch" and "x" ("batches", "epochs").
    """
    ending = "" if count == 1 else "es" if noun.endswith(("s", "sh", "tch", "x")) else "s"
    return f"{count:,} {noun}{ending}"
