"""Write the pages of the documentation that are generated while mkdocs builds.

mkdocs calls `on_files` and `on_page_markdown` (mkdocs.yml, `hooks`). `python scripts/docs_pages.py PAGE` prints a page.
Neither keras nor tensorflow is imported: names and signatures are read from the source.
"""

import ast
import html
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import networks_table
import notebook_pages
import weights_table

if TYPE_CHECKING:
    import click
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# The rooms with public names, in the order of the road through the package
ROOMS = (
    "applications",
    "data",
    "layers",
    "recipes",
    "tasks",
    "training",
    "evaluation",
    "analysis",
    "export",
    "saving",
    "errors",
    "typing",
)
COMMANDS = ("train", "evaluate", "predict", "export", "benchmark", "info", "data", "visualize")
# Options of mkdocstrings for the docstring of a room
INTRODUCTION = """\
    options:
      members: false
      show_root_heading: false
      show_root_toc_entry: false
"""
COMMANDS_HEAD = """\
# Commands

Each command prints this text with `--help`. Results go to stdout, progress to stderr; `--json` prints results for other
programs.

{exit_codes}
"""
LINK = re.compile(r"(\]\(|href=\"|src=\")([^)\s\"#:]+)(?=[)#\"\s])")


class Place(NamedTuple):
    """Where a public name is defined.

    Attributes:
        path: source file.
        node: statement that defines the name.
    """

    path: Path
    node: ast.stmt


def source_of(module: str) -> Path:
    """Return the source file of a module or package, such as "keras_cnns.data.augment"."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text("utf8"))


def bound_names(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    return [ast.unparse(target) for target in node.targets] if isinstance(node, ast.Assign) else []


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Return the module of each name that a package imports.

    Imports under TYPE_CHECKING and in `with` blocks count.
    """
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: str(node.module) for node in nodes for alias in node.names}


def public_names(room: str) -> list[str]:
    """Return the public names of a room.

    They stand in `__all__` if it is a list, are the imports under TYPE_CHECKING if it is lazy (a test compares them),
    and else all names without underscore that the module defines.
    """
    tree = parse(source_of(f"keras_cnns.{room}"))
    for node in tree.body:
        if bound_names(node) == ["__all__"] and isinstance(node, ast.Assign):
            return ast.literal_eval(node.value)
    typed = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    if typed:
        return [alias.name for node in typed[0].body if isinstance(node, ast.ImportFrom) for alias in node.names]
    return [name for node in tree.body for name in bound_names(node) if not name.startswith("_")]


def find(room: str, name: str) -> Place:
    """Return where a public name of a room is defined."""
    module = f"keras_cnns.{room}"
    module = imported_names(parse(source_of(module))).get(name, module)
    path = source_of(module)
    return next(Place(path, node) for node in parse(path).body if name in bound_names(node))


def constant(room: str, name: str, place: Place) -> str:
    """Return the section of a constant.

    It has the source, with the comments above and beside it.
    """
    lines = place.path.read_text("utf8").splitlines()
    start, end = place.node.lineno - 1, place.node.end_lineno
    first = start
    while first and lines[first - 1].startswith("#"):
        first -= 1
    comment = " ".join(line.removeprefix("#").strip() for line in lines[first:start])
    code = "\n".join(lines[start:end])
    return f"## {name} {{ #keras_cnns.{room}.{name} }}\n\n{escaped(comment)}\n\n```python\n{code}\n```\n"


def reference(room: str) -> str:
    """Return the reference page of a room, which mkdocstrings completes."""
    parts = [f"# keras_cnns.{room}\n", f"::: keras_cnns.{room}\n{INTRODUCTION}"]
    for name in public_names(room):
        place = find(room, name)
        is_constant = isinstance(place.node, ast.Assign | ast.AnnAssign)
        parts.append(constant(room, name, place) if is_constant else f"::: keras_cnns.{room}.{name}\n")
    return "\n".join(parts)


def reference_index() -> str:
    """Return the list of rooms, with their docstrings' first lines."""
    lines = ["# Reference\n\nEvery public name, by the part of the package that holds it.\n"]
    for room in ROOMS:
        first = (ast.get_docstring(parse(source_of(f"keras_cnns.{room}"))) or "").partition("\n")[0]
        lines.append(f"- [`keras_cnns.{room}`]({room}.md): {first}")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return plain text as Markdown that shows it unchanged."""
    return re.sub(r"([\\`*_\[\]#|])", r"\\\1", html.escape(text, quote=False))


def commands() -> str:
    """Return the page of all commands, as their `--help` shows them."""
    import importlib

    from keras_cnns.cli import _options

    parts = [COMMANDS_HEAD.format(exit_codes=" ".join(_options.EXIT_CODES.split()))]
    for name in COMMANDS:
        parts.append(command(importlib.import_module(f"keras_cnns.cli.{name}").command))
    return "\n".join(parts)


def command(command: "click.Command") -> str:
    """Return the section of one command."""
    import click

    context = click.Context(command, info_name=command.name)
    usage = command.get_usage(context).removeprefix("Usage: ")
    text = escaped("\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n")))
    parts = [f"## {command.name}\n", f"```\n{usage}\n```\n", f"{text}\n"]
    if command.examples:
        parts.append("```sh\n{}\n```\n".format("\n".join(command.examples)))
    for section, records in {**command.sections(context), **command.lists}.items():
        anchor = f"{command.name}-{section}".lower().replace(" ", "-")
        parts.append(f"### {section} {{ #{anchor} }}\n")
        parts += [f"`{name}`\n:   {escaped(' '.join(meaning.split()))}\n" for name, meaning in records]
    return "\n".join(parts)


def changelog() -> str:
    """Return CHANGELOG.md for the site.

    Its links are as seen from docs/, and the pages that it names are links.
    """
    moved = LINK.sub(r"\1../\2", (ROOT / "CHANGELOG.md").read_text("utf8")).replace("../docs/", "")
    return re.sub(r"(?<!\[)`docs/([\w/]+\.md)`", r"[`docs/\1`](\1)", moved)


# Page: the function that returns its text
PAGES: dict[str, Callable[[], str]] = {
    "reference/index.md": reference_index,
    **{f"reference/{room}.md": (lambda room=room: reference(room)) for room in ROOMS},
    "commands.md": commands,
    "networks.md": networks_table.page,
    "shipped_weights.md": weights_table.page,
    "changelog.md": changelog,
    **{
        f"notebooks/{path.stem}.md": (lambda path=path: notebook_pages.page(path))
        for path in sorted((DOCS / "notebooks").glob("*.py"))
    },
}


def outside(page: str, text: str) -> Iterator[tuple[re.Match, Path]]:
    """Yield each link of a page that leaves docs/.

    The second value is the file of the repository that it names.
    """
    for match in LINK.finditer(text):
        target = (DOCS / page).parent.joinpath(match[2]).resolve()
        if not target.is_relative_to(DOCS) and target.is_relative_to(ROOT) and target.exists():
            yield match, target.relative_to(ROOT)


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the generated pages, and the repository's files that pages link."""
    from mkdocs.structure.files import File

    for page, write in PAGES.items():
        files.append(File.generated(config, page, content=write()))
    linked = {path for file in files.documentation_pages() for _, path in outside(file.src_uri, file.content_string)}
    for path in sorted(linked):
        if (ROOT / path).is_file():
            files.append(File.generated(config, f"files/{path.as_posix()}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: "Page", **_: Any) -> str:
    """Point links to the repository's files at the site's copies."""
    return link_copies(page.file.src_uri, markdown)


def link_copies(page: str, text: str) -> str:
    """Return a page whose links stay within the site.

    Of a link to a folder, the text stays.
    """
    up = "../" * page.count("/")
    for match, path in reversed(list(outside(page, text))):
        if (ROOT / path).is_file():
            text = f"{text[: match.start(2)]}{up}files/{path.as_posix()}{text[match.end(2) :]}"
        else:
            start, end = text.rindex("[", 0, match.start()), text.index(")", match.end())
            text = f"{text[:start]}{text[start + 1 : match.start()]}{text[end + 1 :]}"
    return text


if __name__ == "__main__":
    print(PAGES[sys.argv[1]]())
