"""Advice: what has helped networks with the same symptoms, as far as this repository has measured it, and what not.

One `Rule` a piece of advice. What a rule claims stands in its source, word for word; `tests/health/test_advice.py`
looks it up there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from regrow.health.layer_health import LayerHealth
from regrow.health.symptoms import Symptom

Applies = Callable[[Sequence[Symptom], Sequence[LayerHealth]], bool]
"""What was found, and the layers in the order of the forward pass, to whether a rule has something to say."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to do, and how it is known."""

    key: str  # of the rule
    title: str  # in a few words
    text: str  # what to do, what was measured, and where it does not hold
    code: str  # the line of code; "" where there is nothing to do
    cost: str  # what it costs
    source: str  # the file of this repository that shows it
    measures: tuple[str, ...]  # of the symptoms that it is about


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A piece of advice and its condition."""

    advice: Advice  # what is said
    applies: Applies  # when
    quotes: tuple[str, ...]  # what the source must say for the advice to be true


def advice_for(symptoms: Sequence[Symptom], layers: Sequence[LayerHealth]) -> tuple[Advice, ...]:
    """What the rules have to say of what was found."""
    return tuple(rule.advice for rule in RULES if rule.applies(symptoms, layers))


def _has(*measures: str) -> Applies:
    return lambda symptoms, layers: any(each.measure in measures for each in symptoms)


def _gain(*, above: bool) -> Applies:
    def applies(symptoms: Sequence[Symptom], layers: Sequence[LayerHealth]) -> bool:
        of_gain = {each.layer for each in symptoms if each.measure == "gain"}
        # Above is what is not below: nan has no side, and is no fading signal.
        return any(
            (not layer.numbers["gain"] < 1.0) == above for layer in layers if layer.path in of_gain
        )

    return applies


def _blown_up(symptoms: Sequence[Symptom], layers: Sequence[LayerHealth]) -> bool:
    return _has("not_finite")(symptoms, layers) or _gain(above=True)(symptoms, layers)


def _first_repeats(symptoms: Sequence[Symptom], layers: Sequence[LayerHealth]) -> bool:
    first = layers[0].path if layers else None
    return any(each.layer == first and each.measure in {"duplicate", "alike"} for each in symptoms)


RULES: Final = (
    Rule(
        advice=Advice(
            key="standardise",
            title="Standardise the inputs",
            text=(
                "The inputs' mean is larger than their spread. On inputs in [0, 1], 23 and 39 of 50 seeds of a network "
                "of two filters a layer failed at two rates; with standardised inputs none did, and no recipe had "
                "anything left to do. With 16 filters a layer 8 of 16 seeds failed, and then none "
                "(results/inspect/table.md)."
            ),
            code="inputs = (inputs - mean) / std  # the training set's, channel by channel",
            cost="nothing",
            source="results/overview.md",
            measures=("input_shift",),
        ),
        applies=_has("input_shift"),
        quotes=("23/50, 75.6 %", "39/50, 68.6 %", "0/50, 89.9 %"),
    ),
    Rule(
        advice=Advice(
            key="renew_dead",
            title="Renew dead units, if the network does not train",
            text=(
                "Where filters were born dead, KeepAlive left 3 and 0 of 50 seeds failed instead of 23 and 39. Where "
                "networks train it had little to gain, and cost 0.3 points in the worst setting "
                "(results/keepalive-harmless.md): a few dead units in a network that trains are no reason to act."
            ),
            code=(
                "regrow.attach(regrow.KeepAlive(), model, optimizer, example_inputs=batch, total_steps=steps)"
            ),
            cost="0.3 to 0.4 % of a ResNet-20's step; a quarter to a half of a tiny network's",
            source="results/keepalive-overview.md",
            measures=("dead", "norm_killed"),
        ),
        applies=_has("dead", "norm_killed"),
        quotes=(
            "| none | 23/50, 75.6 % | 39/50, 68.5 %",
            "| keepalive | 3/50, 86.1 % | 0/50, 89.2 %",
        ),
    ),
    Rule(
        advice=Advice(
            key="shorten_steps",
            title="Clip the gradient, lower the rate, or use KeepAlive",
            text=(
                "The next step is long beside the weights. At a rate that blew a small network up, 30 of 50 seeds "
                "failed; with the gradient's norm clipped at 1, with KeepAlive, and with a third of the rate none did. "
                "RandomOut alone did harm: 45 failed. In deeper networks without norms a clip was needed."
            ),
            code="torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # before optimizer.step()",
            cost="a pass over the gradients; KeepAlive 0.3 to 0.4 % of a ResNet-20's step",
            source="results/keepalive-overview.md",
            measures=("step",),
        ),
        applies=_has("step"),
        quotes=(
            "| none | 23/50, 75.6 % | 39/50, 68.5 % | 30/50, 72.6 %",
            "| norm clip 1.0 | 22/50, 75.8 % | 16/50, 80.6 % | 0/50, 91.6 %",
            "| a third of the rate |  |  | 0/50, 91.1 %",
            "| RandomOut (default) | 7/50, 84.3 % | 15/50, 80.8 % | 45/50, 16.7 %",
        ),
    ),
    Rule(
        advice=Advice(
            key="blown_up",
            title="Start again with shorter steps",
            text=(
                "A layer gives many times what it hears, or what is no number. Nothing here has brought a blown-up "
                "network back: 30 of 30 seeds failed with RandomOut as without; with the gradient clipped from the "
                "start none did. A layer that begins so can be scaled before the first step."
            ),
            code="regrow.nn.check_gain_(model, batch)  # before the first step; and clip the gradient",
            cost="two forward passes",
            source="results/overview.md",
            measures=("gain", "not_finite"),
        ),
        applies=_blown_up,
        quotes=("| 30/30, 41.7 % | 30/30, 2.1 % | 30/30, 4.2 % | 29/30, 49.0 % | 0/30, 91.7 % |",),
    ),
    Rule(
        advice=Advice(
            key="fading",
            title="Check the gains before the first step",
            text=(
                "A layer gives next to nothing of what it hears. Networks drawn within 0.01 stayed on a plateau in 12 "
                "of 12 seeds; scaling such layers alone left 2, KeepAlive none. A smaller rate or a warm-up rescued "
                "nobody."
            ),
            code="regrow.nn.check_gain_(model, batch)",
            cost="two forward passes",
            source="results/keepalive-overview.md",
            measures=("gain",),
        ),
        applies=_gain(above=False),
        quotes=(
            "| 12/12, 62.6 % |",
            "| no renewal | 23/50, 75.6 % | 23/50, 77.2 % | 0/50, 91.8 % | 2/12, 84.1 %",
            "| warm-up of 100 steps |  |  |  | 12/12, 62.6 %",
        ),
    ),
    Rule(
        advice=Advice(
            key="first_layer_repeats",
            title="Leave repeated filters of the first layer alone",
            text=(
                "Taking overlapping filters out and bringing them back (RePr) has cost accuracy here: 1.3 points at a "
                "third of the paper's length, 6.1 with augmentation. No recipe against repetition has gained."
            ),
            code="",
            cost="",
            source="results/repr-overview.md",
            measures=("duplicate", "alike"),
        ),
        applies=_first_repeats,
        quotes=(
            "| repr-c3 | overlap | 5 | 59.9 | −1.3 [−2.0 to −0.1] |",  # noqa: RUF001 # the table's own minus
            "| repr-c3-augmented | overlap | 5 | 61.8 | −6.1 [−7.4 to −4.9] |",  # noqa: RUF001
        ),
    ),
    Rule(
        advice=Advice(
            key="plasticity",
            title="Renew units if targets move, beside a control",
            text=(
                "Many units give or learn next to nothing. Where targets move, renewing them has helped: over ten "
                "tasks of new random labels RandomOut kept 79 % of what a fresh network for each task gains, as many "
                "units picked at random 33 % (six seeds of a small network). On one fixed task such shares do not "
                "predict who trains. Run it beside 'random'."
            ),
            code=(
                "regrow.attach(regrow.RandomOut(confirm='gradient', active_fraction=1.0), model, optimizer, "
                "example_inputs=batch, layers=('conv', 'linear'))"
            ),
            cost="0.3 % of a ResNet-20's step",
            source="results/streams-digits/tasks.md",
            measures=("dormant", "low_gradient", "probe_gap"),
        ),
        applies=_has("dormant", "low_gradient", "probe_gap"),
        quotes=(
            "|           58.9 |                   79 |",
            "|           30.0 |                   33 |",
        ),
    ),
    Rule(
        advice=Advice(
            key="begins_at_zero",
            title="What begins at zero moves by itself: no sickness",
            text=(
                "Norm scales, gates and adapters that are exactly 0 move with their first gradients, and RandomOut and "
                "KeepAlive take nothing behind them for dead: no living unit of twelve such architectures was renewed. "
                "Zeros are meant for deep networks: three residual blocks ended 1.2 points better with scales of 1 "
                "(results/inspect/table.md)."
            ),
            code="",
            cost="",
            source="results/no-harm-timm/table.md",
            measures=("zero_by_construction", "blocked"),
        ),
        applies=_has("zero_by_construction", "blocked"),
        quotes=(
            "| cait_xxs24_224 | adamw | 45312 | 0 | 0 |",
            "| nf_resnet26 | adamw | 15424 | 0 |",
        ),
    ),
    Rule(
        advice=Advice(
            key="nothing",
            title="Nothing found: leave it as it is",
            text=(
                "In networks that train KeepAlive had little to gain: digits +0.07 points [-0.10, +0.24], small "
                "networks on craters -0.05 [-0.21, +0.09], and in the worst of their settings -0.30 [-0.63, -0.10]."
            ),
            code="",
            cost="",
            source="results/keepalive-harmless.md",
            measures=(),
        ),
        applies=lambda symptoms, layers: not symptoms,
        quotes=("-0.05 [-0.21, +0.09]", "+0.07 [-0.10, +0.24]", "-0.30 [-0.63, -0.10]"),
    ),
)
