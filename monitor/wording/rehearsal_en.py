"""What happens in a rehearsal, in English."""

REHEARSAL: dict[str, str] = {
    "rehearsal.begins": "Scenario {scenario}: {domain} moves from {old} to {new}. About {length}.",
    "rehearsal.attach": "To look at it from another terminal: mxcutover attach {journal}",
    "rehearsal.ends": "The story is over: {verdict}.",
    "rehearsal.report": "Report and journal: {directory}",
    "rehearsal.let-go": "The old host no longer keeps the domain local: what it takes goes on to the new one.",
    "rehearsal.change-mx": "The MX is changed at the primary name server, and the change is declared.",
    "rehearsal.secondary-catches-up": "The secondary name server has the new zone.",
    "rehearsal.user-moves": "Carol's mail program submits through the new host from now on.",
    "rehearsal.copy": "What lay only on the old host is copied to the new one.",
    "rehearsal.cut-off": "Resolver {subject} can no longer reach the name servers, and serves what it has.",
    "rehearsal.reconnect": "Resolver {subject} can reach the name servers again.",
    "rehearsal.mailbox-full": "On the new host the mailbox {subject} is full: it refuses mail.",
    "rehearsal.waive-lost": "What the full mailbox turned away is waived by name: its senders were told.",
    "rehearsal.waived": "turned away while the mailbox was full; its sender was told",
    "rehearsal.mailbox-mended": "On the new host the mailbox {subject} takes mail again.",
}
