"""Files around the package: issue forms, citation, hooks, changelog."""

import re
import shlex
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

import keras_cnns

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf8")
VERSION = re.compile(r"^## (\d+\.\d+\.\d+)(?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


def read(name):
    return yaml.safe_load((ROOT / name).read_text("utf8"))


def test_there_are_forms_for_bugs_and_networks():
    assert [path.stem for path in FORMS] == ["bug", "config", "network"]
    assert isinstance(read(".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"], bool)


@pytest.mark.parametrize("name", ["bug", "network"])
def test_an_issue_form_asks_for_what_is_needed(name):
    form = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "labels", "body"} == set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert all(field["attributes"]["label"] for field in fields)
    ids = [field["id"] for field in fields]
    assert len(ids) == len(set(ids)) >= 4
    (versions,) = [field for field in fields if "cnn-info --versions" in field["attributes"]["label"]]
    assert versions.get("validations", {}).get("required", False) == (name == "bug")
    assert sum(field.get("validations", {}).get("required", False) for field in fields) >= 2


def test_the_citation_has_the_fields_of_its_format():
    """CFF 1.2.0 needs the first four; a person has family-names, an entity a name."""
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "version", "date-released", "license"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert all("name" in author or "family-names" in author for author in citation["authors"])
    assert citation["license"] == "Apache-2.0"


def test_the_newest_version_is_the_package_s():
    newest, date = VERSION.search(CHANGELOG).groups()
    assert newest == keras_cnns.__version__
    citation = read("CITATION.cff")
    assert citation["version"] == newest and str(citation["date-released"]) == date


def test_the_changelog_keeps_its_form():
    """Versions from new to old, each with sections of known names, each section once."""
    versions = [tuple(map(int, version.split("."))) for version, _ in VERSION.findall(CHANGELOG)]
    assert versions == sorted(versions, reverse=True) and (0, 1, 0) in versions
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert len(headings) - headings.count("Unreleased") == len(versions) and headings.count("Unreleased") <= 1
    for part in re.split(r"^## .*$", CHANGELOG, flags=re.MULTILINE)[1:]:
        sections = re.findall(r"^### (.*)$", part, re.MULTILINE)
        known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
        assert sections == [section for section in known if section in sections], sections
        bodies = re.split(r"^### .*$", part, flags=re.MULTILINE)[1:]
        assert all(re.search(r"^- \S", body, re.MULTILINE) for body in bodies)


def test_the_hooks_run_the_tools_of_make_lint():
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"  # nothing is downloaded
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert list(hooks) == ["ruff", "ruff-format", "codespell"]
    lint = (ROOT / "Makefile").read_text("utf8").partition("\nlint:")[2].partition("\n\n")[0]
    for hook in hooks.values():
        tool, *arguments = shlex.split(hook["entry"])
        assert hook["language"] == "system" and tool.startswith(".venv/bin/")
        assert f"$(BIN)/{tool.removeprefix('.venv/bin/')}" in lint
        tool_path = f"{sys.prefix}/bin/{tool.removeprefix('.venv/bin/')}"
        done = subprocess.run([tool_path, *arguments, __file__], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/versions.md"])
def test_linked_files_exist(name):
    page = ROOT / name
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert links


def test_targets_that_contributors_are_told_about_exist():
    makefile = (ROOT / "Makefile").read_text("utf8")
    targets = re.findall(r"\bmake ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text("utf8"))
    assert {"quick", "test", "test-all", "lint"} <= set(targets)
    assert [target for target in targets if f"\n{target}:" not in makefile and target != "and"] == []
