"""Every command's --help: one sentence, examples that can be typed, and options in groups with their defaults."""

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from keras_edsr import cli

COMMANDS = sorted(cli.main.commands)


def options(name):
    found = cli.main.commands[name].params
    return [option for option in found if isinstance(option, click.Option) and "--help" not in option.opts]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_paragraph_is_one_sentence_that_begins_with_a_verb(name):
    sentence, *_ = cli.main.commands[name].description.split("\n\n")
    assert re.fullmatch(r"[A-Z][a-z]+ [^.;]+\.", sentence.replace(".keras", "keras")), sentence
    assert not sentence.split()[0].endswith("s"), "the imperative, as click's own help texts"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_shows_groups_and_examples(name):
    page = CliRunner().invoke(cli.main, [name, "--help"], terminal_width=100).output
    command = cli.main.commands[name]
    assert 2 <= len(command.examples) <= 4
    for line in command.examples:
        assert f"  {line}\n" in page
    titles = re.findall(r"^([A-Z][\w -]+):$", page, flags=re.MULTILINE)
    assert titles[0] == "Examples"
    assert titles[-1] == "Other options"
    assert set(titles[1:]) == {option.group for option in options(name)} | {"Other options"}


@pytest.mark.parametrize("line", [line for name in COMMANDS for line in cli.main.commands[name].examples])
def test_every_example_is_a_valid_command(line):
    [words] = [part for part in map(shlex.split, re.split(r"\||>", line)) if part[0] == "keras-edsr"]
    with cli.main.commands[words[1]].make_context(words[1], words[2:]):
        pass


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_group_and_a_help_with_its_default(name):
    for option in options(name):
        assert option.group != "Other options", option.name
        assert re.match(r"[A-Z][\w']+|benchmark ", option.help), option.help
        assert option.help.endswith("."), option.help
        if not (option.required or option.is_flag):
            assert option.show_default or "Default: " in option.help, option.name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_gets_a_script_that_completes(shell, monkeypatch):
    monkeypatch.setenv("_KERAS_EDSR_COMPLETE", f"{shell}_source")
    shown = CliRunner().invoke(cli.main, prog_name="keras-edsr").output
    assert f"_KERAS_EDSR_COMPLETE={shell}_complete" in shown


def test_a_choice_is_completed(monkeypatch):
    for name, value in {"COMP_WORDS": "keras-edsr upscale --runtime n", "COMP_CWORD": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_KERAS_EDSR_COMPLETE", "bash_complete")
    assert CliRunner().invoke(cli.main, prog_name="keras-edsr").output == "plain,ncnn\n"
