"""Controls of a recipe, made of the recipe itself: at random, the best in the place of the worst, and nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from regrow.compose import Recipe, RecipeInfo
from regrow.history import Renewed
from regrow.recipes._registry import register_control
from regrow.recipes.random_control import INFO as RANDOM
from regrow.schedule import AtSteps

if TYPE_CHECKING:
    from regrow.compose import Parts

INVERTED: Final = RecipeInfo(
    name="inverted",
    title="Inverted control",
    summary="Renews as its arm's recipe does, the best filters in the place of the worst.",
    role="inverted",
)
NEVER: Final = RecipeInfo(
    name="never",
    title="The mechanism alone",
    summary="Looks and decides as its arm's recipe does, and renews nobody: plain training, bit for bit.",
    role="never",
)


def at_random(recipe: Recipe, *, like: Sequence[Renewed]) -> Recipe:
    """The random control of a recipe: what a run of it did, to filters picked at random, renewed in the same way.

    A recipe whose choice is worth something beats it. Counts, layers and steps are those of the run; draws, readers,
    means, norm entries, guard and grace are the recipe's. Of a graded recipe, which moves everybody, the strengths are
    dealt out at random within each layer, at the recipe's own steps.

    Args:
        recipe: The recipe under test.
        like: The events of its run: the report's ``events``. Not used of a graded recipe.

    Returns:
        A recipe for `regrow.attach`.

    Edge cases:
        Filters of a recipe with a drop phase are renewed at once, and do not leave the network.

    Examples:
        >>> from regrow import ReDo
        >>> events = [Renewed(step=4, layer="conv1", filters=(2,), scores=(0.0,))]
        >>> at_random(ReDo(), like=events).when.steps
        frozenset({4})
    """
    from regrow.criteria import RandomScore, Shuffled
    from regrow.selection import CountsOf

    if recipe.select.graded:
        return _changed(recipe, RANDOM, criterion=Shuffled(criterion=recipe.criterion))
    counts: Counter[tuple[int, str]] = Counter()
    for event in like:
        counts[event.step, event.layer] += len(event.filters)
    moves = recipe.renew.moves_means  # which the criterion remembers
    return _changed(
        recipe,
        RANDOM,
        criterion=Shuffled(criterion=recipe.criterion) if moves else RandomScore(),
        select=CountsOf(counts=dict(counts)),
        when=AtSteps.of(event.step for event in like),
        min_loss=None,
        drop=False,
    )


def inverted(recipe: Recipe) -> Recipe:
    """The inverted control of a recipe: as many, in the same layers at its steps, but the best instead of the worst.

    Where it does no worse than the recipe, the score that both go by says nothing.

    Args:
        recipe: The recipe under test.

    Returns:
        A recipe for `regrow.attach`. It decides by its own training: how many are taken may differ from a run of
        `recipe`, which has left the worst behind.

    Source:
        Sokar et al., ICML 2023, Figure 15: inverted ReDo.

    Examples:
        >>> from regrow import ReDo
        >>> inverted(ReDo()).select
        Inverted(select=UpTo(threshold=0.1, most_of_layer=1.0))
    """
    from regrow.selection import Inverted

    return _changed(recipe, INVERTED, select=Inverted(select=recipe.select))


def never(recipe: Recipe) -> Recipe:
    """The recipe with its mechanism on and nobody renewed: training is plain, bit for bit.

    It shows that looking changes nothing, and what looking costs.

    Args:
        recipe: The recipe under test.

    Returns:
        A recipe for `regrow.attach`, without guard, gain check and changes of the whole network: those act
        where nothing is renewed.

    Examples:
        >>> from regrow import ReDo
        >>> never(ReDo()).select
        Nobody(select=UpTo(threshold=0.1, most_of_layer=1.0))
    """
    from regrow.selection import Nobody

    select = Nobody(select=recipe.select)
    return _changed(recipe, NEVER, select=select, guard=None, gain_check=None, network=None)


def _changed(recipe: Recipe, info: RecipeInfo, **parts: object) -> Recipe:
    """The recipe with other parts, under the name of the control and of what it is one of."""
    given: Parts = {**recipe.parts, **parts}  # type: ignore[assignment] # its own parts, some replaced
    return Recipe(info=replace(info, name=f"{info.name} {recipe.info.name}"), **given)


register_control(RANDOM.name, lambda recipe, like: at_random(recipe, like=like))
register_control(INVERTED.name, lambda recipe, like: inverted(recipe), info=INVERTED)
register_control(NEVER.name, lambda recipe, like: never(recipe), info=NEVER)
