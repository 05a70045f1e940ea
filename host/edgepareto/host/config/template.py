"""What `host init` writes: every setting a first search needs, each with the words that explain it."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["starting_file"]

TEMPLATE = """\
# What EdgePareto searches, on what data, on which devices. Flags win over this file: host search --help
# Check it with: host config check

model = "{model}"              # an ONNX classifier with a symbolic batch axis

[data]
# .npz files with keys x (samples) and y (labels), a folder of images by class, or "module:function".
calibration = "calibration.npz" # 512 or more samples, no labels: what repairs a pruned model
validation = "validation.npz"   # labelled, never trained on: what the search scores
# test = "test.npz"             # labelled, only for reporting a finished front
scale = "1/255"                 # integers become x * scale + offset; floats are taken as they are
offset = 0
layout = "NCHW"                 # axis order in the files; "NHWC" is turned

[search]
measurements = 200              # candidates measured per device
metric = "top1"                 # or "precision", "module:function", or "agreement", which needs no labels
seed = 0
# min_accuracy = 0.85           # hard limits: what breaks one is on no front
# max_latency_ms = 5
# max_energy_mj = 20
# runtimes = "all"              # searched with the channels: what each device has; or a list ["onnxruntime", "litert"]
# precisions = "all"            # ["fp32", "int8"]
# threads = "all"               # [1, 4]
# energy = "dynamic"            # minimise what is drawn above idle; without it all that is drawn, where a meter works

[devices.{pi1}]
simulate = "raspberry-pi-4b"    # no board needed; every result says that it is simulated
# step = 8                      # channel multiple of the widths; unset: as host profile-steps learned, else 8

[devices.{jetson2}]
simulate = "jetson-orin-nano"

# This machine is always there, really measured: host search --devices local
# Boards of your own: host devices add NAME pi@192.168.1.20, then host deploy NAME; host search --devices NAME
"""


def starting_file(model: str = "model.onnx", own_boards: Collection[str] = ()) -> str:
    """The text of a commented edgepareto.toml that passes its own check once the files are there.

    own_boards: names in the user's inventory, which no simulated board may take. They stand not in it themselves: the
    file means the same to a colleague who has not these boards.
    """
    escaped = model.replace("\\", "\\\\").replace('"', '\\"')
    names = {name: f"simulated-{name}" if name in own_boards else name for name in ("pi1", "jetson2")}
    return TEMPLATE.format(model=escaped, **names)
