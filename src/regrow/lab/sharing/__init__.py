"""Trials that are one run until they first differ: what they share is trained once."""

from regrow.lab.sharing.crew import Crew
from regrow.lab.sharing.families import families
from regrow.lab.sharing.queue import RunQueue
from regrow.lab.sharing.segments import Kinds, Segment, segments

__all__ = ["Crew", "Kinds", "RunQueue", "Segment", "families", "segments"]
