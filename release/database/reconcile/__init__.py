"""Reconciliation: a salvage's rows beside the database's, compared by the server, and put back in one transaction."""
