"""What trains networks: plain modules one after the other, or the stacks of `regrow.engine`."""
