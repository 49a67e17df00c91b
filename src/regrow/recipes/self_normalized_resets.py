"""Self-Normalized Resets (Farias, Jozefiak 2025): renew units that are silent for longer than they ever were."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from regrow._checks import check_flag
from regrow.compose import OptimizerState, Parts, Recipe, RecipeInfo
from regrow.errors import ConfigError
from regrow.recipes._registry import published
from regrow.schedule import Every

if TYPE_CHECKING:
    from regrow.criteria import Criterion

INFO = RecipeInfo(
    name="self-normalized-resets",
    title="Self-Normalized Resets for Plasticity in Continual Learning",
    paper="Farias, Jozefiak (ICLR 2025; arXiv 2410.20098)",
    year=2025,
    url="https://arxiv.org/abs/2410.20098",
    family="plasticity",
    summary="Renews units whose silence is longer than nearly all that they had before, each by its own history.",
    differs=(
        "When a silence is too long: the paper tests whether P(A >= a) <= eta, A the unit's own time between firings. "
        "The released code compares with a limit for each unit, which it sets anew every 16 tasks by a percentile of "
        "the silences since then, or doubles. Here the test is made in every step, over each unit's last silences; "
        "as_published=True is the limit.",
        "How much history is needed: the paper does not say, and the code has a limit from the start. Here the "
        "present silence counts as one of those it is compared with, so that a unit with fewer than 1 / rejection - 1 "
        "of them (99) cannot be rejected.",
        "Unit of time: both count examples, in mini-batches of 16. Here steps are counted: a unit fires in a step if "
        "it fires on any example that is looked at (16 to 31 of larger batches). min_silence and max_silence are the "
        "released notebook's 100 and 20,000 examples, in steps of 16.",
        "The test's level: the code's default percentile is 0.99, its notebook takes 0.92, the paper tries rejection "
        "rates from 0.08 down to 0.00125. Default rejection: 0.01.",
        "How often limits are set anew (as_published): the code is told where tasks end, and waits for 16 of them. "
        "Here every update_every steps; the default of 10,000 is 16 tasks of 10,000 examples in batches of 16.",
        "Firing: the code looks at the pre-activation, and so calls a unit behind a norm by another sign than its "
        "readers see. Here it is a value above 0 where the unit leaves for its readers, and one that gives a single "
        "value throughout a step does not fire; as_published=True judges by the sign alone.",
        "Starved and blocked units: neither knows them. Here steps in which what a unit hears is constant, or in which "
        "a factor of exactly 0 stands before its readers, are not counted as silent; as_published=True counts them.",
        "History of a renewed unit: the code keeps its predecessor's, and enters the silence that led to the reset. "
        "Here it begins without one; as_published=True keeps it.",
        "Incoming weights: both draw from the model's initialiser. Default: the layer class's own, or what init and "
        "attach(init=...) say. Bias and outgoing weights 0 as there; one unit of a layer always stays.",
        "Norm entries: neither touches them. Default: a renewed unit's begin anew; as_published=True keeps them.",
        "Optimizer: the code sets Adam's moments to 0 and leaves the count, so that fresh weights make steps up to "
        "five times too long. Here renewed entries have the state of fresh ones, and their neighbours keep theirs.",
    ),
)


@final
@published
class SelfNormalizedResets(Recipe):
    """Renew units that are silent for longer than they have nearly ever been before.

    One threshold for all units takes those that fire rarely by nature, and is late for those that never used to be
    silent. So each unit is measured by itself: it is renewed when its silence would be an improbable one of its own.

        a(u) = steps since u last gave a value above 0
        share(u) = (1 + number of its last silences with length >= a(u)) / (1 + number of its last silences)
        renew unit u    if  a(u) >= min_silence and share(u) <= rejection,  or  a(u) >= max_silence
        weights from the layer's initialiser, bias 0, the weights that read it 0,  in every step

    Args:
        rejection: The paper's eta, within [0, 1]: the part of a healthy unit's silences that may end in its renewal.
        min_silence: Steps of silence after which a unit can be renewed at the earliest.
        max_silence: Steps of silence after which it is renewed, also without a history.
        active_fraction: Share of the training, from its start, in which units are renewed. Below 1 it needs
            ``attach(total_steps=...)``.
        optimizer_state: Of renewed entries: ``exact``, ``zeroed`` or ``kept``; see `regrow.Recipe`.
        as_published: Limits that are set anew now and then, judged by the sign alone, with histories that go on after a
            renewal; norm entries stay (see ``INFO.differs``).
        update_every: Steps from one update of the limits to the next, with `as_published` alone. None: 10,000.
        init: What fresh units are drawn from; None: as ``attach`` was told.

    Raises:
        ConfigError: A setting outside its range, a `min_silence` above `max_silence`, or an `update_every` without
            `as_published`.

    Edge cases:
        With few examples a step a healthy unit is silent often and long, and a part `rejection` of all silences is
        renewed: at one example a step that is much. A unit that cannot be silent, of a sigmoid say, is never renewed.
        Acts on convolutions and dense layers, of these on hidden units alone, unless ``attach(include=...)`` names
        others; never on layers that make the output.

    Source:
        Farias, Jozefiak, ICLR 2025. https://arxiv.org/abs/2410.20098. Differs: see ``regrow ls recipes`` or
        ``INFO.differs``.

    Examples:
        >>> SelfNormalizedResets(rejection=0.05).select
        UpTo(threshold=0.05, most_of_layer=1.0)
    """

    info = INFO

    rejection: float = 0.01
    min_silence: int = 7
    max_silence: int = 1250
    active_fraction: float = 1.0
    optimizer_state: OptimizerState = "exact"
    as_published: bool = False
    update_every: int | None = None
    init: str | None = None

    layers = ("conv", "linear")
    hidden_alone = True

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.renewal import Redraw
        from regrow.selection import UpTo

        check_flag(self.as_published, name="as_published", where="self-normalized-resets")
        return Parts(
            criterion=self._criterion(),
            select=UpTo(threshold=0.0 if self.as_published else self.rejection),
            renew=Redraw(norm="keep" if self.as_published else "reset", readers="zero"),
            when=Every(active_fraction=self.active_fraction),
            grace_steps=None,
        )

    def _criterion(self) -> Criterion:
        from regrow.criteria import OwnSilence, SilenceLimit

        where = "self-normalized-resets"
        if not self.as_published:
            if self.update_every is not None:
                raise ConfigError(
                    f"update_every={self.update_every} belongs to as_published=True ({where})"
                )
            return OwnSilence(
                rejection=self.rejection,
                min_silence=self.min_silence,
                max_silence=self.max_silence,
            )
        return SilenceLimit(
            rejection=self.rejection,
            update_every=10_000 if self.update_every is None else self.update_every,
            min_silence=self.min_silence,
            max_silence=self.max_silence,
        )
