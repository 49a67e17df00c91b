"""A recipe's eye on the training's own passes: which are read, what they show, and what is said of it."""
