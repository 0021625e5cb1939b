"""``mxcutover ARGUMENTS`` that dies by SIGKILL at its Nth word to a server or its ledger (0: never)."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import monitor.rescue.account as account
from monitor.cli import main
from monitor.rescue.ledger import Ledger
from probes.mail.imapwire import Wire

account.SETTLE = 2.0  # these servers are on the same machine
left = int(sys.argv[1])


def count() -> None:
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def counted(function: Any, after: bool) -> Any:
    def call(*arguments: Any, **named: Any) -> Any:
        if not after:
            count()
        found = function(*arguments, **named)
        count()
        return found

    return call


Wire.send = counted(Wire.send, after=True)  # type: ignore[method-assign]
Ledger.put = counted(Ledger.put, after=False)  # type: ignore[method-assign]
sys.exit(main(sys.argv[2:]))
