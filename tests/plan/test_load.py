"""A plan is read whole or refused with every mistake, each with its place and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.exits import Exit, Failure
from monitor.plan.load import check, examine, journal_of, load
from monitor.plan.mistakes import Wrong
from monitor.plan.template import Known, write
from monitor.plan.values import domain, duration, endpoint, mailbox, mx, name, secret
from probes.logsource import Files
from probes.service import Service

GOOD = """\
version = 1
domain = "日本.jp"
language = "ja"
journal = "night.journal"
[old]
mx = ["mail.example.jp"]
addresses = ["192.0.2.10", "2001:DB8::10"]
smtp.port = 2525
[old.submission]
port = 587
[old.imap]
host = "imap.example.jp"
address = "192.0.2.11"
tls_name = "*.sakura.example".
verify = false
[old.log]
path = "mail.log"
zone = "Asia/Tokyo"
[new]
mx = ["*.mail.new.example"]
[new.submission]
host = "smtp.new.example"
tls = "implicit"
[new.imap]
host = "imap.new.example"
tls = "starttls"
[mx]
planned = ["10 A.mail.new.example."]
[accounts]
file = "accounts.csv"
[[account]]
address = "kanri@日本.jp"
old_login = "kanri"
old_password_command = "pass kanri"
new_secret = "prompt"
[dns]
authorities = ["203.0.113.1"]
resolvers = ["8.8.8.8", "1.1.1.1"]
hints = ["127.0.0.1"]
[canaries]
routes = ["via-old", "via-new", "to-old", "mx", "mx:8.8.8.8"]
sender = "canary@日本.jp"
[policy]
quiet_for = "1d12h"
canary_deadline = 90
[cadence]
canary = "5m"
[endpoints]
"192.0.2.10:2525" = "127.0.0.9:1025"
"2001:db8::10" = "::1"
""".replace('"*.sakura.example".', '"initial.sakura.example"')
CSV = "address,old_login,new_login,secret\r\nsuga@日本.jp,suga,,file:s/suga\r\n\r\n"
CSV += "sato@xn--wgv71a.jp,,,prompt\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/suga").write_text("hunter2\n")
    (tmp_path / "s/suga").chmod(0o600)
    (tmp_path / "accounts.csv").write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    (tmp_path / "cutover.toml").write_text(GOOD)
    return tmp_path


def put(folder: Path, text: str) -> Path:
    (folder / "cutover.toml").write_text(text)
    return folder / "cutover.toml"


def said(folder: Path, old: str, new: str) -> list[str]:
    """The mistakes of the good plan with one change, without the folder."""
    assert old in GOOD
    return [str(m).replace(f"{folder}/", "") for m in check(put(folder, GOOD.replace(old, new, 1)))]


def test_every_part_of_a_plan_is_read(folder: Path) -> None:
    assert check(folder / "cutover.toml") == []
    plan = load(folder / "cutover.toml")
    assert (plan.domain, plan.language, plan.journal) == ("xn--wgv71a.jp.", "ja", folder / "night.journal")
    assert plan.old.mx == ("mail.example.jp.",) and plan.old.addresses == ("192.0.2.10", "2001:db8::10")
    assert plan.old.smtp_port == 2525 and plan.new.smtp_port == 25
    assert plan.old.submission == Service(host="mail.example.jp.", port=587, tls="starttls")
    imap = plan.old.imap
    assert imap and (imap.host, imap.port, imap.tls, imap.address) == (
        "imap.example.jp.",
        993,
        "implicit",
        "192.0.2.11",
    )
    assert (imap.tls_name, imap.verify) == ("initial.sakura.example.", False)
    assert plan.old.log and plan.old.log.source == Files(folder / "mail.log")
    assert plan.old.log.zone == "Asia/Tokyo"
    assert plan.new.submission and (plan.new.submission.port, plan.new.submission.tls) == (465, "implicit")
    assert plan.new.imap and plan.new.imap.port == 143
    assert plan.expected_mx == ("10 a.mail.new.example.",)
    kanri, suga, sato = plan.accounts
    assert (kanri.address, kanri.old_login, kanri.new_login) == (
        "kanri@xn--wgv71a.jp",
        "kanri",
        "kanri@xn--wgv71a.jp",
    )
    assert (kanri.old_secret, kanri.new_secret) == ("command:pass kanri", "prompt")
    assert (suga.old_login, suga.new_login, suga.old_secret) == ("suga", "suga@xn--wgv71a.jp", "file:s/suga")
    assert sato.address == "sato@xn--wgv71a.jp"
    assert plan.authorities == ("203.0.113.1",) and plan.resolvers == ("8.8.8.8", "1.1.1.1")
    assert (plan.policy.quiet_for, plan.policy.canary_deadline, plan.cadence.canary) == (129600, 90, 300)
    assert plan.endpoints == {"192.0.2.10:2525": "127.0.0.9:1025", "2001:db8::10": "::1"}
    assert journal_of(folder / "cutover.toml") == plan.journal


def test_defaults_where_the_plan_is_silent(folder: Path) -> None:
    text = GOOD.replace('routes = ["via-old", "via-new", "to-old", "mx", "mx:8.8.8.8"]\n', "")
    plan = load(
        put(
            folder,
            text.replace('authorities = ["203.0.113.1"]\n', "").replace('journal = "night.journal"\n', ""),
        )
    )
    assert plan.routes == ("via-old", "via-new", "mx") and plan.authorities is None
    assert plan.journal == folder / "cutover.journal"


MISTAKES = [
    ("version = 1", "version = 2", ":1: version: 2 is not one this program reads; write version = 1"),
    ("version = 1", "", ":1: version: is missing; write version = 1"),
    (
        'domain = "日本.jp"',
        'domain = "a@b.jp"',
        ":2: domain: 'a@b.jp' is a mail address; write the part after the @: \"b.jp\"",
    ),
    ('"日本.jp"\nlang', '"-x.jp"\nlang', ":2: domain: '-x.jp' is not a domain name"),
    ('"ja"', '"jp"', ":3: language: 'jp' is not known (did you mean ja?)"),
    (
        'journal = "night.journal"',
        "jurnal = 3",
        ":4: jurnal: unknown key (did you mean journal?); write journal",
    ),
    ("port = 587", "prot = 587", ":10: old.submission.prot: unknown key (did you mean port?)"),
    (
        "port = 587",
        "port = 70000",
        ":10: old.submission.port: 70000 is out of range; write port = a number from 1 to 65535",
    ),
    ("port = 587", 'port = "587"', ":10: old.submission.port: is text in quotes, not a whole number"),
    ("port = 587", "port = true", ":10: old.submission.port: is true or false, not a whole number"),
    (
        "port = 587",
        'port = 465\ntls = "starttls"',
        ':11: old.submission.tls: port 465 is not one for starttls; write tls = "implicit"',
    ),
    ("verify = false", 'password = "hunter2"', ":15: old.imap.password: unknown key"),
    ("verify = false", 'ca_file = "ca.pem"', ":15: old.imap.ca_file: there is no file"),
    (
        '"Asia/Tokyo"',
        '"asia/tokio"',
        ":18: old.log.zone: 'asia/tokio' is not a time zone; write an IANA name, as in \"Asia/Tokyo\"",
    ),
    ('"192.0.2.10", ', '"192.0.2.300", ', ":7: old.addresses[1]: '192.0.2.300' is not an IP address"),
    (
        'mx = ["*.mail.new.example"]',
        'mx = ["*.mail.new.example"]\naddresses = ["192.0.2.10"]',
        ":21: new.addresses[1]: 192.0.2.10 is an address of the old host, too",
    ),
    ('"10 A.mail', '"A.mail', ":28: mx.planned[1]: 'A.mail.new.example.' is not a preference and a name"),
    (
        '"10 A.mail.new.example."',
        '"10 mail.example.jp"',
        ":28: mx.planned[1]: mail.example.jp. is one of the old host's names",
    ),
    ('"10 A.mail.new.example."', '"10 mail.other.jp"', ":28: mx.planned[1]: mail.other.jp. is not in new.mx"),
    ('[mx]\nplanned = ["10 A.mail.new.example."]', "", "mx.planned: is missing"),
    ('"accounts.csv"', '"none.csv"', ":30: accounts.file: there is no file"),
    ('new_secret = "prompt"', 'new_secret = "hunter2"', ":35: account[1].new_secret: is not a reference"),
    (
        'new_secret = "prompt"',
        'new_secret = "prompt"\nnew_password_file = "x"',
        "account[1].new_password_file: says the same",
    ),
    ('address = "kanri@日本.jp"', "", ":31: account[1].address: is missing"),
    (
        'address = "kanri@日本.jp"',
        'address = "kanri@other.jp"',
        ":31: address: kanri@other.jp is not in xn--wgv71a.jp",
    ),
    (
        'address = "kanri@日本.jp"',
        'address = "SUGA@日本.jp"',
        "accounts.csv:2: address: suga@xn--wgv71a.jp stands already at cutover.toml:31",
    ),
    (
        '"1.1.1.1"',
        '"pubic"',
        ":38: dns.resolvers[2]: 'pubic' is not an IP address; write \"public\" or an address",
    ),
    ('"1.1.1.1"', '"8.8.8.8"', ":38: dns.resolvers[2]: '8.8.8.8' is there twice"),
    (
        '"mx:8.8.8.8"',
        '"mx:9.9.9.9"',
        ":41: canaries.routes[5]: mx:9.9.9.9: 9.9.9.9 is not one of the resolvers",
    ),
    ('"via-old", ', '"via_old", ', ":41: canaries.routes[1]: 'via_old' is not a route; write \"via-old\""),
    ("[old.submission]\nport = 587\n", "", "canaries.routes[1]: via-old: there is no [old.submission]"),
    ('quiet_for = "1d12h"', 'quiet_for = "1 day"', ":44: policy.quiet_for: '1 day' is not a duration"),
    ('quiet_for = "1d12h"', 'quiet_ceiling = "1h"', ":44: policy.quiet_ceiling: is shorter than quiet_for"),
    ('quiet_for = "1d12h"', "confidence = 1", ":44: policy.confidence: 1 can never be reached"),
    ('quiet_for = "1d12h"', "quorum = nan", ":44: policy.quorum: nan is out of range"),
    (
        'quiet_for = "1d12h"',
        "quiet_four = 1",
        ":44: policy.quiet_four: unknown key (did you mean quiet_for?)",
    ),
    ('canary = "5m"', 'canary = "3h"', ":47: cadence.canary: is longer than policy.sensitivity (7200 s)"),
    ('canary = "5m"', "authority = 1e3", ":47: cadence.authority: is longer than policy.freshness (900 s)"),
    ('"127.0.0.9:1025"', '"localhost"', ":49: endpoints.192.0.2.10:2525: 'localhost' is not an IP address"),
    ('"127.0.0.9:1025"', '"127.0.0.9:x"', "has no port from 1 to 65535"),
    ("port = 587", "port = ", ":10: is not TOML (Invalid value)"),
    ("[endpoints]", "[policy]", ":48: is not TOML (Cannot declare"),
]


@pytest.mark.parametrize(("old", "new", "line"), MISTAKES, ids=lambda v: v[:24])
def test_one_mistake_is_one_line_with_its_place_and_what_to_write(
    folder: Path, old: str, new: str, line: str
) -> None:
    found = said(folder, old, new)
    assert len(found) == 1 and line in found[0], found
    assert "hunter2" not in found[0] and "; " in found[0]


CSV_MISTAKES = [
    (CSV.replace("new_login", "newlogin"), ":1: newlogin: unknown column (did you mean new_login?)"),
    (CSV.replace("address,", "adress,", 1), ":1: has no column address (did you mean address?)"),
    (CSV.partition("\n")[2], ":1: has no line with the columns' names"),
    (CSV.replace("sato@", "sato"), ":4: address: 'satoxn--wgv71a.jp' is not a mail address"),
    (CSV.replace("sato@", "suga@"), ":4: address: suga@xn--wgv71a.jp stands already at accounts.csv:2"),
    (CSV.replace("prompt", "hunter2"), ":4: secret: is not a reference to a secret"),
    (CSV.replace("prompt", "prompt,x"), ":4: has 5 cells for 4 columns"),
    (CSV.replace("file:s/suga", "file:s/none"), ":2: secret: the secret's file s/none: No such file"),
    (CSV.replace("sato@", '"sato@'), "is not CSV"),
]


@pytest.mark.parametrize(("text", "line"), CSV_MISTAKES, ids=lambda v: v[-30:])
def test_a_mistake_in_the_accounts_has_the_line_of_its_row(folder: Path, text: str, line: str) -> None:
    (folder / "accounts.csv").write_bytes(text.encode())
    found = said(folder, "version", "version")
    assert len(found) == 1 and found[0].startswith("accounts.csv") and line in found[0], found
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    ("codec", "called"), [("cp932", "Shift_JIS"), ("euc_jp", "EUC-JP"), ("utf-16", "UTF-16")]
)
def test_another_encoding_is_named(folder: Path, codec: str, called: str) -> None:
    (folder / "accounts.csv").write_bytes(CSV.encode(codec))
    (found,) = said(folder, "version", "version")
    assert called in found and "save it as UTF-8" in found
    (folder / "cutover.toml").write_bytes(GOOD.encode(codec))
    (mistake,) = check(folder / "cutover.toml")
    assert called in str(mistake) and mistake.line == (1 if codec == "utf-16" else 2)


def test_a_secret_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "s/suga").chmod(0o640)
    (found,) = said(folder, "version", "version")
    assert "others can read" in found and "mode 640" in found and "chmod 600" in found


def test_all_mistakes_come_at_once_and_load_says_them_in_one_line(folder: Path) -> None:
    plan = put(
        folder, GOOD.replace("port = 587", "prot = 587").replace('"1d12h"', '"soon"').replace('"ja"', "7")
    )
    assert [m.line for m in check(plan)] == [3, 10, 44]
    with pytest.raises(Failure, match=r"3 mistakes: line 3: .*; line 10: .*; line 44: .*") as failure:
        load(plan)
    assert failure.value.code == Exit.BAD_PLAN and "\n" not in str(failure.value)


def test_without_a_file_the_plan_is_bad_and_a_folder_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="there is no plan; write one with: mxcutover init") as failure:
        load(tmp_path / "cutover.toml")
    assert failure.value.code == Exit.BAD_PLAN
    with pytest.raises(Failure, match="cannot be read: Is a directory") as failure:
        load(tmp_path)
    assert failure.value.code == Exit.IO


def test_an_empty_plan_asks_for_all_that_a_watch_needs(tmp_path: Path) -> None:
    keys = {m.key for m in check(put(tmp_path, '[dns]\nresolvers = ["9.9.9.9"]\n'))}
    assert keys == {"version", "domain", "old", "new", "mx.planned", "accounts"}


@pytest.mark.parametrize(
    "deep", ["a = " + "[" * 9999, "a = 1" + "0" * 5000, "\x00", "a." * 9999 + "a = 1", "\ud800"]
)
def test_no_text_ends_in_a_traceback(tmp_path: Path, deep: str) -> None:
    (tmp_path / "cutover.toml").write_bytes(deep.encode("utf-8", "surrogatepass"))
    assert check(tmp_path / "cutover.toml")


CHANGES = st.sampled_from(
    ["", "[]", "{}", "1", "-1", '""', '"."', '"*."', "[1]", '[""]', "1979-05-27", "inf", "[[]]", '["a","a"]']
)
ASSIGNED = [line for line in GOOD.splitlines() if " = " in line]


@given(st.lists(st.tuples(st.sampled_from(ASSIGNED), CHANGES), min_size=1, max_size=4))
def test_any_value_anywhere_is_a_mistake_or_a_plan(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str]]
) -> None:
    text = GOOD
    for line, value in changes:
        text = text.replace(line, f"{line.partition(' = ')[0]} = {value}")
    plan, mistakes = examine(put(tmp_path_factory.getbasetemp(), text))
    assert plan is not None or mistakes


@given(st.text(max_size=40))
def test_no_word_ends_in_anything_but_a_value_or_what_is_wrong(text: str) -> None:
    for parse in (name, domain, mx, mailbox, duration, endpoint, secret):
        try:
            once = parse(text)
        except Wrong:
            continue
        assert parse is duration or parse(str(once)) == once


def test_durations_and_names() -> None:
    assert [duration(d) for d in (90, 1.5, "24h", "15m", "1d 12h", "90s", "2min")] == [
        90,
        1.5,
        86400,
        900,
        129600,
        90,
        120,
    ]
    assert name("ＭＡＩＬ。日本.JP.") == "mail.xn--wgv71a.jp."
    assert endpoint("2001:db8::1") == "2001:db8::1" and endpoint("[2001:DB8::1]:25") == "[2001:db8::1]:25"


def test_a_template_of_all_that_is_known_is_a_plan_without_a_mistake(tmp_path: Path) -> None:
    known = Known(
        domain="日本.jp",
        old_mx=("mail.example.jp",),
        old_addresses=("192.0.2.10",),
        new_mx=("mx1.new.example", "mx2.new.example"),
        old_imap="mail.example.jp:993",
        new_imap="[2001:db8::1]:143",
        old_pop3="pop.example.jp:995",
        old_submission="mail.example.jp:587",
        ttl=3600,
        new_submission="mx1.new.example:465",
        accounts=("suga@日本.jp", "sato@日本.jp=command:pass sato"),
        log='/var/log/"mail".log',
        authorities=("203.0.113.1",),
        resolvers=("9.9.9.9",),
    )
    plan = load(put(tmp_path, write(known)))
    assert plan.expected_mx == ("10 mx1.new.example.", "20 mx2.new.example.") and plan.routes == (
        "via-old",
        "via-new",
        "mx",
    )
    assert plan.old.pop3 and (plan.old.pop3.port, plan.old.pop3.tls) == (995, "implicit")
    assert plan.old.mailboxes == plan.old.imap and plan.old.protocol == "imap"  # POP3 is for who has no IMAP
    assert plan.new.imap and (plan.new.imap.host, plan.new.imap.tls) == ("2001:db8::1", "starttls")


def test_every_commented_default_in_the_template_is_the_default_and_a_known_key(tmp_path: Path) -> None:
    """Uncommented as a whole, the template's tables of defaults say nothing new."""
    text = GOOD.partition("[policy]")[0].replace('file = "accounts.csv"', "") + write(
        Known(domain="x.jp")
    ).partition("[policy]")[2].join(("[policy]", "")).replace("\n# ", "\n")
    told = "".join(
        line + "\n" for line in text.splitlines() if not line.startswith(("How", "Where", "[endpoints"))
    )
    plan = load(put(tmp_path, told))
    assert plan.policy.quiet_ceiling == 3 * plan.policy.quiet_for and plan.policy.old_ttl == 86400
    silent = load(put(tmp_path, GOOD.partition("[policy]")[0].replace('file = "accounts.csv"', "")))
    assert plan.cadence == silent.cadence and plan.policy.share_bound == silent.policy.share_bound
    assert plan.policy.sensitivity == silent.policy.sensitivity and plan.policy.quorum == silent.policy.quorum
