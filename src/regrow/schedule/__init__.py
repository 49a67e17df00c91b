"""When a recipe looks at the network: optimizer step in, yes or no out."""

from regrow.schedule.at_boundary import AtBoundary
from regrow.schedule.at_steps import AtSteps
from regrow.schedule.base import BoundSchedule, Clock, Schedule
from regrow.schedule.cycles import Cycles
from regrow.schedule.every import Every

__all__ = [
    "AtBoundary",
    "AtSteps",
    "BoundSchedule",
    "Clock",
    "Cycles",
    "Every",
    "Schedule",
]
