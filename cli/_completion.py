"""What a shell offers for NETWORK, MODEL and SOURCE. Imports neither keras nor tensorflow."""

import os

from click.shell_completion import BashComplete, CompletionItem, add_completion_class


class _Bash(BashComplete):
    """Bash takes the colon of NAME:WEIGHTS for a word of its own: joined here, and left out of what is offered."""

    def get_completion_args(self):
        """Return (words before the cursor, the one at the cursor)."""
        words = []
        for word in os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]:
            if words and (word == ":" or words[-1].endswith(":")):
                words[-1] += word
            else:
                words.append(word)
        os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(words), str(len(words) - 1)
        self._typed = words[-1].rpartition(":")[0]
        return super().get_completion_args()

    def format_completion(self, item):
        """Return an item as the function in the shell reads it, without what the shell keeps."""
        if self._typed and item.value.casefold().startswith(f"{self._typed}:".casefold()):
            item = CompletionItem(item.value[len(self._typed) + 1 :], item.type)
        return super().format_completion(item)


def install():
    """Let Click complete for bash as this module does."""
    add_completion_class(_Bash)


def networks(incomplete):
    """Return networks and weights that have a name; where none begins so, any file."""
    from keras_cnns import applications
    from keras_cnns.applications._registry import list_models

    return _beginning_with([*list_models(), *applications.list_weights()], incomplete) or _any_file(incomplete)


def models(incomplete):
    """Return weights that have a name; where none begins so, any file."""
    from keras_cnns import applications

    return _beginning_with(applications.list_weights(), incomplete) or _any_file(incomplete)


def sources(incomplete):
    """Return digits, if it begins so, else any file or folder."""
    return (incomplete and _beginning_with(["digits"], incomplete)) or _any_file(incomplete)


def _any_file(incomplete):  # the shell lists them, and drops what else is offered beside
    return [CompletionItem(incomplete, type="file")]


def _beginning_with(names, incomplete):
    return [CompletionItem(name) for name in names if name.casefold().startswith(incomplete.casefold())]
