"""What is protected, and what can be done to it: the lock, the fence, transfers, sessions, the proof."""
