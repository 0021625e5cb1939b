"""The stage itself: real servers that answer, pass mail on as they should, and leave nothing behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import aiosmtplib
import pytest

from tests.servers import zones
from tests.servers.addresses import DNS, SMTP
from tests.servers.daemon import needs, wait_until
from tests.servers.host import USERS, MailHost
from tests.servers.nsd import asked
from tests.servers.senders import Sent
from tests.servers.stage import PROGRAMS, Stage, left_behind, letters

pytestmark = pytest.mark.servers

CHILD = """\
import sys
from tests.servers.stage import Stage
with Stage() as stage:
    print(stage.directory, flush=True)
    sys.stdin.read()
"""


def arrives(host: MailHost, sent: Sent) -> None:
    user = sent.recipient.partition("@")[0]

    def lies_there() -> bool:
        return any(message_id == sent.message_id for message_id, _ in letters(host, user))

    wait_until(lies_there, f"{sent.message_id} lies in {user}'s mailbox on {host.side}")


def exchanges(address: str, port: int) -> set[str]:
    answer = asked(address, port, zones.DOMAIN, "MX")
    return {rdata.to_text() for rrset in answer.answer for rdata in rrset} if answer is not None else set()


def test_every_server_answers(stage: Stage) -> None:
    for server in (stage.primary, stage.secondary):
        assert exchanges(server.address, 53) == set(zones.OLD_MX)
    referral = asked(stage.root.address, 53, zones.DOMAIN, "MX")
    assert referral is not None and not referral.answer and referral.authority
    for resolver in (stage.addresses.unbound, stage.addresses.knot):
        assert exchanges(resolver, DNS) == set(zones.OLD_MX)
    for dovecot in (stage.old_imap, stage.new_imap):
        for user in USERS:
            with dovecot.session(user) as session:
                assert "\\Junk" in str(session.list())
                assert "IDLE" in session.capabilities


async def test_mail_from_outside_lies_in_the_mailbox_that_the_mx_leads_to(stage: Stage) -> None:
    for sender in stage.post.outsiders:
        sent = await stage.post.outside(sender, "ben")
        assert sent.address == stage.addresses.old
        arrives(stage.old, sent)
        assert f"client={sender.name}[{sender.client}]" in stage.old.log.read_text()


async def test_users_submit_on_either_host_and_nobody_else_does(stage: Stage) -> None:
    for host in (stage.old, stage.new):
        arrives(host, await stage.post.submit(host, "anna"))
        assert "sasl_username=carol" in host.log.read_text()
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused, match="Relay access denied"):
        async with aiosmtplib.SMTP(hostname=stage.addresses.old, port=SMTP, start_tls=False) as smtp:
            await smtp.sendmail("a@outside.example", ["b@elsewhere.example"], b"\r\n")


async def test_a_host_that_lets_go_passes_mail_on_and_takes_it_back(stage: Stage) -> None:
    sender = stage.post.outsiders[0]
    stage.old_mta.relay(stage.addresses.new[0])
    try:
        for sent in (
            await stage.post.to_host(sender, stage.addresses.old),
            await stage.post.submit(stage.old),
        ):
            arrives(stage.new, sent)
        assert f"relay={stage.addresses.new[0]}[{stage.addresses.new[0]}]:2525" in stage.old.log.read_text()
    finally:
        stage.old_mta.relay(None)
    arrives(stage.old, await stage.post.to_host(sender, stage.addresses.old))


async def test_what_old_alone_has_can_be_copied(stage: Stage) -> None:
    sent = await stage.post.to_host(stage.post.outsiders[1], stage.addresses.old, "carol")
    arrives(stage.old, sent)
    assert stage.copy() > 0
    arrives(stage.new, sent)
    assert stage.copy() == 0


def test_a_changed_mx_arrives_at_both_resolvers_when_the_secondary_has_it(stage: Stage) -> None:
    stage.change_mx()
    assert exchanges(stage.primary.address, 53) == set(zones.NEW_MX)
    assert exchanges(stage.secondary.address, 53) == set(zones.OLD_MX)
    stage.secondary_catches_up()
    caches = (stage.addresses.unbound, stage.addresses.knot)
    wait_until(lambda: all(exchanges(c, DNS) == set(zones.NEW_MX) for c in caches), "both caches have it")


async def test_after_the_change_outside_mail_goes_to_new(stage: Stage) -> None:
    for sender in stage.post.outsiders:
        sent = await stage.post.outside(sender)
        assert sent.address in stage.addresses.new
        arrives(stage.new, sent)


def test_the_stage_leaves_no_process_and_no_file() -> None:
    needs(*PROGRAMS)
    with Stage() as stage:
        assert left_behind(stage.directory)
    assert left_behind(stage.directory) == []
    assert not stage.directory.exists()


def test_nothing_is_left_running_when_a_test_is_killed() -> None:
    needs(*PROGRAMS)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        directory = Path(child.stdout.readline().strip())
        assert len(left_behind(directory)) > 9
        child.send_signal(signal.SIGKILL)
    wait_until(lambda: not left_behind(directory), "all servers have ended")
    shutil.rmtree(directory)
