"""The protected database: a session with limits, its fingerprint, its grants, and the journal kept in it."""
