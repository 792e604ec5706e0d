"""Shell completion of NETWORK, MODEL and SOURCE, without importing keras or tensorflow."""

import os
from collections.abc import Iterable

from click.shell_completion import BashComplete, CompletionItem, add_completion_class


class _Bash(BashComplete):
    """Complete NAME:WEIGHTS in bash, which splits words at the colon.

    The parts are joined before completion, and the part up to the colon is removed from what is offered.
    """

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor and the word at the cursor."""
        words: list[str] = []
        for word in os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]:
            if words and (word == ":" or words[-1].endswith(":")):
                words[-1] += word
            else:
                words.append(word)
        os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(words), str(len(words) - 1)
        self._typed = words[-1].rpartition(":")[0]
        return super().get_completion_args()

    def format_completion(self, item: CompletionItem) -> str:
        """Return an item for the shell function, without the typed part."""
        if self._typed and item.value.casefold().startswith(f"{self._typed}:".casefold()):
            item = CompletionItem(item.value[len(self._typed) + 1 :], item.type)
        return super().format_completion(item)


def install() -> None:
    """Use this module's completion for bash."""
    add_completion_class(_Bash)


def networks(incomplete: str) -> list[CompletionItem]:
    """Return the networks and named weights that match, or else any file."""
    from keras_cnns import applications
    from keras_cnns.applications._registry import list_models

    return _starting_with([*list_models(), *applications.list_weights()], incomplete) or _any_file(incomplete)


def models(incomplete: str) -> list[CompletionItem]:
    """Return the named weights that match, or else any file."""
    from keras_cnns import applications

    return _starting_with(applications.list_weights(), incomplete) or _any_file(incomplete)


def sources(incomplete: str) -> list[CompletionItem]:
    """Return "digits" or "shapes" if one matches, or else any path."""
    return (_starting_with(["digits", "shapes"], incomplete) if incomplete else []) or _any_file(incomplete)


def _any_file(incomplete: str) -> list[CompletionItem]:
    """Let the shell list files; it ignores further items."""
    return [CompletionItem(incomplete, type="file")]


def _starting_with(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.casefold().startswith(incomplete.casefold())]
