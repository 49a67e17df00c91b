"""The figures of the report, one a file: `plot_x(results, cell, *, ax=None)` and its caption."""
