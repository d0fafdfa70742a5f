"""The table of frameworks, by the language in which their apps are written."""
