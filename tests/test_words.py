"""The words of the package, its pages and its help: plain technical English (CONTRIBUTING, "Words")."""

import re
import tokenize
from pathlib import Path

import pytest
from click.testing import CliRunner

from keras_edsr import cli

ROOT = Path(__file__).parent.parent

# A phrase and what to write instead.
BANNED = {
    r"\b(is|are|was|were|be|been|being) (said|told)\b": "name the actor: `the logger warns`, `the message names it`",
    r"\b(?<!there )(is|are|was|were|be) no (?!longer\b|more\b|less\b|later\b|larger\b|smaller\b|other\b)\w+": (
        "`is not a valid X`"
    ),
    r"(?<!there )\b(is|are) (?-i:none)\b": "`is not one`, or name what is missing",
    r"\bfor who\b|\bwho has (no|a|an)\b": "`if you have`",
    r"\b(we|our|ours)\b": "the package by its name; a page speaks to `you`",
    r"\bfacts §|\.\./shared": "the paper, a file of a public repository, or an explanation",
    r"\bhangs? on\b": "`depends on`",
    r"\bleft out of\b|\bas well\.\n": "`omitted`, `excluded`",
    r"\bif (not given|left out)\b": "`Defaults to X`",
    r"\bGive (either )?[-`]": "`Pass`",
    r"\bgo(es)? on with\b": "`resume`",
    r"\b(can't|don't|doesn't|isn't|won't)\b": "the long form: `cannot`, `do not`",
    r"\brefuse[sd]?\b|\brefusing\b": "`reject`",
    r"\bwhole or not at all\b": "`atomic write`, or explain it",
    r"\b(appears?|written) whole\b": "`atomic write`",
    r"\bwhat (is|was) (asked|told|there|given)\b": "name the thing",
    r"\b(the weights|networks?|presets?) that ships?\b": "`weights of the package`",
    r"^Of [a-z]": "begin with a noun or a verb",
    r"\b(colours?|coloured|grey|behaviours?|centres?|neighbours?|favour|licences?|artefacts?)\b": "American spelling",
    r"\b\w{3,}(alis|imis|niz?is|oris|eris|ognis|antis)(e|es|ed|ing|ation)\b": "American spelling: -ize",
}


def strings_and_comments(path):
    """Yields (line, text): each string, and each run of comment lines as one text."""
    comment, start, last = [], 0, -1
    with open(path, "rb") as file:
        for token in tokenize.tokenize(file.readline):
            line = token.start[0]
            if token.type == tokenize.COMMENT:
                if line != last + 1 and comment:
                    yield start, " ".join(comment)
                    comment = []
                start, last = (start if comment else line), line
                comment.append(token.string.lstrip("# "))
            elif token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
                yield line, re.sub(r"^\w{0,2}(\"\"\"|\"|')|(\"\"\"|\"|')$", "", token.string)
    if comment:
        yield start, " ".join(comment)


def prose(path):
    """Yields (line, text) for each paragraph of a Markdown page, without its code."""
    text = path.read_text()
    text = re.sub(r"^( *)```.*?^\1```", lambda code: "\n" * code[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`|<[^>]*>|\]\([^)]*\)", "", text)
    line = 1
    for paragraph in re.split(r"(\n\s*\n)", text):
        if paragraph.strip():
            yield line, paragraph
        line += paragraph.count("\n")


def without_code(text):
    """Removes inline code, doctests and addresses, which follow their own rules."""
    return re.sub(r"``[^`]*``|`[^`]*`|^ *(>>>|\.\.\.).*$|https?://\S+", "", text, flags=re.MULTILINE)


def faults(text):
    """Returns the banned phrases of a text, with the advice."""
    plain = " ".join(without_code(text).split())
    if plain.isidentifier():  # a key or a name, such as that of an old version
        return []
    return [
        f"{found[0]!r}: {advice}"
        for pattern, advice in BANNED.items()
        if (found := re.search(pattern, plain, flags=re.IGNORECASE if not pattern.startswith("^") else 0))
    ]


def modules():
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "keras_edsr").rglob("*.py"))


def pages():
    found = [path for folder in ("docs", "examples") for path in (ROOT / folder).rglob("*.md")]
    return ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *sorted(p.relative_to(ROOT).as_posix() for p in found)]


@pytest.mark.parametrize("name", modules())
def test_strings_and_comments_have_no_banned_phrase(name):
    found = [f"{name}:{line}: {fault}" for line, text in strings_and_comments(ROOT / name) for fault in faults(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", pages())
def test_pages_have_no_banned_phrase(name):
    found = [f"{name}:{line}: {fault}" for line, text in prose(ROOT / name) for fault in faults(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", [None, *sorted(cli.main.commands)])
def test_help_pages_have_no_banned_phrase(name):
    page = CliRunner().invoke(cli.main, [*filter(None, [name]), "--help"], terminal_width=200).output
    assert not faults(page)
    for option in (cli.main.commands[name] if name else cli.main).params:
        assert not faults(getattr(option, "help", None) or "")


@pytest.mark.parametrize("name", modules())
def test_every_error_of_a_docstring_has_its_condition(name):
    for line, text in strings_and_comments(ROOT / name):
        raised = re.search(r"^ *Raises:\n(.*?)(\n\s*\n|\Z)", text, flags=re.DOTALL | re.MULTILINE)
        for error in re.findall(r"^ *\w[\w.]*: .*$", raised[1] if raised else "", flags=re.MULTILINE):
            if re.match(r" *[\w.]*(Error|Stopped|Warning)\b", error):
                assert re.match(r" *[\w.]+: If ", error), f"{name}:{line}: {error.strip()}"
