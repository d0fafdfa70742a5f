"""What people read: a run as it happens on a terminal, and a log read again as a timeline, as text or as a page."""
