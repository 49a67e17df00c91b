"""What `attach` is given, looked at before anything is done with it."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import LBFGS, Optimizer

from regrow.compose import Recipe
from regrow.errors import ConfigError, OptimizerError
from regrow.guard import Guard
from regrow.partnership import PartnerRecipe
from regrow.recipes.guarded import guard_alone
from regrow.surgery import is_companion, unwrap_optimizer


def checked(recipe: object, model: object, companions: object) -> Recipe:
    """The plain mistakes: a recipe's class or function instead of a recipe, a name, a state dict."""
    if isinstance(recipe, Guard):
        recipe = guard_alone(recipe)
    if isinstance(recipe, PartnerRecipe):
        raise ConfigError(
            f"'{recipe.info.name}' acts on several networks: use regrow.attach_partners (attach)"
        )
    if not isinstance(recipe, Recipe):
        called = (
            f"{getattr(recipe, '__name__', '')}()" if callable(recipe) else "regrow.RandomOut()"
        )
        raise ConfigError(
            f"recipe must be a Recipe, as {called} makes it, got {_kind(recipe)} (attach)"
        )
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise ConfigError(
            f"model must be an nn.Module whose forward is Python, got {_kind(model)} (attach)"
        )
    wrong: list[object] = [companions]
    if isinstance(companions, (list, tuple)):
        wrong = [each for each in companions if not is_companion(each)]
    if wrong:
        raise ConfigError(
            "companions must be a list or tuple of modules, or of averages that hold shadow_params, got "
            f"{_kind(wrong[0])} (attach)"
        )
    return recipe


def refuse_strings(**lists: object) -> None:
    """One name or pattern in the place of a list of them, which would be taken letter by letter."""
    for name, given in lists.items():
        if isinstance(given, str):
            raise ConfigError(f"{name} must be a list or tuple of strings, got {given!r} (attach)")


def _kind(thing: object) -> str:
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    return repr(thing) if isinstance(thing, str) else type(thing).__name__


def optimizers_of(given: object) -> list[Optimizer]:
    """The bare optimizers, in the order in which they step."""
    several = given if isinstance(given, (list, tuple)) else [given]
    found = [unwrap_optimizer(each) for each in several]
    if not found:
        raise ConfigError("attach needs an optimizer, got an empty list")
    for each in found:
        if isinstance(each, LBFGS):
            raise OptimizerError(
                "every step must have one gradient, and LBFGS evaluates the loss many times in a step, with a history "
                "of all parameters together: train with an optimizer of docs/optimizers.md (attach)"
            )
    if len({id(each) for each in found}) < len(found):
        raise ConfigError("every optimizer must be listed once (attach)")
    return found
