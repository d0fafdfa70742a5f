"""The witness: a relay on loopback that sees what the app's commands commit in the database."""
