"""Filters that are out of the network for a while: who may leave, what they were, and that nothing moves them."""
