"""Help pages of the commands: options in groups, and examples."""

import inspect
from typing import Any

import click

OTHER = "Other options"  # last on the page


class Command(click.Command):
    """A command whose help page shows examples after the description, and its options in groups.

    Args:
        examples: Command lines, as they are typed.
    """

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.description = inspect.cleandoc(self.help or "")
        # The documentation's pages show this text as Markdown, where an indented line is code.
        self.help = "\n".join([self.description, "", "Examples:", "", *(f"    {line}" for line in examples)])

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the description, which click wraps, and the examples, which stay as they are."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(self.description)
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes each group of options under its title, in the order of the command's decorators."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", OTHER), []).append(record)
        for title, records in sorted(groups.items(), key=lambda item: item[0] == OTHER):
            with formatter.section(title):
                formatter.write_dl(records)


class Option(click.Option):
    """An option in a group of the help page.

    Args:
        group: Title of the group.
    """

    def __init__(self, *args: Any, group: str = OTHER, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def option(*names: str, group: str = OTHER, **kwargs: Any) -> Any:
    """Returns click's decorator for an option in a group.

    Args:
        *names: As `click.option` takes them.
        group: Title of the group on the help page.
        **kwargs: As `click.option` takes them.
    """
    return click.option(*names, cls=Option, group=group, **kwargs)
