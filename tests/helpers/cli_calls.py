"""Calls of the command in this process, and what they must print."""

from click.testing import CliRunner

from keras_edsr import cli


def run(*words):
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def notes(result):
    """The lines on stderr but the one that names the runtime, which may differ from machine to machine."""
    return [line for line in result.stderr.splitlines() if not line.startswith("Runtime: ")]


def assert_fails(result, message, status=1):
    """Checks for one line on stderr, nothing on stdout, and no traceback."""
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    last = notes(result)[-1]
    assert last.startswith("Error: ")
    assert message in last
    if status == 1:
        assert len(notes(result)) == 1
