"""What the rules claim stands in the file that they name, and each speaks when its symptom is there and not else."""

from __future__ import annotations

from pathlib import Path

import pytest

from regrow.health import MEASURES, RULES, Advice, Health, LayerHealth, Rule, Symptom

ROOT = Path(__file__).parents[2]


def _layer(**given: object) -> LayerHealth:
    return LayerHealth(path="conv", kind="conv", count=10, **given)  # pyright: ignore[reportArgumentType]


def _advice(layer: LayerHealth, **given: object) -> list[str]:
    health = Health(
        layers=(layer, LayerHealth(path="later", kind="conv", count=4)),
        examples=100,
        evidence=("one forward",),
        **given,  # pyright: ignore[reportArgumentType]
    )
    return [each.key for each in health.advice]


SITUATIONS: dict[str, tuple[LayerHealth, dict[str, object]]] = {
    "standardise": (_layer(), {"input_shift": 2.0}),
    "renew_dead": (_layer(units={"dead": (1,)}), {}),
    "shorten_steps": (_layer(numbers={"step": 0.5}), {}),
    "blown_up": (_layer(numbers={"gain": 50.0}), {}),
    "fading": (_layer(numbers={"gain": 0.01}), {}),
    "first_layer_repeats": (_layer(units={"duplicate": (0, 1)}), {}),
    "plasticity": (_layer(units={"dormant": (0, 1)}), {}),
    "begins_at_zero": (_layer(units={"zero_by_construction": (0,)}), {}),
    "nothing": (_layer(), {"input_shift": 0.1}),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.advice.key)
def test_what_a_rule_claims_stands_in_its_source(rule: Rule) -> None:
    text = (ROOT / rule.advice.source).read_text()
    assert rule.quotes
    for quote in rule.quotes:
        assert quote in text, quote


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.advice.key)
def test_a_rule_speaks_of_its_symptom_alone(rule: Rule) -> None:
    layer, given = SITUATIONS[rule.advice.key]
    assert _advice(layer, **given) == [rule.advice.key]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.advice.key)
def test_every_rule_was_followed_and_says_so_where_that_did_not_help(rule: Rule) -> None:
    lines = (ROOT / "results/inspect/table.md").read_text().splitlines()
    found = [line for line in lines if f"(`{rule.advice.key}`)" in line]
    assert found
    for line in found:
        assert "skipped" not in line
        if "HARMS" in line:
            assert "results/inspect/table.md" in rule.advice.text


@pytest.mark.parametrize(
    ("key", "quotes"),
    [
        ("standardise", ("| 16 filters a layer, craters in [0, 1]", "| 0 | 8 | helps |")),
        ("begins_at_zero", ("(scales set to 1) | -1.2 [-2.5, -0.7] |",)),
    ],
)
def test_what_a_rule_says_of_its_own_trial_stands_there(key: str, quotes: tuple[str, ...]) -> None:
    lines = (ROOT / "results/inspect/table.md").read_text().splitlines()
    of_rule = [line for line in lines if f"(`{key}`)" in line]
    assert any(all(quote in line for quote in quotes) for line in of_rule)


def test_every_rule_is_about_measures_that_exist() -> None:
    known = {each.key for each in MEASURES} | {"input_shift", "probe_gap"}
    for rule in RULES:
        assert set(rule.advice.measures) <= known


def test_repeats_behind_the_first_layer_are_not_spoken_of() -> None:
    later = LayerHealth(path="later", kind="conv", count=4, units={"duplicate": (0, 1)})
    health = Health(layers=(_layer(), later), examples=1, evidence=())
    assert [each.measure for each in health.symptoms] == ["duplicate"]
    assert health.advice == ()
    assert "none that was measured here fits" in str(health)


def test_a_gain_that_is_no_number_is_no_fading() -> None:
    assert _advice(_layer(numbers={"gain": float("nan")})) == ["blown_up"]


def test_a_gain_that_is_not_the_layers_own_affair_is_no_symptom() -> None:
    layer = _layer(numbers={"gain": 50.0}, settled="followed by the norm bn")
    assert _advice(layer) == ["nothing"]


def test_what_is_said_can_be_shown() -> None:
    for rule in RULES:
        assert isinstance(rule.advice, Advice)
        assert rule.advice.text.endswith(".")
        if rule.advice.code:
            assert rule.advice.cost
    symptom = Symptom(measure="dead", layer="", text="a", formula="f", evidence="e")
    assert str(symptom) == "network: a [symptom; e; f]"
