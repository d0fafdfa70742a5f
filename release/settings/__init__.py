"""The settings: which there are, how they are read from the environment, and what a URL may be."""
