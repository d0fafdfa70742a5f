"""Who is told how a run ended, besides the log."""
