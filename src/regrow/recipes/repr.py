"""RePr (Prakash et al. 2019): drop overlapping filters, train without them, bring them back orthogonal.

Its parts are `criteria/filter_overlap`, `selection/worst_fraction`, `renewal/orthogonal` and `schedule/cycles`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from regrow.compose import OptimizerState, Parts, Recipe, RecipeInfo
from regrow.errors import ConfigError
from regrow.neutral import Neutral
from regrow.recipes._registry import published
from regrow.schedule import Cycles

if TYPE_CHECKING:
    from regrow.criteria import Criterion

INFO = RecipeInfo(
    name="repr",
    title="RePr: Improved Training of Convolutional Filters",
    paper="Prakash, Storer, Florencio, Zhang (CVPR 2019; arXiv 1811.07275)",
    year=2019,
    url="https://arxiv.org/abs/1811.07275",
    family="overlap",
    summary="Takes the filters that overlap most with others out of the network, trains on without them, and brings "
    "them back orthogonal, in cycles.",
    differs=(
        "Normalisation of the overlap: the paper prints W / |W| and speaks of projections; the author's code divides "
        "the whole matrix by its Frobenius norm and takes the absolute value after the mean. Default 'row' (cosines); "
        "normalise='matrix' is the code.",
        "Share: 30 % in the paper, 50 % by default in the code. Default 0.3, rounded down.",
        "First convolution: ranked in the paper, left out in the author's replies, since its filters are short and "
        "overlap by necessity. Default: ranked; exclude_first=True leaves it out, corrected=True (ours) takes the "
        "expected overlap of random filters of that length out of every layer's scores.",
        "Whole layers: the paper has no rule; a layer always keeps one filter here, more with most_of_layer. Grouped "
        "convolutions: filters of different groups read different inputs and do not overlap.",
        "Other rankings (rank_by): the paper names them and gives no formulas. weights: l2 norm / sqrt(numbers); "
        "activations, apoz: what the filter's readers receive, behind norm, activation and pooling; gradients: l2 norm "
        "of the step's gradient; taylor: mean |dL/dg| of a gate g on what is heard, without Molchanov's 1/M; hessian: "
        "1/2 mean (dL/dg)^2, the empirical Fisher and not the second derivative; oracle: drop in accuracy, equal drops "
        "put in order by the loss. Scores are not rescaled from layer to layer. The paper's oracle has 5,000 held-out "
        "images; here those of attach(calibration_inputs=..., calibration_targets=...).",
        "Dropping: the code masks the ReLU's output; here the filter's weights, bias and norm entries and the slices "
        "that read it are 0 and without gradient, which is the smaller network whatever activation and norm follow.",
        "New directions: the paper wants them orthogonal to the dropped filters' old values and the survivors; the "
        "code takes a column of the whole layer's QR. Here random vectors inside the null space of both; where there "
        "is none, the directions used least, then the initialiser's.",
        "Length of a new filter: not in the paper, 1 in the code. Default: the survivors' mean; scale='initialiser'.",
        "Bias: not in the paper, kept in the code. Default 0; reset_bias=False keeps it.",
        "Norm entries and optimizer state: reset in the paper, not in the code. Default reset.",
        "Readers of a renewed filter: kept in the code and here; a re-implementation redraws or zeroes them (readers).",
        "Cycles: three in the paper, then the full network to the end; the code goes on for the whole run.",
    ),
    neutral=Neutral(
        decides="filters",
        settings={"rank_by": "random"},
        choice=frozenset({"rank_by", "normalise", "corrected"}),
    ),
    made_of="settings",
)


@final
@published
class RePr(Recipe):
    """Drop the filters that overlap most with others, train without them, and bring them back orthogonal, in cycles.

    Filters that point the same way carry the same thing. Training without them lets the others take over what was
    spread; then they come back in directions that nobody has.

        cycles times:  s1 with the full network
                       the worst `fraction` of all filters leave: sum over j of |W' W'^T - I|[f, j] / J
                       s2 without them
                       they come back orthogonal to their old selves and to the survivors
        then the full network to the end

    Args:
        s1: Length of a phase with the full network.
        s2: Length of a phase without the dropped filters.
        cycles: The paper's N.
        fraction: The paper's p: share of all filters of the network that are dropped.
        unit: What `s1` and `s2` count: ``epochs`` (needs ``attach(steps_per_epoch=...)``) or ``steps``.
        rank_by: What ranks the filters: their ``overlap``, the root mean square of their ``weights``, the l2 norm of
            their weights' ``gradients`` in the step, or ``random``. Measured on ``attach(calibration_inputs=...)``:
            ``activations`` (their mean size) and ``apoz`` (share of zeros). With ``attach(calibration_targets=...)``
            too: ``taylor`` (first order), ``hessian`` (its diagonal, by the empirical Fisher) and ``oracle`` (the drop
            in accuracy when a filter is silenced).
        normalise: Of the overlap: ``row`` or ``matrix`` (the author's code).
        corrected: Take the expected overlap of random filters out of it, so that short filters are not preferred.
        exclude_first: Leave the first layer out of the ranking.
        most_of_layer: The largest share of a layer that may be dropped.
        scale: Length of a new filter: the ``survivors``' mean, or what the ``initialiser`` draws.
        reset_bias: Set a renewed filter's bias to 0.
        reset_norm: Reset the norm entries that see this filter alone.
        optimizer_state: Of renewed entries: ``exact``, ``zeroed``, or ``kept``, as it was when they were dropped; see
            `regrow.Recipe`. While they are out it is cleared in any case.
        readers: ``keep``, ``zero`` or ``redraw`` the weights that read the filter.
        preserve: Keep the network's output when filters come back: what reads them stays 0 until it has learnt; needs
            ``attach(calibration_inputs=...)``, on which `Renewed.change` is measured.
        init: What the noise that new directions are made of is drawn from; None: as ``attach`` was told.

    Source:
        Prakash et al., "RePr: Improved Training of Convolutional Filters", CVPR 2019, Sections 3 and 4. Differs: see
        ``regrow ls recipes`` or ``INFO.differs``.

    Examples:
        >>> RePr(s1=20, s2=10, cycles=3).select
        WorstFraction(fraction=0.3, most_of_layer=1.0)
    """

    info = INFO

    s1: int = 20
    s2: int = 10
    cycles: int = 3
    fraction: float = 0.3
    unit: Literal["epochs", "steps"] = "epochs"
    rank_by: Literal[
        "overlap",
        "weights",
        "random",
        "activations",
        "apoz",
        "gradients",
        "taylor",
        "hessian",
        "oracle",
    ] = "overlap"
    normalise: Literal["row", "matrix"] = "row"
    corrected: bool = False
    exclude_first: bool = False
    most_of_layer: float = 1.0
    scale: Literal["survivors", "initialiser"] = "survivors"
    reset_bias: bool = True
    reset_norm: bool = True
    optimizer_state: OptimizerState = "exact"
    readers: Literal["keep", "zero", "redraw"] = "keep"
    preserve: bool = False
    init: str | None = None

    def compose(self) -> Parts:
        """The parts that follow from the settings."""
        from regrow.renewal import Orthogonal
        from regrow.selection import WorstFraction

        return Parts(
            criterion=self._ranking(),
            select=WorstFraction(fraction=self.fraction, most_of_layer=self.most_of_layer),
            renew=Orthogonal(
                scale=self.scale,
                bias="zero" if self.reset_bias else "keep",
                norm="reset" if self.reset_norm else "keep",
                readers=self.readers,
                preserve=self.preserve,
            ),
            when=Cycles(s1=self.s1, s2=self.s2, cycles=self.cycles, unit=self.unit),
            drop=True,
        )

    def _ranking(self) -> Criterion:
        from regrow.criteria import FilterOverlap

        if self.rank_by == "overlap":
            return FilterOverlap(normalise=self.normalise, corrected=self.corrected)
        known = rankings()
        if self.rank_by not in known:
            words = ", ".join(repr(word) for word in known)
            raise ConfigError(f"rank_by must be 'overlap', {words}, got {self.rank_by!r} (repr)")
        if self.corrected or self.normalise != "row":
            raise ConfigError(
                f"normalise and corrected belong to rank_by='overlap', got rank_by={self.rank_by!r} (repr)"
            )
        return known[self.rank_by]


def rankings() -> dict[str, Criterion]:
    """What ranks the filters, by the word of ``rank_by``; beside these ``overlap``, which has settings."""
    from regrow import criteria

    return {
        "weights": criteria.WeightNorm(),
        "activations": criteria.MeanActivation(),
        "apoz": criteria.ZeroShare(),
        "gradients": criteria.GradientSize(norm="l2"),
        "taylor": criteria.Taylor(),
        "hessian": criteria.FisherDiagonal(),
        "random": criteria.RandomScore(),
        "oracle": criteria.Oracle(),
    }
