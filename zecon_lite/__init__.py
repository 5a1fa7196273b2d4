"""Zero-shot diffusion style transfer from first principles.

Legend of every docstring: B batch, H W pixels, C channels, N schedule length, P patches, D embedding width.
Images: float (B, 3, H, W) in [-1, 1]. Two clocks: `i` a position in the schedule, `t` the training timestep there.

    from zecon_lite import images, load_models, stylize
    result = stylize(images.fit(images.load("photo.jpg"), 64), "a pencil sketch", models=load_models("tiny"))
    result.save("sketch.png")
"""

from . import augment, colour, images, losses
from .adapters import Adapter, Mixture, bands, degree_of_change, tuned
from .denoiser import Denoiser, LearnedVariance, Prediction, VPrediction
from .distill import Edit, EditStep, edit
from .evaluate import evaluate
from .finetune import FINETUNE, FineTune, TrainStep, translate
from .guidance import Guidance
from .memory import LOW_MEMORY, Memory, Saving
from .models import VGG, Clip, Latent, UNet, UNetConfig, ViT
from .presets import PRESETS, Preset
from .profiles import PROFILES, Models, Profile, load_models
from .recipes import RECIPES, Recipe, Task
from .rerun import Rerun, rerun
from .samplers import ddim_step, ddpm_step, invert, look, sample
from .schedule import Schedule
from .scores import METHODS, Method
from .state import State, Step
from .stylize import Result, stylize
from .ways import inverted, inverted_as_noise, noised

__version__ = "0.1.0"

__all__ = [
    "FINETUNE",
    "LOW_MEMORY",
    "METHODS",
    "PRESETS",
    "PROFILES",
    "RECIPES",
    "VGG",
    "Adapter",
    "Clip",
    "Denoiser",
    "Edit",
    "EditStep",
    "FineTune",
    "Guidance",
    "Latent",
    "LearnedVariance",
    "Memory",
    "Method",
    "Mixture",
    "Models",
    "Prediction",
    "Preset",
    "Profile",
    "Recipe",
    "Rerun",
    "Result",
    "Saving",
    "Schedule",
    "State",
    "Step",
    "Task",
    "TrainStep",
    "UNet",
    "UNetConfig",
    "VPrediction",
    "ViT",
    "augment",
    "bands",
    "colour",
    "ddim_step",
    "ddpm_step",
    "degree_of_change",
    "edit",
    "evaluate",
    "images",
    "invert",
    "inverted",
    "inverted_as_noise",
    "load_models",
    "look",
    "losses",
    "noised",
    "rerun",
    "sample",
    "stylize",
    "translate",
    "tuned",
]
