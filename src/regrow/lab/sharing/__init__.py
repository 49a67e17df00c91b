"""Trials that are one run until they first differ: what they share is trained once."""

from regrow.lab.sharing.crew import Crew
from regrow.lab.sharing.families import families

__all__ = ["Crew", "families"]
