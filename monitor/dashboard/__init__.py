"""The Textual dashboard: ``from monitor.dashboard.app import Dashboard`` (loads Textual)."""
