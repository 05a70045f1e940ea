"""The way out for operators that our writer lacks: onnx2tf, where the user has it, in an environment of its own.

Its file is taken over only where it is as ours are: no custom operators, the model's names, a known order of axes.
"""

from edgepareto.host.export.onnx2tf.command import COMMAND, find_command, run_command
from edgepareto.host.export.onnx2tf.foreign_file import ForeignFile
from edgepareto.host.export.onnx2tf.plain_names import with_plain_names
from edgepareto.host.export.onnx2tf.unusable import Unusable

__all__ = ["COMMAND", "ForeignFile", "Unusable", "find_command", "run_command", "with_plain_names"]
