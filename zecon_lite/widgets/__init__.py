"""Figures that a reader can work with: anywidgets whose logic is plain JavaScript, so that they live without a kernel.

`Panel` alone is made of ipywidgets and lives by Python: it runs recipes.
Importing this package imports anywidget; `import zecon_lite` alone does not.
"""

from .before_after import BeforeAfter
from .direction import DirectionExplorer
from .panel import Panel
from .scrubber import StepScrubber
from .similarity import SimilarityExplorer
from .weights import WeightExplorer

__all__ = ["BeforeAfter", "DirectionExplorer", "Panel", "SimilarityExplorer", "StepScrubber", "WeightExplorer"]
