"""`--help` of every command has sections and examples, and fits the terminal."""

import importlib
import shlex

import click
import pytest

COMMANDS = ["train", "evaluate", "predict", "export", "benchmark", "info", "data", "visualize"]


def command_of(name):
    return importlib.import_module(f"keras_cnns.cli.{name}").command


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_the_terminal_and_shows_every_option(cli, monkeypatch, name, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = cli(name, "--help")
    assert code == 0 and max(map(len, out.splitlines())) <= columns
    assert {option for parameter in options(name) for option in parameter.opts} <= set(out.replace(",", " ").split())


def options(name):
    return [parameter for parameter in command_of(name).params if isinstance(parameter, click.Option)]


@pytest.mark.parametrize("name", COMMANDS)
def test_only_version_is_in_no_section(name):
    assert [option.name for option in options(name) if getattr(option, "section", "Other") == "Other"] == ["version"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_two_examples_that_parse(cli, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = cli(name, "--help")
    command = command_of(name)
    assert out.splitlines()[-3:] == ["Examples:", *(f"  {example}" for example in command.examples)]
    for example in command.examples:
        program, *arguments = shlex.split(example)
        assert program == command.name == f"cnn-{name}"
        command.make_context(program, arguments)
