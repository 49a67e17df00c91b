"""Studies that vary two settings of one recipe: found, compared cell by cell, told, and set in tables."""
