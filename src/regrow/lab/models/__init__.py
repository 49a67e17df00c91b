"""Networks by name: `registry` builds them, and says what can be asked before anything is built."""
