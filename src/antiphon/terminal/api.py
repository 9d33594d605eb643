"""What ``antiphon.terminal`` offers."""

from antiphon.terminal.progress_display import ProgressDisplay, ProgressWriter, SpinWriter
from antiphon.terminal.utils import write_static

__all__ = ["ProgressDisplay", "ProgressWriter", "SpinWriter", "write_static"]
