"""One module a log format: each a small state machine from lines to what the server took."""
