"""Results in; tables, figures and one self-contained page out. Never sees a live model."""
