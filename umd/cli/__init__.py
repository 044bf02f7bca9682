"""The commands for operators that look at the event log: each prints one JSON object a line."""
