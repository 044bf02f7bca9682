"""Scripts for people who work on umd."""
