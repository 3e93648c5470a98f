"""What is given as an autoencoder, looked at before anything runs: whether it is one, and in a state to be used."""

from __future__ import annotations

from typing import Any

from torch import nn

from toolkit.errors import ModelError
from toolkit.geometry.plan import Plan, PlanKind
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.module_check import WRAPPERS, check_module
from toolkit.models.module_compat import is_compiled, original

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
COMPILED = "compiled code"
"""The entry of a record that says what became of it."""


def checked_model(vae: Any, call: ModelCall, plan: Plan, *, weights: bool = True) -> Any:
    """Return the model to use for what was given as one.

    That is the model itself, unless it is what ``torch.compile(model)`` returned: then it is the model inside, whose
    weights are the same. (``decode`` of the wrapper is that of the model inside anyway.)

    Args:
        vae: What was given.
        call: The model call to make.
        plan: How the call is divided.
        weights: Whether its weights must have values; a rehearsal does without.

    Raises:
        ModelError: If it is no autoencoder, or in a state that cannot be served.

    Example:
        >>> from toolkit.geometry.plan import WholeCall
        >>> checked_model("stabilityai/sd-vae-ft-mse", ModelCall(), WholeCall())
        Traceback (most recent call last):
        toolkit.errors.ModelError: the model is a str: give an autoencoder of diffusers, or a module with decode and
        encode.
    """
    vae = original(vae)
    _check_is_autoencoder(vae, call)
    if isinstance(vae, nn.Module):
        check_module(type(vae).__name__, vae, weights=weights)
        _check_parts(vae)
        if plan.kind != PlanKind.WHOLE:
            _check_settled(vae)
    if next(iter(vae.parameters()), None) is None:
        raise ModelError(f"{type(vae).__name__} has no weights, which say on which device and in which dtype it works.")
    return vae


def notes_on(given: Any) -> dict[str, object]:
    """What the record of a run should say of the model that was given.

    Example:
        >>> notes_on(nn.Linear(2, 2))
        {}
    """
    compiled = isinstance(given, nn.Module) and any(is_compiled(part) for part in given.modules())
    return {COMPILED: "not used: workers hold the model's weights and its own code"} if compiled else {}


def _check_is_autoencoder(vae: Any, call: ModelCall) -> None:
    remedy = "give an autoencoder of diffusers, or a module with decode and encode."
    if isinstance(vae, type):
        raise ModelError(f"the model is the class {vae.__name__}, not an instance of it: {remedy}")
    name = type(vae).__name__
    if any(base.__name__ in WRAPPERS for base in type(vae).__mro__):
        raise ModelError(
            f"the model is wrapped in {name}, which spreads it over devices itself: give the module that is inside, "
            "vae.module."
        )
    if isinstance(getattr(vae, "components", None), dict):
        raise ModelError(f"the model is a pipeline, {name}: give its autoencoder, pipe.vae.")
    recipe = call.options.recipe
    needed = ["parameters", "modules"]
    if recipe is None or recipe.tile(call.direction) is None:
        needed.append(call.direction.value)
    missing = [method for method in needed if not callable(getattr(vae, method, None))]
    if not missing:
        return
    if isinstance(vae, nn.Module):
        raise ModelError(f"the model is a {name}, which has no method {missing[0]}: {remedy}")
    raise ModelError(f"the model is {'None' if vae is None else f'a {name}'}: {remedy}")


def _check_parts(vae: nn.Module) -> None:
    """Refuse parts that only their own process can call."""
    for path, part in vae.named_modules():
        if original(part) is not part:
            raise ModelError(
                f"{path} of {type(vae).__name__} is what torch.compile returned, and its code belongs to this "
                f"process. Compile it in place, vae.{path}.compile(): that leaves the model as it is for others."
            )


def _check_settled(vae: nn.Module) -> None:
    """Refuse a model whose result depends on how its input is divided, because it is being trained."""
    for path, part in vae.named_modules():
        draws = isinstance(part, DROPOUTS) and part.p > 0
        if part.training and (draws or isinstance(part, BATCH_NORMS)):
            raise ModelError(
                f"{path} of {type(vae).__name__} is a {type(part).__name__} in training mode, which gives each tile or "
                "shard another result than the whole: call vae.eval()."
            )
