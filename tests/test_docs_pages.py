"""README's table and the generated pages of the documentation equal the code and the records."""

import functools
import importlib
import re

import click
import docs_pages
import networks_table
import pytest
import weights_table
from conftest import ROOT

from keras_cnns import applications
from keras_cnns.applications._facts import FACTS


@functools.cache
def page_of_networks():
    return networks_table.page()


def rows(page, name):
    return [line for line in page.splitlines() if line.startswith(f"| [`{name}`]")]


@pytest.mark.parametrize("readme", networks_table.READMES)
def test_the_table_of_networks_in_a_readme_is_up_to_date(readme):
    """`python scripts/networks_table.py --write` updates it."""
    text = (ROOT / readme).read_text("utf8")
    assert networks_table.between_markers(text, networks_table.table(readme)) == text
    assert networks_table.table(readme) in text


def test_the_table_of_networks_has_each_network_once():
    names = re.findall(r"`(\w+)`", networks_table.table())
    assert names == [name for names in networks_table.families().values() for name in names]
    assert sorted(names) == sorted(applications._BUILDERS)


@pytest.mark.parametrize("name", applications._BUILDERS)
def test_the_page_of_networks_has_a_row_for_each(name):
    (row,) = rows(page_of_networks(), name)
    record = FACTS[name]
    assert f"| {record.parameters:,} | {record.macs / 1e6:,.1f} M |" in row
    assert all(f" {value} %" in row for value in record.errors.values())
    assert re.sub(r"arXiv.*", "", record.paper) in page_of_networks()


def test_the_page_of_networks_has_the_options_of_each():
    assert networks_table.options("AlexNet") == ["groups"]
    assert networks_table.options("NiN") == ["variant", "second_pool"]
    assert "`variant`, `second_pool`" in rows(page_of_networks(), "NiN")[0]


@pytest.mark.parametrize("name", applications.list_weights(shipped=True))
def test_the_page_of_weights_equals_the_records(name):
    page, record = weights_table.page(), applications.weights_info(*name.split(":"))
    (row,) = rows(page, name)
    assert f"{record.metrics['test']['top1']:.2%}".replace("%", " %") in row
    assert f" of {record.metrics['test']['examples']:,} " in row
    command = record.training["command"].removesuffix(" --force").removesuffix(" --resume")
    anchor = name.replace(":", "-")
    (section,) = re.findall(rf"## {name} {{ #{anchor} }}\n(.*?)(?:\n## |\Z)", page, re.S)
    assert f"    {command}\n" in section
    (image,) = re.findall(r"\]\((images/.*?\.png)\)", section)
    assert (ROOT / "docs" / image).is_file()
    # The paper's figure must be the one with or without augmentation, like the training
    errors = FACTS[record.builder].errors
    names = {key: key.partition(",")[0].replace("-", "").lower() + ".npz" for key in errors}
    papers = [100 - errors[key] for key, name in names.items() if name == record.data["source"]]
    if papers:
        paper = (min if record.recipe["augmentation"] == "none" else max)(papers)
        assert f" | {paper:.2f} %" in row
        assert ("which this misses" in row) == (100 * record.metrics["test"]["top1"] < paper)
    else:
        assert " | - |" in row


@pytest.mark.parametrize("name", docs_pages.COMMANDS)
def test_the_page_of_commands_has_every_option_in_its_section(name):
    command = importlib.import_module(f"keras_cnns.cli.{name}").command
    (section,) = re.findall(rf"^## {command.name}\n(.*?)(?:^## |\Z)", docs_pages.commands(), re.S | re.M)
    listed = re.findall(r"^(?:### (.*?) {|`(-.*?)`$)", section, re.M)
    heading, found = "", {}
    for title, option in listed:
        heading = title or heading
        if option:
            found[option.split(",")[0].split(" ")[0].split("/")[0]] = heading
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    for option in options:
        assert found[option.opts[0]] == getattr(option, "section", "Other"), option.name
    assert len(found) == len(options) + 1  # --help
    assert all(example in section for example in command.examples)


def test_the_pages_cover_every_command():
    scripts = re.findall(r"cnn-\w+ = keras_cnns\.cli\.(\w+):main", (ROOT / "setup.cfg").read_text("utf8"))
    assert sorted(docs_pages.COMMANDS) == sorted(scripts)


@pytest.mark.parametrize("room", docs_pages.ROOMS)
def test_the_reference_has_every_public_name(room):
    module, page = importlib.import_module(f"keras_cnns.{room}"), docs_pages.reference(room)
    names = docs_pages.public_names(room)
    if hasattr(module, "__all__"):
        assert sorted(names) == sorted(module.__all__)
    for name in names:
        assert hasattr(module, name)
        assert f"::: keras_cnns.{room}.{name}\n" in page or f"{{ #keras_cnns.{room}.{name} }}" in page


def test_the_reference_has_every_room():
    import keras_cnns

    assert set(docs_pages.ROOMS) == {*keras_cnns._PARTS, "typing"}


def test_constants_are_shown_with_their_comments():
    page = docs_pages.reference("recipes")
    assert "decay_factor=(0.4, 0.2, 0.1, 0.02),\n" in page and "epochs=20,  # III.B" in page
    assert "Gradient-Based Learning Applied to Document Recognition, 1998. Not reproduced:" in page


def test_pages_are_written_without_keras_and_tensorflow(python):
    done = python(
        "import sys; sys.path.insert(0, 'scripts'); import docs_pages\n"
        "pages = {page: write() for page, write in docs_pages.PAGES.items()}\n"
        "assert all(pages.values()) and not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_the_navigation_names_every_page_and_no_other():
    navigation = (ROOT / "mkdocs.yml").read_text("utf8").partition("\nnav:\n")[2]
    named = re.findall(r"[\w/]+\.md", navigation)
    docs = ROOT / "docs"
    written = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    assert sorted(named) == sorted(written | set(docs_pages.PAGES))


def test_links_to_files_of_the_repository_lead_to_copies_and_those_to_folders_go():
    text = (
        "[a](../../scripts/train_imagenet.py) [b](data.md#top) [c](../missing.py) [d](https://x.org/a) [e](../../cli) f"
    )
    linked = text.replace("../../scripts", "../files/scripts").replace("[e](../../cli)", "e")
    assert docs_pages.link_copies("guides/recipes.md", text) == linked
    found = docs_pages.outside("guides/recipes.md", text)
    assert [str(path) for _, path in found] == ["scripts/train_imagenet.py", "cli"]


CLAIMS = [
    ("lenet5:mnist", "MNIST, distorted"),
    ("nin:mnist", "MNIST"),
    ("nin:cifar10", "CIFAR-10, augmented"),
    ("resnet20:cifar10", "CIFAR-10, augmented"),
]


@pytest.mark.parametrize("name, key", CLAIMS)
def test_the_page_of_claims_has_the_recorded_errors(name, key):
    record = applications.weights_info(*name.split(":"))
    claimed, measured = FACTS[record.builder].errors[key], 100 * (1 - record.metrics["test"]["top1"])
    page = (ROOT / "docs" / "claims.md").read_text("utf8")
    (row,) = [line for line in page.splitlines() if f" {claimed} % error on {key.partition(',')[0]}" in line]
    assert f"| {measured:.2f} %: {'reached' if measured <= claimed else 'missed'}" in row


def test_the_page_of_claims_has_the_counts_of_the_networks():
    page = (ROOT / "docs" / "claims.md").read_text("utf8")
    counts = "; ".join(f"{FACTS[f'ResNet{depth}'].parameters:,}" for depth in (20, 32, 44, 56, 110))
    assert f"| {counts} |" in page and f"{FACTS['AlexNet'].parameters:,}" in page
