"""PartnerRecipe: what networks that are trained side by side lend each other, and when. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, get_args

from regrow._checks import check_choice, check_whole
from regrow._renamed import renamed
from regrow.compose import Composition, RecipeInfo

if TYPE_CHECKING:
    from regrow.schedule import Schedule
    from regrow.weighing import Weighing

Memory = Literal["keep", "graft", "reset"]
"""What becomes of the optimizer's memory of weights that were blended."""

Mode = Literal["paper", "reference"]
"""Whose share the tensors around a convolution take."""


class PartnerParts(TypedDict, total=False):
    """The parts of a `PartnerRecipe` by name."""

    partners: int
    weigh: Weighing
    when: Schedule
    mode: Mode
    memory: Memory


@renamed({"order": "mode"})
class PartnerRecipe(Composition):
    """A published method for several networks: how much each keeps of its own, and when they meet.

    The networks stand in a ring. When they meet, each takes a share of the weights that the one before it had until
    then, layer by layer; all at once, from the weights as they were.

    Args:
        info: Name and source.
        partners: How many networks, at least 2.
        weigh: Two layers to a share.
        when: At the end of which optimizer steps.
        mode: ``paper``: each layer has a share of its own, and what belongs to it (bias, norm entries, running
            statistics) takes it too. ``reference``: a share is worked out at each convolution by its name, and carried
            along over all tensors up to the next one in the order of the state dict, as the released code does.
        memory: ``keep`` the optimizer's memory as it is, ``graft`` it with the same shares, or ``reset`` it.

    Edge cases:
        Less than 2 partners, or another word, are a ConfigError.
    """

    part_names = tuple(PartnerParts.__annotations__)

    partners: int
    weigh: Weighing
    when: Schedule
    mode: Mode = "paper"
    memory: Memory = "keep"

    def __init__(
        self,
        *,
        info: RecipeInfo,
        partners: int,
        weigh: Weighing,
        when: Schedule,
        mode: Mode = "paper",
        memory: Memory = "keep",
    ) -> None:
        parts = PartnerParts(partners=partners, weigh=weigh, when=when, mode=mode, memory=memory)
        self._settle({"info": info, **parts})

    def with_parts(self, **parts: Unpack[PartnerParts]) -> PartnerRecipe:
        """The same recipe with other parts.

        Args:
            **parts: Those that are other ones, by name: ``weigh``, ``when``, ``partners``, ``mode``, ``memory``.

        Returns:
            A recipe of the same name.

        Edge cases:
            A part that there is not is an UnknownNameError, something that is no such part a ConfigError.
        """
        return PartnerRecipe(info=self.info, **self._changed(parts))._after(self)

    def _check(self, where: str) -> None:
        check_whole(self.partners, name="partners", where=where, least=2)
        check_choice(self.mode, get_args(Mode), name="mode", where=where)
        check_choice(self.memory, get_args(Memory), name="memory", where=where)
