"""The user's app: its migration framework, Procfile and commands, and where it has drifted from its database."""
