"""The command line: names the commands, loads each only when it is called, owns how they end."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from monitor.exits import Exit, Failure
from monitor.printable import printable

LONGEST = 4000  # characters of one failure's line

# name: its module below monitor.commands. Kept here so that --help imports none of them.
COMMANDS = {
    "init": "init",
    "plan": "plan",
    "check": "check",
    "dns": "dns",
    "resolvers": "resolvers",
    "log": "log",
    "watch": "watch",
    "attach": "attach",
    "status": "status",
    "explain": "explain",
    "cutover": "operator",
    "waive": "operator",
    "unwaive": "operator",
    "note": "operator",
    "rescue": "rescue",
    "cleanup": "cleanup",
    "report": "report",
    "verify": "verify",
    "export": "export",
    "replay": "replay",
    "rehearse": "rehearse",
}

# What --help says of them, in the order in which a move needs them. Some share a line: a screen has 24.
ROWS = {
    ("init",): "Write a commented plan: asks what it needs, or takes flags.",
    ("plan",): "Check a plan: every mistake at once, and what to write.",
    ("check",): "Reach every host, log in, open the log: is all to be had?",
    ("dns",): "Ask each authority and public resolver; --watch to the end.",
    ("resolvers",): "List the bundled public resolvers, and --check who answers.",
    ("log",): "Who still sends to a host for a domain, from its log alone.",
    ("watch",): "Watch the move: the dashboard, or --headless for a unit.",
    ("attach",): "Open the dashboard on a journal another process writes.",
    ("status",): "Print a journal's verdict. Exit 0 only when it is safe.",
    ("explain",): "Why each requirement is in its state, and what to do now.",
    ("cutover", "note"): "Declare the change as made now (or taken back); a remark.",
    ("waive", "unwaive"): "Waive one subject, with a reason that every report shows.",
    ("rescue", "cleanup"): "Copy to new what it lacks; take the canaries away again.",
    ("report", "verify"): "Write the proof, as HTML and JSON; check the evidence.",
    ("export", "replay"): "Write the journal as JSON Lines; judge such a file again.",
    ("rehearse",): "Play a whole cutover on embedded servers and watch it.",
}


class Lazy(click.Group):
    """A group that imports a command's module when the command is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"monitor.commands.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands alone: with the two options of every program they would not fit on 24 lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(", ".join(names), said) for names, said in ROWS.items()])


@click.group(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="[-h] [--version]",
    epilog="Example: mxcutover init && mxcutover plan check    (COMMAND -h tells more)",
)
@click.version_option(package_name="mxcutover")
def mxcutover() -> None:
    """May the old mail server be retired? Watches the move, proves the answer."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code (the table in ``monitor.exits``)."""
    try:
        result: Any = mxcutover.main(arguments, prog_name="mxcutover", standalone_mode=False)
        sys.stdout.flush()
        return int(result) if isinstance(result, int) else Exit.OK
    except Failure as failure:
        return _say(str(failure), failure.code)
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except SystemExit:  # click's own answer to a reader that went away
        return Exit.IO
    except OSError as error:
        # What a command did not foresee: most often standard output itself, on a full disk or a closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return Exit.IO if isinstance(error, BrokenPipeError) else _say(_os_error(error), Exit.IO)


def _say(line: str, code: Exit) -> Exit:
    print(f"mxcutover: {printable(line, LONGEST)}", file=sys.stderr)
    return code


def _os_error(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else f"input or output failed: {reason}"


def run() -> None:
    """The installed command. A terminal that cannot show a character gets a stand-in, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
