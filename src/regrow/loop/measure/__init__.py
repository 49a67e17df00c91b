"""A model on fixed data that the user gives: what readers receive, what comes out, what each filter does for it."""
