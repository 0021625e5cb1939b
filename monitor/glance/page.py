"""A picture as a page for people: 80 columns or more, all of it or as many rows as there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import idna
from msgspec import Struct

from monitor.glance.picture import AtResolver, AtServer, Held, Picture, Reason, Served, Silence
from monitor.glance.question import in_order
from monitor.glance.said import STALE
from monitor.glance.text import Line, cells, crop, fit, spread, width_of, wrap
from monitor.wording import Language, say, span

SIGNS = {True: ("✓", "good"), False: ("✗", "bad"), None: ("·", "")}
RESULTS = {"holds": ("✓", "good.bold"), "differs": ("✗", "bad.bold"), "unknown": ("?", "warn.bold")}
_UNHEARD = {True: ("✗", "bad"), False: ("?", "warn")}
BAR = 20
READABLE = 100  # columns: what is wider is no longer read as one line
NAME = 40  # of a server's or an exchange's name, at most
INDENT, FLAGS = 6, 15
ALL = 1_000_000
_ROW = 74  # the least width of one resolver's line, where there are several columns
_NONE = ("nodata", "nxdomain")
# Rows of a list, and what is left out for them: who still differs comes before where mail goes.
_TIGHT: list[tuple[int, *tuple[str, ...]]] = [
    *((rows,) for rows in (40, 30, 24, 20, 16, 13, 10, 8)),
    (8, "remarks"), (5, "remarks"),
    *((rows, "remarks", "exchanges") for rows in (8, 6, 5, 4, 3, 2, 1)),
]  # fmt: skip


class Layout(Struct, frozen=True):
    """``rows``: of one list at most; ``loose``: blank lines between the parts, and a line for each record
    and each server; ``without``: parts that are left out."""

    width: int
    language: Language
    rows: int = ALL
    loose: bool = True
    without: frozenset[str] = frozenset()


def page(picture: Picture, width: int, language: Language, height: int | None = None) -> list[Line]:
    """Lines for a screen so wide; with ``height``, at most so many: long lists are cut first."""
    lines: list[Line] = []
    for layout in _layouts(width, language):
        lines = _Page(picture, layout).lines()
        if height is None or len(lines) <= height:
            return lines
    return lines[:height]


def _layouts(width: int, language: Language) -> Iterable[Layout]:
    """From all that there is to what matters most."""
    yield Layout(width, language)
    for rows in (40, 30, 24, 20, 16, 12, 8):
        yield Layout(width, language, rows)
    for rows, *without in _TIGHT:
        yield Layout(width, language, rows, False, frozenset(without))


def moment(t: datetime, at: datetime) -> str:
    """Local time; with the date where that is another day than ``at``'s."""
    t, at = t.astimezone(), at.astimezone()
    return t.strftime("%H:%M:%S" if t.date() == at.date() else "%Y-%m-%d %H:%M:%S")


def sentence(reason: Reason, at: datetime, language: Language) -> str:
    args = {k: moment(v, at) if isinstance(v, datetime) else v for k, v in reason.args.items()}
    return say(reason.code, args, language)


def headline(picture: Picture, language: Language) -> str:
    kind = "seen" if picture.expected is None else "expected"
    return say(f"dns.word.{kind}.{picture.result}", {}, language)


def u_label(name: str) -> str:
    """An internationalised name as it is written, in brackets behind its A-labels; else nothing."""
    if "xn--" not in name:
        return ""
    try:
        return f" ({idna.decode(name.rstrip('.'))})"
    except (idna.IDNAError, UnicodeError):
        return ""


class _Page:
    def __init__(self, picture: Picture, layout: Layout) -> None:
        self._p, self._l = picture, layout
        self._width = min(layout.width, READABLE)

    def lines(self) -> list[Line]:
        parts = {
            "head": self._head, "authorities": self._authorities, "resolvers": self._resolvers,
            "exchanges": self._exchanges, "when": self._when, "remarks": self._remarks,
        }  # fmt: skip
        found: list[Line] = []
        for part in (parts[name]() for name in parts if name not in self._l.without):
            found += [[]] * (self._l.loose and bool(found and part)) + part
        return found

    def _say(self, code: str, **args: object) -> str:
        return say(code, args, self._l.language)

    def _span(self, seconds: float) -> str:
        return span(seconds, self._l.language)

    # What was asked, and the answer in short

    def _head(self) -> list[Line]:
        p = self._p
        name = f"{p.name}{u_label(p.name)} {p.type}"
        when = p.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        lines = spread([(name, "bold")], [(when, "dim")], self._width)
        if p.expected is not None:
            label = self._say("dns.title.expected") + "  "
            rrset = p.expected or (self._say("dns.none.expected"),)
            lines += self._hanging([(label, "dim")], " · ".join(rrset), "")
        sign, style = RESULTS[p.result]
        lines += [[]] if self._l.loose else []
        lines.append([(f"{sign} {headline(p, self._l.language)}", style)])
        for reason in p.reasons:
            lines += self._hanging([("  ", "")], sentence(reason, p.at, self._l.language), "")
        return lines

    def _hanging(self, label: Line, text: str, style: str) -> list[Line]:
        """A label, and text behind it; its further lines begin where its first does."""
        indent = width_of(label)
        first, *rest = wrap(text, max(20, self._width - indent)) or [""]
        return [[*label, (first, style)], *([(" " * indent, ""), (line, style)] for line in rest)]

    def _title(self, code: str, beside: str) -> list[Line]:
        title = self._say(code)
        return self._hanging([(title, "title"), ("  ", "")], beside, "dim")

    # Authorities

    def _authorities(self) -> list[Line]:
        p, c = self._p, self._p.counts
        zones = ", ".join(p.zones) or "–"
        lines = self._title(
            "dns.title.authorities",
            self._say("dns.count.authorities", heard=c.authorities_heard, of=c.authorities, zones=zones),
        )
        several = len({s.name for s in p.served}) > 1
        for served in p.served:
            lines += self._served(served, several)
        for outcome in dict.fromkeys(_outcome(at) for at in p.unheard):
            here = [at for at in p.unheard if _outcome(at) == outcome]
            sign, style = _UNHEARD[outcome == "bogus"]
            lines.append([(f"  {sign} {self._say(f'dns.outcome.{outcome}')}", style)])
            lines += self._servers(here)
        return lines

    def _served(self, served: Served, several: bool) -> list[Line]:
        sign, style = SIGNS[served.agrees]
        facts = [] if served.outcome == "alias" and not served.ttls[1] else [self._ttl(served.ttls)]
        if served.serials:
            facts.append(self._say("dns.serial", serials=", ".join(map(str, served.serials))))
        texts = self._answer(served.outcome, served.rrset, served.alias)
        if several:
            texts[0] = f"{served.name}  {texts[0]}"
        return [*self._rrset(sign, style, texts, " · ".join(facts)), *self._servers(served.servers)]

    def _ttl(self, ttls: tuple[int, int]) -> str:
        low, high = ttls
        return self._say("dns.ttl", ttl=str(low) if low == high else f"{low}–{high}")

    def _answer(self, outcome: str, rrset: Sequence[str], alias: str = "") -> list[str]:
        if outcome == "alias":
            return [self._say("dns.alias.of", name=alias)]
        if outcome in _NONE:
            return [self._say(f"dns.outcome.{outcome}")]
        return sorted(rrset, key=in_order)

    def _rrset(self, sign: str, style: str, texts: Sequence[str], facts: str) -> list[Line]:
        """Records below each other; beside the first, at the right edge, what is to be said of them."""
        most = max(2, self._l.rows)
        shown = list(texts) if len(texts) <= most else [*texts[: most - 1]]
        if len(shown) < len(texts):
            shown.append(self._say("dns.more", n=len(texts) - len(shown)))
        if not self._l.loose:
            shown = [" · ".join(shown)]
        room = self._width - 4 - (0 if self._l.loose else cells(facts) + 2)
        first, *rest = [line for text in shown for line in wrap(text, room)] or [""]
        lines = spread([(f"  {sign} ", style), (first, style)], [(facts, "dim")], self._width)
        return [*lines, *([("    ", ""), (line, style)] for line in rest)]

    def _servers(self, servers: Sequence[AtServer]) -> list[Line]:
        """One line a name server, with all its addresses; or all of them behind each other."""
        names = dict.fromkeys(at.server.name for at in servers)
        by_name = {name: [at.server.address for at in servers if at.server.name == name] for name in names}
        if not self._l.loose:
            return [self._listed("      ", "", [" ".join((n, *found)) for n, found in by_name.items()])]
        size = max((cells(name) for name in names), default=0)
        lines = []
        for name, addresses in by_name.items():
            label: Line = [("      " + fit(name, min(size, NAME)) + "  ", "")]
            lines += self._hanging(label, "  ".join(addresses), "dim")
        return self._cut(lines)

    def _listed(self, label: str, style: str, names: Sequence[str]) -> Line:
        """One line with as many of them as it holds."""
        text, left = "", len(names)
        for name in names:
            longer, rest = f"{text}, {name}" if text else name, left - 1
            more = f", {self._say('dns.more', n=rest)}" if rest else ""
            if text and cells(label + longer + more) > self._width:
                break
            text, left = longer, rest
        more = f", {self._say('dns.more', n=left)}" if left else ""
        return [(label, style), (text + more, "dim")]

    def _cut(self, lines: list[Line]) -> list[Line]:
        if len(lines) <= self._l.rows:
            return lines
        kept = max(1, self._l.rows - 1)
        return [*lines[:kept], [("      ", ""), (self._say("dns.more", n=len(lines) - kept), "dim")]]

    # Resolvers

    def _resolvers(self) -> list[Line]:
        c = self._p.counts
        if not c.addresses:
            return []
        lines = self._title(
            "dns.title.resolvers",
            self._say(
                "dns.count.resolvers", heard=c.platforms_heard, of=c.platforms,
                addresses=c.addresses, addresses_heard=c.addresses_heard,
            ),
        )  # fmt: skip
        for held in self._p.held:
            lines += self._held(held)
        for silence in self._p.silences:
            lines += self._silence(silence)
        return lines

    def _held(self, held: Held) -> list[Line]:
        sign, style = SIGNS[held.agrees]
        low, high = self._span(held.ttls[0]), self._span(held.ttls[1])
        left = self._say("dns.left", ttl=low if low == high else f"{low} – {high}")
        count = self._say("dns.count.platforms", n=held.platforms, addresses=len(held.who))
        share = held.platforms / max(1, self._p.counts.platforms_heard)
        lines = self._rrset(sign, style, self._answer(held.outcome, held.rrset), "")
        lines.append([("    ", ""), *_bar(share, style), (f"  {count} · {left}", "dim")])
        return lines if held.agrees else [*lines, *self._rows(held.who)]

    def _rows(self, who: Sequence[AtResolver]) -> list[Line]:
        """A line a resolver, the longest-lived first; in columns where there is room."""
        across = max(1, (self._l.width - INDENT) // _ROW)
        width = (self._l.width - INDENT) // across
        most = self._l.rows * across
        shown = who if len(who) <= most else who[: most - across]
        rows = self._aligned(shown, width - 2 * (across > 1)) if shown else []
        lines: list[Line] = []
        for i in range(0, len(rows), across):
            *firsts, last = rows[i : i + across]
            padded = [part for row in firsts for part in (*row, (" " * (width - width_of(row)), ""))]
            lines.append([(" " * INDENT, ""), *padded, *last])
        if len(shown) < len(who):
            lines.append([(" " * INDENT, ""), (self._say("dns.more", n=len(who) - len(shown)), "dim")])
        return lines

    def _aligned(self, who: Sequence[AtResolver], width: int) -> list[Line]:
        """Address, operator, when its answer runs out, and what else is to be said of it. The address is
        what a person asks again: it is the last to be cut."""
        flags = ["  ".join(self._flags(at)) for at in who]
        until = [self._say("dns.until", t=moment(at.said.expires, self._p.at)) for at in who]
        ids = [_short(at) for at in who]
        left = [self._say("dns.in", left=max(0.0, _left(at, self._p.at))) for at in who]
        sizes = [max(map(cells, column)) for column in (ids, until, left, flags)]
        id_, until_, left_, flags_ = min(sizes[0], NAME), sizes[1], sizes[2], min(sizes[3], FLAGS)
        operator = width - id_ - until_ - left_ - flags_ - (8 if flags_ else 6)
        operator = min(max(operator, 8), max(cells(at.resolver.operator) for at in who))
        rows = []
        for at, one, end, rest, flag in zip(who, ids, until, left, flags, strict=True):
            row: Line = [(fit(one, id_) + "  ", "")]
            row += [(fit(at.resolver.operator, operator) + "  ", "dim")] if operator else []
            row += [(f"{fit(end, until_)}  {fit(rest, left_)}", "")]
            rows.append(crop([*row, ("  " + flag, "warn")] if flag else row, width))
        return rows

    def _flags(self, at: AtResolver) -> Iterable[str]:
        said = at.said
        if said.stale:
            yield self._say("dns.flag.stale", ede=", ".join(str(e) for e in said.ede if e in STALE))
        if at.overstays:
            yield self._say("dns.flag.overstays")
        if at.resolver.filters:
            yield self._say("dns.flag.filters", what=at.resolver.filtering)
        others = [str(e) for e in said.ede if e not in STALE]
        if others:
            yield self._say("dns.flag.ede", ede=", ".join(others))
        if said.cache:
            yield self._say("dns.flag.cache", cache=said.cache)

    def _silence(self, silence: Silence) -> list[Line]:
        sign, style = _UNHEARD[silence.outcome == "bogus"]
        names = list(_by_operator(silence.who))
        label = f"  {sign} {self._say(f'dns.outcome.{silence.outcome}')}  "
        if self._l.loose:
            return self._hanging([(label, style)], ", ".join(names), "dim")
        return [self._listed(label, style, names)]

    # The rest

    def _exchanges(self) -> list[Line]:
        if not self._p.exchanges:
            return []
        lines: list[Line] = [[(self._say("dns.title.exchanges"), "title")]]
        size = min(NAME, max(cells(e.name) for e in self._p.exchanges))
        found: list[Line] = []
        for one in self._p.exchanges:
            addresses = "  ".join(one.addresses) or self._say("dns.outcome.address")
            ttl = "" if one.ttl is None else "  " + self._say("dns.ttl", ttl=one.ttl)
            style = "" if one.addresses else "warn"
            rows = wrap(addresses, self._width - size - 6 - cells(ttl)) or [""]
            label = "    " + fit(one.name, size) + "  "
            found += spread([(label, ""), (rows[0], style)], [(ttl, "dim")], self._width)
            found += [[(" " * (size + 6), ""), (row, style)] for row in rows[1:]]
        return lines + self._cut(found)

    def _when(self) -> list[Line]:
        h, at = self._p.horizon, self._p.at
        title: Line = [(self._say("dns.title.when") + "  ", "title")]
        lines = self._hanging(title, sentence(h.reason, at, self._l.language), "")
        if h.seen_by is not None and h.seen_by != h.by:
            left = (h.seen_by - at).total_seconds()
            seen = sentence(Reason("dns.when.seen", {"by": h.seen_by, "left": left}), at, self._l.language)
            lines += self._hanging([("    ", "")], seen, "")
        return lines

    def _remarks(self) -> list[Line]:
        if not self._p.remarks:
            return []
        lines: list[Line] = [[(self._say("dns.title.remarks"), "title")]]
        found: list[Line] = []
        for reason in self._p.remarks:
            found += self._hanging([("  ! ", "warn")], sentence(reason, self._p.at, self._l.language), "")
        return lines + self._cut(found)


def _outcome(at: AtServer) -> str:
    return at.said.outcome if at.said is not None else "timeout" if at.server.address else "address"


def _bar(share: float, style: str) -> Line:
    full = min(BAR, max(1, round(share * BAR))) if share else 0
    return [("█" * full, style), ("░" * (BAR - full), "dim")]


def _left(at: AtResolver, now: datetime) -> float:
    return (at.said.expires - now).total_seconds()


def _short(at: AtResolver) -> str:
    """Its address, or its URL without what nearly all of them have (RFC 8484 section 4.1)."""
    return at.resolver.id.removeprefix("https://").removesuffix("/dns-query")


def _by_operator(who: Sequence[AtResolver]) -> Iterable[str]:
    """Each platform once, with all its addresses."""
    platforms: dict[str, list[AtResolver]] = {}
    for at in who:
        platforms.setdefault(at.resolver.platform, []).append(at)
    for members in platforms.values():
        yield " ".join([members[0].resolver.operator, *map(_short, members)]).strip()
