"""What people read: the terminal while it runs, and the report and page afterwards."""
