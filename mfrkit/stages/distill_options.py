"""Resolve the options of one distillation."""

from collections.abc import Mapping

from mfrkit.methods.real_masks import RealOptions, UnnamedOptions
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.stages.distill_methods import find_method
from mfrkit.stages.distill_settings import DistillRequest, Settings
from mfrkit.stages.fit_options import FitOptions
from mfrkit.stages.presets import choose
from mfrkit.stages.students import ModelOptions
from mfrkit.stages.train_request import CardOptions, MaskSettings, resolve_tables


def resolve(request: DistillRequest) -> Settings:
    """Lay preset, TOML file, assignments and flags over each other and check the result.

    Raises:
        InputError: an unknown table, name, method or preset, or a value that cannot be used.
    """
    method = find_method(request.method, request.phase)
    preset = choose("preset", request.preset, method.presets)
    kinds: Mapping[str, type] = {
        "model": ModelOptions,
        "method": method.options,
        "views": ViewOptions,
        "masks": MaskSettings,
        "real": RealOptions,
        "unnamed": UnnamedOptions,
        "fit": FitOptions,
        "card": CardOptions,
    }
    return Settings(**resolve_tables(request, preset, kinds))
