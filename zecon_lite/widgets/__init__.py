"""Figures that a reader can work with: anywidgets whose logic is plain JavaScript, so that they live without a kernel.

Importing this package imports anywidget; `import zecon_lite` alone does not.
"""

from .similarity import SimilarityExplorer

__all__ = ["SimilarityExplorer"]
