"""The commands for people: plan, report, history, backups, download, restore by hand."""
