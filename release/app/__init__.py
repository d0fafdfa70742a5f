"""The user's app: its migration framework, its Procfile, its commands and its migrations."""
