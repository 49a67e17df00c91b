"""Trials that are one run until they first differ: what they share is trained once."""

from regrow.lab.sharing.crew import Crew
from regrow.lab.sharing.families import families
from regrow.lab.sharing.runs import Batch, Runs, Segment, run_of, segments

__all__ = ["Batch", "Crew", "Runs", "Segment", "families", "run_of", "segments"]
