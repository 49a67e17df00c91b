"""A user's own recipe, named as ``package.module:function``: the function is asked once what it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace

from regrow._named import current_folder_importable, imported, in_one_line
from regrow.compose import Recipe, RecipeInfo
from regrow.errors import ConfigError
from regrow.partnership import PartnerRecipe

Make = Callable[..., Recipe | PartnerRecipe]


def own_recipe(name: str) -> tuple[RecipeInfo, Make]:
    """Import a user's recipe and make it once with its defaults: what it says of itself, and the function.

    The function takes its settings as keywords, each with a default that a study file can say, and returns a Recipe or
    a PartnerRecipe. One that takes ``like`` is a control, and gets the events of the run that it replays by it. A
    ConfigError where it cannot be imported or called like that, or returns something else; its errors are one line.
    """
    function = imported(name, kind="recipe")
    parameters = _parameters(function, name=name)
    control = "like" in parameters

    @functools.wraps(function)
    def make(**given: object) -> Recipe | PartnerRecipe:
        try:
            with current_folder_importable():
                found = function(**given)
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:  # whatever the user's function raises
            raise ConfigError(f"recipe '{name}': raised {in_one_line(error)}") from error
        if not isinstance(found, Recipe | PartnerRecipe):
            raise ConfigError(
                f"recipe '{name}': must return a regrow.Recipe or a regrow.PartnerRecipe, got {type(found).__name__}"
            )
        return found

    made = make(like=[]) if control else make()
    partners = isinstance(made, PartnerRecipe)
    role = "control" if control else "method"
    made_of = "settings" if control else made.info.made_of
    info = replace(made.info, name=name, role=role, made_of=made_of, partners=partners)
    return info, make


def _parameters(function: Callable[..., object], *, name: str) -> Mapping[str, inspect.Parameter]:
    """The settings of a user's function: keywords with defaults, annotations that can be read."""
    try:
        found = inspect.signature(function, eval_str=True).parameters
    except Exception as error:  # an annotation is any expression
        raise ConfigError(
            f"recipe '{name}': the types of its settings must be readable where it is defined: {in_one_line(error)}"
        ) from error
    for key, parameter in found.items():
        if parameter.kind not in {parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
            raise ConfigError(
                f"recipe '{name}': must take its settings as keywords, each by its name, got {parameter}"
            )
        default = parameter.default
        if key != "like" and not (default is None or isinstance(default, str | int | float)):
            came = "none" if default is inspect.Parameter.empty else repr(default)
            raise ConfigError(
                f"recipe '{name}': setting {key} must have a default that a study file can say (a text, a number, "
                f"true, false or None), got {came}"
            )
    return found
