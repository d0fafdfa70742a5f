"""Probes: what is built in, what is configured, and the two that ask a web process."""
