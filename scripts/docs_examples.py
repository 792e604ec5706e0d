"""Let mkdocstrings render `Example:` sections; griffe knows only the heading `Examples:`."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Change the heading of the section in every docstring that griffe reads."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the heading in an object's docstring."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
