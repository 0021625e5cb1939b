"""Postfix as one mail host: mail from outside, submission, delivery to mailboxes or on to another host."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from tests.servers.addresses import SMTP
from tests.servers.daemon import Daemon, program, run, wait_until
from tests.servers.host import MAIL_GID, MAIL_UID, MailHost
from tests.servers.zones import DOMAIN

DAEMONS = Path("/usr/lib/postfix/sbin")

# Delays that are made for days, shortened to seconds; nothing here asks the machine's own resolver.
_MAIN = """\
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {directory}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {log}
maillog_file_prefixes = {directory}
myhostname = {name}
mydestination = {destinations}
mynetworks =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = loopback-only
inet_protocols = ipv4
smtp_bind_address = {bind}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_authorized_xclient_hosts = {outsiders}
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_tls_chain_files = {certificate}
smtp_tls_security_level = none
virtual_mailbox_domains = {virtual}
virtual_mailbox_base = {mail}
virtual_mailbox_maps = inline:{{ {mailboxes} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_transport = {delivery}
transport_maps = texthash:{config}/transport
mailbox_transport_maps = hash:{config}/mailboxes
fallback_transport = {fallback}
queue_run_delay = 2s
minimal_backoff_time = 1s
maximal_backoff_time = 4s
"""

# type, private, unprivileged, chroot, wakeup, maxproc, command
_MASTER = """\
{smtp}
{submission}
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
local unix - n n - - local
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """``outsiders``: the network whose clients may say whom they play (XCLIENT), so that the log and the
    Received fields name outside hosts. Old delivers by virtual(8), new hands to its Dovecot by LMTP. With
    ``fallback``, the address of another host, the domain is in mydestination: local(8) hands to Dovecot what
    is for users that are here, and passes mail for users that it does not know on to that host."""

    def __init__(self, host: MailHost, outsiders: str, fallback: str | None = None) -> None:
        self.host = host
        self._config = host.directory / "config"
        self._write(outsiders, f"relay:[{fallback}]:{SMTP}" if fallback else "")
        # As postfix(1) starts it, but with the master in place of the shell, so that SIGTERM reaches it.
        start = f"{program('postfix')} -c {self._config} check && exec {DAEMONS}/master -c {self._config} -s"
        command = ["/bin/sh", "-c", start]
        self.daemon = Daemon(
            f"postfix-{host.side}", command, host.directory, self._greets, log=host.log, zone=host.zone
        )

    def _write(self, outsiders: str, fallback: str) -> None:
        host = self.host
        main = _MAIN.format(
            queue=host.queue, directory=host.directory, daemons=DAEMONS, log=host.log, name=host.name,
            bind=host.addresses[0], outsiders=outsiders, certificate=host.certificate,
            destinations=DOMAIN if fallback else "", virtual="" if fallback else DOMAIN,
            mailboxes=", ".join(f"{{{u}@{DOMAIN} = {u}/}}" for u in host.users), mail=host.mail,
            fallback=fallback, uid=MAIL_UID, gid=MAIL_GID, config=self._config,
            delivery="virtual" if host.side == "old" else "lmtp:unix:private/dovecot-lmtp",
        )  # fmt: skip
        (self._config / "main.cf").write_text(main)
        smtp = "\n".join(f"{address}:{SMTP} inet n - n - - smtpd" for address in host.addresses)
        (self._config / "master.cf").write_text(_MASTER.format(smtp=smtp, submission=self._submission()))
        (self._config / "transport").touch()
        self.keep(host.users)

    def _submission(self) -> str:
        """Submission takes authenticated users alone, under TLS (RFC 6409 section 4.3, RFC 8314)."""
        tls = "-o smtpd_tls_wrappermode=yes" if self.host.implicit_tls else "-o smtpd_tls_auth_only=yes"
        return (
            f"{self.host.addresses[0]}:{self.host.submission_port} inet n - n - - smtpd\n"
            f"  -o syslog_name=postfix/submission -o smtpd_tls_security_level=encrypt {tls}\n"
            "  -o smtpd_sasl_auth_enable=yes\n"
            "  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject"
        )

    def keep(self, users: Sequence[str]) -> None:
        """From now on local(8) knows these users alone. It sees for itself that the table has changed, but
        takes two versions of one second for the same, so ``reload`` after the last one."""
        lines = (f"{user} lmtp:unix:private/dovecot-lmtp\n" for user in users)
        (self._config / "mailboxes").write_text("".join(lines))
        run(program("postmap"), "-c", str(self._config), str(self._config / "mailboxes"))

    def relay(self, to: str | None) -> None:
        """From now on pass the domain's mail on to the host at this address; None: deliver it here again."""
        line = f"{DOMAIN} relay:[{to}]:{SMTP}\n" if to else ""
        (self._config / "transport").write_text(line)
        self.reload()

    def reload(self) -> None:
        before = self._reloads()
        run(program("postfix"), "-c", str(self._config), "reload")
        wait_until(lambda: self._reloads() > before, f"{self.host.name} goes by its new tables")

    def _reloads(self) -> int:
        return self.host.log.read_text(errors="replace").count(": reload -- version")

    def flush(self) -> None:
        """Try everything that is put off again, now."""
        run(program("postqueue"), "-c", str(self._config), "-f")

    def waiting(self) -> int:
        """How many messages are in the queue."""
        return run(program("postqueue"), "-c", str(self._config), "-j").count('"queue_id"')

    def _greets(self) -> bool:
        """Every smtpd answers, not the master's listening socket alone."""
        places = [(address, SMTP) for address in self.host.addresses]
        return all(_greeting(*place).startswith(b"220 ") for place in places)


def _greeting(address: str, port: int) -> bytes:
    with socket.create_connection((address, port), timeout=5) as connection:
        return connection.recv(512)
