"""The command line: names the commands, loads each only when it is called, owns how they end."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from monitor.exits import Exit, Failure

# name: (module below monitor.commands, one line of help). Kept here so that --help imports none of them.
COMMANDS = {
    "init": ("init", "Write a commented plan, asking only what cannot be looked up."),
    "plan": ("plan", "Check a plan: every mistake at once, with what to write instead."),
    "attach": ("attach", "Open the dashboard on a journal that another process writes."),
    "status": ("status", "Print the verdict from a journal. Exit 0 only when it is safe."),
    "cutover": ("operator", "Declare that the change was made now (or taken back)."),
    "waive": ("operator", "Waive one subject, with a reason that every report shows."),
    "unwaive": ("operator", "Take a waiver back."),
    "note": ("operator", "Put a remark into the record."),
    "report": ("report", "Write the proof: one HTML file and one JSON file."),
    "verify": ("verify", "Check that the journal's evidence was never changed."),
    "export": ("export", "Write the journal as JSON Lines."),
    "replay": ("replay", "Judge a recorded cutover again, without any network."),
}


class Lazy(click.Group):
    """A group that imports a command's module when the command is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"monitor.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])


@click.group(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: mxcutover replay cutover.jsonl",
)
@click.version_option(package_name="mxcutover")
def mxcutover() -> None:
    """May the old mail server be retired? Watches a domain's move and proves the answer."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code (the table in ``monitor.exits``)."""
    try:
        result: Any = mxcutover.main(arguments, prog_name="mxcutover", standalone_mode=False)
        return int(result) if isinstance(result, int) else Exit.OK
    except Failure as failure:
        print(f"mxcutover: {failure}", file=sys.stderr)
        return failure.code
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.IO


def run() -> None:
    sys.exit(main())
