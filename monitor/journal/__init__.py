"""The evidence store: append-only SQLite, one writer, numbered batches chained by SHA-256."""

from monitor.journal.audit import Verified, verify
from monitor.journal.inbox import post
from monitor.journal.lock import Busy
from monitor.journal.reader import Batch, JournalReader
from monitor.journal.writer import Journal

__all__ = ["Batch", "Busy", "Journal", "JournalReader", "Verified", "post", "verify"]
