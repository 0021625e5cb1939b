"""What real logs hold that the lab's do not: one short story a trap, with what must come of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import pytest

from probes.observation import Observation, Use
from probes.oldhost.reader import MailLog
from tests.oldhost.loglines import WRITTEN, hits, mails, unread

SYSLOG = "Nov 22 21:25:3{} old {}: "


def log(format: str = "auto", domain: str = "example.com", zone: str = "UTC") -> MailLog:
    def canary(name: str) -> str | None:
        return "c-1" if "canary" in name else None

    return MailLog(domain, canary, own=["192.0.2.10"], others=["192.0.2.50"], zone=zone, format=format)  # type: ignore[arg-type]


def read(said: Iterable[str], reading: MailLog | None = None) -> list[Observation]:
    one = reading or log()
    return one.feed([line.encode("utf-8", "surrogateescape") for line in said], WRITTEN) + one.flush()


def by(tag: str, *said: str) -> list[str]:
    return [SYSLOG.format(i % 10, tag) + line for i, line in enumerate(said)]


def exim(*said: str) -> list[str]:
    return [f"2026-11-22 21:25:3{i % 10} {line}" for i, line in enumerate(said)]


@dataclass
class Trap:
    what: str
    said: list[str]
    taken: list[tuple[str, str, str]]
    refused: int = 0
    unread: int = 0
    reply: str | None = None


BOB = "bob@example.com"
IN = "1xVF3y-00001a-1P <= a@sender.example H=mx.sender.example [203.0.113.77] P=esmtps S=371 id=m@s"
TAKEN = [(BOB, "outside", "delivered")]
LONG = "1xVF3y-000000005vi-0000"

EXIM = [
    Trap("a name of 4.97", exim(f"{LONG} <= a@s H=m [203.0.113.77] P=esmtp S=1", f"{LONG} => bob <{BOB}> R=l T=l",
                                f"{LONG} Completed"), TAKEN),
    Trap("log_timezone", [f"2026-11-22 21:25:30 +0100 {IN}", f"2026-11-22 21:25:30 +0100 1xVF3y-00001a-1P => bob <{BOB}> R=l"],
         TAKEN),
    Trap("a login", exim("1xVF3y-00001a-1P <= a@s H=(c) [203.0.113.9] P=esmtpsa A=plain:carol@example.com S=1 id=m@s",
                         f"1xVF3y-00001a-1P => bob <{BOB}> R=l T=l", "1xVF3y-00001a-1P Completed"),
         [(BOB, "submission", "delivered")]),
    Trap("a pipe with blanks", exim(IN, f"1xVF3y-00001a-1P => |/usr/bin/vacation -x bob <{BOB}> R=p T=address_pipe"), TAKEN),
    Trap("a black hole", exim(IN, f"1xVF3y-00001a-1P => :blackhole: <{BOB}> R=alias"), TAKEN),
    Trap("an alias within", exim(IN, "1xVF3y-00001a-1P => bob <info@example.com> R=l T=l"),
         [("info@example.com", "outside", "delivered")]),
    Trap("an alias by way of another", exim(IN, "1xVF3y-00001a-1P => /home/x/Maildir/ (bob@example.com) <info@example.com> R=l"),
         [("info@example.com", "outside", "delivered")]),
    Trap("no router named", exim(IN, f"1xVF3y-00001a-1P ** {BOB}: retry timeout exceeded"), TAKEN,
         reply="retry timeout exceeded"),
    Trap("put off", exim(IN, f"1xVF3y-00001a-1P == {BOB} routing defer (-51): retry time not reached"), TAKEN),
    Trap("taken, and nothing more is said of it but the recipients",
         exim(f'{IN} T="x for eve@example.com" from <a@sender.example> for {BOB} x@other.example'), TAKEN, reply="still in the queue"),
    Trap("a filter's second half", exim(
        IN, "1xVF3z-00001b-1P <= a@sender.example H=localhost [127.0.0.1] P=esmtp S=400 id=m@s",
        f'1xVF3y-00001a-1P => {BOB} R=filter T=remote_smtp H=127.0.0.1 [127.0.0.1] C="250 OK id=1xVF3z-00001b-1P"',
        "1xVF3y-00001a-1P Completed", f"1xVF3z-00001b-1P => bob <{BOB}> R=l T=l", "1xVF3z-00001b-1P Completed"), TAKEN),
    Trap("LMTP to this host", exim(IN, f"1xVF3y-00001a-1P => {BOB} R=d T=lmtp H=127.0.0.1 [127.0.0.1]"), TAKEN),
    Trap("passed on", exim(IN, f"1xVF3y-00001a-1P => {BOB} R=d T=smtp H=mx.new.example [192.0.2.50]:25"),
         [(BOB, "outside", "relayed")]),
    Trap("additional address", exim(IN, f"1xVF3y-00001a-1P => {BOB} R=d T=s H=n [192.0.2.50]", "1xVF3y-00001a-1P -> carol@example.com R=d T=s H=n [192.0.2.50]"),
         [(BOB, "outside", "relayed"), ("carol@example.com", "outside", "relayed")]),
    Trap("for now refused", exim(f"H=(x) [203.0.113.9] F=<a@s> temporarily rejected RCPT <{BOB}>: greylisted"), [], 1, reply="451 greylisted"),
    Trap("in pieces by syslog", [
        *by("exim[9]", f"[1/2] 2026-11-22 21:25:30 {IN} T=\"x", r'[2\2] y" for bob@example.com'),
        *by("exim[9]", "2026-11-22 21:25:31 1xVF3y-00001a-1P => bob <bob@example.com> R=l T=l")], TAKEN),
    Trap("by syslog without stamps of its own", by("exim[98]", IN, f"1xVF3y-00001a-1P => bob <{BOB}> R=l T=l"), TAKEN),
    Trap("in a mailbox of no domain", exim(IN, "1xVF3y-00001a-1P => bob R=l T=l"), [("", "outside", "delivered")]),
    Trap("of another domain", exim(IN, "1xVF3y-00001a-1P => bob <bob@other.example> R=l", "1xVF3y-00001a-1P Completed"), []),
    Trap("an arrow to nothing", exim(IN, '1xVF3y-00001a-1P => "bob@example.com'), [], unread=1),
]  # fmt: skip

FROM = "6AMLQp9j000143: from=<a@s>, size=1, class=0, nrcpts={}, msgid=<m@s>, proto=ESMTP, daemon=MTA, relay=m [203.0.113.77]"
TO = "6AMLQp9j000143: to={}, delay=00:00:00, xdelay=00:00:00, mailer=local, pri=1, dsn=2.0.0, stat={}"
SENDMAIL = [
    Trap("several in one line", by("sm-mta[1]", FROM.format(2), TO.format(f"<{BOB}>,<carol@example.com>", "Sent")),
         [(BOB, "outside", "delivered"), ("carol@example.com", "outside", "delivered")]),
    Trap("refused by a milter after from=", by("sm-mta[1]", FROM.format(1), "6AMLQp9j000143: Milter: data, reject=554 5.7.1 no",
         f"6AMLQp9j000143: to=<{BOB}>, delay=00:00:00, pri=1, stat=no"), [], 1, reply="no"),
    Trap("only asked for", by("sm-mta[1]", "6AMLQp9j000143: from=<a@s>, size=0, class=0, nrcpts=1, proto=ESMTP, daemon=MTA, relay=m [203.0.113.77]"), []),
    Trap("put off, then delivered", by("sm-mta[1]", FROM.format(1), TO.format(f"<{BOB}>", "Deferred: Connection refused"),
         TO.format(f"<{BOB}>", "Sent")), TAKEN),
    Trap("a login", by("sm-mta[7]", "6AMLQp9j000143: AUTH=server, relay=m [203.0.113.77], authid=carol@example.com, mech=PLAIN, bits=0",
         FROM.format(1), TO.format(f"<{BOB}>", "Sent")), [(BOB, "submission", "delivered")]),
    Trap("a login without a queue id", by("sm-mta[7]", "AUTH=server, relay=m [203.0.113.77], authid=carol@example.com, mech=PLAIN, bits=0",
         FROM.format(1), TO.format(f"<{BOB}>", "Sent")), [(BOB, "submission", "delivered")]),
    Trap("an alias to a local user", by("sm-mta[1]", FROM.format(1), TO.format("bob", "Sent")), [("", "outside", "delivered")]),
    Trap("a .forward", by("sm-mta[1]", FROM.format(1), f"6AMLQp9j000143: to=x@else.example, ctladdr=<{BOB}> (1001/1001), delay=0, "
         "mailer=esmtp, pri=1, relay=mx.else.example. [198.51.100.9], dsn=2.0.0, stat=Sent (ok)"), [(BOB, "outside", "relayed")]),
    Trap("posted here, by way of the submission queue", [
        *by("sendmail[5]", "6AMLQu34000187: from=root, size=1, class=0, nrcpts=1, msgid=<c@old>, relay=root@localhost"),
        *by("sm-mta[6]", "6AMLQu34000188: from=<root@old>, size=1, class=0, nrcpts=1, msgid=<c@old>, proto=ESMTP, daemon=MTA, relay=localhost [127.0.0.1]"),
        *by("sendmail[5]", f"6AMLQu34000187: to={BOB}, ctladdr=root (0/0), delay=0, mailer=relay, pri=1, relay=[127.0.0.1] [127.0.0.1], "
            "dsn=2.0.0, stat=Sent (6AMLQu34000188 Message accepted for delivery)"),
        *by("sm-mta[6]", f"6AMLQu34000188: to=<{BOB}>, delay=0, mailer=local, pri=1, dsn=2.0.0, stat=Sent")],
        [(BOB, "local", "delivered")]),
    Trap("FreeBSD's priority", [f"Jun 17 14:37:39 <mail.info> robin sm-mta[27]: {FROM.format(1)}",
         f"Jun 17 14:37:39 <mail.info> robin sm-mta[27]: {TO.format(f'<{BOB}>', 'Sent')}"], TAKEN),
    Trap("IPv6", by("sm-mta[1]", FROM.format(1).replace("203.0.113.77", "IPv6:2001:db8::7"), TO.format(f"<{BOB}>", "Sent")), TAKEN),
]  # fmt: skip

QMAIL = [
    Trap("by syslog, of a virtual domain", by("qmail", "1157520813.485077 new msg 53", "1157520813.485077 info msg 53: bytes 1 from <a@s> qp 9 uid 7791",
         "1157520813.485077 starting delivery 1: msg 53 to local example.com-bob@example.com", "1157520813.5 x",
         "1157520813.485077 delivery 1: success: did_0+0+1/", "1157520813.485077 end msg 53"), [(BOB, "unknown", "delivered")]),
    Trap("tai64nlocal, with indimail's queues", [f"2026-11-22 21:25:3{i}.588521500 {s} queue5" for i, s in enumerate((
         "new msg 53", "info msg 53: bytes 1 from <a@s> qp 9 uid 0", f"starting delivery 1: msg 53 to local {BOB}",
         "delivery 1: deferral: Uh-oh/", "end msg 53"))], [(BOB, "local", "delivered")], reply="Uh-oh"),
    Trap("both logs by syslog", [*by("smtpd", "1795383391.485077 tcpserver: pid 8 from 203.0.113.77"),
         *by("qmail", "1795383391.485077 info msg 53: bytes 1 from <a@s> qp 9 uid 7791", f"1795383391.500000 starting delivery 1: msg 53 to local {BOB}",
         "1795383391.485077 delivery 1: success: did_1+0+0/", "1795383391.485077 end msg 53"),
         *by("smtpd", "1795383391.900000 tcpserver: end 8 status 0")], [(BOB, "outside", "delivered")]),
    Trap("its sessions are long over", [*by("tcpserver", "pid 8 from 203.0.113.77", "end 8 status 0"),
         "Nov 22 21:35:30 old qmail: info msg 53: bytes 1 from <a@s> qp 9 uid 7791", f"Nov 22 21:35:31 old qmail: starting delivery 1: msg 53 to local {BOB}"],
         [(BOB, "unknown", "delivered")]),
    Trap("forwarded within", by("qmail", "info msg 53: bytes 1 from <a@s> qp 9 uid 0", f"starting delivery 1: msg 53 to local {BOB}",
         "info msg 54: bytes 1 from <a@s> qp 11 uid 7790", "delivery 1: success: did_0+1+0/qp_11/", "end msg 53",
         "starting delivery 2: msg 54 to remote b@new.example", "delivery 2: success: 192.0.2.50_accepted_message./Remote_host_said:_250_ok/",
         "end msg 54"), [(BOB, "local", "relayed")]),
    Trap("a number used again", by("qmail-send", "info msg 53: bytes 1 from <a@s> qp 9 uid 0", f"starting delivery 1: msg 53 to local {BOB}",
         "delivery 1: success: did_1+0+0/", "end msg 53", "info msg 53: bytes 1 from <a@s> qp 11 uid 0",
         "starting delivery 2: msg 53 to local x@other.example", "delivery 2: success: did_1+0+0/", "end msg 53"),
         [(BOB, "local", "delivered")]),
]  # fmt: skip

SMTPD = [
    Trap("before 6.0", by("smtpd[22]", "smtp-in: New session 08d856b172f69c5c from host mx.sender.example [203.0.113.77]",
         f"smtp-in: Accepted message 4296f490 on session 08d856b172f69c5c: from=<a@s>, to=<{BOB}>, size=17, ndest=1, proto=ESMTP",
         "smtp-in: Closing session 08d856b172f69c5c",
         f"delivery: Ok for 4296f49027bd3fa6: from=<a@s>, to=<{BOB}>, user=bob, method=maildir, delay=1s, stat=Delivered"), TAKEN),
    Trap("before 6.0, passed on", by("smtpd[22]", "smtp-in: New session 08d856b172f69c5c from host mx.sender.example [203.0.113.77]",
         f"smtp-in: Accepted message 4296f490 on session 08d856b172f69c5c: from=<a@s>, to=<{BOB}>, size=17, ndest=1, proto=ESMTP",
         f"relay: Ok for 4296f49027bd3fa6: session=x, from=<a@s>, to=<{BOB}>, rcpt=<->, source=192.0.2.10, relay=192.0.2.50 (new), "
         "delay=1s, stat=250 2.0.0 Ok"), [(BOB, "outside", "relayed")]),
    Trap("a login", by("smtpd[22]", "f09ad866b127b7f4 smtp connected address=203.0.113.77 host=m",
         "f09ad866b127b7f4 smtp authentication user=carol@example.com address=203.0.113.77 host=m result=ok",
         "f09ad866b127b7f4 smtp message msgid=de04f898 size=343 nrcpt=1 proto=ESMTP",
         f"f09ad866b127b7f4 smtp envelope evpid=de04f898ee651096 from=<a@s> to=<{BOB}>"), [(BOB, "submission", "delivered")]),
    Trap("event=", by("smtpd[22]", "f09ad866b127b7f4 smtp event=connected address=203.0.113.77 host=m",
         "f09ad866b127b7f4 smtp event=message address=203.0.113.77 host=m msgid=de04f898 from=<a@s> to=<bob@example.com> size=3 ndest=1 proto=ESMTP",
         f"f09ad866b127b7f4 mda event=delivery evpid=de04f898ee651096 from=<a@s> to=<{BOB}> user=bob method=mda delay=0s result=Ok stat=Delivered"), TAKEN),
    Trap("IPv6", by("smtpd[22]", "f09ad866b127b7f4 smtp connected address=[IPv6:2001:db8::7] host=m",
         "f09ad866b127b7f4 smtp message msgid=de04f898 size=343 nrcpt=1 proto=ESMTP",
         f'f09ad866b127b7f6 mta delivery evpid=de04f898ee651096 from=<a@s> to=<{BOB}> rcpt=<-> source="192.0.2.10" '
         'relay="[IPv6:2001:db8::50] (new)" delay=0s result="Ok" stat="250 2.0.0 Ok"'), [(BOB, "outside", "relayed")]),
    Trap("through a filter", by("smtpd[22]", "f09ad866b127b7f4 smtp connected address=203.0.113.77 host=m",
         "f09ad866b127b7f4 smtp message msgid=de04f898 size=343 nrcpt=1 proto=ESMTP",
         f"f09ad866b127b7f4 smtp envelope evpid=de04f898ee651096 from=<a@s> to=<{BOB}>",
         "f09ad866b127b7f5 smtp connected address=127.0.0.1 host=localhost",
         "f09ad866b127b7f5 smtp message msgid=de04f899 size=343 nrcpt=1 proto=ESMTP",
         f"f09ad866b127b7f5 smtp envelope evpid=de04f899ee651096 from=<a@s> to=<{BOB}>",
         f'f09ad866b127b7f6 mta delivery evpid=de04f898ee651096 from=<a@s> to=<{BOB}> rcpt=<-> source="127.0.0.1" '
         'relay="127.0.0.1 (localhost)" delay=0s result="Ok" stat="250 2.0.0 de04f899 Message accepted for delivery"',
         f"f09ad866b127b7f7 mda delivery evpid=de04f899ee651096 from=<a@s> to=<{BOB}> rcpt=<{BOB}> user=bob delay=0s result=Ok stat=Delivered"), TAKEN),
]  # fmt: skip

ID = "000000000024808A.000000006B035F32.000000FE"
COURIER = [
    Trap("a login", [*by("courierd", f"newmsg,id={ID}: dns; c (m [::ffff:203.0.113.77]) (AUTH: PLAIN carol@example.com)"),
         *by("courierlocal", f"id={ID},from=<a@s>,addr=<{BOB}>,size=3,success: Message delivered.")], [(BOB, "submission", "delivered")]),
    Trap("put off", [*by("courierd", f"newmsg,id={ID}: dns; c (m [::ffff:203.0.113.77])"),
         *by("courierlocal", f"id={ID},from=<a@s>,addr=<{BOB}>: maildrop: quota exceeded", f"id={ID},from=<a@s>,addr=<{BOB}>,status: deferred")],
         TAKEN, reply="maildrop: quota exceeded"),
]  # fmt: skip

UU = "3A9FB491-B1F4-45CA-BD83-F18E53111763"


def haraka(*said: str) -> list[str]:
    return [f"2026-11-22T21:37:43.51{i}Z [NOTICE] [{UU}{line}" for i, line in enumerate(said)]


QUEUED = haraka("] [core] connect ip=203.0.113.77 port=6 local_ip=192.0.2.10 local_port=25",
                f".1] [core] recipient <{BOB}> code=OK msg=\"\"", '.1] [core] message mid=<m@s> size=1 rcpts=1/0/0 delay=0',
                '.1] [core] queue code=OK msg=""')  # fmt: skip
HARAKA = [
    Trap("queued, its session still open", QUEUED, TAKEN),
    Trap("passed on by outbound", [*QUEUED, *haraka(".1] [core] disconnect ip=203.0.113.77 relay=N helo=m",
         '.1.1] [outbound] delivered file="x" domain="example.com" host="mx.new.example" ip="192.0.2.50" port=25 response="ok"')],
         [(BOB, "outside", "delivered"), (BOB, "outside", "relayed")]),
    Trap("let relay", [*QUEUED, *haraka(".1] [core] disconnect ip=203.0.113.77 rdns=x helo=m relay=Y early=N")],
         [(BOB, "submission", "delivered")]),
    Trap("refused for now", haraka("] [core] connect ip=203.0.113.77 port=6", f'.1] [core] recipient <{BOB}> code=DENYSOFT msg="greylisted"'),
         [], 1, reply="450 greylisted"),
    Trap("by syslog", [f"Nov 22 21:37:43 old haraka[9]: {line.partition(' ')[2]}" for line in QUEUED], TAKEN),
]  # fmt: skip

FIELDS = (
    "#Fields: date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,"
    "internal-message-id,message-id,recipient-address,recipient-status,total-bytes,recipient-count,related-recipient-address,"
    "reference,message-subject,sender-address,return-path,message-info,directionality,tenant-id,original-client-ip,"
    "original-server-ip,custom-data"
)


def tracked(source: str, event: str, to: str = BOB, *, direction: str = "Incoming", client: str = "203.0.113.77", status: str = "",
            server: str = "192.0.2.10", host: str = "EX1", number: int = 9, related: str = "", sender: str = "a@s") -> str:  # fmt: skip
    return (
        f'2026-11-22T21:37:43.516Z,{client},mx,{server},{host},"a, b",c,{source},{event},{number},<m@s>,{to},{status},300,1,{related},,'
        f'"a ""quoted"" subject, with {BOB}",{sender},{sender},,{direction},,{client},,'
    )


EXCHANGE = [
    Trap("a file with its BOM", ["\ufeff#Software: Microsoft Exchange Server", "#Log-type: Message Tracking Log", FIELDS,
         tracked("SMTP", "RECEIVE"), tracked("STOREDRIVER", "DELIVER")], TAKEN),
    Trap("with CR and LF", [f"{line}\r" for line in (FIELDS, tracked("SMTP", "RECEIVE"), tracked("STOREDRIVER", "DELIVER"))], TAKEN),
    Trap("two recipients, one refused", [FIELDS, tracked("SMTP", "RECEIVE", f"{BOB};x@example.com"), tracked("STOREDRIVER", "DELIVER"),
         tracked("DNS", "FAIL", "x@example.com", status="550 5.1.1 no")], [(BOB, "outside", "delivered"), ("x@example.com", "outside", "delivered")]),
    Trap("passed on", [FIELDS, tracked("SMTP", "RECEIVE"), tracked("SMTP", "SENDEXTERNAL", server="192.0.2.50", client="192.0.2.10")],
         [(BOB, "outside", "relayed")]),
    Trap("health probes and shadow copies", [FIELDS, tracked("SMTP", "HARECEIVE"), tracked("STOREDRIVER", "NOTIFYMAPI"),
         tracked("SMTP", "RECEIVE", "HealthMailbox83d6@example.com"), tracked("SMTP", "HAREDIRECTFAIL")], []),
    Trap("a user's own", [FIELDS, tracked("STOREDRIVER", "RECEIVE", direction="Originating", client=""), tracked("STOREDRIVER", "DELIVER")],
         [(BOB, "submission", "delivered")]),
    Trap("two servers of one house", [FIELDS, tracked("SMTP", "RECEIVE", host="EX1", number=9),
         tracked("SMTP", "RECEIVE", host="EX2", number=4, client="192.0.2.10"), tracked("SMTP", "SEND", host="EX1", number=9),
         tracked("STOREDRIVER", "DELIVER", host="EX2", number=4)], TAKEN),
    Trap("its columns cut off", [FIELDS, tracked("SMTP", "RECEIVE")[:60], tracked("SMTP", "RECEIVE").replace('subject, with', '"subject, with')],
         [], unread=1),
]  # fmt: skip

ALL = [
    ("exim", EXIM), ("sendmail", SENDMAIL), ("qmail", QMAIL), ("opensmtpd", SMTPD), ("courier", COURIER),
    ("haraka", HARAKA), ("exchange", EXCHANGE),
]  # fmt: skip
CASES = [(name, trap) for name, traps in ALL for trap in traps]


@pytest.mark.parametrize(("name", "trap"), CASES, ids=[f"{n}: {t.what}" for n, t in CASES])
def test_traps(name: str, trap: Trap) -> None:
    for reading in (log(), log(name)):
        seen = read(trap.said, reading)
        assert reading.heard == (name,)
        assert sorted(hits(seen)) == sorted(trap.taken)
        assert len([m for m in mails(seen) if m.disposition == "rejected"]) == trap.refused
        assert unread(seen) == trap.unread
        if trap.reply is not None:
            assert trap.reply in {m.reply for m in mails(seen)}


# -- who still logs in -----------------------------------------------------------------------------------

LOGINS = [
    (by("imapd", "LOGIN, user=bob@example.com, ip=[::ffff:203.0.113.9], port=[4711], protocol=IMAP"), (BOB, "imap")),
    (by("pop3d-ssl[5]", "LOGIN, user=bob, ip=[::ffff:203.0.113.9], port=[4711]"), (BOB, "pop3")),
    (by("dovecot", f"imap-login: Login: user=<{BOB}>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.10"), (BOB, "imap")),
    (exim("1xVF3y-00001a-1P <= a@s H=(c) [203.0.113.9] P=esmtpsa A=dovecot_plain:bob@example.com S=1 id=m@s"), (BOB, "submission")),
    (by("smtpd[2]", "f09ad866b127b7f4 smtp connected address=203.0.113.9 host=m", "f09ad866b127b7f4 smtp authentication user=bob result=ok",
        "f09ad866b127b7f4 smtp message msgid=de04f898 size=3 nrcpt=1"), (BOB, "submission")),
    (by("courierd", f"newmsg,id={ID}: dns; c (m [::ffff:203.0.113.9]) (AUTH: PLAIN {BOB})"), (BOB, "submission")),
]  # fmt: skip


@pytest.mark.parametrize(("said", "use"), LOGINS)
def test_logins_are_reported_with_their_client(said: list[str], use: tuple[str, str]) -> None:
    found = [one for one in read(said) if isinstance(one, Use)]
    assert [(one.account, one.service, one.client) for one in found] == [(*use, "203.0.113.9")]


def test_a_canarys_submission_is_no_ones_login() -> None:
    said = exim("1xVF3y-00001a-1P <= a@s H=(c) [203.0.113.9] P=esmtpsa A=x:bob@example.com S=1 id=canary.1@w")
    assert not [one for one in read(said) if isinstance(one, Use)]


# -- Dovecot beside its mail server --------------------------------------------------------------------------

SAVED = "lmtp(bob@example.com)<246><OkspKw>: msgid=<m@s>: saved mail to INBOX"
POSTFIX = [
    "Nov 22 21:25:30 old postfix/smtpd[1]: 10B4E3D5BD: client=mx.sender.example[203.0.113.77]",
    "Nov 22 21:25:30 old postfix/cleanup[1]: 10B4E3D5BD: message-id=<m@s>",
    "Nov 22 21:25:30 old postfix/qmgr[1]: 10B4E3D5BD: from=<a@s>, size=3, nrcpt=1 (queue active)",
    *by("dovecot", SAVED),
    "Nov 22 21:25:30 old postfix/lmtp[1]: 10B4E3D5BD: to=<bob@example.com>, relay=old[private/dovecot-lmtp], delay=0.1, "
    "delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 <bob@example.com> OkspKw Saved)",
    "Nov 22 21:25:30 old postfix/qmgr[1]: 10B4E3D5BD: removed",
]
COURIERS = [
    *by("courierd", f"newmsg,id={ID}: dns; c (m [::ffff:203.0.113.77])"),
    *by("dovecot", SAVED),
    *by("courierlocal", f"id={ID},from=<a@s>,addr=<{BOB}>,size=3,success: Message delivered."),
]
BESIDE = [
    ("alone", by("dovecot", SAVED), [(BOB, "unknown", "delivered")]),
    ("before 2.3", by("dovecot", "lmtp(246, bob@example.com): OkspKw: msgid=<m@s>: saved mail to INBOX"), [(BOB, "unknown", "delivered")]),
    ("by Sieve", by("dovecot", "lda(bob)<1><x>: sieve: msgid=<m@s>: stored mail into mailbox 'Junk'"), [(BOB, "unknown", "delivered")]),
    ("in a file of its own", [f"Nov 22 21:25:30 {SAVED.replace(': msgid', ': Info: msgid')}"], [(BOB, "unknown", "delivered")]),
    ("a canary", by("dovecot", SAVED.replace("<m@s>", "<canary.1@w>")), [(BOB, "canary", "delivered")]),
    ("passed on", by("dovecot", "lmtp(bob@example.com)<1><x>: sieve: msgid=<m@s>: forwarded to <b@new.example>"), [(BOB, "unknown", "relayed")]),
    ("forged words", by("dovecot", SAVED.replace("<m@s>", "<m@s>: discarded: <x@y>")), [(BOB, "unknown", "delivered")]),
    ("thrown away", by("dovecot", SAVED.replace("saved mail to INBOX", "marked message to be discarded if not explicitly delivered")), []),
    ("beside Postfix", POSTFIX, TAKEN),
    ("beside Exim", [*exim(IN, f"1xVF3y-00001a-1P => {BOB} R=d T=lmtp", "1xVF3y-00001a-1P Completed"), *by("dovecot", SAVED)], TAKEN),
    ("beside Courier's IMAP alone", [*by("imapd", "LOGIN, user=bob@example.com, ip=[::ffff:203.0.113.9]"), *by("dovecot", SAVED)], [(BOB, "unknown", "delivered")]),
    ("beside a server without Message-IDs", COURIERS, TAKEN),
]  # fmt: skip


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(("what", "said", "taken"), BESIDE, ids=[what for what, _, _ in BESIDE])
def test_dovecots_delivery_counts_once(
    what: str, said: list[str], taken: list[tuple[str, str, str]], split: bool
) -> None:
    reading = log()
    seen: list[Observation] = []
    for batch in [[line] for line in said] if split else [said]:
        seen += reading.feed([line.encode() for line in batch], WRITTEN)
    assert hits(seen + reading.flush()) == taken


BUSY = [
    ("exim", [f"2026-11-22 21:25:30 1xVF3y-{{n:06d}}-1P {line}" for line in (IN.partition(" ")[2], "=> x <x@other.example> R=l T=l", "Completed")]),
    ("sendmail", [line.replace("6AMLQp9j000143", "6AMLQp9j{n:06d}").replace(BOB, "x@other.example")
                  for line in by("sm-mta[1]", FROM.format(1), TO.format(f"<{BOB}>", "Sent"))]),
    ("qmail", [f"2026-11-22 21:25:30.5 {line}" for line in ("info msg {n}: bytes 1 from <a@s> qp {n} uid 7",
               "starting delivery {n}: msg {n} to local x@other.example", "delivery {n}: success: did_1+0+0/", "end msg {n}")]),
    ("opensmtpd", by("smtpd[2]", "f09ad866b1{n:06d} smtp connected address=203.0.113.77 host=m", "f09ad866b1{n:06d} smtp message msgid=de{n:06d} size=3 nrcpt=1",
                     "f09ad866b1{n:06d} smtp envelope evpid=de{n:06d}ee651096 from=<a@s> to=<x@other.example>",
                     "f09ad866b1{n:06d} mda delivery evpid=de{n:06d}ee651096 from=<a@s> to=<x@other.example> rcpt=<x@other.example> result=Ok stat=Delivered")),
    ("courier", [line.replace("24808A", "{n:06d}") for line in (*by("courierd", f"newmsg,id={ID}: dns; c (m [::ffff:203.0.113.77])"),
                 *by("courierlocal", f"id={ID},from=<a@s>,addr=<x@other.example>,size=3,success: Message delivered."), *by("courierd", f"completed,id={ID}"))]),
    ("haraka", [line.replace("3A9FB491", "3A{n:06d}").replace(BOB, "x@other.example") for line in (*QUEUED, *haraka(".1] [core] disconnect ip=1.2.3.4 relay=N"))]),
    ("exchange", [line.replace(",9,<m@s>", ",{n},<{n}@s>") for line in (tracked("SMTP", "RECEIVE", "x@other.example"), tracked("STOREDRIVER", "DELIVER", "x@other.example"))]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "said"), BUSY, ids=[name for name, _ in BUSY])
def test_what_is_kept_in_mind_does_not_grow_with_the_log(name: str, said: list[str]) -> None:
    """Mail of other domains, all of it delivered: what a position holds stays small."""
    reading = log()
    batch = [line.format(n=n).encode() for n in range(1, 2501) for line in said]
    assert reading.feed(batch, WRITTEN) == []
    assert reading.heard == (name,)
    reading.feed(
        [
            line.format(n=9999).replace("21:25:3", "21:26:5").replace("21:37:4", "21:38:4").encode()
            for line in said
        ],
        WRITTEN,
    )
    kept = reading.state()["formats"][name]
    assert len(kept["mail"]["messages"]) <= 2
    assert len(msgspec.json.encode(kept)) < 500_000


def test_with_a_format_named_the_others_are_passed_over() -> None:
    reading = log("exim")
    assert hits(
        read([*POSTFIX, *exim(IN, "1xVF3y-00001a-1P => carol <carol@example.com> R=l")], reading)
    ) == [("carol@example.com", "outside", "delivered")]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("exim", [line for line in POSTFIX if " dovecot: " not in line]),
        ("postfix", exim(IN, f"1xVF3y-00001a-1P => {BOB} R=l")),
        ("qmail", exim(IN, f"1xVF3y-00001a-1P => {BOB} R=l")),
    ],
)
def test_the_wrong_format_named_is_no_silence(named: str, said: list[str]) -> None:
    seen = read(said, log(named))
    assert hits(seen) == [] and unread(seen) >= 1


def test_a_state_kept_before_there_were_other_formats_is_gone_on_with() -> None:
    first = log()
    first.feed([line.encode() for line in POSTFIX[:3]], WRITTEN)
    second = log()
    second.restore(first.state()["postfix"])
    assert hits(read(POSTFIX[4:], second)) == TAKEN
    with pytest.raises(ValueError, match="not a state"):
        second.restore({"postfix": {}, "desk": {}})


def test_a_canary_in_a_log_without_message_ids_is_known_even_if_the_reply_is_heard_of_late() -> None:
    """The log is read before the reply is on record: such a message waits a moment before it is told of."""
    replies: dict[str, str] = {}
    reading = MailLog("example.com", zone="UTC", queued=lambda name, at: replies.get(name))
    said = by("smtpd[22]", "f09ad866b127b7f4 smtp connected address=203.0.113.77 host=m",
              "f09ad866b127b7f4 smtp message msgid=de04f898 size=343 nrcpt=1 proto=ESMTP",
              f"f09ad866b127b7f4 smtp envelope evpid=de04f898ee651096 from=<a@s> to=<{BOB}>",
              f"f09ad866b127b7f7 mda delivery evpid=de04f898ee651096 from=<a@s> to=<{BOB}> rcpt=<{BOB}> result=Ok stat=Delivered")  # fmt: skip
    assert (
        hits(
            reading.feed([line.encode() for line in said], WRITTEN, live=True) + reading.tick(WRITTEN + 2000)
        )
        == []
    )
    replies["de04f898"] = "c-1"
    assert hits(reading.tick(WRITTEN + 10_000)) == [(BOB, "canary", "delivered")]


def test_a_server_that_is_not_known_here_is_no_silence() -> None:
    """Until a known one is heard, whoever speaks of a mailbox of the domain is not understood."""
    strange = by("mailerd[9]", f"queued for <{BOB}>", "idle", "queued for <x@other.example>")
    own_name = ["2026-11-22T21:25:30Z old.example.com cron[9]: (root) CMD (true)"]
    assert unread(read([*strange, *own_name])) == 1
    assert unread(read([*exim(IN), *strange])) == 0
    assert unread(read(by("dovecot", f"imap({BOB})<1><x>: Disconnected: Logged out"))) == 0
