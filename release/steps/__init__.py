"""The steps of the release phase, one a module, and what they share: the target, the fence, the look for drift."""
