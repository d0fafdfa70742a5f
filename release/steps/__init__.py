"""The steps of the release phase, one a module: the recipe's verbs."""
